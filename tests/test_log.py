"""Structured logs: for people on a terminal, one JSON object a line for everybody else."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bootserver import log as log_module
from bootserver.config import PROJECT
from bootserver.log import Gathered

SAY = """
import logging, structlog
from bootserver.config import LogConfig
from bootserver.log import configure_logging

configure_logging(LogConfig({options}))
log = structlog.get_logger("bootserver.x")
log.debug("too.fine")
log.info("boot.handed_off", session="0badcafe", bytes=281)
logging.getLogger("aiohttp").warning("a library says %s", "so")
def broken(password):
    return 1 / 0
try:
    broken("sesame" + "open")
except ZeroDivisionError:
    log.exception("boot.broke")
"""


def said(stderr: int, **options: str) -> subprocess.Popen[bytes]:
    """A program that logs there."""
    program = SAY.format(options=", ".join(f"{name}={value!r}" for name, value in options.items()))
    return subprocess.Popen([sys.executable, "-u", "-c", program], stderr=stderr, cwd=PROJECT)


def in_a_file(path: Path, **options: str) -> list[str]:
    with path.open("wb") as file:
        assert said(file.fileno(), **options).wait() == 0
    return path.read_text().splitlines()


def on_a_terminal(**options: str) -> str:
    ours, theirs = pty.openpty()
    process = said(theirs, **options)
    os.close(theirs)
    text = b""
    try:
        while data := os.read(ours, 65536):
            text += data
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(ours)
    assert process.wait() == 0
    return text.decode()


def test_elsewhere_each_line_is_a_json_object(tmp_path: Path):
    boot, library, broke = map(json.loads, in_a_file(tmp_path / "log"))

    assert boot.pop("timestamp").endswith("Z")
    assert boot == {
        "event": "boot.handed_off",
        "level": "info",
        "session": "0badcafe",
        "bytes": 281,
    }
    assert (library["event"], library["level"]) == ("a library says so", "warning")
    assert "ZeroDivisionError" in broke["exception"]


def test_each_line_is_written_at_once_so_that_a_killed_server_leaves_none_open():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        process = said(theirs.fileno())
        theirs.close()
        writes = list(iter(lambda: ours.recv(65536), b""))
        assert process.wait() == 0

    assert [write.count(b"\n") for write in writes] == [1, 1, 1]
    assert all(write.endswith(b"\n") for write in writes)


def test_on_a_terminal_lines_are_coloured():
    text = on_a_terminal()

    assert "\x1b[" in text
    assert "boot.handed_off" in text
    assert '{"' not in text


@pytest.mark.slow
def test_a_traceback_does_not_tell_what_variables_hold(tmp_path: Path):
    for text in (on_a_terminal(), "\n".join(in_a_file(tmp_path / "log"))):
        assert "ZeroDivisionError: division by zero" in text
        assert "sesameopen" not in text


@pytest.mark.parametrize(("form", "is_json"), [("json", True), ("console", False)])
def test_the_form_can_be_said(tmp_path: Path, form: str, is_json: bool):
    first = in_a_file(tmp_path / "log", format=form)[0]

    assert first.startswith("{") is is_json
    assert "\x1b[" not in first  # colours are for terminals


SAY_HOSTILE = r"""
import logging, sys, structlog
from bootserver.config import LogConfig
from bootserver.log import configure_logging

configure_logging(LogConfig(format={form!r}))
name = "x\x1b[31m\x9b2J\x7f\udcff\u202e\r\n2026-11-28 forged"
log = structlog.get_logger("bootserver.x")
log.warning(name, name=name, names=[name])
logging.getLogger("aiohttp").warning("%s left", name)
try:
    raise ValueError(name)
except ValueError:
    log.exception("broke")
"""


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_name_from_outside_stays_in_its_line_and_moves_no_cursor(form: str):
    program = SAY_HOSTILE.format(form=form)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, check=True, stderr=subprocess.PIPE
    )

    text = done.stderr.decode()
    assert text.count("forged") >= 5
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
    assert not [line for line in text.splitlines() if line.startswith("2026-11-28 forged")]
    if form == "json":
        [event, *_] = map(json.loads, text.splitlines())
        assert event["name"].startswith("x\x1b[31m\x9b2J\x7f")


async def test_equal_events_are_gathered_after_the_first_few(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(log_module, "GATHER_S", 0.05)
    lines: list[dict[str, object]] = []
    say = Gathered(lambda **values: lines.append(values), at_once=2)

    for number in range(5):
        say(number=number)
    assert lines == [{"number": 0}, {"number": 1}]

    while len(lines) == 2:
        await asyncio.sleep(0.01)
    assert lines[2:] == [{"number": 4, "more": 3}]
