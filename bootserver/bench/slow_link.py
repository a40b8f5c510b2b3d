"""A disc at the end of a slow line: an NBD server in which every READ takes its time.

A redirected CD (IDE-R, USB-R) carries one SCSI command at a time: the READ goes there, its data
comes back, and only then the drive asks for more. A READ therefore takes

    latency + size / rate

and READs never overlap. QEMU's own throttling cannot say that: its limits on operations and on
bytes wait side by side, so that the longer one counts instead of the sum. NBD is how QEMU reads
from elsewhere; the server here speaks as much of the protocol as QEMU's client asks for.

Negotiation (NBD protocol, "Fixed newstyle negotiation"), big-endian throughout:

| who    | offset | size | meaning                                       |
|--------|--------|------|-----------------------------------------------|
| server | 0      | 8    | "NBDMAGIC"                                    |
|        | 8      | 8    | "IHAVEOPT"                                    |
|        | 16     | 2    | flags: 1 fixed newstyle, 2 no zeroes          |
| client | 0      | 4    | flags, the same                               |
| client | 0      | 16   | option: "IHAVEOPT", its number, size of data  |
| server | 0      | 20   | reply: magic, option, kind, size of data      |

Transmission:

| who    | offset | size | meaning                                       |
|--------|--------|------|-----------------------------------------------|
| client | 0      | 28   | magic, flags, command, handle, offset, size   |
| server | 0      | 16   | magic, error, handle; then the data of a READ |
"""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

_GREETING = b"NBDMAGIC" + b"IHAVEOPT" + struct.pack(">H", 0b11)
_OPTION = struct.Struct(">8sII")
_OPTION_REPLY = struct.Struct(">QIII")
_OPTION_REPLY_MAGIC = 0x3E889045565A9
_REQUEST = struct.Struct(">IHHQQI")
_REQUEST_MAGIC = 0x25609513
_REPLY = struct.Struct(">IIQ")
_REPLY_MAGIC = 0x67446698

_OPT_ABORT, _OPT_GO = 2, 7
_REP_ACK, _REP_INFO, _REP_ERR_UNSUP = 1, 3, 0x8000_0001
_INFO_EXPORT = 0
_HAS_FLAGS_READ_ONLY = 0b11
_CMD_READ, _CMD_DISC = 0, 2
_EINVAL = 22

_OPTION_LIMIT_BYTES = 4096
_READ_LIMIT_BYTES = 32 << 20  # what the protocol lets clients ask for


@dataclass(frozen=True, slots=True)
class Line:
    """How slow a line is; `bytes_per_s` 0 stands for no limit."""

    latency_s: float = 0.0
    bytes_per_s: int = 0

    def seconds(self, size_bytes: int, reads: int = 1) -> float:
        """How long that many READs take that bring `size_bytes` together."""
        carrying_s = size_bytes / self.bytes_per_s if self.bytes_per_s else 0.0
        return reads * self.latency_s + carrying_s


@asynccontextmanager
async def serve_disc(disc: Path, line: Line, socket: Path) -> AsyncIterator[None]:
    """The disc is served at the Unix socket `socket` for as long as the block lasts."""
    disc_fd = os.open(disc, os.O_RDONLY | os.O_CLOEXEC)
    clients: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clients.add(asyncio.create_task(_serve_client(reader, writer, disc_fd, line)))

    try:
        server = await asyncio.start_unix_server(connected, socket)
        try:
            yield
        finally:
            server.close()
            for client in clients:
                client.cancel()
            await asyncio.gather(*clients, return_exceptions=True)
    finally:
        os.close(disc_fd)


async def _serve_client(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, disc_fd: int, line: Line
) -> None:
    try:
        size_bytes = os.fstat(disc_fd).st_size
        if await _negotiate(reader, writer, size_bytes):
            await _transmit(reader, writer, disc_fd, size_bytes, line)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # QEMU has ended
    finally:
        writer.close()


async def _negotiate(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, size_bytes: int
) -> bool:
    """Answer options until the client wants the disc; False if it leaves instead."""
    writer.write(_GREETING)
    await reader.readexactly(4)
    while True:
        magic, option, length = _OPTION.unpack(await reader.readexactly(_OPTION.size))
        if magic != b"IHAVEOPT" or length > _OPTION_LIMIT_BYTES:
            return False
        await reader.readexactly(length)
        if option == _OPT_GO:
            info = struct.pack(">HQH", _INFO_EXPORT, size_bytes, _HAS_FLAGS_READ_ONLY)
            writer.write(_option_reply(option, _REP_INFO, info) + _option_reply(option, _REP_ACK))
            return True
        writer.write(_option_reply(option, _REP_ACK if option == _OPT_ABORT else _REP_ERR_UNSUP))
        if option == _OPT_ABORT:
            return False


async def _transmit(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    disc_fd: int,
    size_bytes: int,
    line: Line,
) -> None:
    """Answer READs one after the other, each when the line would have brought its data."""
    loop = asyncio.get_running_loop()
    while True:
        request = await reader.readexactly(_REQUEST.size)
        magic, _, command, handle, offset, size = _REQUEST.unpack(request)
        if magic != _REQUEST_MAGIC or command == _CMD_DISC:
            return
        if command != _CMD_READ or size > _READ_LIMIT_BYTES or offset + size > size_bytes:
            writer.write(_REPLY.pack(_REPLY_MAGIC, _EINVAL, handle))
            continue
        arrives_at = loop.time() + line.seconds(size)
        data = os.pread(disc_fd, size, offset)
        await asyncio.sleep(arrives_at - loop.time())
        writer.write(_REPLY.pack(_REPLY_MAGIC, 0, handle) + data)
        await writer.drain()


def _option_reply(option: int, kind: int, data: bytes = b"") -> bytes:
    return _OPTION_REPLY.pack(_OPTION_REPLY_MAGIC, option, kind, len(data)) + data
