"""The tree of an image over HTTP: any file inside it, by extent, with the site's own in place."""

from __future__ import annotations

import html
import os
import random
import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote, urljoin

import pytest
from yarl import URL

from bootserver.config import Config
from bootserver.model import BootPhase, TransferEnd
from tests.fixtures.boots import Boots, running_boots
from tests.fixtures.isos import make_iso

SQUASHFS = random.Random(1).randbytes(300_001)
INITRD = random.Random(2).randbytes(7_001)
GRUB_CFG = b"set timeout=30\nlinux /live/vmlinuz quiet\n"
LIVE = {
    ".disk/info": b'Debian GNU/Linux 12 "Bookworm" - Live',
    "live/vmlinuz": b"MZ" + bytes(5000),
    "live/initrd.img": INITRD,
    "live/filesystem.squashfs": SQUASHFS,
    "boot/grub/grub.cfg": GRUB_CFG,
    "pool/main/n/nano/nano_7.2-1+deb12u1_amd64.deb": b"deb",
}


@pytest.fixture
async def boots(config: Config) -> AsyncIterator[Boots]:
    make_iso(config.images.path / "rescue.iso", LIVE, bios=True, uefi=True, volume_id="d-live")
    async with running_boots(config) as boots:
        yield boots


async def tree(boots: Boots) -> str:
    return f"/b/{await boots.token()}/tree"


@pytest.mark.parametrize("name", sorted(LIVE))
async def test_every_file_has_its_own_bytes(boots: Boots, name: str):
    assert await boots.body(f"{await tree(boots)}/{name}") == LIVE[name]


async def test_a_range_of_a_file_is_that_range_of_the_file(boots: Boots):
    path = f"{await tree(boots)}/live/filesystem.squashfs"

    assert await boots.body(path, Range="bytes=0-0") == SQUASHFS[:1]
    assert await boots.body(path, Range="bytes=100000-299999") == SQUASHFS[100_000:300_000]
    assert await boots.body(path, Range="bytes=-7") == SQUASHFS[-7:]


async def test_head_tells_size_and_tag_without_a_body(boots: Boots):
    async with boots.http.head(f"{boots.url}{await tree(boots)}/live/initrd.img") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Length"] == str(len(INITRD))
        assert answer.headers["Accept-Ranges"] == "bytes"
        tag = answer.headers["ETag"]

    async with boots.http.get(
        f"{boots.url}{await tree(boots)}/live/initrd.img", headers={"If-None-Match": tag}
    ) as answer:
        assert answer.status == 304


async def test_two_files_of_a_disc_have_two_tags(boots: Boots):
    tags = set()
    for name in LIVE:
        async with boots.http.head(f"{boots.url}{await tree(boots)}/{name}") as answer:
            tags.add(answer.headers["ETag"])

    assert len(tags) == len(LIVE)


async def test_names_are_found_in_any_case(boots: Boots):
    assert await boots.body(f"{await tree(boots)}/LIVE/Initrd.IMG") == INITRD


async def test_a_directory_is_a_page_with_links_that_work(boots: Boots):
    base = await tree(boots)
    page = (await boots.body(f"{base}/live/")).decode()

    assert "initrd.img" in page
    assert "7,001" in page
    [link] = [part.split('"')[0] for part in page.split('href="') if "initrd" in part.split('"')[0]]
    assert await boots.body(f"{base}/live/{link.removeprefix('./')}") == INITRD
    assert '"./.disk/"' in (await boots.body(f"{base}/")).decode()


async def test_names_that_mean_something_in_a_url_are_found_by_the_links_of_the_listing(
    boots: Boots, config: Config
):
    make_iso(config.images.path / "odd.iso", {"a b/50% #1?<ü>.txt": b"odd"})
    await boots.look_again()
    url = f"{boots.url}/b/{await boots.token('odd')}/tree/"
    for name in ("a b/", "50% #1?<ü>.txt"):
        async with boots.http.get(url) as answer:
            page = await answer.text()
        links = dict(re.findall(r'<a href="(\./[^"]+)">([^/]+/?)</a>', page))
        [link] = [link for link, shown in links.items() if html.unescape(shown) == name]
        url = urljoin(url, link)

    async with boots.http.get(URL(url, encoded=True)) as answer:
        assert await answer.read() == b"odd"


async def test_a_directory_without_its_slash_is_redirected_to_it(boots: Boots):
    url = f"{boots.url}{await tree(boots)}/live"
    async with boots.http.get(url, allow_redirects=False) as answer:
        assert answer.status == 301
        assert answer.headers["Location"] == "./live/"
    async with boots.http.get(url) as answer:
        assert answer.status == 200
        assert str(answer.url).endswith("/tree/live/")


async def test_a_redirect_leads_to_a_directory_whatever_its_name_means_in_a_url(
    boots: Boots, config: Config
):
    name = "http:x?50% #1"
    make_iso(config.images.path / "odd.iso", {f"{name}/x.txt": b"odd"})
    await boots.look_again()
    url = f"{boots.url}/b/{await boots.token('odd')}/tree/{quote(name)}"

    async with boots.http.get(URL(url, encoded=True)) as answer:
        assert answer.status == 200
        assert "x.txt" in await answer.text()
        assert answer.url.path.endswith(f"/tree/{name}/")


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/live/nothing",
        "/live/initrd.img/",
        "/live/initrd.img/x",
        "/%00",
        "/..%2f..%2fconfig.toml",
        "/live/..%2f..%2f..%2fetc/passwd",
        "/" + "x" * 3000,
    ],
)
async def test_what_is_not_on_the_disc_is_404(boots: Boots, path: str):
    assert await boots.status(f"{await tree(boots)}{path}") == 404


async def test_an_unknown_token_has_no_tree(boots: Boots):
    assert await boots.status("/b/0123456789abcdef/tree/live/initrd.img") == 404
    assert await boots.status("/b/0123456789abcdef/tree/") == 404


async def test_an_image_that_has_just_changed_has_no_tree_for_a_while(boots: Boots):
    base = await tree(boots)
    os.utime(boots.iso, (1, 1))

    assert await boots.status(f"{base}/live/initrd.img") == 503


async def test_a_damaged_disc_is_a_sentence_and_the_server_lives(boots: Boots, config: Config):
    data = boots.iso.read_bytes()
    at = data.rindex(b"INITRD.IMG") - 33  # its directory record, as ISO 9660 names it
    broken = bytearray(data)
    broken[at + 2 : at + 10] = (0x7FFFFFF0).to_bytes(4, "little") + (0x7FFFFFF0).to_bytes(4, "big")
    (config.images.path / "broken.iso").write_bytes(broken)
    await boots.look_again()
    base = f"/b/{await boots.token('broken')}/tree"

    assert await boots.status(f"{base}/live/initrd.img") == 422
    assert await boots.body(f"{base}/live/filesystem.squashfs") == SQUASHFS


async def test_a_plain_disk_has_no_tree_and_boots_whatever_its_side_car_replaces(
    boots: Boots, config: Config
):
    sector = (b"\xeb\x3c\x90" + b"code" * 100).ljust(510, b"\0") + b"\x55\xaa"
    disk = sector.ljust(1_474_560, b"\0")
    (config.images.path / "floppy.img").write_bytes(disk)
    (config.images.path / "floppy.toml").write_text('[replace]\n"/AUTOEXEC.BAT" = "floppy.img"\n')
    await boots.look_again()
    token = await boots.token("floppy")

    assert await boots.status(f"/b/{token}/tree/") == 404
    assert await boots.status(f"/b/{token}/tree/autoexec.bat") == 200  # the site's own is there
    assert await boots.body(f"/b/{token}/image.iso") == disk


# ---- The site's own files ----


def say(boots: Boots, text: str, **files: bytes) -> None:
    for name, data in files.items():
        (boots.iso.parent / name).write_bytes(data)
    boots.iso.with_suffix(".toml").write_text(text)


async def test_a_replaced_file_is_served_in_place_of_the_discs(boots: Boots):
    say(boots, '[replace]\n"/live/vmlinuz" = "other"\n', other=b"another kernel")
    await boots.look_again()
    base = await tree(boots)

    assert await boots.body(f"{base}/live/vmlinuz") == b"another kernel"
    assert await boots.body(f"{base}/LIVE/VMLINUZ", Range="bytes=8-13") == b"kernel"
    assert await boots.body(f"{base}/live/initrd.img") == INITRD


async def test_a_replaced_file_has_another_tag_when_it_changes(boots: Boots):
    say(boots, '[replace]\n"/live/vmlinuz" = "other"\n', other=b"first")
    await boots.look_again()
    path = f"{boots.url}{await tree(boots)}/live/vmlinuz"
    async with boots.http.get(path) as answer:
        first = answer.headers["ETag"]
    (boots.iso.parent / "other").write_bytes(b"second")
    async with boots.http.get(path, headers={"If-None-Match": first}) as answer:
        assert answer.status == 200
        assert await answer.read() == b"second"


async def test_a_shorter_replacement_is_on_the_whole_disc_too(boots: Boots):
    short = b"set timeout=0\n"
    say(boots, '[replace]\n"/boot/grub/grub.cfg" = "menu"\n', menu=short)
    await boots.look_again()
    plain = boots.iso.read_bytes()
    expected = plain.replace(GRUB_CFG, short.ljust(len(GRUB_CFG), b"\n"))
    assert expected != plain
    path = f"/b/{await boots.token()}/image.iso"

    assert await boots.body(path) == expected
    at = plain.index(GRUB_CFG)
    for start, stop in ((at - 1, at + 1), (at + 3, at + 9), (at + len(GRUB_CFG) - 1, at + 99)):
        body = await boots.body(path, Range=f"bytes={start}-{stop - 1}")
        assert body == expected[start:stop]


async def test_a_changed_disc_has_another_tag_and_is_sent_without_the_files_digest(boots: Boots):
    say(boots, '[replace]\n"/boot/grub/grub.cfg" = "menu"\nrecipe = ""\n', menu=b"x")
    boots.iso.with_suffix(".toml").write_text(
        'recipe = "disc"\n[replace]\n"/boot/grub/grub.cfg" = "menu"\n'
    )
    await boots.look_again()
    token = await boots.token()
    async with boots.http.head(f"{boots.url}/b/{token}/image.iso") as answer:
        tag = answer.headers["ETag"]

    image = boots.library.get("rescue")
    assert image.sha256 not in tag
    script = await boots.script(token, platform="efi", buildarch="x86_64")
    assert "ramdisk.efi" in script
    assert "sha256=" not in script


async def test_a_longer_replacement_is_in_the_tree_only(boots: Boots):
    long = b"#" * (len(GRUB_CFG) + 1)
    say(boots, '[replace]\n"/boot/grub/grub.cfg" = "menu"\n', menu=long)
    await boots.look_again()
    token = await boots.token()

    assert await boots.body(f"/b/{token}/tree/boot/grub/grub.cfg") == long
    assert await boots.body(f"/b/{token}/image.iso") == boots.iso.read_bytes()


async def test_injected_files_follow_the_initramfs(boots: Boots, tmp_path: Path):
    say(boots, '[inject]\n"etc/hello" = "note"\n', note=b"from the site\n")
    await boots.look_again()
    base = await tree(boots)
    body = await boots.body(f"{base}/live/initrd.img")

    assert body.startswith(INITRD)
    archive = body[len(INITRD) :].lstrip(b"\0")
    assert (len(body) - len(archive)) % 4 == 0
    assert archive.startswith(b"070701")
    assert b"etc/hello\0" in archive
    assert b"from the site\n" in archive
    middle = len(INITRD) - 5
    part = await boots.body(f"{base}/live/initrd.img", Range=f"bytes={middle}-{middle + 99}")
    assert part == body[middle : middle + 100]
    assert await boots.body(f"{base}/live/vmlinuz") == LIVE["live/vmlinuz"]


async def test_a_machine_that_was_refused_changes_nothing_for_who_comes_from_its_address(
    boots: Boots,
):
    say(boots, '[inject]\n"etc/hello" = "note"\n', note=b"from the site\n")
    await boots.look_again()
    refused = await boots.script(await boots.token(), platform="efi", buildarch="i386")
    assert "32-bit UEFI" in refused

    assert b"etc/hello\0" in await boots.body(f"{await tree(boots)}/live/initrd.img")


async def test_of_several_initrds_the_last_gets_the_injected_files(boots: Boots, config: Config):
    initrds = ("arch/boot/amd-ucode.img", "arch/boot/x86_64/initramfs-linux.img")
    disc = dict.fromkeys(initrds, INITRD) | {
        "arch/boot/x86_64/vmlinuz-linux": b"kernel",
        "arch/x86_64/airootfs.sfs": SQUASHFS,
    }
    make_iso(config.images.path / "arch.iso", disc, volume_id="ARCH_202611", bios=True)
    (config.images.path / "arch.toml").write_text('[inject]\n"etc/hello" = "note"\n')
    (config.images.path / "note").write_text("from the site\n")
    await boots.look_again()
    base = f"/b/{await boots.token('arch')}/tree"

    microcode, initramfs = [await boots.body(f"{base}/{name}") for name in initrds]

    assert microcode == INITRD
    assert b"etc/hello\0" in initramfs


async def test_a_file_of_the_sites_that_has_gone_is_a_sentence(boots: Boots):
    say(boots, '[replace]\n"/live/vmlinuz" = "other"\n', other=b"x")
    await boots.look_again()
    base = await tree(boots)
    (boots.iso.parent / "other").unlink()
    async with boots.http.get(f"{boots.url}{base}/live/vmlinuz") as answer:
        assert answer.status == 422
        assert "side-car" in await answer.text()


async def test_esxi_is_told_where_its_modules_are(boots: Boots, config: Config):
    make_iso(
        config.images.path / "esxi.iso",
        {
            "b.b00": b"kernel",
            "boot.cfg": b"title=x\nkernel=/b.b00\nmodules=/jumpstrt.gz --- /useropts.gz\n",
            "efi/boot/bootx64.efi": b"MZ",
        },
        uefi=True,
        volume_id="ESXI-8.0",
    )
    await boots.look_again()
    base = f"/b/{await boots.token('esxi')}/tree"
    text = (await boots.body(f"{base}/boot.cfg")).decode()

    assert f"prefix={boots.url}{base}\n" in text
    assert "kernel=b.b00" in text
    assert "modules=jumpstrt.gz --- useropts.gz" in text

    (config.images.path / "esxi.toml").write_text('[replace]\n"/BOOT.CFG" = "own.cfg"\n')
    (config.images.path / "own.cfg").write_text("kernel=/b.b00\nkernelopt=ks=http://a/ks\n")
    await boots.look_again()
    own = (await boots.body(f"{base}/boot.cfg")).decode()
    assert own == f"prefix={boots.url}{base}\nkernel=b.b00\nkernelopt=ks=http://a/ks\n"


# ---- The ledger ----


async def boot_to_hand_off(boots: Boots, image: str = "rescue") -> str:
    """What iPXE fetches, in its order; returns the place of the boot's URLs."""
    ipxe = {"User-Agent": "iPXE/1.21.1"}
    script = await boots.script(await boots.token(image), dimms="0010.......")
    paths = [word for word in script.split() if word.startswith("/b/") and "/tree/" in word]
    for path in paths:
        await boots.body(path, **ipxe)
    base = paths[0].partition("/tree/")[0]
    await boots.body(f"{base}/phase/handoff", **ipxe)
    return base


async def test_a_system_that_calls_home_is_up_when_it_does(boots: Boots):
    base = await boot_to_hand_off(boots)
    assert (await boots.phases())[-2:] == [BootPhase.FETCHED, BootPhase.HANDED_OFF]

    # The booted system comes for the rest, again and again, but it is not up yet.
    for _ in range(2):
        squashfs = f"{base}/tree/live/filesystem.squashfs"
        assert await boots.body(squashfs, **{"User-Agent": "Wget"}) == SQUASHFS
    assert (await boots.phases())[-2:] == [BootPhase.HANDED_OFF, BootPhase.ROOT_FETCHED]
    await boots.body(f"{base}/phase/up", **{"User-Agent": "Wget"})

    assert (await boots.phases())[-1] == BootPhase.OS_UP
    assert await boots.body(f"{base}/tree/live/filesystem.squashfs") == SQUASHFS
    [session] = await boots.store.recent(10)
    assert session.image_bytes == session.sent_bytes > len(LIVE["live/vmlinuz"]) + len(INITRD)


async def test_the_initramfs_of_a_boot_has_the_script_that_calls_home(boots: Boots):
    base = await boot_to_hand_off(boots)
    body = await boots.body(f"{base}/tree/live/initrd.img")

    assert body.startswith(INITRD)
    assert b"usr/lib/live/boot/0000-bootserver.sh\0" in body
    assert f"{boots.url}{base}/phase/up".encode() in body


async def test_of_a_system_that_cannot_call_home_the_end_of_its_fetch_is_known_and_no_more(
    boots: Boots, config: Config
):
    arch = {
        "arch/boot/x86_64/vmlinuz-linux": b"kernel",
        "arch/boot/x86_64/initramfs-linux.img": b"initrd",
        "arch/x86_64/airootfs.sfs": SQUASHFS,
    }
    make_iso(config.images.path / "arch.iso", arch, volume_id="ARCH_202611", bios=True)
    await boots.look_again()
    base = await boot_to_hand_off(boots, "arch")
    root = f"{base}/tree/arch/x86_64/airootfs.sfs"
    await boots.body(root, Range="bytes=0-0")  # archiso's hook tries whether it is there
    await boots.body(f"{base}/tree/arch/boot/x86_64/vmlinuz-linux")
    assert (await boots.phases())[-1] == BootPhase.HANDED_OFF
    await boots.body(root)

    assert (await boots.phases())[-1] == BootPhase.ROOT_FETCHED
    [session] = await boots.store.recent(1)
    events = (await boots.store.events([session.id]))[session.id]
    assert events[-1].detail == "this system does not say when it is up"


async def test_a_casper_system_has_its_root_when_it_has_the_whole_image(
    boots: Boots, config: Config
):
    mint = {"casper/vmlinuz": b"kernel", "casper/initrd": b"initrd", "casper/x.squashfs": SQUASHFS}
    make_iso(config.images.path / "mint.iso", mint, bios=True)
    await boots.look_again()
    base = await boot_to_hand_off(boots, "mint")
    await boots.body(f"{base}/image.iso", **{"User-Agent": "Wget"})

    assert (await boots.phases())[-2:] == [BootPhase.HANDED_OFF, BootPhase.ROOT_FETCHED]


async def test_a_root_that_is_fetched_in_ranges_is_there_with_its_last_missing_byte(boots: Boots):
    root = f"{await boot_to_hand_off(boots)}/tree/live/filesystem.squashfs"
    for part in ("0-0", "200000-", "0-99999", "50000-149999", "50000-149999", "-1"):
        await boots.body(root, Range=f"bytes={part}")
    await boots.body(root, Range="bytes=0-1,150000-299999")  # in several parts, which is rare
    assert (await boots.phases())[-1] == BootPhase.HANDED_OFF
    await boots.body(root, Range="bytes=140000-199999")

    assert (await boots.phases())[-1] == BootPhase.ROOT_FETCHED


async def test_a_download_of_the_root_that_broke_off_may_go_on_where_it_was(boots: Boots):
    base = await boot_to_hand_off(boots)
    session = boots.ledger.find(base.removeprefix("/b/"), "127.0.0.1")
    for start, size_bytes, end in (
        (0, 200_000, TransferEnd.CLIENT_LEFT),
        (190_000, 110_001, TransferEnd.COMPLETE),
    ):
        assert (await boots.phases())[-1] == BootPhase.HANDED_OFF
        with boots.boot.delivery(
            session, "tree/live/filesystem.squashfs", "http", len(SQUASHFS), by_ipxe=False
        ) as delivery:
            delivery.sent(size_bytes)
            delivery.start, delivery.end = start, end

    assert (await boots.phases())[-1] == BootPhase.ROOT_FETCHED


async def test_a_kernel_that_ipxe_fetches_again_is_no_system_that_is_up(boots: Boots):
    base = await boot_to_hand_off(boots)
    await boots.body(f"{base}/tree/live/vmlinuz", **{"User-Agent": "iPXE/1.21.1"})

    assert (await boots.phases())[-1] == BootPhase.HANDED_OFF
