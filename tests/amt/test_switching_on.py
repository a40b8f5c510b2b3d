"""A machine is on before redirection begins; a boot that does not come leaves nothing armed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bootserver.amt.armed import ArmedRecords, BeingArmedError
from bootserver.amt.boot.targets import boot_into
from bootserver.amt.control import power
from bootserver.amt.control.boot_options import boot_target
from bootserver.amt.control.power import switch_on, until_on
from bootserver.amt.errors import AmtError, AmtRefusedError, AmtUnreachableError
from bootserver.amt.hosts import AmtHosts
from bootserver.amt.types import BootTarget
from bootserver.amt.wsman.client import WsmanClient
from bootserver.config import AmtConfig, Config, MachineAmtConfig, MachineConfig
from bootserver.database import open_database
from tests.amt.test_boot_options import GET, ORDER, PUT, ROLE, SETTINGS
from tests.amt.test_power import REQUEST, STATE, machine, request_of
from tests.fakes.scripted_amt import (
    BUSY,
    HANGS,
    LOST,
    WRONG_PASSWORD,
    ScriptedAmt,
    returns,
    scripted,
)

ON, SLEEPS, OFF = 2, 4, 8
POWER_ON, RESET = 2, 10
CLEARED = [GET, ORDER, PUT, ROLE]


@dataclass
class Site:
    """A site that knows one scripted AMT."""

    hosts: AmtHosts
    client: WsmanClient
    records: ArmedRecords
    sentences: list[str] = field(default_factory=list)


@asynccontextmanager
async def site_of(config: Config, amt: ScriptedAmt) -> AsyncIterator[Site]:
    config.state.path.mkdir(exist_ok=True)
    password = config.state.path / "password"
    password.write_text("P@ssw0rd")
    async with scripted(amt) as client, open_database(config.state.database_url) as engine:
        own = MachineAmtConfig(host="127.0.0.1", wsman_port=amt.port)
        told = config.model_copy(
            update={
                "amt": AmtConfig(tls=False, password_file=password),
                "machines": (MachineConfig(amt=own),),
            }
        )
        hosts = AmtHosts(told, engine)
        yield Site(hosts, client, ArmedRecords(config.state.path / "amt-armed"))


def powers(amt: ScriptedAmt) -> list[tuple[str, str]]:
    return [one for one in amt.heard if one[0] == REQUEST]


@pytest.mark.parametrize("state", [OFF, SLEEPS, 7])
async def test_a_machine_that_is_not_on_is_switched_on_and_waited_for(state: int) -> None:
    amt = ScriptedAmt({STATE: [machine(state)] * 4 + [machine(ON)]})
    sentences: list[str] = []

    async with scripted(amt) as client:
        await switch_on(client, sentences.append)

    assert powers(amt) == [request_of(POWER_ON)]
    assert amt.asked.count(STATE) == 5
    assert len(sentences) == 2


async def test_a_machine_that_is_on_is_left_alone() -> None:
    amt = ScriptedAmt({STATE: machine(ON)})
    sentences: list[str] = []

    async with scripted(amt) as client:
        await switch_on(client, sentences.append)
        await until_on(client, sentences.append)

    assert (amt.changes, sentences) == ([], [])


async def test_a_machine_that_does_not_come_on_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "ON_LOOKS", 3)
    amt = ScriptedAmt({STATE: machine(OFF)})

    async with scripted(amt) as client:
        with pytest.raises(AmtError, match="was switched on, and is not on after"):
            await switch_on(client, lambda _: None)

    assert amt.asked.count(STATE) == 2 + 3


async def test_a_machine_of_unknown_power_is_not_touched() -> None:
    amt = ScriptedAmt({STATE: machine(5)})

    async with scripted(amt) as client:
        with pytest.raises(AmtRefusedError, match="does not say whether the machine is on"):
            await switch_on(client, lambda _: None)

    assert amt.changes == []


async def test_a_serial_line_waits_until_somebody_has_switched_the_machine_on() -> None:
    amt = ScriptedAmt({STATE: [machine(OFF), machine(OFF), machine(ON)]})
    sentences: list[str] = []

    async with scripted(amt) as client:
        await until_on(client, sentences.append)

    assert amt.changes == []
    assert sentences == ["the machine is off: redirection begins when it is on"]


async def test_a_machine_that_sleeps_is_woken_then_armed_then_reset(config: Config) -> None:
    amt = ScriptedAmt({GET: SETTINGS, STATE: [machine(SLEEPS)] * 3 + [machine(ON)]})

    async with site_of(config, amt) as site:
        change = await boot_into(site.hosts, site.client, BootTarget.PXE, site.sentences.append)

    assert [what for what, _ in amt.changes] == [REQUEST, ORDER, PUT, ROLE, ORDER, REQUEST]
    assert powers(amt) == [request_of(POWER_ON), request_of(RESET)]
    assert change.asked == "reset"
    assert site.records.left() == []


async def test_a_machine_that_is_off_is_armed_and_switched_on_once(config: Config) -> None:
    amt = ScriptedAmt({GET: SETTINGS, STATE: machine(OFF)})

    async with site_of(config, amt) as site:
        await boot_into(site.hosts, site.client, BootTarget.DISK, site.sentences.append)

    assert [what for what, _ in amt.changes] == [ORDER, PUT, ROLE, ORDER, REQUEST]
    assert powers(amt) == [request_of(POWER_ON)]


async def test_a_boot_whose_power_is_refused_is_taken_back(config: Config) -> None:
    amt = ScriptedAmt({GET: SETTINGS, STATE: machine(ON), REQUEST: returns(1)})

    async with site_of(config, amt) as site:
        with pytest.raises(AmtRefusedError, match="RequestPowerStateChange"):
            await boot_into(site.hosts, site.client, BootTarget.PXE, site.sentences.append)

    assert amt.asked[-4:] == CLEARED
    assert site.records.left() == []


def armed(site: Site) -> Callable[[], Awaitable[None]]:
    return lambda: boot_target(site.client, BootTarget.PXE)


async def test_a_boot_that_is_interrupted_is_taken_back_unless_it_was_used(config: Config) -> None:
    amt = ScriptedAmt({GET: SETTINGS})

    async def interrupted(site: Site, used: bool) -> None:
        with pytest.raises(asyncio.CancelledError):
            async with site.hosts.arming(site.client, armed(site), lambda: used):
                raise asyncio.CancelledError

    async with site_of(config, amt) as site:
        await interrupted(site, used=True)
        after_use = len(amt.asked)
        await interrupted(site, used=False)

    assert ROLE in amt.asked[:after_use]
    assert amt.asked[after_use - 1] == ORDER  # the last of arming
    assert amt.asked[-4:] == CLEARED
    assert site.records.left() == []


async def test_what_a_process_has_armed_that_is_gone_is_taken_back_and_said(config: Config) -> None:
    amt = ScriptedAmt({GET: SETTINGS})

    async with site_of(config, amt) as site:
        with site.records.hold("127.0.0.1"):
            await site.hosts.take_back_left()
            while_it_lives = list(amt.asked)
        left = site.records.left()
        with capture_logs() as logs:
            await site.hosts.take_back_left()

    assert while_it_lives == []
    assert left == ["127.0.0.1"]
    assert amt.asked == CLEARED
    assert site.records.left() == []
    assert [line["host"] for line in logs if line["event"] == "amt.taken_back"] == ["127.0.0.1"]


@pytest.mark.parametrize("obstacle", [BUSY, WRONG_PASSWORD])
async def test_what_amt_does_not_take_back_now_is_kept_for_later(
    config: Config, obstacle: str
) -> None:
    amt = ScriptedAmt({GET: SETTINGS, ORDER: [obstacle, obstacle, returns(0)]})

    async with site_of(config, amt) as site:
        with site.records.hold("127.0.0.1"):
            pass
        await site.hosts.take_back_left()
        while_it_does_not = site.records.left()
        while site.records.left():
            await site.hosts.take_back_left()

    assert while_it_does_not == ["127.0.0.1"]
    assert site.records.left() == []


async def arm_and_vanish(site: Site, amt: ScriptedAmt) -> None:
    async with site.hosts.arming(site.client, armed(site)):
        assert amt.site is not None
        await amt.site.stop()
        raise AmtUnreachableError("the machine's mains are gone")


async def test_what_cannot_be_taken_back_now_is_kept_for_later(config: Config) -> None:
    amt = ScriptedAmt({GET: SETTINGS})

    async with site_of(config, amt) as site:
        with pytest.raises(AmtUnreachableError), capture_logs() as logs:
            await arm_and_vanish(site, amt)

        assert "amt.still_armed" in [line["event"] for line in logs]
        assert site.records.left() == ["127.0.0.1"]


async def test_one_machine_is_armed_by_one_at_a_time(config: Config) -> None:
    amt = ScriptedAmt({GET: SETTINGS, STATE: machine(ON), ORDER: [HANGS, returns(0)]})

    async with site_of(config, amt) as site:
        first = asyncio.create_task(
            boot_into(site.hosts, site.client, BootTarget.PXE, site.sentences.append)
        )
        await asyncio.wait_for(amt.hanging.wait(), 30)
        taken = pytest.raises(BeingArmedError, match="by another boot or command")
        with taken, site.records.hold("127.0.0.1"):
            pass
        first.cancel()
        await asyncio.wait({first})

    assert site.records.left() == []


async def test_a_record_that_was_dropped_meanwhile_is_made_anew(tmp_path: Path) -> None:
    records = ArmedRecords(tmp_path / "armed")

    with records.hold("fe80::1") as record:
        record.drop()
        with records.hold("fe80::1"):
            assert records.left() == ["fe80::1"]


async def test_a_lost_power_answer_leaves_nothing_in_the_way(config: Config) -> None:
    amt = ScriptedAmt(
        {GET: SETTINGS, STATE: [machine(OFF), machine(OFF), machine(ON)], REQUEST: LOST}
    )

    async with site_of(config, amt) as site:
        change = await boot_into(site.hosts, site.client, BootTarget.PXE, site.sentences.append)

    assert change.asked == "on"
