"""`bootserver amt boot`: the running server boots machines through AMT, and this watches."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from bootserver.cli.amt.typed import typed_line
from bootserver.cli.api import Api, RefusedError
from bootserver.cli.screens import Bars, Screen, field_column
from bootserver.cli.shared import echo
from bootserver.units import megabytes, speed

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bootserver.cli.terminal import PrintableConsole

LOOK_S = 0.5
WATCHED_AT_ONCE = 64  # the server sees to it how many of them boot
ENDS = ("done", "failed", "cancelled")
NO_PASSWORD = "no_password"  # noqa: S105  (a reason, no secret)

Job = dict[str, Any]  # a boot over AMT, as the API gives it
Boot = dict[str, Any]  # its boot in the ledger


@dataclass
class AmtBootOutcome:
    """How the boot of one machine ended; without a job, why it did not begin."""

    host: str
    job: Job | None = None
    boot: Boot | None = None
    error: str = ""
    hint: str = ""

    @property
    def is_good(self) -> bool:
        """True if the machine runs its image."""
        return self.job is not None and self.job["doing"] == "done"

    def as_json(self) -> dict[str, Any]:
        """For --json."""
        error = {"error": self.error, "hint": self.hint} if self.error else {}
        return {"host": self.host, "amt_boot": self.job, "boot": self.boot, **error}


async def boot_all(
    api: Api,
    hosts: list[str],
    order: dict[str, Any],
    screen: Screen[AmtBootOutcome],
) -> list[AmtBootOutcome]:
    """Boots every host; Ctrl-C gives up what goes on, and tells how far it came.

    A drive that stays attached is taken away by Ctrl-C as well. `order` is what the API gets. If it
    is `attended`, the person at the terminal is asked for consent codes and passwords.
    """
    outcomes = [AmtBootOutcome(host) for host in hosts]
    room = asyncio.Semaphore(WATCHED_AT_ONCE)
    watch = _Watch(api, screen, order)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, watch.stop.set)

    async def boot(outcome: AmtBootOutcome) -> None:
        async with room:
            if watch.stop.is_set():
                outcome.error = "not begun"
                return
            try:
                await watch.boot(outcome)
            except RefusedError as err:
                outcome.error, outcome.hint = err.message, err.hint
            screen.show(outcome)

    await asyncio.gather(*map(boot, outcomes))
    return outcomes


@dataclass(frozen=True)
class _Watch:
    """Watches boots until their ends, or until `stop` is set."""

    api: Api
    screen: Screen[AmtBootOutcome]
    order: dict[str, Any]
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    one_question: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def boot(self, outcome: AmtBootOutcome) -> None:
        """Boots one machine; where the server keeps no password for it, with one that is asked."""
        await self._boot(outcome, self.order)
        if outcome.job and outcome.job["failure"] == NO_PASSWORD:
            password = await self._answer(f"password of AMT on {outcome.host}", hide=True)
            if password:
                await self._boot(outcome, self.order | {"password": password})

    async def _boot(self, outcome: AmtBootOutcome, order: dict[str, Any]) -> None:
        """Starts the boot, and looks at it until its end."""
        job = await self.api.post(f"/machines/{quote(outcome.host, safe='')}/boot", order)
        path, asked = f"/amt/boots/{job['id']}", ""
        while True:
            outcome.job = job
            if job["boot"]:
                with suppress(RefusedError):  # the ledger is written a moment later
                    outcome.boot = await self.api.get(f"/boots/{job['boot']}")
            self.screen.show(outcome)
            if job["doing"] in ENDS:
                return
            if job["doing"] == "consent" and job["sentence"] != asked:
                asked = job["sentence"]
                await self._tell_code(outcome.host, path, asked)
            if self.stop.is_set():
                job = await self.api.delete(path)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self.stop.wait()
            job = await self.api.get(path)

    async def _tell_code(self, host: str, path: str, sentence: str) -> None:
        """Passes the consent code on; gives the boot up where there is no person to ask."""
        code = await self._answer(f"{host}: {sentence}\ncode")
        if code is None:
            await self.api.delete(path)
            return
        with suppress(RefusedError):  # it has given up waiting
            await self.api.post(f"{path}/consent", {"code": code})

    async def _answer(self, question: str, *, hide: bool = False) -> str | None:
        """What the person types; None without a person, or if all is to stop meanwhile."""
        if not self.order["attended"]:
            return None
        asking = asyncio.create_task(self._ask(question, hide=hide))
        stopping = asyncio.create_task(self.stop.wait())
        await asyncio.wait({asking, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in (asking, stopping):
            task.cancel()
        await asyncio.gather(asking, stopping, return_exceptions=True)
        return None if asking.cancelled() else asking.result()

    async def _ask(self, question: str, *, hide: bool) -> str | None:
        async with self.one_question:
            with self.screen.still():
                return await typed_line(question, hide=hide)


class SentenceLines(Screen[AmtBootOutcome]):
    """A line whenever something new goes on: for files and pipes."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}

    def show(self, outcome: AmtBootOutcome) -> None:
        """A boot has moved on, or not."""
        text = _sentence(outcome)
        if text and self._told.get(outcome.host) != text:
            self._told[outcome.host] = text
            echo(f"{datetime.now():%H:%M:%S}  {outcome.host}  {text}")


class AmtBars(Bars[AmtBootOutcome]):
    """A bar for each machine."""

    def __init__(self, console: PrintableConsole) -> None:
        from rich.progress import BarColumn, Progress

        columns = [field_column("host"), field_column("doing"), BarColumn()]
        columns += [field_column("bytes"), field_column("sentence")]
        super().__init__(Progress(*columns, console=console))
        self._expected: set[str] = set()

    def show(self, outcome: AmtBootOutcome) -> None:
        """A boot has moved on, or not."""
        job = outcome.job
        for line in _expectation(job) if job and outcome.host not in self._expected else []:
            self._expected.add(outcome.host)
            self.say(f"{outcome.host}: {line}")
        boot = outcome.boot
        done, total = (boot["sent_bytes"], boot["image_bytes"]) if boot else (0, 0)
        fields: dict[str, Any] = {
            "host": outcome.host,
            "doing": job["doing"] if job else "refused",
            "sentence": _sentence(outcome),
            "bytes": f"{megabytes(done)} of {megabytes(total)}" if total else "",
        }
        self.set_bar(outcome.host, done, total, fields)


def screen_for(console: PrintableConsole, *, as_json: bool) -> Screen[AmtBootOutcome]:
    """The screen that suits the output; for JSON nothing is shown before the end."""
    if as_json:
        return Screen()
    return AmtBars(console) if console.is_terminal else SentenceLines()


def table_of(outcome: AmtBootOutcome) -> RenderableType:
    """Where the time of one boot went: its phases, and what went over which line."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    seconds = seconds_to_hand_off(outcome.boot) if outcome.boot else None
    after = "" if seconds is None else f" ({seconds:.1f} s after it was started)"
    style = "bold" if outcome.is_good else "red"
    lines = [Text(f"{outcome.host}: {_sentence(outcome)}{after}", style, overflow="ignore")]
    hint = outcome.hint or (outcome.job["hint"] if outcome.job else "")
    lines += [Text(f"  {hint}")] if hint else []
    boot = outcome.boot
    if boot is None:
        return Group(*lines)
    table = Table.grid(padding=(0, 2))
    for phase in boot["phases"]:
        at = datetime.fromisoformat(phase["at"]).astimezone()
        took = f"{phase['seconds']:9.3f} s"
        table.add_row(f"  {at:%H:%M:%S}", took, phase["phase"], Text(phase["detail"]))
    for transfer in boot["transfers"]:
        table.add_row(
            f"  {megabytes(transfer['sent_bytes'])}",
            speed(transfer["bytes_per_s"]),
            transfer["protocol"],
            Text(transfer["name"]),
        )
    return Group(*lines, table)


def table_of_all(outcomes: list[AmtBootOutcome]) -> RenderableType:
    """One row for each machine."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold")
    for title in ("host", "outcome", "way", "seconds", "redirected", "over HTTP", ""):
        table.add_column(title, justify="right" if title in ("seconds", "over HTTP") else "left")
    for outcome in outcomes:
        job, boot = outcome.job, outcome.boot
        seconds = seconds_to_hand_off(boot) if boot else None
        table.add_row(
            outcome.host,
            job["doing"] if job else "refused",
            (job and job["taken"]) or "",
            "" if seconds is None else f"{seconds:.1f}",
            f"{job['reads']} READs, {megabytes(job['redirected_bytes'])}" if job else "",
            megabytes(boot["sent_bytes"]) if boot else "",
            Text("" if outcome.is_good else _sentence(outcome)),
        )
    return table


def seconds_to_hand_off(boot: Boot) -> float | None:
    """From power-on to the hand-off; None if it did not come to both."""
    at = {phase["phase"]: datetime.fromisoformat(phase["at"]) for phase in boot["phases"]}
    if "powered" not in at or "handed_off" not in at:
        return None
    return (at["handed_off"] - at["powered"]).total_seconds()


def _sentence(outcome: AmtBootOutcome) -> str:
    if outcome.job is None or outcome.error:
        return outcome.error
    return str(outcome.job["sentence"])


def _expectation(job: Job) -> list[str]:
    """What each way is expected to take, once that is known."""
    expected = job["expected"]
    if not expected["two-stage"]:
        return []
    lines = [f"in two stages {expected['two-stage']['sentence']}"]
    if expected["direct"]:
        lines.append(f"directly {expected['direct']['sentence']}")
    asked = ", as asked" if job["asked"] != "auto" else ""
    return [*lines, f"taken: {job['taken']}{asked}"]
