"""The console's drives as the host uses them, through whichever session is open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bootserver.bench.fake_amt.ider import ConsoleDrive, DriveAnswer
from bootserver.bench.fake_amt.ider_session import (
    HostResetError,
    IderSession,
    NoDriveError,
)
from bootserver.bench.slow_link import SlowLine

_BLOCKS_AT_ONCE = 32  # 64 KiB, as BIOSes ask for at most


class RedirectedDrive:
    """The redirected CD; to QEMU it is an export (bootserver.bench.nbd)."""

    block_bytes = 2048

    def __init__(self, session: Callable[[], IderSession | None], line: SlowLine) -> None:
        self._session = session
        self._line = line
        self.read_bytes = 0  # by QEMU's machine, all its boots together

    async def scsi(self, cdb: bytes, drive: ConsoleDrive = ConsoleDrive.CD) -> DriveAnswer:
        """What the drive answers; raises NoDriveError, HostResetError."""
        session = self._session()
        if not session:
            raise NoDriveError("no storage session is open")
        return await session.scsi(cdb, drive)

    async def read_blocks(self, lba: int, count: int) -> bytes:
        """Blocks of the CD; raises NoDriveError when it does not give them.

        After a reset in the middle the host asks again, as a BIOS that starts over does.
        """
        cdb = b"\x28\0" + lba.to_bytes(4, "big") + b"\0" + count.to_bytes(2, "big") + b"\0"
        try:
            answer = await self.scsi(cdb)
        except HostResetError:
            answer = await self.scsi(cdb)
        if not answer.is_good or len(answer.data) != count * self.block_bytes:
            size = len(answer.data)
            raise NoDriveError(f"{count} blocks from {lba}: {size} bytes, sense {answer.sense}")
        return answer.data

    async def capacity(self) -> int:
        """How many blocks the CD has; raises NoDriveError when there is none in the drive."""
        answer = await self.scsi(b"\x25" + bytes(9))
        size = answer.data[4:8]
        if not answer.is_good or int.from_bytes(size, "big") != self.block_bytes:
            raise NoDriveError(f"READ CAPACITY of the CD: {answer}")
        return int.from_bytes(answer.data[:4], "big") + 1

    async def size_bytes(self) -> int:
        """The CD's size; raises OSError (Export)."""
        try:
            return self.block_bytes * await self.capacity()
        except (NoDriveError, HostResetError) as err:
            raise OSError(err.message) from err

    async def read(self, offset: int, size: int) -> bytes:
        """Bytes of the CD, which QEMU reads by whole blocks, when the line would have brought them.

        Raises OSError (Export).
        """
        loop = asyncio.get_running_loop()
        arrives_at = loop.time() + self._line.seconds(size)
        lba, count = offset // self.block_bytes, size // self.block_bytes
        try:
            pieces = [
                await self.read_blocks(lba + done, min(_BLOCKS_AT_ONCE, count - done))
                for done in range(0, count, _BLOCKS_AT_ONCE)
            ]
        except (NoDriveError, HostResetError) as err:
            raise OSError(err.message) from err
        await asyncio.sleep(arrives_at - loop.time())
        self.read_bytes += size
        return b"".join(pieces)
