"""Watching boots in the terminal: the running server's event stream, as bars, lines or JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import aiohttp

from bootserver.cli.screens import Bars, Screen, field_column
from bootserver.cli.shared import echo
from bootserver.errors import ServiceError
from bootserver.sessions.shape import BootJson, progress
from bootserver.units import speed

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.progress import Progress

    from bootserver.cli.terminal import PrintableConsole

CONNECT_TIMEOUT_S = 10.0
SILENCE_TIMEOUT_S = 45.0  # the server sends a comment every 15 seconds
RETRY_S = 2.0
UNDER_WAY = ("stub_started", "script_served", "fetching", "fetched")
ENDS = ("handed_off", "root_fetched", "os_up", "failed", "expired")
BOOTS_REMEMBERED = 10_000
BARS_KEPT = 8  # of boots that have ended
BAR_MIN_COLUMNS = 10
WIDE_COLUMNS = 110  # of a terminal that has room for everything


async def watch_server(url: str, screen: Screen[BootJson]) -> None:
    """Shows what boots at the server `url`, for ever; a connection that breaks is made again.

    Raises ServiceError if there is no server to begin with.
    """
    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=SILENCE_TIMEOUT_S
    )
    async with aiohttp.ClientSession(timeout=timeout) as http:
        connected = lost = False
        while True:
            try:
                async for boot in _boots(http, url):
                    if lost:
                        screen.say(f"{url} is back")
                    connected, lost = True, False
                    if boot is not None:
                        screen.show(boot)
                raise ConnectionError("it ended the stream")
            except (aiohttp.ClientError, OSError, TimeoutError) as err:
                if not connected:
                    raise ServiceError(
                        f"no bootserver answers at {url}: {err or 'it is silent'}",
                        hint="start it: bootserver serve, or name another with --url",
                    ) from err
                if not lost:
                    screen.say(f"{url} is gone, waiting for it")
                lost = True
            await asyncio.sleep(RETRY_S)


async def _boots(http: aiohttp.ClientSession, url: str) -> AsyncIterator[BootJson | None]:
    """What boots now, and each boot as it moves on; None says that the server is there."""
    async with http.get(f"{url}/api/v1/events") as stream:
        _require_bootserver(stream, "text/event-stream")
        yield None
        # Asked for once the stream is there: nothing is missed between the two.
        params = [("phase", phase) for phase in UNDER_WAY]
        async with http.get(f"{url}/api/v1/boots", params=params) as page:
            _require_bootserver(page, "application/json")
            for boot in reversed((await page.json())["boots"]):
                yield boot
        async for name, data in _events(stream.content):
            if name == "boot":
                yield data


def _require_bootserver(answer: aiohttp.ClientResponse, content_type: str) -> None:
    if answer.status != 200 or answer.content_type != content_type:
        raise aiohttp.ClientError(f"it answered {answer.status} {answer.reason}")


async def _events(content: aiohttp.StreamReader) -> AsyncIterator[tuple[str, Any]]:
    """The stream's events; a line may be longer than aiohttp's own reader takes."""
    unread = b""
    async for data in content.iter_any():
        *events, unread = (unread + data).split(b"\n\n")
        for event in events:
            lines = [line.partition(": ") for line in event.decode().splitlines()]
            fields = {name: value for name, _, value in lines}
            if "event" in fields:
                yield fields["event"], json.loads(fields["data"])


class JsonLines(Screen[BootJson]):
    """One boot a line, as JSON."""

    def show(self, boot: BootJson) -> None:
        """A boot has moved."""
        echo(json.dumps(boot))


class PhaseLines(Screen[BootJson]):
    """A line for each phase of a boot, and when something hinders it: for files and pipes."""

    def __init__(self) -> None:
        self._shown: dict[str, tuple[int, str]] = {}  # by id: how many phases, which trouble

    def show(self, boot: BootJson) -> None:
        """A boot has moved."""
        known, trouble = self._shown.get(boot["id"], (0, ""))
        for phase in boot["phases"][known:]:
            self._line(boot, phase["at"], phase["phase"], phase["detail"])
        if _trouble(boot) not in ("", trouble):
            self._line(boot, datetime.now(UTC).isoformat(), boot["phase"], _trouble(boot))
        self._shown[boot["id"]] = (len(boot["phases"]), _trouble(boot))
        if len(self._shown) > BOOTS_REMEMBERED:
            del self._shown[next(iter(self._shown))]

    def _line(self, boot: BootJson, at: str, phase: str, detail: str) -> None:
        echo(
            f"{datetime.fromisoformat(at).astimezone():%H:%M:%S}  {boot['id']}  "
            f"{_machine(boot):<17}  {boot['image'] or '-':<24}  {phase:<13}  {detail}".rstrip()
        )


class BootBars(Bars[BootJson]):
    """A bar for each boot, with speed and time left; below them what troubles any of them."""

    def __init__(self, console: PrintableConsole) -> None:
        super().__init__(_progress(console))
        self._ended: list[str] = []

    def show(self, boot: BootJson) -> None:
        """A boot has moved."""
        self.set_bar(boot["id"], *progress(boot), _fields(boot))
        if boot["phase"] in ENDS and boot["id"] not in self._ended:
            self._ended.append(boot["id"])
            while len(self._ended) > BARS_KEPT:
                self.remove_bar(self._ended.pop(0))


def _progress(console: PrintableConsole) -> Progress:
    """The bars: as wide as the terminal, in which a narrow one leaves out what it can."""
    from rich.progress import BarColumn, DownloadColumn, Progress, ProgressColumn
    from rich.table import Column
    from rich.text import Text

    class TroubledProgress(Progress):
        """With a sentence below for each boot that does not get on: it may be a long one."""

        def get_renderables(self) -> Iterable[RenderableType]:
            yield from super().get_renderables()
            for task in self.tasks:
                if task.fields["trouble"]:
                    yield Text(f"{task.fields['machine']}: {task.fields['trouble']}", "red")

    bar = BarColumn(bar_width=None, table_column=Column(min_width=BAR_MIN_COLUMNS, ratio=1))
    columns: list[ProgressColumn] = [field_column("machine", 20), field_column("phase", 13), bar]
    if console.width >= WIDE_COLUMNS:
        texts = field_column("machine", 40), field_column("image", 30), field_column("phase", 13)
        columns = [*texts, bar, DownloadColumn()]
    return TroubledProgress(*columns, field_column("rate", 24), console=console, expand=True)


def screen_for(console: PrintableConsole, *, as_json: bool) -> Screen[BootJson]:
    """The screen that suits the output."""
    if as_json:
        return JsonLines()
    return BootBars(console) if console.is_terminal else PhaseLines()


def _fields(boot: BootJson) -> dict[str, Any]:
    left = boot["seconds_left"]
    moves = boot["phase"] == "fetching" or left is not None
    rate = speed(boot["bytes_per_s"]) if moves else ""
    if left is not None:
        rate += f", {left:.0f} s left"
    return {
        "machine": _machine(boot),
        "image": boot["image"] or "-",
        "phase": boot["phase"],
        "rate": rate,
        "trouble": _trouble(boot),
    }


def _machine(boot: BootJson) -> str:
    return str(boot["machine"]["name"] or boot["address"] or "-")


def _trouble(boot: BootJson) -> str:
    return str(boot["error"] or boot["stalled"])
