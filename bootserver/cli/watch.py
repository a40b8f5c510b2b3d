"""Watching boots in the terminal: the running server's event stream, as bars, lines or JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp

from bootserver.cli.shared import echo
from bootserver.errors import ServiceError
from bootserver.sessions.shape import progress
from bootserver.units import speed

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.progress import Progress

    from bootserver.cli.terminal import Terminal

CONNECT_TIMEOUT_S = 10.0
SILENCE_TIMEOUT_S = 45.0  # the server sends a comment every 15 seconds
RETRY_S = 2.0
UNDER_WAY = ("stub_started", "script_served", "fetching", "fetched")
ENDS = ("handed_off", "root_fetched", "os_up", "failed", "expired")
BOOTS_REMEMBERED = 10_000
BARS_KEPT = 8  # of boots that have ended
BAR_MIN_COLUMNS = 10
WIDE_COLUMNS = 110  # of a terminal that has room for everything

Boot = dict[str, Any]  # as the API gives it


class Screen(Protocol):
    """Where boots are shown; a context manager beside."""

    def show(self, boot: Boot) -> None:
        """A boot has moved."""

    def say(self, sentence: str) -> None:
        """Something happened to the watching itself."""


async def watch_server(url: str, screen: Screen) -> None:
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


async def _boots(http: aiohttp.ClientSession, url: str) -> AsyncIterator[Boot | None]:
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


class JsonLines:
    """One boot a line, as JSON."""

    def show(self, boot: Boot) -> None:
        """A boot has moved."""
        echo(json.dumps(boot))

    def say(self, sentence: str) -> None:
        """Something happened to the watching itself."""
        echo(sentence, err=True)


class PlainLines:
    """A line for each phase of a boot, and when something hinders it: for files and pipes."""

    def __init__(self) -> None:
        self._shown: dict[str, tuple[int, str]] = {}  # by id: how many phases, which trouble

    def show(self, boot: Boot) -> None:
        """A boot has moved."""
        known, trouble = self._shown.get(boot["id"], (0, ""))
        for phase in boot["phases"][known:]:
            self._line(boot, phase["at"], phase["phase"], phase["detail"])
        if _trouble(boot) not in ("", trouble):
            self._line(boot, datetime.now(UTC).isoformat(), boot["phase"], _trouble(boot))
        self._shown[boot["id"]] = (len(boot["phases"]), _trouble(boot))
        if len(self._shown) > BOOTS_REMEMBERED:
            del self._shown[next(iter(self._shown))]

    def _line(self, boot: Boot, at: str, phase: str, words: str) -> None:
        echo(
            f"{datetime.fromisoformat(at).astimezone():%H:%M:%S}  {boot['id']}  "
            f"{_machine(boot):<17}  {boot['image'] or '-':<24}  {phase:<13}  {words}".rstrip()
        )

    def say(self, sentence: str) -> None:
        """Something happened to the watching itself."""
        echo(sentence, err=True)


class Bars:
    """A bar for each boot, with speed and time left; below them what troubles any of them."""

    def __init__(self, console: Terminal) -> None:
        self._progress = _progress(console)
        self._tasks: dict[str, Any] = {}
        self._ended: list[str] = []

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, boot: Boot) -> None:
        """A boot has moved."""
        if boot["id"] not in self._tasks:
            self._tasks[boot["id"]] = self._progress.add_task("", total=None, **_fields(boot))
        sent_bytes, size_bytes = progress(boot)
        self._progress.update(
            self._tasks[boot["id"]],
            completed=sent_bytes,
            total=size_bytes or None,
            **_fields(boot),
        )
        if boot["phase"] in ENDS and boot["id"] not in self._ended:
            self._ended.append(boot["id"])
            while len(self._ended) > BARS_KEPT:
                oldest = self._ended.pop(0)
                self._progress.remove_task(self._tasks.pop(oldest))

    def say(self, sentence: str) -> None:
        """Something happened to the watching itself."""
        self._progress.console.print(sentence)


def _progress(console: Terminal) -> Progress:
    """The bars: as wide as the terminal, in which a narrow one leaves out what it can."""
    from rich.progress import BarColumn, DownloadColumn, Progress, ProgressColumn, TextColumn
    from rich.table import Column
    from rich.text import Text

    class TroubledProgress(Progress):
        """With a sentence below for each boot that does not get on: it may be a long one."""

        def get_renderables(self) -> Iterable[RenderableType]:
            yield from super().get_renderables()
            for task in self.tasks:
                if task.fields["trouble"]:
                    yield Text(f"{task.fields['machine']}: {task.fields['trouble']}", "red")

    def text(field: str, width: int) -> ProgressColumn:
        column = Column(no_wrap=True, overflow="ellipsis", max_width=width)
        return TextColumn(f"{{task.fields[{field}]}}", markup=False, table_column=column)

    bar = BarColumn(bar_width=None, table_column=Column(min_width=BAR_MIN_COLUMNS, ratio=1))
    columns: list[ProgressColumn] = [text("machine", 20), text("phase", 13), bar]
    if console.width >= WIDE_COLUMNS:
        columns = [text("machine", 40), text("image", 30), text("phase", 13), bar, DownloadColumn()]
    return TroubledProgress(*columns, text("rate", 24), console=console, expand=True)


def screen_for(*, as_json: bool, console: Terminal) -> tuple[Screen, AbstractContextManager[Any]]:
    """The screen that suits the output, and what is to be entered while it is used."""
    if as_json:
        return JsonLines(), nullcontext()
    if not console.is_terminal:
        return PlainLines(), nullcontext()
    bars = Bars(console)
    return bars, bars


def _fields(boot: Boot) -> dict[str, Any]:
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


def _machine(boot: Boot) -> str:
    return str(boot["machine"]["name"] or boot["address"] or "-")


def _trouble(boot: Boot) -> str:
    return str(boot["error"] or boot["stalled"])
