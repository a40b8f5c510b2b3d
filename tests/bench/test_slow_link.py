"""The slow line to a disc, spoken to byte by byte: what NBD clients get from it, and when."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import pytest

from bootserver.bench.slow_link import SlowLine, serve_disc

DISC = bytes(range(256)) * 1024
AT_ONCE = SlowLine()
TIMEOUT_S = 30


class Client:
    """An NBD client that sends what a test says."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def connect(cls, socket: Path) -> Self:
        return cls(*await asyncio.open_unix_connection(socket))

    async def expect(self, size: int) -> bytes:
        return await asyncio.wait_for(self._reader.readexactly(size), TIMEOUT_S)

    async def has_been_left(self) -> bool:
        try:
            return await asyncio.wait_for(self._reader.read(), TIMEOUT_S) == b""
        except ConnectionResetError:  # it left without reading all that was sent
            return True

    def leave(self) -> None:
        self._writer.close()

    def send(self, message: bytes) -> None:
        self._writer.write(message)

    async def go(self) -> bytes:
        """Negotiate; returns what the server says of the disc."""
        assert await self.expect(18) == b"NBDMAGICIHAVEOPT\x00\x03"
        self.send(b"\x00\x00\x00\x03")
        self.send(b"IHAVEOPT" + struct.pack(">II", 7, 6) + bytes(6))
        return await self.expect(20 + 12 + 20)

    def ask(self, offset: int, size: int, *, handle: int = 1, command: int = 0) -> None:
        self.send(struct.pack(">IHHQQI", 0x25609513, 0, command, handle, offset, size))

    async def answer(self, size: int) -> tuple[int, int, bytes]:
        magic, error, handle = struct.unpack(">IIQ", await self.expect(16))
        assert magic == 0x67446698
        return error, handle, b"" if error else await self.expect(size)


@asynccontextmanager
async def serving(tmp_path: Path, line: SlowLine) -> AsyncIterator[Client]:
    disc = tmp_path / "disc.iso"
    disc.write_bytes(DISC)
    async with serve_disc(disc, line, tmp_path / "socket"):
        client = await Client.connect(tmp_path / "socket")
        try:
            yield client
        finally:
            client.leave()


async def test_the_disc_is_told_with_its_size_and_that_it_is_read_only(tmp_path: Path):
    async with serving(tmp_path, AT_ONCE) as client:
        said = await client.go()

    info = b"\x00\x03\xe8\x89\x04\x55\x65\xa9" + struct.pack(">III", 7, 3, 12)
    ack = b"\x00\x03\xe8\x89\x04\x55\x65\xa9" + struct.pack(">III", 7, 1, 0)
    assert said == info + struct.pack(">HQH", 0, len(DISC), 3) + ack


async def test_reads_bring_the_disc_from_any_offset_in_order(tmp_path: Path):
    async with serving(tmp_path, AT_ONCE) as client:
        await client.go()
        client.ask(0, 16, handle=7)
        client.ask(len(DISC) - 100, 100, handle=8)

        assert await client.answer(16) == (0, 7, DISC[:16])
        assert await client.answer(100) == (0, 8, DISC[-100:])


async def test_an_option_that_is_not_known_is_refused_and_the_next_taken(tmp_path: Path):
    structured_replies = 8
    async with serving(tmp_path, AT_ONCE) as client:
        await client.expect(18)
        client.send(b"\x00\x00\x00\x03IHAVEOPT" + struct.pack(">II", structured_replies, 0))

        reply = await client.expect(20)
        client.send(b"IHAVEOPT" + struct.pack(">II", 7, 6) + bytes(6))

        assert struct.unpack(">8xIII", reply) == (structured_replies, 0x8000_0001, 0)
        await client.expect(52)


@pytest.mark.parametrize(
    ("offset", "size", "command"),
    [(len(DISC) - 1, 2, 0), (0, (32 << 20) + 1, 0), (0, 0, 1)],
    ids=["past the end", "too large", "a write"],
)
async def test_what_cannot_be_had_is_an_error_and_the_connection_goes_on(
    tmp_path: Path, offset: int, size: int, command: int
):
    async with serving(tmp_path, AT_ONCE) as client:
        await client.go()
        client.ask(offset, size, command=command)
        client.ask(0, 4, handle=2)

        assert await client.answer(0) == (22, 1, b"")
        assert await client.answer(4) == (0, 2, DISC[:4])


@pytest.mark.parametrize("message", [bytes(28), struct.pack(">IHHQQI", 0x25609513, 0, 2, 0, 0, 0)])
async def test_nonsense_and_goodbye_end_the_connection(tmp_path: Path, message: bytes):
    async with serving(tmp_path, AT_ONCE) as client:
        await client.go()
        client.send(message)

        assert await client.has_been_left()


@pytest.mark.parametrize(
    "line", [SlowLine(latency_s=0.02), SlowLine(bytes_per_s=50_000), SlowLine(0.01, 100_000)]
)
async def test_reads_that_are_asked_for_at_once_still_take_the_line_one_by_one(
    tmp_path: Path, line: SlowLine
):
    loop = asyncio.get_running_loop()
    async with serving(tmp_path, line) as client:
        await client.go()
        asked_at = loop.time()
        for number in range(10):
            client.ask(1000 * number, 1000)
        for number in range(10):
            _, _, data = await client.answer(1000)
            assert data == DISC[1000 * number : 1000 * (number + 1)]
            assert loop.time() - asked_at >= line.seconds(1000 * (number + 1), reads=number + 1)


async def test_a_client_in_the_middle_of_a_read_does_not_hold_up_the_end(tmp_path: Path):
    disc = tmp_path / "disc.iso"
    disc.write_bytes(DISC)
    async with asyncio.timeout(TIMEOUT_S):
        async with serve_disc(disc, SlowLine(latency_s=3600), tmp_path / "socket"):
            client = await Client.connect(tmp_path / "socket")
            await client.go()
            client.ask(0, 1)

        assert await client.has_been_left()
    client.leave()
