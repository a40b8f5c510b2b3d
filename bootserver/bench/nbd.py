"""An NBD server for whatever can be read by offset: how QEMU's drives read from elsewhere.

It speaks as much of the protocol as QEMU's client asks for.

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
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

_GREETING = b"NBDMAGIC" + b"IHAVEOPT" + struct.pack(">H", 0b11)
_OPTION = struct.Struct(">8sII")
_OPTION_REPLY = struct.Struct(">QIII")
_OPTION_REPLY_MAGIC = 0x3E889045565A9
_REQUEST = struct.Struct(">IHHQQI")
_REQUEST_MAGIC = 0x25609513
_REPLY = struct.Struct(">IIQ")
_REPLY_MAGIC = 0x67446698

_OPT_ABORT, _OPT_GO = 2, 7
_REP_ACK, _REP_INFO, _REP_ERR_UNSUP, _REP_ERR_UNKNOWN = 1, 3, 0x8000_0001, 0x8000_0006
_INFO_EXPORT, _INFO_BLOCK_SIZE = 0, 3
_HAS_FLAGS_READ_ONLY = 0b11
_CMD_READ, _CMD_DISC = 0, 2
_EIO, _EINVAL = 5, 22

_OPTION_LIMIT_BYTES = 4096
_READ_LIMIT_BYTES = 32 << 20  # what the protocol lets clients ask for


class Export(Protocol):
    """What a server shows. Both methods may raise OSError: it is not there, or cannot be read.

    `block_bytes` is what clients must read in multiples of, 1 when that is all the same.
    """

    block_bytes: int

    async def size_bytes(self) -> int:
        """How large it is, now that a client wants it."""

    async def read(self, offset: int, size: int) -> bytes:
        """Exactly those bytes, which lie within it."""


@asynccontextmanager
async def serve_nbd(export: Export, socket: Path) -> AsyncIterator[None]:
    """The export is served at the Unix socket `socket` for as long as the block lasts.

    Each client's READs are answered one after the other.
    """
    clients: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = asyncio.create_task(_serve_client(reader, writer, export))
        clients.add(client)
        client.add_done_callback(clients.discard)

    server = await asyncio.start_unix_server(connected, socket)
    try:
        yield
    finally:
        server.close()
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)


async def _serve_client(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, export: Export
) -> None:
    try:
        size_bytes = await _negotiate(reader, writer, export)
        if size_bytes is not None:
            await _transmit(reader, writer, export, size_bytes)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # QEMU has ended
    finally:
        writer.close()


async def _negotiate(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, export: Export
) -> int | None:
    """Answer options until the client wants the export; its size, None if it leaves instead."""
    writer.write(_GREETING)
    await reader.readexactly(4)
    while True:
        magic, option, length = _OPTION.unpack(await reader.readexactly(_OPTION.size))
        if magic != b"IHAVEOPT" or length > _OPTION_LIMIT_BYTES:
            return None
        await reader.readexactly(length)
        if option == _OPT_GO:
            try:
                size_bytes = await export.size_bytes()
            except OSError:
                writer.write(_option_reply(option, _REP_ERR_UNKNOWN))
                continue
            for info in _infos(export, size_bytes):
                writer.write(_option_reply(option, _REP_INFO, info))
            writer.write(_option_reply(option, _REP_ACK))
            return size_bytes
        writer.write(_option_reply(option, _REP_ACK if option == _OPT_ABORT else _REP_ERR_UNSUP))
        if option == _OPT_ABORT:
            return None


def _infos(export: Export, size_bytes: int) -> list[bytes]:
    infos = [struct.pack(">HQH", _INFO_EXPORT, size_bytes, _HAS_FLAGS_READ_ONLY)]
    if export.block_bytes > 1:
        least, most = export.block_bytes, _READ_LIMIT_BYTES
        infos.append(struct.pack(">HIII", _INFO_BLOCK_SIZE, least, max(least, 4096), most))
    return infos


async def _transmit(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, export: Export, size_bytes: int
) -> None:
    while True:
        request = await reader.readexactly(_REQUEST.size)
        magic, _, command, handle, offset, size = _REQUEST.unpack(request)
        if magic != _REQUEST_MAGIC or command == _CMD_DISC:
            return
        if command != _CMD_READ or size > _READ_LIMIT_BYTES or offset + size > size_bytes:
            writer.write(_REPLY.pack(_REPLY_MAGIC, _EINVAL, handle))
            continue
        try:
            data = await export.read(offset, size)
        except OSError:
            writer.write(_REPLY.pack(_REPLY_MAGIC, _EIO, handle))
            continue
        writer.write(_REPLY.pack(_REPLY_MAGIC, 0, handle) + data)
        await writer.drain()


def _option_reply(option: int, kind: int, data: bytes = b"") -> bytes:
    return _OPTION_REPLY.pack(_OPTION_REPLY_MAGIC, option, kind, len(data)) + data
