"""What to expect of a boot beforehand, and the way that is taken because of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bootserver.amt.boot.forecast import foresee
from bootserver.amt.boot.plan import choose_method, known_network, order_for_machine
from bootserver.amt.control.facts import AmtFacts, Kvm, Recovery, WiredNetwork
from bootserver.amt.errors import AmtError, AmtRefusedError
from bootserver.amt.hosts import LineSpeeds
from bootserver.amt.types import BootMethod, PowerState
from bootserver.config import Config
from bootserver.images.decide import Site
from bootserver.model import ElToritoEntry, FileVersion, Image, IsoFacts, PlainDisk
from bootserver.stub.network import DHCP

MB = 1_000_000
BOOT_ENTRIES = (ElToritoEntry(0x00, True, 0, 4, 30), ElToritoEntry(0xEF, True, 0, 2880, 40))
SITE = Site(os_room_mib=64, bios_limit_mib=2816)
SLOW = LineSpeeds(slow_bytes_per_s=600_000, fast_bytes_per_s=60 * MB)
STUB_BYTES = 530_000
LIVE = {"/live/vmlinuz": 8 * MB, "/live/initrd.img": 32 * MB, "/live/filesystem.squashfs": 160 * MB}
WINPE = {"/sources/boot.wim": 250 * MB, "/boot/bcd": 1, "/boot/boot.sdi": 3 * MB, "/bootmgr": 1}


def image(size_bytes: int, markers: dict[str, int] | None = None, **more: Any) -> Image:
    facts = IsoFacts(size_bytes, markers=markers or {}, **{"el_torito": BOOT_ENTRIES} | more)
    return Image("disc", "/disc.iso", FileVersion(size_bytes, 0, 0), sha256="0", facts=facts)


def facts(**changes: Any) -> AmtFacts:
    """An AMT 15 that tells nothing special."""
    known = AmtFacts(
        amt_version="15.0.47",
        sku=None,
        uuid="00112233-4455-6677-8899-aabbccddeeff",
        host_name=None,
        control_mode=None,
        consent_policy=None,
        consent_state=None,
        redirection=None,
        kvm=Kvm(available=False, enabled=False),
        boot=None,
        recovery=Recovery(("the BIOS has HTTPS boot switched off",), switched_on=False),
        secure_boot_control=None,
        power=PowerState.OFF,
        network=None,
    )
    return replace(known, **changes)


def network(**changes: Any) -> WiredNetwork:
    known = WiredNetwork(
        mac="52:54:00:12:34:56",
        link_up=True,
        dhcp=True,
        address="192.0.2.50",
        netmask="255.255.255.0",
        gateway="192.0.2.1",
        dns=("192.0.2.2", "192.0.2.3"),
    )
    return replace(known, **changes)


def test_a_small_disc_is_faster_redirected_directly():
    outlook = foresee(image(6 * MB), SITE, STUB_BYTES, SLOW, address_is_known=False)

    assert outlook.direct is not None
    assert outlook.direct.slow_bytes == 1 * MB
    assert outlook.two_stage.slow_bytes == STUB_BYTES
    assert outlook.two_stage.fast_bytes == 6 * MB
    assert outlook.direct_is_faster
    assert outlook.reads_once


def test_a_live_system_is_faster_in_two_stages():
    # docs/benchmarks.md: of such a disc of 206 MB a machine reads 72 to 75 MB directly.
    outlook = foresee(image(206 * MB, LIVE), SITE, STUB_BYTES, SLOW, address_is_known=True)

    assert outlook.direct is not None
    assert 65 * MB < outlook.direct.slow_bytes < 85 * MB
    assert outlook.two_stage.fast_bytes == 200 * MB  # kernel, initrd and root, not the whole disc
    assert not outlook.direct_is_faster
    assert not outlook.reads_once


def test_windows_pe_reads_all_of_its_boot_wim():
    outlook = foresee(image(281 * MB, WINPE), SITE, STUB_BYTES, SLOW, address_is_known=True)

    assert outlook.direct is not None
    assert outlook.direct.slow_bytes == 251 * MB
    assert outlook.direct.seconds == pytest.approx(251 / 0.6)


def test_a_known_address_saves_the_time_of_dhcp():
    with_dhcp, without = (
        foresee(image(206 * MB, LIVE), SITE, STUB_BYTES, SLOW, address_is_known=known)
        for known in (False, True)
    )

    assert with_dhcp.two_stage.seconds - without.two_stage.seconds == pytest.approx(3)


def test_a_plain_disk_has_no_direct_way():
    disk = image(40 * MB, el_torito=(), plain_disk=PlainDisk("harddisk", True, True))

    outlook = foresee(disk, SITE, STUB_BYTES, SLOW, address_is_known=True)

    assert outlook.direct is None
    assert not outlook.direct_is_faster


def test_the_command_of_a_hint_names_the_image_whatever_its_id():
    nothing = replace(image(40 * MB, el_torito=()), id="--help me")

    with pytest.raises(AmtError) as caught:
        foresee(nothing, SITE, STUB_BYTES, SLOW, address_is_known=True)

    assert caught.value.hint == "bootserver images explain -- '--help me'"


def test_an_image_that_boots_nothing_is_told_before_the_machine_is_touched():
    with pytest.raises(AmtError, match="disc boots no machine"):
        foresee(image(40 * MB, el_torito=()), SITE, STUB_BYTES, SLOW, address_is_known=True)


READY = facts(recovery=Recovery((), switched_on=True))
SMALL = foresee(image(6 * MB), SITE, STUB_BYTES, SLOW, address_is_known=False)
LARGE = foresee(image(206 * MB, LIVE), SITE, STUB_BYTES, SLOW, address_is_known=False)


@pytest.mark.parametrize(
    ("asked", "known", "outlook", "prefers", "taken"),
    [
        (BootMethod.AUTO, facts(), LARGE, False, BootMethod.TWO_STAGE),
        (BootMethod.AUTO, facts(), SMALL, False, BootMethod.DIRECT),
        (BootMethod.AUTO, READY, LARGE, False, BootMethod.TWO_STAGE),
        (BootMethod.AUTO, READY, LARGE, True, BootMethod.ONE_CLICK_RECOVERY),
        (BootMethod.AUTO, facts(), LARGE, True, BootMethod.TWO_STAGE),
        (BootMethod.DIRECT, READY, LARGE, True, BootMethod.DIRECT),
        (BootMethod.TWO_STAGE, READY, SMALL, True, BootMethod.TWO_STAGE),
        (BootMethod.ONE_CLICK_RECOVERY, READY, SMALL, False, BootMethod.ONE_CLICK_RECOVERY),
    ],
)
def test_the_way_taken_is_the_one_asked_for_or_the_best(asked, known, outlook, prefers, taken):
    assert choose_method(asked, known, outlook, prefers_recovery=prefers) is taken


def test_one_click_recovery_that_is_not_ready_says_why():
    with pytest.raises(AmtRefusedError, match="the BIOS has HTTPS boot switched off"):
        choose_method(BootMethod.ONE_CLICK_RECOVERY, facts(), LARGE, prefers_recovery=False)


def test_the_stub_gets_the_address_that_amt_has_and_dhcp_after_it():
    spec = known_network(network())

    assert (spec.address, spec.netmask, spec.gateway) == (
        "192.0.2.50",
        "255.255.255.0",
        "192.0.2.1",
    )
    assert (spec.dns, spec.mac) == ("192.0.2.2", "52:54:00:12:34:56")
    assert spec.then_dhcp


def test_a_gateway_out_of_reach_is_left_out():
    assert known_network(network(gateway="198.51.100.1")).gateway == ""


@pytest.mark.parametrize(
    "told",
    [
        None,
        network(address=None),
        network(netmask=None),
        network(mac=""),
        network(address="0.0.0.0"),
        network(address="169.254.7.7", netmask="255.255.0.0"),
        network(netmask="255.0.255.0"),
    ],
)
def test_what_is_no_usable_address_is_just_dhcp(told: WiredNetwork | None):
    assert known_network(told) == DHCP


def test_two_machines_never_get_the_same_stub_even_if_their_maker_gave_them_one_uuid(
    config: Config,
):
    specs = {order_for_machine(config, "rescue", host, facts()) for host in ("pc7", "pc8")}

    assert len(specs) == 2
