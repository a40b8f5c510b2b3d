"""A machine's serial line over a WebSocket, against the fake device."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType
from structlog.testing import capture_logs

from bootserver.amt.redirection.serial_line import serial_over_lan
from bootserver.bench.fake_amt import (
    FakeAmtDevice,
    FakeSpec,
    RedirectionSetting,
    SystemState,
    fake_amt,
)
from bootserver.config import Config
from tests.fixtures.admin import Admin, running_admin
from tests.fixtures.amt import PASSWORD, STEP_S, attended_spec, with_amt
from tests.fixtures.isos import make_iso

LOGIN = {"password": PASSWORD}


@dataclass
class Screen:
    """What a viewer has been told so far."""

    socket: aiohttp.ClientWebSocketResponse
    lines: dict[int, str] = field(default_factory=dict)
    scrolled: list[str] = field(default_factory=list)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    told: list[Any] = field(default_factory=list)

    async def until(self, come: Callable[[Screen], object]) -> None:
        """Takes what comes until that is so."""
        async with asyncio.timeout(STEP_S):
            while not come(self):
                await self._take()

    async def open(self) -> None:
        """Returns when the line is there."""
        await self.until(lambda screen: screen.is_at("open") or screen.is_at("ended"))
        assert self.is_at("open"), self.statuses

    async def end(self) -> dict[str, Any]:
        """Why the line has ended."""
        await self.until(lambda screen: screen.is_at("ended"))
        return self.statuses[-1]

    def is_at(self, state: str) -> bool:
        """True if the last status is that."""
        return bool(self.statuses) and self.statuses[-1]["state"] == state

    @property
    def text(self) -> str:
        """The screen."""
        return "\n".join(self.lines.get(y, "") for y in range(25))

    async def _take(self) -> None:
        news = await self.socket.receive_json()
        self.told.append(news)
        if "status" in news:
            self.statuses.append(news["status"])
        for y, runs in news.get("lines", {}).items():
            self.lines[int(y)] = "".join(text for text, _ in runs)
        self.scrolled += ["".join(t for t, _ in runs) for runs in news.get("scrolled", [])]


@dataclass
class Bench:
    """A server, and a machine with AMT."""

    admin: Admin
    device: FakeAmtDevice

    @property
    def url(self) -> str:
        """Where the machine's line is."""
        return f"{self.admin.url}/api/v1/amt/hosts/{self.device.host}/console"

    @asynccontextmanager
    async def screen(
        self, login: dict[str, Any] | None = None, **options: Any
    ) -> AsyncIterator[Screen]:
        """One who watches."""
        async with self.admin.http.ws_connect(self.url, **options) as socket:
            await socket.send_json(LOGIN if login is None else login)
            yield Screen(socket)


@asynccontextmanager
async def running(config: Config, spec: FakeSpec) -> AsyncIterator[Bench]:
    make_iso(config.images.path / "rescue.iso", bios=True)
    async with fake_amt(spec) as device, running_admin(with_amt(config, device)) as admin:
        yield Bench(admin, device)


@pytest.fixture
async def bench(config: Config, tmp_path: Path) -> AsyncIterator[Bench]:
    async with running(config, FakeSpec(tmp_path / "amt", power=SystemState.S0)) as bench:
        yield bench


async def test_what_the_machine_prints_is_seen(bench: Bench):
    async with bench.screen() as screen:
        await screen.open()
        bench.device.print_serial(b"\x1b[31miPXE\x1b[0m initialising\r\n")
        await screen.until(lambda screen: "initialising" in screen.text)

    assert screen.lines[0] == "iPXE initialising"
    assert screen.told[-1]["lines"]["0"] == [["iPXE", "f1"], [" initialising", ""]]
    assert screen.told[-1]["cursor"] == [0, 1]
    assert [s["state"] for s in screen.statuses] == ["opening", "open"]


async def test_what_scrolls_away_is_told_once(bench: Bench):
    async with bench.screen() as screen:
        await screen.open()
        for number in range(40):
            bench.device.print_serial(b"line %d\r\n" % number)
        await screen.until(lambda screen: "line 39" in screen.text)

    assert screen.scrolled == [f"line {n}" for n in range(16)]


async def test_keys_reach_the_machine_in_their_order(bench: Bench):
    async with bench.screen() as screen:
        await screen.open()
        await screen.socket.send_json({"keys": ["d", "ArrowUp", "F1", "Ctrl+c"]})
        await screen.socket.send_json({"keys": ["F1"], "keyboard": "vt100+"})
        await screen.socket.send_json({"text": "dhcp\n"})
        await bench.device.wait_until(lambda: bench.device.typed.endswith(b"dhcp\r"))

    assert bytes(bench.device.typed) == b"d\x1b[A\x1bOP\x03\x1b1dhcp\r"


async def test_cursor_keys_are_those_that_the_machine_asked_for(bench: Bench):
    async with bench.screen() as screen:
        await screen.open()
        bench.device.print_serial(b"\x1b[?1hmenu")
        await screen.until(lambda screen: "menu" in screen.text)
        await screen.socket.send_json({"keys": ["ArrowDown"]})
        await bench.device.wait_until(lambda: len(bench.device.typed) == 3)

    assert bytes(bench.device.typed) == b"\x1bOB"


async def test_the_terminal_answers_the_machine_once_however_many_watch(bench: Bench):
    async with bench.screen() as one, bench.screen() as other:
        await one.open()
        await other.open()
        bench.device.print_serial(b"\x1b[6nasked")
        for screen in (one, other):
            await screen.until(lambda screen: "asked" in screen.text)
        await bench.device.wait_until(lambda: bool(bench.device.typed))

    assert bytes(bench.device.typed) == b"\x1b[1;1R"


async def test_who_comes_later_sees_what_was_there_and_needs_no_password(bench: Bench):
    async with bench.screen() as one:
        await one.open()
        bench.device.print_serial(b"Press F2 for setup\r\n")
        await one.until(lambda screen: "setup" in screen.text)
        async with bench.screen({}) as other:
            await other.until(lambda screen: "setup" in screen.text)
            await other.socket.send_json({"keys": ["F2"]})
            await bench.device.wait_until(lambda: bool(bench.device.typed))
        bench.device.print_serial(b"Entering")
        await one.until(lambda screen: "Entering" in screen.text)

    assert other.statuses[-1]["state"] == "open"
    assert bench.device.violations == []


async def test_the_line_is_given_back_when_the_last_has_left(bench: Bench):
    for _ in range(3):  # AMT has one, so the next waits until it is free
        async with bench.screen() as screen:
            await screen.open()

    assert bench.device.violations == []


async def test_serial_redirection_that_is_off_is_switched_on(config: Config, tmp_path: Path):
    spec = FakeSpec(
        tmp_path / "amt", power=SystemState.S0, redirection=RedirectionSetting.NONE, listener=False
    )
    async with running(config, spec) as bench, bench.screen() as screen:
        await screen.open()

        assert bench.device.state.redirection is RedirectionSetting.SOL


async def test_over_tls_too(config: Config, tmp_path: Path):
    async with running(config, FakeSpec(tmp_path / "amt", tls=True, power=SystemState.S0)) as bench:
        async with bench.screen() as screen:
            await screen.open()
        [host] = (await bench.admin.ask("/amt/hosts"))["hosts"]

        assert host["certificate_sha256"] == bench.device.certificate_sha256


@pytest.mark.parametrize(
    ("login", "failure"), [({}, "no_password"), ({"password": "wrong"}, "wrong_password")]
)
async def test_a_password_that_is_missing_or_wrong_is_told(
    bench: Bench, login: dict[str, Any], failure: str
):
    async with bench.screen(login) as screen:
        status = await screen.end()
        closing = await screen.socket.receive()

    assert status["failure"] == failure
    assert "password" in status["sentence"]
    assert closing.type is WSMsgType.CLOSE


async def test_where_consent_is_demanded_the_code_opens_the_line(config: Config, tmp_path: Path):
    spec = attended_spec(tmp_path / "amt")
    async with running(config, spec) as bench, bench.screen() as screen:
        await screen.until(lambda screen: screen.is_at("consent"))
        await screen.socket.send_json({"code": "000000"})
        await screen.until(lambda screen: "once more" in screen.statuses[-1]["sentence"])
        await screen.socket.send_json({"code": bench.device.state.consent.shown_code})
        await screen.open()


async def test_a_line_that_somebody_else_has_is_told(bench: Bench):
    device = bench.device
    await device.listen(True)
    async with (
        serial_over_lan(device.host, device.spec.user, PASSWORD, port=device.redirection_port),
        bench.screen() as screen,
    ):
        status = await screen.end()

    assert status["failure"] == "busy"
    assert status["sentence"]
    assert status["hint"]


async def test_a_line_that_ends_says_why_to_all(bench: Bench):
    async with bench.screen() as one, bench.screen() as other:
        await one.open()
        await other.open()
        bench.device.hang_up()

        assert await one.end() == await other.end()
    assert one.statuses[-1]["failure"] in ("ended", "lost")


@pytest.mark.slow
async def test_all_are_told_when_the_server_stops(config: Config, tmp_path: Path):
    async with aiohttp.ClientSession() as http:
        async with running(config, FakeSpec(tmp_path / "amt", power=SystemState.S0)) as bench:
            socket = await http.ws_connect(bench.url)
            await socket.send_json(LOGIN)
            screen = Screen(socket)
            await screen.open()
        status = await screen.end()
        await socket.close()

    assert status["sentence"] == "the server stops"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "evil.example"},
    ],
)
async def test_another_sites_page_gets_no_line(bench: Bench, headers: dict[str, str]):
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with bench.screen(headers=headers):
            pass

    assert refused.value.status == (421 if "Host" in headers else 403)
    assert bench.device.asked == []


async def test_our_own_page_does(bench: Bench):
    headers = {"Origin": bench.admin.url, "Sec-Fetch-Site": "same-origin"}
    async with bench.screen(headers=headers) as screen:
        await screen.open()


@pytest.mark.parametrize(
    "message",
    ["", "no JSON", "[]", '{"keys": ["Hyper"]}', '{"keys": "a"}', '{"password": "P@ssw0rd"}'],
)
async def test_a_message_without_sense_ends_the_visit(bench: Bench, message: str):
    async with bench.screen() as screen:
        await screen.open()
        await screen.socket.send_str(message)
        status = await screen.end()
        closing = await screen.socket.receive()

    assert closing.data == aiohttp.WSCloseCode.POLICY_VIOLATION
    assert PASSWORD not in json.dumps(status)


async def test_an_unknown_machine_has_no_line(bench: Bench):
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with bench.admin.http.ws_connect(f"{bench.admin.url}/api/v1/amt/hosts/-/console"):
            pass

    assert refused.value.status == 404


async def test_the_password_shows_up_nowhere(config: Config, tmp_path: Path):
    with capture_logs() as logs:
        async with running(config, FakeSpec(tmp_path / "amt", power=SystemState.S0)) as bench:
            async with bench.screen() as screen:
                await screen.open()
            kept = (config.state.path / "bootserver.db").read_bytes()

    assert PASSWORD not in json.dumps([logs, screen.told], default=str)
    assert PASSWORD.encode() not in kept
    assert "amt.console_opened" in [line["event"] for line in logs]
