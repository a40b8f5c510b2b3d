"""`bootserver amt`, as a technician and as a script runs it, against fake devices."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bootserver.bench.fake_amt import (
    FakeAmtDevice,
    FakeSpec,
    ProvisioningMode,
    SystemState,
    fake_amt,
)
from tests.fixtures.amt import PASSWORD, play_stub
from tests.fixtures.isos import make_iso
from tests.fixtures.processes import child
from tests.fixtures.server import COMMAND, RunningServer, Site, serving

pytestmark = pytest.mark.slow

WAIT_S = 60


@pytest.fixture
async def device(tmp_path: Path) -> AsyncIterator[FakeAmtDevice]:
    spec = FakeSpec(tmp_path / "amt", tls=True, version="16.1.30", power=SystemState.S0)
    async with fake_amt(spec) as device:
        yield device


def site_with(path: Path, *devices: FakeAmtDevice, password: bool = True) -> Site:
    """A site whose config.toml has these devices, and the loaders of the project."""
    secret = path / "amt.password"
    secret.write_text(PASSWORD)
    tables = "".join(
        f'[[machines]]\nasset = "PC {number}"\namt.host = "{device.host}"\n'
        f"amt.tls = {str(device.spec.tls).lower()}\n"
        f"amt.wsman_port = {device.wsman_port}\n"
        f"amt.redirection_port = {device.redirection_port}\n"
        for number, device in enumerate(devices, 7)
    )
    amt = f'[amt]\npassword_file = "{secret}"\n' if password else ""
    return Site(path / "site", extra=amt + tables)


async def test_probe_tells_a_person_what_matters_for_a_boot(tmp_path: Path, device: FakeAmtDevice):
    site = site_with(tmp_path, device)

    text = await site.command("amt", "probe", "asset=PC 7")

    assert "127.0.0.1, over TLS" in text
    assert "\n  AMT              16.1.30" in text
    assert device.spec.uuid in text
    assert "control mode     admin" in text
    assert "IDE-R on, SOL on, listener on" in text


async def test_probe_says_unknown_of_what_amt_does_not_say(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path / "amt", version="11.8.50")) as old:
        text = await site_with(tmp_path, old).command("amt", "probe", old.host)

    assert "does not say whether it may switch it off" in text
    assert "may not switch" not in text


async def test_probe_pins_the_certificate_and_list_knows_the_machine_from_then_on(
    tmp_path: Path, device: FakeAmtDevice
):
    site = site_with(tmp_path, device)
    [before] = await site.query("amt", "list")
    facts = await site.query("amt", "probe", device.host)
    [after] = await site.query("amt", "list")

    assert (before["facts"], before["certificate_sha256"]) == (None, "")
    assert after["facts"] == facts
    assert after["certificate_sha256"] == device.certificate_sha256
    assert after["names"] == {"asset": "PC 7"}


async def test_another_certificate_than_the_pinned_is_refused_until_it_is_forgotten(
    tmp_path: Path,
):
    async with fake_amt(FakeSpec(tmp_path / "amt", tls=True)) as device:
        site = site_with(tmp_path, device)
        await site.command("amt", "probe", device.host)
    anew = FakeSpec(tmp_path / "anew", tls=True, wsman_port=device.wsman_port)
    async with fake_amt(anew):
        refused = await site.command("amt", "probe", device.host, expect=1)
        await site.command("amt", "forget", device.host)
        await site.command("amt", "probe", device.host)

    assert "shows another certificate than before" in refused
    assert "forget" in refused


async def test_power_is_told_and_changed(tmp_path: Path, device: FakeAmtDevice):
    site = site_with(tmp_path, device)

    before = await site.command("amt", "power", device.host, "state")
    useless = await site.command("amt", "power", device.host, "on", expect=1)
    changed = await site.command("amt", "power", device.host, "off")

    assert before == "127.0.0.1 is on\n"
    assert "is on already" in useless
    assert changed == "127.0.0.1 was on; asked for: off\n"
    assert not device.state.is_on


async def test_a_wrong_password_and_none_at_all_are_a_sentence_each(
    tmp_path: Path, device: FakeAmtDevice
):
    site = site_with(tmp_path, device, password=False)
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong")

    none = await site.command("amt", "probe", device.host, expect=1)
    refused = await site.command(
        "amt", "probe", device.host, "--password-file", str(wrong), expect=1
    )

    assert "no password is kept for AMT on 127.0.0.1" in none
    assert "BOOTSERVER_AMT_PASSWORD" in none
    assert "does not take the password of admin" in refused


async def test_a_machine_of_which_nobody_has_told_is_one_sentence(tmp_path: Path):
    site = site_with(tmp_path)

    told = await site.command("amt", "probe", "52:54:00:99:99:99", expect=1)

    assert "the address of the AMT of 52:54:00:99:99:99 is unknown" in told


async def test_attach_puts_any_iso_into_the_drive_until_it_is_interrupted(
    tmp_path: Path, device: FakeAmtDevice
):
    site = site_with(tmp_path, device)
    iso = make_iso(tmp_path / "any.iso", {"README.TXT": b"hello"}, bios=True)
    process = await asyncio.create_subprocess_exec(
        *(*COMMAND, "amt", "attach", device.host, str(iso), "--boot"),
        env=site.environment,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        await device.booted(timeout_s=WAIT_S)
        blocks = await device.capacity()
        read = b"".join([await device.read_blocks(lba, 1) for lba in range(blocks)])
    finally:
        process.send_signal(signal.SIGINT)
        output, _ = await asyncio.wait_for(process.communicate(), WAIT_S)

    assert read[: iso.stat().st_size] == iso.read_bytes()
    assert process.returncode == 0
    assert b"Ctrl-C takes it out" in output
    await device.wait_until(lambda: device.ider is None)
    assert device.violations == []


async def test_an_attached_boot_that_is_interrupted_before_its_first_read_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with fake_amt(FakeSpec(tmp_path / "amt", power=SystemState.S0)) as device:
        monkeypatch.setattr(device, "request_power", power_that_does_nothing)
        site = site_with(tmp_path, device)
        iso = make_iso(tmp_path / "any.iso", bios=True)
        async with running(site, "amt", "attach", device.host, str(iso), "--boot") as process:
            await device.wait_until(lambda: "RequestPowerStateChange" in device.asked)
            armed = device.state.boot.settings["UseIDER"]
            process.send_signal(signal.SIGINT)
            await asyncio.wait_for(process.wait(), WAIT_S)

    assert armed == ["true"]
    assert device.state.boot.settings["UseIDER"] == ["false"]


async def test_what_a_killed_server_has_armed_is_taken_back_by_the_next_which_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with fake_amt(FakeSpec(tmp_path / "amt", power=SystemState.S0)) as device:
        monkeypatch.setattr(device, "request_power", power_that_does_nothing)
        site = site_with(tmp_path, device)
        make_iso(site.path / "images" / "rescue.iso", bios=True)
        async with (
            serving(site) as server,
            running(site, "amt", "boot", device.host, "--image", "rescue"),
        ):
            await device.wait_until(lambda: "RequestPowerStateChange" in device.asked)
            armed = device.state.boot.settings["UseIDER"]
            server.stop(signal.SIGKILL)
            await server.process.wait()
        async with serving(site) as server:
            await device.wait_until(lambda: "amt.taken_back" in logged(server))

    assert armed == ["true"]
    assert device.state.boot.settings["UseIDER"] == ["false"]


def logged(server: RunningServer) -> list[str]:
    return [line["event"] for line in server.log_lines]


async def test_a_boot_survives_its_command_and_is_listed_and_ended_by_others(tmp_path: Path):
    spec = FakeSpec(tmp_path / "amt", power=SystemState.S0, first_lbas=())
    async with fake_amt(spec) as device:
        site = site_with(tmp_path, device)
        make_iso(site.path / "images" / "rescue.iso", bios=True)
        async with serving(site):
            before = await site.query("amt", "boots")
            order = ("amt", "boot", device.host, "--image", "rescue")
            async with running(site, *order):
                await device.booted(timeout_s=WAIT_S)
            [going_on] = await site.query("amt", "boots")
            busy = await site.command(*order, expect=1, stream="output")
            text = await site.command("amt", "boots")
            unknown = await site.command("amt", "stop", "pc-99", expect=1)
            [ended] = await site.query("amt", "stop", device.host)
            after = await site.query("amt", "boots")
            [kept] = await site.query("amt", "boots", "--all")

    assert (before, after) == ([], [])
    assert going_on["host"] == device.host
    assert f"end that first: bootserver amt stop {device.host}" in busy
    assert all(word in text for word in (going_on["id"], device.host, "rescue", "watching"))
    assert "no boot over AMT has the id or host 'pc-99'" in unknown
    assert ended == kept
    assert ended["doing"] == "cancelled"
    assert device.ider is None


async def power_that_does_nothing(_: int) -> int:
    return 0


@asynccontextmanager
async def running(site: Site, *command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A command that goes on while the block does."""
    async with child(
        *(*COMMAND, *command),
        env=site.environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    ) as process:
        yield process


async def test_many_machines_are_asked_and_told_side_by_side(tmp_path: Path):
    specs = [
        FakeSpec(tmp_path / name, host=name, power=power)
        for name, power in (("127.0.0.2", SystemState.S0), ("127.0.0.3", SystemState.S5))
    ]
    hosts = tmp_path / "lab.txt"
    hosts.write_text("127.0.0.2  # by the window\n127.0.0.3\n127.0.0.4\n")
    async with fake_amt(specs[0]) as one, fake_amt(specs[1]) as two:
        site = site_with(tmp_path, one, two)
        lab = ("--hosts", str(hosts), "--plain")
        options: Any = {"expect": 1, "stream": "output"}  # no machine has the third address
        facts = json.loads(await site.command("amt", "probe", *lab, "--json", **options))
        text = await site.command("amt", "power", "state", *lab, **options)
        order = ("amt", "boot", "--to", "disk", *lab, "--json")
        booted = json.loads(await site.command(*order, **options))
        both = await site.query("amt", "power", "127.0.0.2", "127.0.0.3", "state")

    assert [answer["host"] for answer in facts] == ["127.0.0.2", "127.0.0.3", "127.0.0.4"]
    assert [answer["facts"]["power"] for answer in facts[:2]] == ["on", "off"]
    assert facts[2]["failure"] == "unreachable"
    assert text == "127.0.0.2 is on\n127.0.0.3 is off\n"
    assert [(a["before"], a["asked"]) for a in booted[:2]] == [("on", "reset"), ("off", "on")]
    assert [boot.source for boot in (*one.boots, *two.boots)] == ["hard-drive", "hard-drive"]
    assert [answer["state"] for answer in both] == ["on", "on"]


@pytest.mark.parametrize(
    ("power", "before"),
    [
        (SystemState.S3, "asleep"),
        (SystemState.S4, "asleep, in hibernation"),
        (SystemState.MODERN_STANDBY, "asleep, in standby"),
    ],
)
async def test_pxe_wakes_a_machine_that_sleeps_and_then_boots_it(
    tmp_path: Path, power: SystemState, before: str
):
    async with fake_amt(FakeSpec(tmp_path / "amt", power=power)) as device:
        text = await site_with(tmp_path, device).command("amt", "pxe", device.host)

        assert [boot.source for boot in device.boots] == ["pxe"]
    assert f"{device.host} was {before}; it boots from the network now\n" in text


async def test_a_boot_is_of_an_image_or_of_something_of_the_machines_own(tmp_path: Path):
    site = site_with(tmp_path)

    neither = await site.command("amt", "boot", "pc", expect=2)
    both = await site.command("amt", "boot", "pc", "--image", "x", "--to", "pxe", expect=2)

    assert "give --image ID, or --to" in neither
    assert "give --image ID, or --to" in both


async def test_a_file_of_hosts_boots_side_by_side_and_ends_in_one_list(tmp_path: Path):
    specs = [
        FakeSpec(tmp_path / name, host=name, power=SystemState.S0)
        for name in ("127.0.0.2", "127.0.0.3")
    ]
    async with fake_amt(specs[0]) as one, fake_amt(specs[1]) as two:
        site = site_with(tmp_path, one, two)
        make_iso(site.path / "images" / "rescue.iso", bios=True, pad_bytes=100_000)
        hosts = tmp_path / "lab.txt"
        hosts.write_text("127.0.0.2  # by the window\n\n127.0.0.3\n127.0.0.4\n")
        async with serving(site), aiohttp.ClientSession() as http:
            boot_url = f"http://127.0.0.1:{site.boot_port}"
            playing = asyncio.gather(*(play_stub(http, boot_url, d) for d in (one, two)))
            output = await site.command(
                *("amt", "boot", "--hosts", str(hosts), "--image", "rescue"),
                *("--method", "two-stage", "--plain", "--json"),
                expect=1,  # no machine has the third address
                stream="output",
            )
            await playing

    outcomes = {outcome["host"]: outcome for outcome in json.loads(output)}
    assert list(outcomes) == ["127.0.0.2", "127.0.0.3", "127.0.0.4"]
    for host in ("127.0.0.2", "127.0.0.3"):
        assert outcomes[host]["amt_boot"]["doing"] == "done", outcomes[host]
        assert outcomes[host]["boot"]["phase"] == "handed_off"
    assert outcomes["127.0.0.4"]["amt_boot"]["failure"] == "unreachable"


async def test_a_boot_ends_with_the_table_of_its_times(tmp_path: Path, device: FakeAmtDevice):
    site = site_with(tmp_path, device)
    make_iso(site.path / "images" / "rescue.iso", bios=True, pad_bytes=100_000)
    async with serving(site), aiohttp.ClientSession() as http:
        playing = asyncio.create_task(play_stub(http, f"http://127.0.0.1:{site.boot_port}", device))
        text = await site.command(
            "amt", "boot", device.host, "--image", "rescue", "--method", "two-stage"
        )
        await playing

    assert "rescue runs from memory" in text
    assert "handed_off" in text
    assert "stub.iso" in text
    assert PASSWORD not in text


async def test_a_boot_without_a_server_says_to_start_one(tmp_path: Path, device: FakeAmtDevice):
    site = site_with(tmp_path, device)

    told = await site.command("amt", "boot", device.host, "--image", "rescue", expect=1)

    assert "no bootserver answers" in told
    assert "bootserver serve" in told


async def test_in_client_mode_without_anybody_to_ask_nothing_is_changed(tmp_path: Path):
    spec = FakeSpec(tmp_path / "amt", control_mode=ProvisioningMode.CLIENT)
    async with fake_amt(spec) as device:
        site = site_with(tmp_path, device)
        make_iso(site.path / "images" / "rescue.iso", bios=True)
        async with serving(site):
            output = await site.command(
                *("amt", "boot", device.host, "--image", "rescue", "--json"),
                expect=1,
                stream="output",
            )

    [outcome] = json.loads(output)
    job = outcome["amt_boot"]
    assert (job["doing"], job["failure"]) == ("failed", "consent_required")
    assert "a person at the machine" in job["hint"]
    assert all(asked.startswith(("Get ", "Enumerate", "Pull")) for asked in device.asked)
    assert not device.state.is_on
