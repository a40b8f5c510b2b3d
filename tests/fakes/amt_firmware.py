"""The firmware's side of redirection as a script: bytes written by hand, on a real socket.

It knows as little as the tests allow: what it awaits and what it sends stands in the tests. (The
emulated device that a machine boots from is bootserver/bench.)
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

PATIENCE_S = 20.0  # for a console that does not send what it should

START_STORAGE = bytes.fromhex("10 00 0000 49444552")
START_OK = bytes.fromhex("11 00 0000 01 00 0b 02 57010000 02 aabb")
METHODS = bytes.fromhex("14 00 0000 00 03000000 01 03 04")
REALM = b"Digest:0123456789ABCDEF0123456789ABCDEF"
NONCE = b"n0nce-of-the-device"
CHALLENGE = bytes.fromhex("14 01 0000 04 41000000") + (
    b"\x27" + REALM + b"\x13" + NONCE + b"\x04auth"
)
WELCOME = bytes.fromhex("14 00 0000 04 00000000")
END = bytes.fromhex("12 00 0000")


def open_reply(read_buffer_bytes: int = 8192) -> bytes:
    """OPEN_SESSION_REPLY of firmware 11.8."""
    return (
        bytes.fromhex("41 0000 00 00000000 01 02 0b 08 00000000")
        + read_buffer_bytes.to_bytes(2, "little")
        + bytes.fromhex("0010 00 00 000000 57010000 00")
    )


def command(sequence: int, cdb: str, *, device: int = 0xB0, dma: bool = True) -> bytes:
    """COMMAND_WRITTEN: a SCSI command, in hex, for the CD or, by device 0xA0, the floppy."""
    return (
        bytes.fromhex("50 0000 00")
        + sequence.to_bytes(4, "little")
        + bytes([0x08, int(dma), 0, 0, 0xFE, 0xFF, device, 0xA0])
        + bytes.fromhex(cdb).ljust(12, b"\0")
    )


def reset(sequence: int) -> bytes:
    return bytes.fromhex("46 0000 00") + sequence.to_bytes(4, "little") + b"\x01"


# DATA_TO_HOST with its only piece, by DMA; sequence, size, device twice
_DATA = "54 0000 03 {} 00 {} 00 b4 00 02 00 0000 {} 58 85 00 03 000000 {} 50 000000 000000"
# COMMAND_END_RESPONSE; sequence, device, and of a refusal also key << 4 before, sense after
_GOOD = "51 0000 02 {} 00 0000 00 0000000000000000 c5 00 03 000000 {} 50 00 00 00"
_CHECK = "51 0000 02 {} 00 0000 00 0000000000000000 87 {:02x} 03 000000 {} 51 {}"


def expected_answer(
    sequence: int, answer: bytes | tuple[int, int, int], *, device: str = "b0"
) -> bytes:
    """What the console is to say to a command by DMA: data, GOOD (no data), or sense."""
    number = sequence.to_bytes(4, "little").hex()
    if isinstance(answer, tuple):
        return bytes.fromhex(_CHECK.format(number, answer[0] << 4, device, bytes(answer).hex()))
    if not answer:
        return bytes.fromhex(_GOOD.format(number, device))
    size = len(answer).to_bytes(2, "little").hex()
    return bytes.fromhex(_DATA.format(number, size, device, device)) + answer


class Firmware:
    """One console's connection, as a script has it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *messages: bytes) -> None:
        """Sends them in one segment, as far as it depends on us."""
        self.writer.write(b"".join(messages))
        await self.writer.drain()

    async def read(self, size_bytes: int) -> bytes:
        """Exactly so much of what the console says."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.readexactly(size_bytes)

    async def expect(self, *messages: bytes) -> None:
        """The console says exactly this."""
        for message in messages:
            assert (await self.read(len(message))).hex(" ") == message.hex(" ")

    async def read_data(self, size_bytes: int, *, sequence: int, piece_bytes: int = 8192) -> bytes:
        """The data of an answer in as many messages as that takes, the first one so numbered."""
        data = b""
        while len(data) < size_bytes:
            head = await self.read(34)
            length = int.from_bytes(head[9:11], "little")
            last = len(data) + length == size_bytes
            assert (head[0], head[3]) == (0x54, 3 if last else 1), head.hex(" ")
            assert int.from_bytes(head[4:8], "little") == sequence
            assert length == min(piece_bytes, size_bytes - len(data))
            data += await self.read(length)
            sequence += 1
        return data

    async def nothing_more(self) -> None:
        """The console ends the connection, and says nothing before."""
        async with asyncio.timeout(PATIENCE_S):
            assert (await self.reader.read()).hex(" ") == ""

    async def log_in(self, start: bytes = START_STORAGE) -> None:
        """The whole login, with any password; the verdict is left to the script."""
        await self.expect(start)
        await self.send(START_OK)
        await self.expect(bytes.fromhex("13 00 0000 00 00000000"))
        await self.send(METHODS)
        await self.expect(
            bytes.fromhex("13 00 0000 04 20000000"),
            b"\x05admin\x00\x00\x13/RedirectionService\x00\x00\x00\x00",
        )
        await self.send(CHALLENGE)
        # 5 + 39 + 19 + 19 + 32 + 8 + 32 + 4, and 8 lengths: 166
        await self.expect(bytes.fromhex("13 00 0000 04 a6000000"))
        await self.read(166)

    async def attach(self, read_buffer_bytes: int = 8192, *also: bytes) -> None:
        """All until the drives are switched on for the next reset; the next number is 2."""
        await self.log_in()
        await self.send(WELCOME)
        await self.expect(bytes.fromhex("40 0000 00 00000000 3075 0000 204e 01000000"))
        await self.send(open_reply(read_buffer_bytes))
        await self.expect(bytes.fromhex("48 0000 00 01000000 03 09000000"))
        await self.send(bytes.fromhex("49 0000 00 01000000 03 01000000"), *also)

    async def detach(self, sequence: int, console_sequence: int) -> None:
        """The orderly end: CLOSE, CLOSE_REPLY, EndRedirectionSession."""
        await self.expect(bytes.fromhex("42 0000 00") + console_sequence.to_bytes(4, "little"))
        await self.send(bytes.fromhex("43 0000 00") + sequence.to_bytes(4, "little"))
        await self.expect(END)
        await self.nothing_more()


@asynccontextmanager
async def firmware(
    script: Callable[[Firmware], Awaitable[None]], *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """The port where the script serves one console; its mistakes are raised at the end."""
    running: list[asyncio.Task[None]] = []

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(Firmware(reader, writer))
        finally:
            writer.transport.abort()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running.append(asyncio.create_task(run(reader, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
        assert running, "no console came"
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*running)
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
