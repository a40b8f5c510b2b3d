"""Structured logs: coloured lines on a terminal, one JSON object a line elsewhere."""

from __future__ import annotations

import logging
import sys

import structlog

from bootserver.config import LogConfig


def configure_logging(config: LogConfig, *, quiet: bool = False) -> None:
    """Send structlog's events, and the libraries' warnings, to standard error.

    `quiet` leaves out what is no warning: a command says itself what it did.
    """
    on_terminal = sys.stderr.isatty() if config.format == "auto" else config.format == "console"
    level = logging.getLevelNamesMapping()[config.level.upper()]
    if quiet:
        level = max(level, logging.WARNING)
    # A traceback as Python writes it: rich's takes a second of the loop, and shows the values of
    # variables, passwords and tokens among them.
    plain = structlog.dev.plain_traceback
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)
        if on_terminal
        else structlog.processors.JSONRenderer()
    )
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    as_text: list[structlog.types.Processor] = (
        [] if on_terminal else [structlog.processors.format_exc_info]
    )
    structlog.configure(
        processors=[*shared, *as_text, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
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
    logging.getLogger("aiohttp.server").addFilter(_one_line)


def _one_line(record: logging.LogRecord) -> bool:
    """Keep to one line what aiohttp says of a request that is not HTTP: no traceback."""
    error = record.exc_info[1] if record.exc_info else None
    if type(error).__module__.startswith("aiohttp.http"):
        record.exc_info = None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.msg = f"{record.getMessage()}: {type(error).__name__}"
        record.args = ()
    return True
