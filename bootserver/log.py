"""Structured logs: coloured lines on a terminal, one JSON object a line elsewhere."""

from __future__ import annotations

import asyncio
import io
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO, cast

import structlog

from bootserver.config import LogConfig
from bootserver.quoting import printable

GATHER_S = 60.0


def configure_logging(config: LogConfig, *, quiet: bool = False) -> None:
    """Send structlog's events, and the libraries' warnings, to standard error.

    `quiet` leaves out what is no warning: a command says itself what it did.
    """
    on_terminal = sys.stderr.isatty() if config.format == "auto" else config.format == "console"
    level = logging.getLevelNamesMapping()[config.level.upper()]
    if quiet:
        level = max(level, logging.WARNING)
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=_traceback)
        if on_terminal
        else structlog.processors.JSONRenderer()
    )
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    as_text: list[structlog.types.Processor] = (
        [_in_one_line] if on_terminal else [structlog.processors.format_exc_info]
    )
    structlog.configure(
        processors=[*shared, *as_text, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        # a line and its end in one write: a server that is killed leaves no line open
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, _StandardError())),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *as_text,
                renderer,
            ],
        )
    )
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)


def _in_one_line(
    _logger: Any, _method: str, event: structlog.types.EventDict
) -> structlog.types.EventDict:
    """The event with texts that stay in their line; values of other types are shown by repr."""
    return {key: printable(v) if isinstance(v, str) else v for key, v in event.items()}


def _traceback(file: TextIO, error: structlog.types.ExcInfo) -> None:
    """As Python writes it, each line set in.

    rich's takes a second of the loop, and shows what variables hold, passwords among them.
    """
    text = io.StringIO()
    structlog.dev.plain_traceback(text, error)
    file.write("\n".join(f"  {printable(line)}" for line in text.getvalue().splitlines()))


class Gathered:
    """Says the first of many equal events at once, and once a minute how many more there were.

    `say` is a method of a logger with the event's name, `at_once` how many are the first. To be
    called in the event loop.
    """

    def __init__(self, say: Callable[..., object], at_once: int = 1) -> None:
        self._say = say
        self._at_once = at_once
        self._count = 0
        self._waits: asyncio.TimerHandle | None = None

    def __call__(self, **values: object) -> None:
        """It has happened once more; the line that is written has the values of the last time."""
        self._last = values
        self._count += 1
        if self._count <= self._at_once:
            self._say(**values)
        if self._waits is None:
            self._wait()

    def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        self._waits = loop.call_later(GATHER_S, self._tell)

    def _tell(self) -> None:
        self._waits = None
        if self._count > self._at_once:
            self._say(**self._last, more=self._count - self._at_once)
            self._count = self._at_once
            self._wait()
        else:
            self._count = 0


class _StandardError:
    """Standard error as long as it is there.

    A terminal may be closed and a pipe lose its reader; then lines are lost, and no answer fails.
    """

    def write(self, text: str) -> None:
        with suppress(OSError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stderr.flush()
