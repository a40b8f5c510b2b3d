"""The serial lines that people watch here: one session per machine, however many watch.

AMT has one Serial over LAN session per machine. It is opened for the first watcher and closed after
the last. In between all see one terminal, and the keys of all go to the machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any

import structlog

from bootserver.amt.control.consent import ConsentPrompt, consent_is_missing
from bootserver.amt.control.power import until_on
from bootserver.amt.control.redirection_switch import enable_redirection
from bootserver.amt.errors import AmtError, failure_of
from bootserver.amt.hosts import AmtHosts
from bootserver.amt.redirection.serial_line import SerialLine, serial_over_lan
from bootserver.amt.serial.terminal import COLUMNS, ROWS, Row, SerialTerminal
from bootserver.amt.types import AmtLogin
from bootserver.errors import BootServerError

log = structlog.get_logger(__name__)


class LineState(StrEnum):
    """How far a line is."""

    OPENING = "opening"
    CONSENT = "consent"  # a user at the machine reads out the code on its screen
    OPEN = "open"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class LineStatus:
    """The state of a line, and the same as a sentence; with a problem, why it ended."""

    state: LineState
    sentence: str
    problem: BootServerError | None = field(default=None, repr=False)

    def as_json(self) -> dict[str, Any]:
        """For the API; `failure` is one word for programs, as that of a boot over AMT."""
        return {
            "state": self.state.value,
            "sentence": self.sentence,
            "hint": self.problem.hint if self.problem else "",
            "failure": failure_of(self.problem) if self.problem else "",
        }


@dataclass(frozen=True, slots=True)
class News:
    """What has changed since a viewer last looked."""

    status: LineStatus | None
    rows: dict[int, Row]
    scrolled: list[Row]
    cursor: tuple[int, int] | None

    def as_json(self) -> dict[str, Any]:
        """For the API: rows and what has scrolled away as lists of [text, style]."""
        shape: dict[str, Any] = {
            "columns": COLUMNS,
            "rows": ROWS,
            "lines": {str(y): _runs(row) for y, row in self.rows.items()},
            "scrolled": [_runs(row) for row in self.scrolled],
            "cursor": list(self.cursor) if self.cursor else None,
        }
        return shape | ({"status": self.status.as_json()} if self.status else {})


class SharedLine:
    """A machine's serial line, its terminal, and those who watch."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.terminal = SerialTerminal()
        self.status = LineStatus(LineState.OPENING, f"AMT on {host} is asked for its serial line")
        self.viewers: set[Viewer] = set()
        self.line: SerialLine | None = None
        self.task: asyncio.Task[None] | None = None
        self.is_leaving = False
        self.consent = ConsentPrompt(partial(self.is_now, LineState.CONSENT))

    def is_now(
        self, state: LineState, sentence: str, problem: BootServerError | None = None
    ) -> None:
        """Has all know that."""
        self.status = LineStatus(state, sentence, problem)
        self.tell()

    def tell(self) -> None:
        """Wakes all who watch."""
        for viewer in self.viewers:
            viewer.changed.set()


class Viewer:
    """One who watches a line, and is told at each look what differs from the look before."""

    def __init__(self, line: SharedLine) -> None:
        self._line = line
        self._status: LineStatus | None = None
        self._rows: tuple[Row, ...] = ((),) * ROWS
        self._cursor: tuple[int, int] | None = None
        self._scrolled = 0
        self.changed = asyncio.Event()
        self.changed.set()

    @property
    def wants_application_keys(self) -> bool:
        """True if the machine wants the other sequences of the cursor keys."""
        return self._line.terminal.sends_application_keys

    async def news(self) -> News:
        """What there is to be seen, as soon as something has changed."""
        await self.changed.wait()
        self.changed.clear()
        terminal, status = self._line.terminal, self._line.status
        rows, count = terminal.rows, terminal.scrolled_count - self._scrolled
        news = News(
            status if status != self._status else None,
            {y: row for y, row in enumerate(rows) if row != self._rows[y]},
            list(terminal.scrolled)[-count:] if count else [],
            terminal.cursor,
        )
        self._status, self._rows, self._scrolled = status, rows, terminal.scrolled_count
        return news

    def give_code(self, code: str) -> None:
        """The consent code on the machine's screen; nothing happens if none is awaited."""
        self._line.consent.answer(code)

    async def send(self, data: bytes) -> None:
        """Has the machine read this; nothing happens while there is no line."""
        if self._line.line is None:
            return
        try:
            await self._line.line.send(data)
        except AmtError:
            return  # the line has ended, and the news say so


class Consoles:
    """The lines that are open, by host."""

    def __init__(self, hosts: AmtHosts) -> None:
        self._hosts = hosts
        self._lines: dict[str, SharedLine] = {}

    @asynccontextmanager
    async def view(self, host: str, login: AmtLogin) -> AsyncIterator[Viewer]:
        """A viewer of that machine's line while the block lasts.

        The first viewer has the line opened, with that login; the news tell how that goes.
        """
        line = await self._line(host, login)
        viewer = Viewer(line)
        line.viewers.add(viewer)
        try:
            yield viewer
        finally:
            line.viewers.discard(viewer)
            if not line.viewers:
                await self._leave(line)

    async def close(self) -> None:
        """Ends all lines; their viewers get that as news."""
        for line in list(self._lines.values()):
            line.is_now(LineState.ENDED, "the server stops")
            await self._leave(line)

    async def _line(self, host: str, login: AmtLogin) -> SharedLine:
        while (line := self._lines.get(host)) and line.is_leaving:
            assert line.task is not None
            await asyncio.wait({line.task})  # AMT has only one
        if line is None:
            line = self._lines[host] = SharedLine(host)
            line.task = asyncio.create_task(self._run(line, login), name=f"console-{host}")
        return line

    async def _leave(self, line: SharedLine) -> None:
        assert line.task is not None
        line.is_leaving = True
        line.task.cancel()
        await asyncio.wait({line.task})

    async def _run(self, line: SharedLine, login: AmtLogin) -> None:
        try:
            await self._serve(line, login)
        except BootServerError as err:
            line.is_now(LineState.ENDED, err.message, err)
            log.info("amt.console_ended", host=line.host, reason=err.message)
        except Exception:
            log.exception("amt.console_failed", host=line.host)
            problem = BootServerError("the server failed", hint="its log says how")
            line.is_now(LineState.ENDED, problem.message, problem)
        finally:
            del self._lines[line.host]

    async def _serve(self, line: SharedLine, login: AmtLogin) -> None:
        async with self._hosts.client(line.host, login) as (client, access):
            await enable_redirection(client, sol=True)
            await until_on(client, partial(line.is_now, LineState.OPENING))
            if await consent_is_missing(client):
                await line.consent.ask(client)
        async with serial_over_lan(
            access.host, access.user, access.password, port=access.redirection_port, tls=access.tls
        ) as opened:
            line.line = opened
            line.is_now(LineState.OPEN, f"connected with the serial line of {line.host}")
            log.info("amt.console_opened", host=line.host)
            async for data in opened:
                reply = line.terminal.feed(data)
                line.tell()
                if reply:
                    await opened.send(reply)


def _runs(row: Row) -> list[list[str]]:
    return [[run.text, run.style] for run in row]
