"""`bootserver amt` for a person at a terminal: questions are asked, and keys go to the machine."""

from __future__ import annotations

import asyncio
import os
import pty
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from bootserver.bench.fake_amt import (
    FakeAmtDevice,
    fake_amt,
)
from tests.fixtures.amt import PASSWORD, attended_spec, play_stub
from tests.fixtures.isos import make_iso
from tests.fixtures.server import COMMAND, Site, serving

pytestmark = pytest.mark.slow

WAIT_S = 60
CODE = "271828"


class Terminal:
    """A program at a terminal: what it has shown, and keys for it."""

    def __init__(self, process: asyncio.subprocess.Process, fd: int) -> None:
        self.process = process
        self.shown = bytearray()
        self._fd = fd
        self._news = asyncio.Event()
        asyncio.get_running_loop().add_reader(fd, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # the program has closed its end
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._fd)
        self.shown += data
        self._news.set()

    async def until(self, text: bytes) -> None:
        """Return when that is shown, after all that was waited for before."""
        async with asyncio.timeout(WAIT_S):
            while text not in self.shown:
                self._news.clear()
                await self._news.wait()
        del self.shown[: self.shown.index(text) + len(text)]

    def type(self, keys: bytes) -> None:
        os.write(self._fd, keys)

    async def ended(self) -> int:
        return await asyncio.wait_for(self.process.wait(), WAIT_S)


@asynccontextmanager
async def at_a_terminal(site: Site, *arguments: str) -> AsyncIterator[Terminal]:
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(*COMMAND, *arguments),
        env=site.environment | {"TERM": "xterm", "COLUMNS": "120"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    terminal = Terminal(process, ours)
    try:
        yield terminal
    finally:
        asyncio.get_running_loop().remove_reader(ours)
        if process.returncode is None:
            process.kill()
        await process.wait()
        os.close(ours)


@pytest.fixture
async def device(tmp_path: Path) -> AsyncIterator[FakeAmtDevice]:
    """A machine that is on, in client mode: a person at it has to tell a code."""
    async with fake_amt(attended_spec(tmp_path / "amt", consent_code=CODE)) as device:
        yield device


@pytest.fixture
def site(tmp_path: Path, device: FakeAmtDevice) -> Site:
    """A site that knows where it is, and no password."""
    return Site(
        tmp_path / "site",
        extra=f'[[machines]]\namt.host = "{device.host}"\namt.tls = false\n'
        f"amt.wsman_port = {device.wsman_port}\namt.redirection_port = {device.redirection_port}\n",
    )


async def test_a_machines_serial_line_is_in_the_terminal_until_the_person_leaves(
    site: Site, device: FakeAmtDevice
):
    async with at_a_terminal(site, "amt", "console", device.host) as terminal:
        await terminal.until(b"password of AMT on 127.0.0.1: ")
        terminal.type(f"{PASSWORD}\n".encode())
        await terminal.until(b"code: ")
        terminal.type(b"111111\n")
        await terminal.until(b"not the code")
        await terminal.until(b"code: ")
        terminal.type(f"{CODE}\n".encode())
        await terminal.until(b"Ctrl-] leaves")
        device.print_serial(b"debian login: ")
        await terminal.until(b"debian login: ")
        terminal.type(b"root\r\x03")
        await device.wait_until(lambda: bytes(device.typed) == b"root\r\x03")
        terminal.type(b"\x1d")
        await terminal.until(b"left")

        assert await terminal.ended() == 0
    assert PASSWORD.encode() not in terminal.shown


async def test_a_boot_asks_for_the_password_and_the_code(
    site: Site, device: FakeAmtDevice, tmp_path: Path
):
    make_iso(site.path / "images" / "rescue.iso", bios=True, pad_bytes=100_000)
    order = ("amt", "boot", device.host, "--image", "rescue", "--method", "two-stage")
    async with (
        serving(site),
        aiohttp.ClientSession() as http,
        at_a_terminal(site, *order) as terminal,
    ):
        await terminal.until(b"password of AMT on 127.0.0.1: ")
        terminal.type(f"{PASSWORD}\n".encode())
        await terminal.until(b"code: ")
        terminal.type(f"{CODE}\n".encode())
        await play_stub(http, f"http://127.0.0.1:{site.boot_port}", device)
        await terminal.until(b"rescue runs from memory")
        await terminal.until(b"handed_off")

        assert await terminal.ended() == 0


async def test_ctrl_c_gives_a_boot_up_also_while_a_question_is_open(
    site: Site, device: FakeAmtDevice
):
    make_iso(site.path / "images" / "rescue.iso", bios=True)
    order = ("amt", "boot", device.host, "--image", "rescue")
    async with serving(site), at_a_terminal(site, *order) as terminal:
        await terminal.until(b"password of AMT on 127.0.0.1: ")
        terminal.type(f"{PASSWORD}\n".encode())
        await terminal.until(b"code: ")
        terminal.process.send_signal(2)

        assert await terminal.ended() == 1
        await terminal.until(b"given up")
    assert device.state.consent.shown_code == ""
    assert "redirected-cd" not in [boot.source for boot in device.boots]
