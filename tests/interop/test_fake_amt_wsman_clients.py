"""The fake AMT device against WS-MAN clients that others wrote for real AMT."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from bootserver.bench.fake_amt import BootFrom, FakeAmtDevice, FakeSpec, SystemState, fake_amt
from bootserver.bench.fake_amt.event_log import boot_started
from tests.bench.fake_amt.wire import Reply, Wsman, attached
from tests.fixtures.processes import output_of
from tests.fixtures.wsman_clients import DRIVERS, python_clients, wsman_messages

pytestmark = [pytest.mark.interop, pytest.mark.slow]

WAIT_S = 60


async def run(*command: str | Path, **environment: str) -> Any:
    """What a program printed as JSON."""
    return json.loads(await output_of(*command, env=os.environ | environment))


# ---------------------------------------------------------------- PyPI's amt


async def amt(device: FakeAmtDevice, *verbs: str) -> list[Any]:
    url = f"http://{device.host}:{device.wsman_port}/wsman"
    login = (device.spec.user, device.spec.password)
    return await run(python_clients(), DRIVERS / "amt_verbs.py", url, *login, *verbs)


async def test_amt_reads_and_switches_the_power(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path)) as device:
        verbs = ("power_status", "power_on", "power_status", "power_off", "power_status")

        assert await amt(device, *verbs) == ["8", 0, "2", 0, "8"]
        assert [boot.source for boot in device.boots] == [BootFrom.DEFAULT]


@pytest.mark.parametrize("power", [SystemState.S0, SystemState.S5])
async def test_amt_boots_over_the_network_once(tmp_path: Path, power: SystemState):
    switch = "power_cycle" if power is SystemState.S0 else "power_on"
    async with fake_amt(FakeSpec(tmp_path, power=power)) as device:
        assert await amt(device, "pxe_next_boot", switch) == [None, 0]
        await device.booted(timeout_s=WAIT_S)
        await amt(device, "power_cycle")
        await device.booted(2, timeout_s=WAIT_S)

        assert [boot.source for boot in device.boots] == [BootFrom.PXE, BootFrom.DEFAULT]


# ---------------------------------------------------------------- napalm-amt


async def napalm(device: FakeAmtDevice, *verbs: str) -> list[Any]:
    address = (device.host, str(device.wsman_port), str(int(device.spec.tls)))
    login = (device.spec.user, device.spec.password)
    driver = DRIVERS / "napalm_verbs.py"
    trusted = {"REQUESTS_CA_BUNDLE": str(device.spec.workdir / "amt.pem")}
    return await run(python_clients(), driver, *address, *login, *verbs, **trusted)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_napalm_reads_a_device(tmp_path: Path, tls: bool):
    async with fake_amt(FakeSpec(tmp_path, tls=tls)) as device:
        device.state.events += [boot_started(0x65000000), boot_started(0x65000001)]

        facts, addresses, hardware, firmware, log, protocols = await napalm(
            device,
            *("get_facts", "get_interfaces_ip", "get_hardware_inventory"),
            *("get_firmware_inventory", "get_event_log", "get_management_protocols"),
        )

    assert facts["serial_number"] == "FAKE0001"
    assert facts["fqdn"] == "fakepc.example.org"
    assert facts["os_version"] == "15.0.47.1000"
    assert addresses == {"wired": {"ipv4": {"10.0.2.15": {"prefix_length": 24}}}}
    assert hardware["system_uuid"] == device.spec.uuid
    assert firmware[0]["version"] == "15.0.47.1000"
    assert [entry["timestamp"] for entry in log] == [0x65000001, 0x65000000]
    enabled = {name for name, one in protocols.items() if one["enabled"]}
    assert enabled == {"https" if tls else "http", "virtual_media"}


async def test_napalm_switches_the_power(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path)) as device:
        answers = await napalm(
            device,
            *("get_power_state", "set_power_state=ForceRestart", "set_power_state=On"),
            *("get_power_state", "set_power_state=ForceRestart", "set_power_state=PowerCycle"),
            *("set_power_state=ForceOff", "get_power_state"),
        )
        await device.booted(3, timeout_s=WAIT_S)

    off = {"state": "Off", "actions": ["On"]}
    on = {"state": "On", "actions": ["ForceOff", "ForceRestart", "PowerCycle"]}
    refused = "127.0.0.1: ForceRestart not accepted while the machine is Off (accepted: On)"
    assert answers == [off, refused, None, on, None, None, None, off]


# ---------------------------------------------------------------- npm's wsman-messages


async def messages() -> dict[str, str]:
    return dict(await run("node", DRIVERS / "messages.js", wsman_messages()))


async def done(wsman: Wsman, xml: str) -> Reply:
    reply = await wsman.ask(xml)
    assert reply.status == 200, reply.body
    assert reply.texts("ReturnValue") in ([], ["0"])
    return reply


async def test_the_toolkits_messages_read_a_device(tmp_path: Path):
    told = await messages()
    async with fake_amt(FakeSpec(tmp_path)) as device:
        wsman = Wsman(device)
        general, redirection, settings, consent = [
            await done(wsman, told[name])
            for name in ("general", "redirection", "bootSettings", "consent")
        ]
        context = (await done(wsman, told["sources"])).text("EnumerationContext")
        sources = await done(wsman, told["sourcesPull"].replace("CONTEXT", context))

    assert general.text("HostName") == "fakepc"
    assert redirection.text("EnabledState") == "32771"
    assert settings.texts("BIOSLastStatus") == ["0", "0"]
    assert consent.text("OptInRequired") == "0"
    assert "Intel(r) AMT: Force PXE Boot" in sources.texts("InstanceID")


async def test_the_toolkits_messages_boot_over_the_network(tmp_path: Path):
    told = await messages()
    async with fake_amt(FakeSpec(tmp_path)) as device:
        for name in ("clear", "put", "choose", "orderPxe", "powerOn"):
            await done(Wsman(device), told[name])

        assert (await device.booted(timeout_s=WAIT_S)).source is BootFrom.PXE


async def test_the_toolkits_messages_boot_the_redirected_cd(tmp_path: Path):
    told = await messages()
    spec = FakeSpec(tmp_path, power=SystemState.S0, first_lbas=())
    async with fake_amt(spec) as device, attached(device) as one:
        for name in ("enable", "clear", "putCd", "choose", "order", "reset"):
            await done(Wsman(device), told[name])
        assert (await one.expect(9))[0] == 0x46
        one.send(one.header(0x47))

        assert (await device.booted(timeout_s=WAIT_S)).source is BootFrom.REDIRECTED_CD
