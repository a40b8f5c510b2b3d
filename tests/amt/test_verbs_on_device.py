"""The verbs against the fake device, which boots only what was set up in the one right order."""

import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bootserver.amt.control import boot_options, power
from bootserver.amt.control.boot_options import (
    boot_from_https,
    boot_from_redirected_cd,
    boot_target,
    clear_boot_options,
)
from bootserver.amt.control.consent import cancel_consent, request_consent, send_consent_code
from bootserver.amt.control.event_log import read_event_log
from bootserver.amt.control.facts import ConsentState, Kvm, Redirection, WiredNetwork
from bootserver.amt.control.facts import ControlMode as ToldControlMode
from bootserver.amt.control.kvm import KvmAddress, enable_kvm
from bootserver.amt.control.power import power_state, request_power
from bootserver.amt.control.probe import probe
from bootserver.amt.control.redirection_switch import enable_redirection
from bootserver.amt.control.trust_anchor import push_root_certificate
from bootserver.amt.errors import (
    AmtConsentRequiredError,
    AmtInDoubtError,
    AmtOverloadedError,
    AmtRefusedError,
    AmtWrongPasswordError,
)
from bootserver.amt.redirection.drives import RedirectedDrives, redirect
from bootserver.amt.redirection.media import MemoryMedium
from bootserver.amt.redirection.scsi import DriveKind
from bootserver.amt.tls import Tls
from bootserver.amt.types import BootTarget, PowerAction, PowerState
from bootserver.amt.wsman.client import WsmanClient
from bootserver.bench.fake_amt import (
    FakeAmtDevice,
    FakeSpec,
    OptInRequired,
    ProvisioningMode,
    SystemState,
    WsmanManners,
    fake_amt,
)
from bootserver.bench.fake_amt import RedirectionSetting as FakeRedirection
from bootserver.bench.fake_amt.boot import BootFrom, ConfiguredBoot, RecoveryRequest
from tests.fixtures.amt_tls import tls_server

PASSWORD = "P@ssw0rd"
ALL_ON = Redirection(ider_enabled=True, sol_enabled=True, listener_enabled=True)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root of its own for 127.0.0.1; its key lies beside it."""
    path = tmp_path_factory.mktemp("https") / "root.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=root", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", path.with_suffix(".key"), "-out", path],
        check=True, capture_output=True,
    )  # fmt: skip
    return path


@asynccontextmanager
async def device_and_client(
    tmp_path: Path, **spec: Any
) -> AsyncIterator[tuple[FakeAmtDevice, WsmanClient]]:
    async with (
        fake_amt(FakeSpec(tmp_path / "amt", **spec)) as device,
        WsmanClient(
            device.host,
            "admin",
            PASSWORD,
            port=device.wsman_port,
            tls=Tls() if spec.get("tls") else None,
        ) as client,
    ):
        yield device, client


@asynccontextmanager
async def redirected(device: FakeAmtDevice) -> AsyncIterator[RedirectedDrives]:
    cd = MemoryMedium(DriveKind.CD, bytes(64 * 2048))
    async with redirect(device.host, "admin", PASSWORD, cd, port=device.redirection_port) as drives:
        yield drives
    assert device.violations == []


async def boots_next(device: FakeAmtDevice, client: WsmanClient) -> ConfiguredBoot:
    """What the machine boots when its power is asked to."""
    before = len(device.boots)
    await request_power(client, PowerAction.BOOT)
    await device.wait_until(lambda: len(device.boots) > before)
    return device.boots[-1]


# --- probing ------------------------------------------------------------------------------------


async def test_a_new_device_is_known_after_a_probe(tmp_path: Path) -> None:
    async with device_and_client(tmp_path, tls=True, version="16.1.30") as (_, client):
        facts = await probe(client)

    assert facts.amt_version == "16.1.30"
    assert facts.uuid == "8a3b6a5c-2f3e-4d5b-9c6d-7e8f90a1b2c3"
    assert facts.host_name == "fakepc"
    assert facts.control_mode is ToldControlMode.ADMIN
    assert not facts.consent_needed
    assert facts.redirection == ALL_ON
    assert facts.kvm == Kvm(available=True, enabled=False)
    assert facts.recovery.ready
    assert facts.recovery.switched_on
    assert facts.secure_boot_control is True
    assert facts.power is PowerState.OFF
    assert facts.network == WiredNetwork(
        "52:54:00:12:34:56",
        True,
        True,
        "10.0.2.15",
        "255.255.255.0",
        "10.0.2.2",
        ("10.0.2.3",),
    )


async def test_an_old_device_is_known_as_far_as_it_tells(tmp_path: Path) -> None:
    manners = WsmanManners(kvm=False)
    async with device_and_client(tmp_path, version="9.5.61", wsman_manners=manners) as (_, client):
        facts = await probe(client)

    assert facts.major_version == 9
    assert facts.boot is not None
    assert facts.boot.ider
    assert facts.kvm == Kvm(available=False, enabled=False)
    assert "knows no boot from HTTPS" in facts.recovery.obstacles[0]
    assert facts.secure_boot_control is None


# --- the next boot ------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["9.5.61", "11.8.50", "16.1.30"])
@pytest.mark.parametrize("power", [SystemState.S0, SystemState.S5])
async def test_a_redirected_cd_is_booted(tmp_path: Path, version: str, power: SystemState) -> None:
    async with (
        device_and_client(tmp_path, version=version, power=power) as (device, client),
        redirected(device) as drives,
    ):
        facts = await probe(client)
        await boot_from_redirected_cd(client, facts, enforce_secure_boot=False)

        assert await boots_next(device, client) == ConfiguredBoot(BootFrom.REDIRECTED_CD)
        await drives.wait_until(lambda stats: stats.reads > 0)


async def test_the_boot_after_a_redirected_one_is_ordinary(tmp_path: Path) -> None:
    async with device_and_client(tmp_path, power=SystemState.S0) as (device, client):
        async with redirected(device):
            await boot_from_redirected_cd(client, await probe(client), enforce_secure_boot=False)
            await boots_next(device, client)

        assert await boots_next(device, client) == ConfiguredBoot(BootFrom.DEFAULT)


async def _not_done(*_: object) -> None:
    """A step that is left out."""


@pytest.mark.parametrize("step", ["_change_boot_order", "_set_role"])
async def test_without_one_of_its_steps_the_boot_is_ordinary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(boot_options, step, _not_done)
    async with device_and_client(tmp_path) as (device, client), redirected(device):
        await boot_from_redirected_cd(client, await probe(client), enforce_secure_boot=False)

        assert await boots_next(device, client) == ConfiguredBoot(BootFrom.DEFAULT)


async def test_pxe_is_booted(tmp_path: Path) -> None:
    async with device_and_client(tmp_path, power=SystemState.S0) as (device, client):
        await boot_target(client, BootTarget.PXE)

        assert await boots_next(device, client) == ConfiguredBoot(BootFrom.PXE)


@dataclass
class HttpsServer:
    """Where a client that trusts `root_der` fetches a stub; `logins` are those that came."""

    root_der: bytes
    url: str = ""
    logins: list[str | None] = field(default_factory=list)

    async def stub(self, request: web.Request) -> web.Response:
        self.logins.append(request.headers.get("Authorization"))
        return web.Response(body=b"a disc", content_type="application/octet-stream")


@pytest.fixture
async def https(certificate: Path) -> AsyncIterator[HttpsServer]:
    server = HttpsServer(ssl.PEM_cert_to_DER_cert(certificate.read_text()))
    app = web.Application()
    app.router.add_get("/stub.iso", server.stub)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls_server(certificate)).start()
    server.url = f"https://127.0.0.1:{runner.addresses[0][1]}/stub.iso"
    yield server
    await runner.cleanup()


async def test_https_is_booted_with_its_parameters_and_our_root(
    tmp_path: Path, https: HttpsServer
) -> None:
    async with device_and_client(tmp_path, tls=True) as (device, client):
        await push_root_certificate(client, https.root_der)
        facts = await probe(client)
        await boot_from_https(client, facts, https.url, enforce_secure_boot=False)

        assert await boots_next(device, client) == ConfiguredBoot(
            BootFrom.HTTPS, RecoveryRequest(https.url, uses_roots=True)
        )


async def test_https_is_not_booted_from_a_server_that_amt_does_not_trust(
    tmp_path: Path, https: HttpsServer
) -> None:
    async with device_and_client(tmp_path, tls=True) as (device, client):
        facts = await probe(client)
        await boot_from_https(client, facts, https.url, enforce_secure_boot=False)

        assert (await boots_next(device, client)).source is BootFrom.DEFAULT

    assert https.logins == []


async def test_https_is_booted_with_secure_boot_where_amt_insists(
    tmp_path: Path, https: HttpsServer
) -> None:
    insists = WsmanManners(insists_on_secure_boot=True)
    async with device_and_client(tmp_path, tls=True, wsman_manners=insists) as (device, client):
        await push_root_certificate(client, https.root_der)
        facts = await probe(client)
        is_enforced = await boot_from_https(client, facts, https.url, enforce_secure_boot=False)

        assert is_enforced
        assert (await boots_next(device, client)).source is BootFrom.HTTPS


async def test_https_switches_recovery_on(tmp_path: Path, https: HttpsServer) -> None:
    async with device_and_client(tmp_path, tls=True) as (device, client):
        device.state.boot_service = 32768
        await push_root_certificate(client, https.root_der)
        facts = await probe(client)
        await boot_from_https(client, facts, https.url, enforce_secure_boot=True)

        assert (await boots_next(device, client)).source is BootFrom.HTTPS


@pytest.mark.parametrize("arm", ["cd", "pxe", "https"])
async def test_a_boot_that_was_given_up_leaves_an_ordinary_one(tmp_path: Path, arm: str) -> None:
    async with device_and_client(tmp_path, tls=True) as (device, client):
        facts = await probe(client)
        if arm == "cd":
            await boot_from_redirected_cd(client, facts, enforce_secure_boot=False)
        elif arm == "pxe":
            await boot_target(client, BootTarget.PXE)
        else:
            await boot_from_https(
                client, facts, "https://192.0.2.1/a.iso", enforce_secure_boot=False
            )
        await clear_boot_options(client)

        assert await boots_next(device, client) == ConfiguredBoot(BootFrom.DEFAULT)


async def test_a_redirected_boot_that_never_came_does_not_stop_the_next(tmp_path: Path) -> None:
    async with device_and_client(tmp_path) as (device, client):
        facts = await probe(client)
        await boot_from_redirected_cd(client, facts, enforce_secure_boot=False)
        async with redirected(device):
            await boot_from_redirected_cd(client, facts, enforce_secure_boot=False)

            assert await boots_next(device, client) == ConfiguredBoot(BootFrom.REDIRECTED_CD)


async def test_pxe_may_follow_a_redirected_boot_that_never_came(tmp_path: Path) -> None:
    async with device_and_client(tmp_path) as (device, client):
        await boot_from_redirected_cd(client, await probe(client), enforce_secure_boot=False)
        await boot_target(client, BootTarget.PXE)

        assert await boots_next(device, client) == ConfiguredBoot(BootFrom.PXE)


@pytest.mark.parametrize(
    "lost", ["ChangeBootOrder", "Put AMT_BootSettingData", "SetBootConfigRole"]
)
async def test_a_step_in_doubt_is_told_and_leaves_an_ordinary_boot(
    tmp_path: Path, lost: str
) -> None:
    manners = WsmanManners(lost_answers=frozenset({lost}))
    async with device_and_client(tmp_path, wsman_manners=manners) as (device, client):
        facts = await probe(client)
        with pytest.raises(AmtInDoubtError, match=lost):
            await boot_from_redirected_cd(client, facts, enforce_secure_boot=False)

        assert await boots_next(device, client) == ConfiguredBoot(BootFrom.DEFAULT)


# --- consent ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "policy", [{"control_mode": ProvisioningMode.CLIENT}, {"consent": OptInRequired.ALL}]
)
async def test_a_boot_waits_for_the_consent_of_somebody_at_the_machine(
    tmp_path: Path, policy: dict[str, Any]
) -> None:
    async with device_and_client(tmp_path, power=SystemState.S0, **policy) as (device, client):
        facts = await probe(client)
        assert facts.consent_needed
        with pytest.raises(AmtConsentRequiredError):
            await boot_from_redirected_cd(client, facts, enforce_secure_boot=False)

        assert await request_consent(client) is ConsentState.DISPLAYED
        with pytest.raises(AmtRefusedError, match="not the code on the machine's screen"):
            await send_consent_code(client, "000000")
        await send_consent_code(client, device.state.consent.shown_code)

        assert not (await probe(client)).consent_needed
        async with redirected(device):
            await boot_from_redirected_cd(client, facts, enforce_secure_boot=False)
            assert await boots_next(device, client) == ConfiguredBoot(BootFrom.REDIRECTED_CD)


async def test_three_wrong_codes_make_the_code_void(tmp_path: Path) -> None:
    spec = {"power": SystemState.S0, "consent": OptInRequired.ALL}
    async with device_and_client(tmp_path, **spec) as (_, client):
        await request_consent(client)
        for _ in range(2):
            with pytest.raises(AmtRefusedError, match="not the code"):
                await send_consent_code(client, "000000")
        with pytest.raises(AmtRefusedError, match="wrong too often"):
            await send_consent_code(client, "000000")
        with pytest.raises(AmtRefusedError, match="blocked"):
            await request_consent(client)


async def test_a_consent_that_is_taken_back_is_gone(tmp_path: Path) -> None:
    spec = {"power": SystemState.S0, "consent": OptInRequired.ALL}
    async with device_and_client(tmp_path, **spec) as (device, client):
        await request_consent(client)
        await cancel_consent(client)
        await cancel_consent(client)

        assert device.state.consent.shown_code == ""


async def test_a_machine_that_is_off_is_to_be_powered_on_before_it_shows_a_code(
    tmp_path: Path,
) -> None:
    async with device_and_client(tmp_path, consent=OptInRequired.ALL) as (_, client):
        with pytest.raises(AmtRefusedError, match="the machine is off"):
            await request_consent(client)


# --- switches -----------------------------------------------------------------------------------


@pytest.mark.parametrize("follows", [True, False])
async def test_redirection_is_switched_on_in_old_firmware_and_new(
    tmp_path: Path, follows: bool
) -> None:
    spec = {
        "redirection": FakeRedirection.NONE,
        "listener": False,
        "wsman_manners": WsmanManners(listener_follows_state=follows),
    }
    async with device_and_client(tmp_path, **spec) as (device, client):
        assert await enable_redirection(client, ider=True, sol=True) == ALL_ON
        async with redirected(device):
            pass


@pytest.mark.parametrize("version", ["11.8.50", "16.1.30"])
async def test_kvm_is_switched_on(tmp_path: Path, version: str) -> None:
    async with device_and_client(tmp_path, version=version) as (device, client):
        address = await enable_kvm(client, "Abcd12<!")

        assert address == KvmAddress(device.host, 16994, vnc=False)
        assert device.state.kvm_enabled
        assert device.state.kvm_password == "Abcd12<!"


async def test_a_root_certificate_is_pushed_once(tmp_path: Path, certificate: Path) -> None:
    der = ssl.PEM_cert_to_DER_cert(certificate.read_text())
    async with device_and_client(tmp_path) as (device, client):
        assert await push_root_certificate(client, der) is True
        assert await push_root_certificate(client, der) is False

        assert device.state.roots == [der]


async def test_what_is_no_certificate_is_refused(tmp_path: Path) -> None:
    async with device_and_client(tmp_path) as (_, client):
        with pytest.raises(AmtRefusedError, match="AddTrustedRootCertificate: invalid"):
            await push_root_certificate(client, b"no certificate")


async def test_the_event_log_tells_of_failed_logins_and_boots(tmp_path: Path) -> None:
    async with device_and_client(tmp_path) as (device, client):
        assert await read_event_log(client) == []
        async with WsmanClient(device.host, "admin", "wrong", port=device.wsman_port) as guessing:
            with pytest.raises(AmtWrongPasswordError):
                await guessing.get("AMT_GeneralSettings")

        events = await read_event_log(client)

    assert [(event.source, event.text) for event in events] == [
        ("Intel ME", "1 logins failed: passwords may be being guessed")
    ]


# --- power --------------------------------------------------------------------------------------


async def test_power_goes_on_and_off(tmp_path: Path) -> None:
    async with device_and_client(tmp_path) as (_, client):
        await request_power(client, PowerAction.ON)
        assert await power_state(client) is PowerState.ON
        await request_power(client, PowerAction.OFF)
        assert await power_state(client) is PowerState.OFF


@pytest.mark.parametrize("action", [PowerAction.OFF, PowerAction.CYCLE])
async def test_power_stays_on_while_redirection_is_open_and_the_hint_says_so(
    tmp_path: Path, action: PowerAction
) -> None:
    async with (
        device_and_client(tmp_path, power=SystemState.S0) as (device, client),
        redirected(device),
    ):
        with pytest.raises(AmtRefusedError, match="in use") as raised:
            await request_power(client, action)

    assert "redirection is open: close it" in raised.value.hint


async def test_a_second_request_that_comes_too_early_is_told(tmp_path: Path) -> None:
    manners = WsmanManners(power_gap_s=60)
    async with device_and_client(tmp_path, wsman_manners=manners) as (_, client):
        await request_power(client, PowerAction.ON)
        with pytest.raises(AmtRefusedError, match="RequestPowerStateChange: busy") as raised:
            await request_power(client, PowerAction.RESET)

    assert "10 seconds" in raised.value.hint


async def test_a_power_on_whose_answer_is_lost_is_seen_and_happens_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(power, "LOOKS_AGAIN_AFTER_S", 0.0)
    manners = WsmanManners(lost_answers=frozenset({"RequestPowerStateChange"}))
    async with device_and_client(tmp_path, wsman_manners=manners) as (device, client):
        await request_power(client, PowerAction.ON)

        assert device.asked.count("RequestPowerStateChange") == 1
        assert device.state.is_on


async def test_amt_that_is_busy_now_and_then_is_probed_as_one_that_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bootserver.amt.wsman.client.BUSY_AGAIN_S", 0.0)
    busy = WsmanManners(unavailable_every=5)
    async with device_and_client(tmp_path / "at ease") as (_, client):
        facts = await probe(client)
    async with device_and_client(tmp_path / "busy", wsman_manners=busy) as (_, client):
        assert await probe(client) == facts


async def test_amt_that_is_always_busy_is_an_error_and_not_a_machine_without_facts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bootserver.amt.wsman.client.BUSY_AGAIN_S", 0.0)
    busy = WsmanManners(unavailable_every=1)
    async with device_and_client(tmp_path, wsman_manners=busy) as (_, client):
        with pytest.raises(AmtOverloadedError, match="HTTP 503"):
            await probe(client)


async def test_a_machine_that_does_not_say_what_power_it_takes_is_asked_all_the_same(
    tmp_path: Path,
) -> None:
    vague = WsmanManners(power_capabilities=False)
    async with device_and_client(tmp_path, wsman_manners=vague, power=SystemState.S0) as (
        device,
        client,
    ):
        await request_power(client, PowerAction.OFF)

        assert not device.state.is_on
