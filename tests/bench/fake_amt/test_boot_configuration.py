"""What the next boot starts from: the one order that works, and each way to get it wrong."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable

import pytest

from bootserver.bench.fake_amt.boot import (
    BootConfiguration,
    BootFrom,
    ConfiguredBoot,
    RecoveryRequest,
)
from bootserver.bench.fake_amt.soap import FaultError

IDER = {"UseIDER": ["true"], "IDERBootDevice": ["1"]}
PXE = "Intel(r) AMT: Force PXE Boot"
HTTPS = "Intel(r) AMT: Force OCR UEFI HTTPS Boot"

Step = Callable[[BootConfiguration], int | None]


def clear(boot: BootConfiguration) -> int:
    return boot.change_order("", has_recovery=True)


def put(boot: BootConfiguration) -> None:
    boot.put(IDER)


def choose(boot: BootConfiguration) -> int:
    return boot.set_role(1)


def give_order(boot: BootConfiguration) -> int:
    return boot.change_order("", has_recovery=True)


WHOLE: list[Step] = [clear, put, choose, give_order]


@pytest.fixture
def boot() -> BootConfiguration:
    return BootConfiguration(read_only={})


def do(boot: BootConfiguration, steps: list[Step]) -> None:
    for step in steps:
        assert step(boot) in (0, None)


def test_the_whole_order_boots_from_the_redirected_cd_once(boot: BootConfiguration):
    do(boot, WHOLE)

    assert boot.take() == ConfiguredBoot(BootFrom.REDIRECTED_CD)
    assert boot.take() == ConfiguredBoot(BootFrom.DEFAULT)
    assert boot.properties()["UseIDER"] == ["false"]


@pytest.mark.parametrize("missing", range(4), ids=["clear", "put", "choose", "order"])
def test_without_any_one_step_the_cd_is_not_booted(boot: BootConfiguration, missing: int):
    do(boot, WHOLE[:missing] + WHOLE[missing + 1 :])

    assert boot.take() == ConfiguredBoot(BootFrom.DEFAULT)


@pytest.mark.parametrize(
    "steps",
    [
        [put, clear, choose, give_order],
        [clear, choose, put, give_order],
        [clear, put, give_order, choose],
        [clear, choose, give_order, put],
    ],
    ids=["put too early", "put after the choice", "choice after the order", "put at the end"],
)
def test_in_another_order_the_cd_is_not_booted(boot: BootConfiguration, steps: list[Step]):
    do(boot, steps)

    assert boot.take() == ConfiguredBoot(BootFrom.DEFAULT)


def test_settings_put_after_the_order_undo_it(boot: BootConfiguration):
    do(boot, [*WHOLE, put])

    assert boot.take() == ConfiguredBoot(BootFrom.DEFAULT)


def test_ider_boot_device_0_is_the_floppy(boot: BootConfiguration):
    do(boot, [clear, lambda boot: boot.put(IDER | {"IDERBootDevice": ["0"]}), choose, give_order])

    assert boot.take().source is BootFrom.REDIRECTED_FLOPPY


def test_is_not_next_takes_the_order_back(boot: BootConfiguration):
    do(boot, [*WHOLE, lambda boot: boot.set_role(32768)])

    assert boot.take() == ConfiguredBoot(BootFrom.DEFAULT)


def test_pxe_boots_by_its_source(boot: BootConfiguration):
    do(boot, [clear, lambda boot: boot.put({"UseIDER": ["false"]}), choose])

    assert boot.change_order(PXE, has_recovery=True) == 0
    assert boot.take() == ConfiguredBoot(BootFrom.PXE)


def test_a_source_goes_with_no_redirected_drive(boot: BootConfiguration):
    do(boot, [clear, put, choose])

    assert boot.change_order(PXE, has_recovery=True) == 5
    assert boot.take() == ConfiguredBoot(BootFrom.DEFAULT)


def test_a_redirected_drive_goes_with_no_source(boot: BootConfiguration):
    assert boot.change_order(PXE, has_recovery=True) == 0

    with pytest.raises(FaultError, match="no boot source"):
        boot.put(IDER)


def test_the_role_is_refused_while_a_former_order_for_the_drives_is_armed(
    boot: BootConfiguration,
):
    do(boot, [*WHOLE, clear, put])

    assert choose(boot) == 5


@pytest.mark.parametrize(
    "disarm",
    [
        lambda boot: boot.put({"UseIDER": ["false"]}),
        lambda boot: boot.set_role(32768),
        lambda boot: boot.take() and None,
    ],
    ids=["put", "role", "boot"],
)
def test_a_former_order_is_disarmed(boot: BootConfiguration, disarm: Step):
    do(boot, [*WHOLE, disarm, *WHOLE])

    assert boot.take() == ConfiguredBoot(BootFrom.REDIRECTED_CD)


@pytest.mark.parametrize(
    "name",
    [
        *("BootguardStatus", "RPEEnabled", "RSEPassword"),
        *("SecureBootControlEnabled", "UEFIHTTPSBootEnabled", "UEFILocalPBABootEnabled"),
        "WinREBootEnabled",
    ],
)
def test_a_put_of_what_is_read_only_violates_the_schema(boot: BootConfiguration, name: str):
    with pytest.raises(FaultError) as refused:
        boot.put(IDER | {name: ["false"]})

    assert refused.value.subcode == "wsman:SchemaValidationError"
    assert refused.value.status == 400


def test_what_the_toolkit_puts_back_is_ignored(boot: BootConfiguration):
    before = boot.properties()

    boot.put({"BIOSLastStatus": ["2", "0"], "OptionsCleared": ["true"]})

    assert boot.properties() == before


@pytest.mark.parametrize("source", [PXE, "Intel(r) AMT: Force Hard-drive Boot"])
def test_a_local_source_may_be_ordered_before_it_is_chosen(boot: BootConfiguration, source: str):
    assert boot.change_order(source, has_recovery=True) == 0
    assert boot.take() == ConfiguredBoot(BootFrom.DEFAULT)

    assert boot.change_order(source, has_recovery=True) == 0
    assert choose(boot) == 0

    assert boot.take().source in (BootFrom.PXE, BootFrom.HARD_DRIVE)


def test_one_click_recovery_is_not_ordered_before_it_is_chosen(boot: BootConfiguration):
    assert boot.change_order(HTTPS, has_recovery=True) == 0
    assert choose(boot) == 0

    assert boot.take() == ConfiguredBoot(BootFrom.DEFAULT)


@pytest.mark.parametrize(
    "properties",
    [
        {"UseIDER": ["1"]},
        {"UseIDER": ["true", "true"]},
        {"UseIder": ["true"]},
        {"IDERBootDevice": ["cd"]},
        {"InstanceID": ["Intel(r) AMT:BootSettingData 1"]},
    ],
)
def test_a_put_of_nonsense_violates_the_schema(
    boot: BootConfiguration, properties: dict[str, list[str]]
):
    with pytest.raises(FaultError) as refused:
        boot.put(properties)

    assert refused.value.subcode == "wsman:SchemaValidationError"


@pytest.mark.parametrize("source", ["Intel(r) AMT: Force Diskette Boot", "PXE"])
def test_a_source_that_is_not_there_is_an_invalid_reference(boot: BootConfiguration, source: str):
    assert boot.change_order(source, has_recovery=True) == 4


def parameter(kind: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0x8086, kind, len(value)) + value


URL = b"https://10.0.2.2:8443/b/token/stub.efi"


def recover(boot: BootConfiguration, *, has_recovery: bool = True, enforced: str = "false") -> int:
    told = parameter(1, URL) + parameter(20, b"\x01") + parameter(30, b"\0\0")
    array = base64.b64encode(told).decode()
    clear(boot)
    parameters = {"UefiBootParametersArray": [array], "UefiBootNumberOfParams": ["3"]}
    boot.put(parameters | {"EnforceSecureBoot": [enforced]})
    choose(boot)
    return boot.change_order(HTTPS, has_recovery=has_recovery)


def test_one_click_recovery_has_the_url_it_was_told(boot: BootConfiguration):
    assert recover(boot) == 0

    assert boot.take() == ConfiguredBoot(
        BootFrom.HTTPS, RecoveryRequest(URL.decode(), uses_roots=True)
    )


def test_one_click_recovery_that_is_off_is_not_supported(boot: BootConfiguration):
    assert recover(boot, has_recovery=False) == 1

    assert boot.take() == ConfiguredBoot(BootFrom.DEFAULT)


@pytest.mark.parametrize(("enforced", "returned"), [("false", 2), ("true", 0)])
def test_firmware_may_insist_on_secure_boot(enforced: str, returned: int):
    boot = BootConfiguration(read_only={}, insists_on_secure_boot=True)

    assert recover(boot, enforced=enforced) == returned


@pytest.mark.parametrize(
    ("told", "count"),
    [
        (parameter(1, URL), "2"),
        (parameter(1, URL)[:-1], "1"),
        (parameter(1, URL)[:6], "1"),
        (parameter(1, b"h" * 301), "1"),
        (parameter(1, URL) * 2, "2"),
        (struct.pack("<HHI", 0x8087, 20, 1) + b"\x01", "1"),
    ],
    ids=["wrong count", "cut off", "cut in its head", "too long", "twice", "another vendor"],
)
def test_parameters_that_are_not_well_formed_are_refused(
    boot: BootConfiguration, told: bytes, count: str
):
    array = base64.b64encode(told).decode()

    with pytest.raises(FaultError):
        boot.put({"UefiBootParametersArray": [array], "UefiBootNumberOfParams": [count]})
