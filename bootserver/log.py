"""Structured logs: coloured lines on a terminal, one JSON object a line elsewhere."""

from __future__ import annotations

import logging
import sys

import structlog

from bootserver.config import LogConfig


def configure_logging(config: LogConfig) -> None:
    """Send structlog's events, and the libraries' warnings, to standard error."""
    on_terminal = sys.stderr.isatty() if config.format == "auto" else config.format == "console"
    level = logging.getLevelNamesMapping()[config.level.upper()]
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
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
