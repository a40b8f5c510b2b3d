"""What a console does to a device over WS-MAN, and what becomes of the machine."""

from __future__ import annotations

import base64
import errno
import socket
from functools import partial
from pathlib import Path

import pytest

from bootserver.bench.fake_amt import (
    BootFrom,
    FakeAmtDevice,
    FakeSpec,
    OptInRequired,
    ProvisioningMode,
    Reach,
    RedirectionSetting,
    SystemState,
    WsmanManners,
    fake_amt,
)
from bootserver.bench.fake_amt.event_log import LogEvent
from tests.bench.fake_amt.wire import (
    SETTINGS,
    WAIT_S,
    Console,
    Wsman,
    attached,
    console,
    order,
    order_cd,
    power,
    role,
)

ON, CYCLE, OFF, RESET = 2, 5, 8, 10
BLOCK = bytes(2048)
ESTABLISHED, SYN_SENT = 1, 2


async def power_state(wsman: Wsman) -> str:
    return (await wsman.get("CIM_AssociatedPowerManagementService")).text("PowerState")


async def take_reset(one: Console) -> None:
    assert (await one.expect(9))[0] == 0x46
    one.send(one.header(0x47))


async def test_a_redirected_cd_is_booted_in_the_whole_order(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path)) as device, attached(device, 0x09) as one:
        wsman = Wsman(device)
        await order_cd(wsman)
        assert (await power(wsman, ON)).returned == 0
        await take_reset(one)
        for lba in (16, 17, 18):
            assert (await one.expect(28))[16:22] == b"\x28\0\0\0\0" + bytes([lba])
            one.send(one.data(BLOCK))

        boot = await device.booted(timeout_s=WAIT_S)

        assert boot.source is BootFrom.REDIRECTED_CD
        assert await power_state(wsman) == "2"
        settings = await wsman.get("AMT_BootSettingData")
        assert settings.text("UseIDER") == "false"
        assert device.violations == []


async def test_without_a_session_there_is_no_cd_to_boot(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path)) as device:
        await order_cd(Wsman(device))
        await power(Wsman(device), ON)

        assert (await device.booted(timeout_s=WAIT_S)).source is BootFrom.DEFAULT


async def test_drives_that_are_not_switched_on_are_not_booted(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path)) as device, console(device) as one:
        await one.log_in(device)
        await one.open()
        await order_cd(Wsman(device))
        await power(Wsman(device), ON)
        await take_reset(one)

        assert (await device.booted(timeout_s=WAIT_S)).source is BootFrom.DEFAULT


async def test_the_next_boot_is_the_bioss_own_again(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path, first_lbas=())) as device, attached(device) as one:
        wsman = Wsman(device)
        await order_cd(wsman)
        await power(wsman, ON)
        await take_reset(one)
        assert (await device.booted(timeout_s=WAIT_S)).source is BootFrom.REDIRECTED_CD

        await power(wsman, RESET)
        await take_reset(one)

        assert (await device.booted(2, timeout_s=WAIT_S)).source is BootFrom.DEFAULT


async def test_a_machine_that_is_off_knows_no_reset(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path)) as device:
        wsman = Wsman(device)
        await order(wsman)

        assert (await power(wsman, RESET)).returned == 0
        assert await power_state(wsman) == "8"
        assert device.boots == []


@pytest.mark.parametrize("action", [CYCLE, OFF])
async def test_power_is_not_cut_under_an_open_session(tmp_path: Path, action: int):
    fake = FakeSpec(tmp_path, power=SystemState.S0)
    async with fake_amt(fake) as device:
        async with attached(device) as one:
            assert (await power(Wsman(device), action)).returned == 6
            assert device.state.is_on
            one.leave()
        await device.wait_until(lambda: not device.state.sessions, timeout_s=WAIT_S)

        assert (await power(Wsman(device), action)).returned == 0
        assert device.state.is_on == (action == CYCLE)


async def test_power_actions_want_a_pause(tmp_path: Path):
    fake = FakeSpec(tmp_path, power=SystemState.S0, wsman_manners=WsmanManners(power_gap_s=3600))
    async with fake_amt(fake) as device:
        assert (await power(Wsman(device), RESET)).returned == 0
        assert (await power(Wsman(device), RESET)).returned == 4099


@pytest.mark.parametrize(
    ("power_state", "cim"), [(SystemState.S3, "4"), (SystemState.S4, "7"), (SystemState.S5, "8")]
)
async def test_what_sleeps_can_only_be_switched_on(
    tmp_path: Path, power_state: SystemState, cim: str
):
    async with fake_amt(FakeSpec(tmp_path, power=power_state)) as device:
        shown = await Wsman(device).get("CIM_AssociatedPowerManagementService")
        refused = [(await power(Wsman(device), action)).returned for action in (CYCLE, OFF, RESET)]

        assert shown.text("PowerState") == cim
        assert shown.texts("AvailableRequestedPowerStates") == ["2"]
        assert refused == [0, 0, 0]  # it is taken, and does nothing
        assert (device.state.power, device.boots) == (power_state, [])


@pytest.mark.parametrize("asleep", [SystemState.S3, SystemState.S4])
async def test_what_sleeps_wakes_without_a_boot_and_without_boot_options(
    tmp_path: Path, asleep: SystemState
):
    async with fake_amt(FakeSpec(tmp_path, power=asleep)) as device:
        wsman = Wsman(device)
        await order_cd(wsman)
        assert (await power(wsman, ON)).returned == 0
        await device.wait_until(lambda: device.state.is_on, timeout_s=WAIT_S)
        assert device.boots == []

        async with attached(device) as one:
            await power(wsman, RESET)
            await take_reset(one)
            assert (await device.booted(timeout_s=WAIT_S)).source is BootFrom.DEFAULT


async def test_modern_standby_counts_as_on_until_the_system_is_woken(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path, power=SystemState.MODERN_STANDBY)) as device:
        wsman = Wsman(device)
        assert await power_state(wsman) == "2"
        service = await wsman.get("IPS_PowerManagementService")
        assert service.text("OSPowerSavingState") == "3"
        assert (await power(wsman, ON)).returned == 0
        assert device.state.power is SystemState.MODERN_STANDBY

        inside = "<r:OSPowerSavingState>2</r:OSPowerSavingState>"
        woken = await wsman.invoke(
            "IPS_PowerManagementService", "RequestOSPowerSavingStateChange", inside
        )

        assert woken.returned == 0
        assert device.state.is_on


async def test_s0_is_shown_once_it_is_reached(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path, power_up_s=3600)) as device:
        wsman = Wsman(device)
        assert [(await power(wsman, ON)).returned for _ in range(2)] == [0, 0]

        assert await power_state(wsman) == "8"
        assert device.boots == []


async def test_what_is_off_in_mebx_stays_off(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path, mebx=RedirectionSetting.IDER)) as device:
        wsman = Wsman(device)
        asked = "<r:RequestedState>{}</r:RequestedState>"
        returned = [
            (
                await wsman.invoke(
                    "AMT_RedirectionService", "RequestStateChange", asked.format(wanted.value)
                )
            ).returned
            for wanted in (RedirectionSetting.BOTH, RedirectionSetting.SOL, RedirectionSetting.IDER)
        ]
        put = await wsman.put(
            "AMT_RedirectionService", ListenerEnabled="true", EnabledState="32771"
        )

        assert returned == [0x10, 0x10, 0]
        assert put.fault == "AccessDenied"
        told = await wsman.get("AMT_RedirectionService")
        assert told.text("EnabledState") == "32769"


async def test_a_session_that_began_outside_s0_holds_the_link_at_10_mbit(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path)) as device:
        async with attached(device) as one:
            await power(Wsman(device), ON)
            await take_reset(one)
            assert (await device.booted(timeout_s=WAIT_S)).link_is_slow
        await device.wait_until(lambda: not device.state.sessions, timeout_s=WAIT_S)

        async with attached(device) as one:
            await power(Wsman(device), RESET)
            await take_reset(one)
            assert not (await device.booted(2, timeout_s=WAIT_S)).link_is_slow


def ports(device: FakeAmtDevice) -> list[tuple[str, int]]:
    return [(device.host, device.wsman_port), (device.host, device.redirection_port)]


async def test_a_silent_host_takes_connections_and_never_answers(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path, reach=Reach.SILENT)) as device:
        for address in ports(device):
            with socket.create_connection(address, WAIT_S) as asking:
                asking.sendall(b"POST /wsman HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
                assert tcp_info(asking)[0] == ESTABLISHED
                asking.setblocking(False)
                with pytest.raises(BlockingIOError):
                    asking.recv(1)


async def test_a_black_hole_drops_each_syn(tmp_path: Path):
    with socket.socket() as first, socket.socket() as second:
        async with fake_amt(FakeSpec(tmp_path, reach=Reach.BLACK_HOLE)) as device:
            both = list(zip((first, second), ports(device), strict=True))
            for one, address in both:
                one.setblocking(False)
                assert one.connect_ex(address) == errno.EINPROGRESS
            for one, _ in both:
                await device.wait_until(partial(has_retransmitted, one), timeout_s=WAIT_S)
                assert tcp_info(one)[0] == SYN_SENT


def tcp_info(one: socket.socket) -> bytes:
    """The beginning of struct tcp_info: 0 is the state, 2 the retransmits."""
    return one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)


def has_retransmitted(one: socket.socket) -> bool:
    return tcp_info(one)[2] > 0


async def test_unknown_power_states_and_other_machines_are_refused(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path)) as device:
        wsman = Wsman(device)
        assert (await power(wsman, 9)).returned == 1
        no_machine = "<r:PowerState>2</r:PowerState>"
        reply = await wsman.invoke(
            "CIM_PowerManagementService", "RequestPowerStateChange", no_machine
        )
        assert reply.returned == 5


async def test_settings_that_are_read_only_are_refused_with_400(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path)) as device:
        whole = SETTINGS | {"UEFIHTTPSBootEnabled": "true"}

        assert (await Wsman(device).put("AMT_BootSettingData", **whole)).fault == (
            "SchemaValidationError"
        )


@pytest.mark.parametrize(
    ("mode", "refusal"), [(ProvisioningMode.ADMIN, 0x821), (ProvisioningMode.CLIENT, 6)]
)
async def test_boot_options_want_consent(tmp_path: Path, mode: ProvisioningMode, refusal: int):
    fake = FakeSpec(tmp_path, control_mode=mode, consent=OptInRequired.ALL, power=SystemState.S0)
    async with fake_amt(fake) as device:
        wsman = Wsman(device)
        assert (await order(wsman)).returned == refusal
        assert (await role(wsman)).returned == refusal
        assert (await wsman.put("AMT_BootSettingData", **SETTINGS)).fault == "AccessDenied"

        await consent(device)

        assert (await order(wsman)).returned == 0


async def opt_in(wsman: Wsman, code: str) -> int:
    inside = f"<r:OptInCode>{code}</r:OptInCode>"
    return (await wsman.invoke("IPS_OptInService", "SendOptInCode", inside)).returned


async def consent(device: FakeAmtDevice) -> None:
    wsman = Wsman(device)
    assert (await wsman.invoke("IPS_OptInService", "StartOptIn")).returned == 0
    assert device.state.consent.shown_code == "123456"
    assert await opt_in(wsman, "123456") == 0


async def test_client_control_always_wants_consent(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path, control_mode=ProvisioningMode.CLIENT)) as device:
        service = await Wsman(device).get("IPS_OptInService")
        setup = await Wsman(device).get("AMT_SetupAndConfigurationService")

    assert service.text("OptInRequired") == "4294967295"
    assert service.text("CanModifyOptInPolicy") == "0"
    assert setup.text("ProvisioningMode") == "4"


async def test_a_code_needs_a_screen_and_three_guesses_are_the_end(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path, consent=OptInRequired.ALL)) as device:
        wsman = Wsman(device)
        assert (await wsman.invoke("IPS_OptInService", "StartOptIn")).returned == 2
        assert (await power(wsman, ON)).returned == 0
        assert await opt_in(wsman, "123456") == 2  # nothing is shown yet
        assert (await wsman.invoke("IPS_OptInService", "StartOptIn")).returned == 0

        assert [await opt_in(wsman, "654321") for _ in range(3)] == [1, 1, 3]
        assert (await wsman.invoke("IPS_OptInService", "StartOptIn")).returned == 3


async def test_what_was_set_up_lapses_with_the_consent(tmp_path: Path):
    fake = FakeSpec(tmp_path, consent=OptInRequired.ALL, power=SystemState.S0, first_lbas=())
    async with fake_amt(fake) as device:
        await consent(device)
        async with attached(device) as one:
            await order_cd(Wsman(device))
            assert (await Wsman(device).invoke("IPS_OptInService", "CancelOptIn")).returned == 0
            await power(Wsman(device), RESET)
            await take_reset(one)

            assert (await device.booted(timeout_s=WAIT_S)).source is BootFrom.DEFAULT


async def test_a_newer_listener_follows_the_state_and_refuses_the_put(tmp_path: Path):
    manners = WsmanManners(listener_follows_state=True)
    async with fake_amt(FakeSpec(tmp_path, listener=False, wsman_manners=manners)) as device:
        wsman = Wsman(device)
        inside = "<r:RequestedState>32771</r:RequestedState>"
        changed = await wsman.invoke("AMT_RedirectionService", "RequestStateChange", inside)
        put = await wsman.put(
            "AMT_RedirectionService", ListenerEnabled="true", EnabledState="32771"
        )

        assert changed.returned == 0
        assert put.fault == "SchemaValidationError"
        async with attached(device):
            pass


async def test_kvm_takes_a_password_of_eight_characters(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path)) as device:
        wsman = Wsman(device)
        inside = "<r:RequestedState>2</r:RequestedState>"
        await wsman.invoke("CIM_KVMRedirectionSAP", "RequestStateChange", inside)
        short = await wsman.put("IPS_KVMRedirectionSettingData", RFBPassword="short")
        right = await wsman.put("IPS_KVMRedirectionSettingData", RFBPassword="P@ssw0rd")

        assert (await wsman.get("CIM_KVMRedirectionSAP")).text("EnabledState") == "2"
    assert short.fault == "InvalidParameter"
    assert right.status == 200
    assert "RFBPassword" not in right.body


async def test_the_event_log_comes_in_records_newest_first(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path)) as device:
        wsman = Wsman(device)
        assert (await wsman.invoke("AMT_MessageLog", "PositionToFirstRecord")).returned == 2
        device.state.events.append(LogEvent(0x65000000, 6, 1, 38, b"\x00\x01"))
        device.state.events.append(LogEvent(0x65000001, 15, 2, 34, b"\x40\x13"))

        assert (await wsman.invoke("AMT_MessageLog", "PositionToFirstRecord")).returned == 0
        inside = (
            "<r:IterationIdentifier>{}</r:IterationIdentifier>"
            "<r:MaxReadRecords>1</r:MaxReadRecords>"
        )
        newest = await wsman.invoke("AMT_MessageLog", "GetRecords", inside.format(1))
        oldest = await wsman.invoke("AMT_MessageLog", "GetRecords", inside.format(2))

    assert base64.b64decode(newest.text("RecordArray")) == bytes.fromhex(
        "01 00 00 65 FF 0F 6F 02 68 08 FF 22 00 40 13 00 00 00 00 00 00"
    )
    assert (newest.text("NoMoreRecords"), oldest.text("NoMoreRecords")) == ("false", "true")
    assert base64.b64decode(oldest.text("RecordArray"))[5] == 6


async def test_a_root_certificate_is_kept_and_nonsense_refused(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path / "tls", tls=True)) as other:
        pem = other.certificate_pem
    blob = "".join(pem.splitlines()[1:-1])
    async with fake_amt(FakeSpec(tmp_path)) as device:
        wsman = Wsman(device)
        push = "<r:CertificateBlob>{}</r:CertificateBlob>"
        replies = [
            await wsman.invoke(
                "AMT_PublicKeyManagementService", "AddTrustedRootCertificate", push.format(text)
            )
            for text in (blob, blob, "AAAA")
        ]

        assert [reply.returned for reply in replies] == [0, 2058, 36]
        assert device.state.roots == [base64.b64decode(blob)]


async def test_one_click_recovery_is_for_devices_that_have_it(tmp_path: Path):
    inside = "<r:RequestedState>32769</r:RequestedState>"
    async with fake_amt(FakeSpec(tmp_path / "new")) as new:
        assert (
            await Wsman(new).invoke("CIM_BootService", "RequestStateChange", inside)
        ).returned == 0
        capable = await Wsman(new).get("AMT_BootCapabilities")
    async with fake_amt(FakeSpec(tmp_path / "old", version="12.0.94")) as old:
        assert (
            await Wsman(old).invoke("CIM_BootService", "RequestStateChange", inside)
        ).returned == 1
        incapable = await Wsman(old).get("AMT_BootCapabilities")

    assert capable.text("ForceUEFIHTTPSBoot") == "true"
    assert incapable.texts("ForceUEFIHTTPSBoot") == []
