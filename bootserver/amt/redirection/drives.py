"""Drives of ours in a remote machine: AMT's storage redirection, over a real connection.

    async with open_cd(stub) as cd, redirect(host, user, password, cd) as drives:
        ...  # now have the machine boot from its redirected CD
        await drives.wait_until(lambda stats: stats.reads > 0)

The drives are there while the block lasts, or until the session ends: `wait_closed` tells.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from bootserver import clock
from bootserver.amt.redirection import scsi
from bootserver.amt.redirection.ider import (
    CommandWritten,
    ErrorOccurred,
    FeaturesReply,
    OpenReply,
    ResetOccurred,
    StorageSession,
)
from bootserver.amt.redirection.link import Patience, RedirectionLink, session_error
from bootserver.amt.redirection.media import Medium
from bootserver.amt.redirection.scsi import BlockRange, DriveKind, ScsiAnswer, ScsiDrive
from bootserver.amt.redirection.session import Closed, Failed, SessionEvent
from bootserver.amt.tls import Tls
from bootserver.files.threads import in_thread

# A READ goes out in one write up to this. A longer one goes in several, and the device may pace us.
PIECE_BYTES = 256 << 10
_PACKET = 0xA0  # the ATA command that has a SCSI command in it

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class DriveStats:
    """What the host has done with the drives so far; a READ counts once it has been answered."""

    commands: int = 0
    reads: int = 0
    read_bytes: int = 0
    failed_reads: int = 0  # of an image that could not be read
    resets: int = 0
    ejects: int = 0  # asked for: the medium stays in
    device_errors: int = 0  # as the firmware reports them
    first_read_at: datetime | None = None
    last_read_at: datetime | None = None


class RedirectedDrives:
    """A CD drive and a floppy drive that a machine has by redirection."""

    def __init__(
        self,
        host: str,
        session: StorageSession,
        media: dict[DriveKind, Medium | None],
        *,
        now: bool,
        patience: Patience,
    ) -> None:
        self.stats = DriveStats()
        self._session = session
        self._link = RedirectionLink(host, session, self._take, patience)
        self._link.ended.add_done_callback(self._ended)
        self._media = media
        self._now = now
        self._drives = {kind: self._fresh(kind) for kind in DriveKind}
        self._commands: deque[CommandWritten] = deque()
        self._commanded = asyncio.Event()
        self._waiting: dict[asyncio.Future[None], Callable[[DriveStats], bool]] = {}
        self._switched: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._opened: OpenReply | None = None

    @property
    def firmware(self) -> OpenReply:
        """What the device said of itself: versions, and `read_buffer_bytes`."""
        assert self._opened is not None, "there are no drives before the session is open"
        return self._opened

    async def wait_until(self, reached: Callable[[DriveStats], bool]) -> DriveStats:
        """The stats once they are so. Raises RedirectionError if the session ends before."""
        if not reached(self.stats):
            if self._link.ended.done():
                raise session_error(self._link.ended.result())
            waiting = asyncio.get_running_loop().create_future()
            self._waiting[waiting] = reached
            try:
                await waiting
            finally:
                self._waiting.pop(waiting, None)
        return self.stats

    async def wait_closed(self) -> Closed:
        """How the session has ended, here or there. Raises RedirectionError if it broke."""
        how = await asyncio.shield(self._link.ended)
        if isinstance(how, Failed):
            raise session_error(how)
        return how

    async def detach(self) -> None:
        """Takes the drives away from the machine and ends the session; a second call does nothing.

        The host sees them go at once: not before it has what it wants.
        """
        await self._link.close()

    async def attach(self, port: int | None, tls: Tls | None) -> None:
        """Returns when the device has accepted to show the drives. Raises as `redirect` does."""
        await self._link.connect(port, tls)
        await self._link.answer(self._switched)
        log.info(
            "amt.redirection.attached",
            host=self._link.host,
            firmware=".".join(map(str, self.firmware.firmware)),
            read_buffer_bytes=self.firmware.read_buffer_bytes,
            write_buffer_bytes=self.firmware.write_buffer_bytes,
        )

    # ---- what the session tells

    def _take(self, event: SessionEvent) -> None:
        match event:
            case OpenReply():
                self._opened = event
                if not self._session.ended:  # by what came in the same segment
                    self._session.switch_on(now=self._now)
                    self._link.flush()
            case FeaturesReply():
                if not self._switched.done():
                    self._switched.set_result(None)
            case CommandWritten():
                self._commands.append(event)
                self._commanded.set()
            case ResetOccurred(mask=mask):
                self._commands.clear()
                self._drives = {kind: self._fresh(kind) for kind in DriveKind}
                self._count(resets=self.stats.resets + 1)
                log.info("amt.redirection.reset", host=self._link.host, mask=mask)
            case ErrorOccurred(code=code):
                self._count(device_errors=self.stats.device_errors + 1)
                log.warning("amt.redirection.device_error", host=self._link.host, code=code)

    def _fresh(self, kind: DriveKind) -> ScsiDrive:
        """The drive as a host finds it that looks at it for the first time."""
        medium = self._media[kind]
        return ScsiDrive(kind, medium.size_blocks if medium else None, new_medium=True)

    def _count(self, **changed: int | datetime) -> None:
        self.stats = replace(self.stats, **changed)  # type: ignore[arg-type]
        for waiting, reached in list(self._waiting.items()):
            if not waiting.done() and reached(self.stats):
                waiting.set_result(None)

    def _ended(self, ended: asyncio.Future[Closed | Failed]) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(session_error(ended.result()))

    # ---- answering

    async def answer_all(self) -> None:
        """Answers the host's commands for as long as it is let."""
        try:
            while True:
                await self._commanded.wait()
                while self._commands:
                    await self._answer(self._commands.popleft())
                self._commanded.clear()
        except Exception:
            log.exception("amt.redirection.failed", host=self._link.host)
            self._link.give_up("this console has a fault")  # rather than leave a host waiting

    async def _answer(self, command: CommandWritten) -> None:
        drive = self._drives[command.drive]
        if command.ata_command == _PACKET:
            answer = scsi.answer(drive, scsi.parse_command(command.cdb))
        else:
            answer = ScsiAnswer(sense=scsi.UNKNOWN_COMMAND)
        self._drives[command.drive] = drive.after(answer)
        self._count(
            commands=self.stats.commands + 1,
            ejects=self.stats.ejects + (answer.event is scsi.DriveEvent.EJECT_ASKED),
        )
        if answer.blocks is not None:
            await self._send_blocks(command, answer.blocks)
        elif answer.data:
            self._session.send_data(command, answer.data)
        else:
            self._session.end_command(command, answer.sense)
        self._link.flush()

    async def _send_blocks(self, command: CommandWritten, blocks: BlockRange) -> None:
        medium = self._media[command.drive]
        assert medium is not None, "an empty drive gives no blocks"
        block_bytes = scsi.BLOCK_BYTES[command.drive]
        piece_blocks = PIECE_BYTES // block_bytes
        end = blocks.lba + blocks.count
        for lba in range(blocks.lba, end, piece_blocks):
            count = min(piece_blocks, end - lba)
            await self._link.writable()
            try:
                data = medium.read_at_once(lba, count)
                if data is None:
                    data = await in_thread(medium.read, lba, count)
            except OSError as err:
                self._count(failed_reads=self.stats.failed_reads + 1)
                log.error("amt.redirection.unreadable", lba=lba, blocks=count, error=str(err))
                self._session.end_command(command, scsi.UNRECOVERED_READ_ERROR)
                return
            if not self._session.send_data(command, data, last=lba + count == end):
                return  # a reset, or the end, while we read or waited
            self._link.flush()
        now = clock.now()
        self._count(
            reads=self.stats.reads + 1,
            read_bytes=self.stats.read_bytes + blocks.count * block_bytes,
            first_read_at=self.stats.first_read_at or now,
            last_read_at=now,
        )


@asynccontextmanager
async def redirect(
    host: str,
    user: str,
    password: str,
    cd: Medium | None,
    floppy: Medium | None = None,
    *,
    port: int | None = None,
    tls: Tls | None = None,
    now: bool = False,
    patience: Patience | None = None,
) -> AsyncIterator[RedirectedDrives]:
    """The machine will have the drives from its next reset on, or has them `now`.

    Raises AmtUnreachableError or one of its kinds, AmtCertificateError, or RedirectionError, whose
    `failure` says why there is no session. Leaving the block detaches; it raises nothing, even if
    the session broke long before.
    """
    drives = RedirectedDrives(
        host,
        StorageSession(user, password, cnonce=secrets.token_hex(16)),
        {DriveKind.CD: cd, DriveKind.FLOPPY: floppy},
        now=now,
        patience=patience or Patience(),
    )
    answering = asyncio.create_task(drives.answer_all())
    try:
        await drives.attach(port, tls)
        yield drives
    finally:
        await drives.detach()
        answering.cancel()
        await asyncio.wait({answering})
