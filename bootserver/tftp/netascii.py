"""A file as netascii: lines end in CR LF, a CR is CR NUL (RFC 764, RFC 1350 §1).

The client translates back, so that a loader arrives unchanged. tftp-hpa's client does so by
default: of plain octets it would lose a byte at every CR LF.
"""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import Executor

from bootserver.tftp.exchange import READ_AHEAD_BYTES, TftpFile
from bootserver.tftp.packets import ErrorCode, TftpRefusal

_ON_WIRE = {b"\n": b"\r\n", b"\r": b"\r\0"}


class NetasciiFile:
    """A small file, translated as a whole: where a block begins depends on all before it."""

    def __init__(self, file: TftpFile, data: bytes) -> None:
        self._file = file
        self._data = data
        self._unreported_bytes = file.size_bytes
        self.size_bytes = len(data)

    def read(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]

    def progress(self, sent_bytes: int) -> None:
        reported = min(sent_bytes, self._unreported_bytes)
        self._unreported_bytes -= reported
        self._file.progress(reported)

    def close(self, complete: bool) -> None:
        self._file.close(complete)


async def as_netascii(file: TftpFile, threads: Executor) -> NetasciiFile:
    """What to send of `file` instead. Raises TftpRefusal if it does not fit into memory."""
    if file.size_bytes > READ_AHEAD_BYTES:
        raise TftpRefusal(ErrorCode.ILLEGAL_OPERATION, "too large for netascii: ask for octet mode")

    def translated() -> bytes:
        data = file.read(0, file.size_bytes)
        return re.sub(rb"[\r\n]", lambda match: _ON_WIRE[match[0]], data)

    reading = asyncio.get_running_loop().run_in_executor(threads, translated)
    try:
        return NetasciiFile(file, await asyncio.shield(reading))
    except asyncio.CancelledError:
        await asyncio.wait([reading])  # the file must not be closed under the thread
        raise
