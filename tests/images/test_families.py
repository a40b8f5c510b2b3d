"""How the system of a disc's own entry finds its root over HTTP, told from its arguments."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootserver.images.arguments import is_plain
from bootserver.images.recipes.families import FAMILIES, Rest, media_of, rest_over_http
from bootserver.model import EntryKind, IsoFacts, MenuEntry

# The roots of all kinds of discs, on one.
FACTS = IsoFacts(
    0,
    markers=dict.fromkeys(
        (
            "/live/root.squashfs",
            "/live/filesystem.squashfs",
            "/liveos/squashfs.img",
            "/image.squashfs",
            "/rootfs.squashfs",
            "/config/additionalfiles/0/rootfs.img",
            "/foo/x86_64/airootfs.sfs",
            "/images/install.img",
            "/images/pxeboot/rootfs.img",
        ),
        1,
    ),
)
ISO = "{iso}"


def entry(arguments: str, kernel: str = "/k") -> MenuEntry:
    return MenuEntry("Live", EntryKind.LINUX, kernel=kernel, arguments=tuple(arguments.split()))


def rest(arguments: str, facts: IsoFacts = FACTS, kernel: str = "/k") -> Rest:
    return rest_over_http(entry(arguments, kernel), facts)


@pytest.mark.parametrize(
    ("said", "fetched", "word"),
    [
        # live-boot
        (
            "boot=live toram bootfrom=/dev/sdb1",
            "/live/filesystem.squashfs",
            "fetch={tree}live/filesystem.squashfs",
        ),
        # casper
        ("boot=casper live-media=/dev/sr0", ISO, "url={iso}"),
        # archiso
        (
            "archisobasedir=Foo archisosearchuuid=2026-11-01-00-00-00-00 cow_label=COW",
            "/foo/x86_64/airootfs.sfs",
            "archiso_http_srv={tree}",
        ),
        # Manjaro, Garuda; Artix
        ("misobasedir=manjaro misolabel=MANJARO_2600", ISO, "miso_http_srv={tree}"),
        ("artixbasedir=LiveOS artixlabel=ARTIX", ISO, "artix_http_srv={tree}"),
        # Fedora and RHEL CoreOS
        (
            "coreos.liveiso=fedora-coreos-43 ignition.firstboot ignition.platform.id=metal",
            "/images/pxeboot/rootfs.img",
            "coreos.live.rootfs_url={tree}images/pxeboot/rootfs.img",
        ),
        # Anaconda
        (
            "inst.stage2=hd:LABEL=X inst.repo=cdrom",
            "/images/install.img",
            "inst.stage2={tree}",
        ),
        # dracut: Fedora, Void, and the older syntax
        (
            "root=live:CDLABEL=X rd.live.image rd.live.check",
            "/liveos/squashfs.img",
            "root=live:{tree}liveos/squashfs.img",
        ),
        (
            "root=live:LABEL=VOID_LIVE init=/sbin/init ro",
            "/liveos/squashfs.img",
            "root=live:{tree}liveos/squashfs.img",
        ),
        (
            "root=CDLABEL=X rootfstype=auto ro liveimg",
            "/liveos/squashfs.img",
            "root=live:{tree}liveos/squashfs.img",
        ),
        # dracut outside LiveOS: Gentoo; Harvester and Kairos; Mariner; penguins-eggs
        (
            "root=live:CDLABEL=Gentoo-amd64 rd.live.dir=/ rd.live.squashimg=image.squashfs cdroot",
            "/image.squashfs",
            "root=live:{tree}image.squashfs",
        ),
        (
            "root=live:CDLABEL=COS_LIVE rd.live.dir=/ rd.live.ram=1 "
            "rd.live.squashimg=rootfs.squashfs",
            "/rootfs.squashfs",
            "root=live:{tree}rootfs.squashfs",
        ),
        (
            "root=live:LABEL=CDROM rd.live.dir=config/additionalfiles/0 "
            "rd.live.squashimg=rootfs.img",
            "/config/additionalfiles/0/rootfs.img",
            "root=live:{tree}config/additionalfiles/0/rootfs.img",
        ),
        (
            "root=live:UUID=12 rd.live.dir=/live/ rd.live.squashimg=Filesystem.squashfs",
            "/live/filesystem.squashfs",
            "root=live:{tree}live/filesystem.squashfs",
        ),
    ],
)
def test_an_entrys_arguments_tell_how_its_system_fetches_its_root(
    said: str, fetched: str, word: str
):
    found = rest(f"quiet {said} nomodeset")

    assert found.fetched == fetched
    assert found.seeks == ""
    assert word in found.arguments
    assert {"ip=dhcp", "BOOTIF=01-{card}", "quiet", "nomodeset"} <= set(found.arguments)
    assert len(found.arguments) == len({word.partition("=")[0] for word in found.arguments})
    assert not [
        w for w in found.arguments if "LABEL" in w.upper() or w.startswith(("hd:", "rd.live.dir"))
    ]


def test_what_the_family_is_called_by_its_medium_keeps_its_name():
    assert "archisobasedir=Foo" in rest("archisobasedir=Foo").arguments
    assert "misobasedir=Garuda" in rest("misobasedir=Garuda misolabel=G").arguments
    assert "cdroot" in rest("root=live:LABEL=X cdroot").arguments  # Gentoo's services ask for it


def test_a_root_in_a_tmpfs_needs_its_size_twice_and_one_in_a_ramfs_once():
    """Linux makes the initramfs a ramfs where there is a root= (init/do_mounts.c)."""
    twice = {
        said: rest(said).times
        for said in ("root=live:LABEL=X", "boot=casper", "coreos.liveiso=x", "archisobasedir=foo")
    }

    assert list(twice.values()) == [1.0, 1.0, 2.0, 2.0]


def test_ubuntus_own_menu_does_not_name_casper():
    found = rest("--- quiet", kernel="/casper/vmlinuz")

    assert found.fetched == ISO
    assert found.arguments[:2] == ("quiet", "boot=casper")


@pytest.mark.parametrize(
    ("said", "seeks"),
    [
        ("quiet root=LABEL=nixos-minimal-26.05", "root=LABEL=nixos-minimal-26.05"),
        ("root=/dev/sr0", "root=/dev/sr0"),
        ("from=/slax quiet", "from=/slax"),
        ("root=/dev/ram0 looptype=squashfs loop=/image.squashfs cdroot", "loop=/image.squashfs"),
        ("alpine_dev=cdrom:iso9660", "alpine_dev=cdrom:iso9660"),
        ("automatic=method:cdrom", "automatic=method:cdrom"),
        ("findiso=/isos/x.iso quiet", "findiso=/isos/x.iso"),
        # Of a family that is known, from a place that the disc does not have.
        (
            "root=live:CDLABEL=X rd.live.dir=/ rd.live.squashimg=other.img",
            "root=live:CDLABEL=X",
        ),
        ("coreos.liveiso=rhcos-9", "coreos.liveiso=rhcos-9"),
        ("archisobasedir=bar archisolabel=BAR", "archisobasedir=bar"),
        ("boot=live components", "boot=live"),
        # What a family leaves.
        ("inst.stage2=hd:LABEL=X inst.ks=hd:LABEL=X:/ks.cfg", "inst.ks=hd:LABEL=X:/ks.cfg"),
    ],
)
def test_a_system_that_looks_for_its_disc_is_said_to_by_the_argument(said: str, seeks: str):
    facts = IsoFacts(0, markers={"/images/install.img": 1})

    assert rest(said, facts).seeks == seeks


@pytest.mark.parametrize(
    "said", ["", "quiet root=/dev/ram0 rw", "findiso= img_dev= quiet", "init=/bin/sh from=2026"]
)
def test_a_system_that_is_whole_in_its_initramfs_looks_for_nothing(said: str):
    assert rest(said).seeks == ""
    assert rest(said).fetched == ""


def test_what_a_loader_fills_in_is_not_passed_on():
    said = "BOOT_IMAGE=/k initrd=/i iso-scan/filename=/x.iso findiso= -- --- a={b} quiet"

    assert rest(said).arguments == ("quiet",)


def test_the_paths_that_an_entry_names_are_known_when_the_disc_is_read():
    gentoo = "root=live:CDLABEL=G rd.live.dir=/ rd.live.squashimg=Image.squashfs"

    assert media_of(entry(gentoo)) == {"/image.squashfs"}
    assert media_of(entry("archisobasedir=Foo")) == {
        "/foo/x86_64/airootfs.sfs",
        "/foo/x86_64/airootfs.erofs",
    }
    assert media_of(entry("root=live:X rd.live.dir=../../etc rd.live.squashimg=a")) == {"/etc/a"}
    assert media_of(entry("root=live:X rd.live.squashimg=a$b")) == set()
    assert media_of(entry("quiet")) == set()


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.source)
def test_every_rule_says_which_project_says_so(family):
    assert family.source.partition(": ")[2]


WORDS = st.sampled_from(
    [
        *("root=live:", "rd.live.dir=", "rd.live.squashimg=", "archisobasedir=", "misobasedir="),
        *("boot=live", "boot=casper", "inst.stage2=", "coreos.liveiso=", "findiso=", "../", "*"),
        *("{tree}", "{medium}", "{rd.live.dir}", "${x}", "||", "\\", "#", "\u00e4", "quiet", "/"),
    ]
)


@given(st.lists(st.lists(WORDS | st.text(max_size=5), max_size=4).map("".join), max_size=8))
def test_no_arguments_of_a_disc_become_a_command_or_leave_the_disc(arguments: list[str]):
    entry = MenuEntry("Live", EntryKind.LINUX, kernel="/k", arguments=tuple(arguments))

    found = rest_over_http(entry, FACTS)

    assert found.fetched in {"", ISO, *FACTS.markers}
    ours = {word for family in FAMILIES for word in family.added.split()}
    for word in found.arguments:
        value = word.replace("{tree}", "").replace("{iso}", "").replace("{card}", "")
        assert is_plain(value) or word in ours
    assert all(re.fullmatch("/[a-z0-9._+~/-]+", path) for path in media_of(entry))
    assert not any(".." in path.split("/") for path in media_of(entry))
