"""A console's drives, as the host sees them for as long as the console's session lasts.

Theory of operation. The console opens IDE-R and switches the drives on, at once or at the next
reset. From then on the host speaks first, through `scsi`. It sends one command at a time, which the
console answers within a minute. A reset voids the command that is open; the next one waits until
the console has noted the reset. Heartbeats and pings go out by themselves.

The session keeps whether the drives are on, the open command, and the reset that is not noted yet.
A console that breaks the protocol gets its connection cut (ViolationError), and one that is silent
for `rx_timeout` too (TimeoutError). The host loses its drives with the session (NoDriveError).
"""

from __future__ import annotations

import asyncio
from enum import Enum, auto

import structlog

from bootserver.bench.fake_amt import redirection
from bootserver.bench.fake_amt.ider import ConsoleDrive, DriveAnswer, IderHost
from bootserver.bench.fake_amt.link import ConsoleLink
from bootserver.bench.fake_amt.redirection import ViolationError
from bootserver.bench.fake_amt.spec import RedirectionManners, Segments
from bootserver.errors import ServiceError

log = structlog.get_logger()

_ANSWER_S = 60  # how long a drive may take for a command, or a console for noting a reset
_CLOSE_S = 10
_READ_10 = 0x28
# Values of a features message: bit 0 the drives are there, bits 3 and 4 from when on.
_ON, _AT_RESET, _GRACEFULLY, _NOW = 0x01, 0x08, 0x10, 0x18


class NoDriveError(ServiceError):
    """The host has no redirected drive, or has lost it."""


class HostResetError(ServiceError):
    """The host was reset before the drive had answered."""


class DriveSwitch(Enum):
    """Whether the host sees the console's drives."""

    OFF = auto()
    AT_RESET = auto()
    ON = auto()


class IderSession:
    """One IDE-R session.

    `reads` counts the READ(10)s that the console was asked for, `pongs` the pings and `resets` the
    resets that it answered.
    """

    def __init__(
        self, link: ConsoleLink, manners: RedirectionManners, *, reads_before: int = 0
    ) -> None:
        self.drives = DriveSwitch.OFF
        self.reads = 0
        self._reads_before = reads_before
        self.pongs = 0
        self.resets = 0
        self._link = link
        self._manners = manners
        self._host = IderHost(
            readbfr=manners.readbfr,
            writebfr=manners.writebfr,
            dma=manners.dma,
            lenient=manners.lenient,
        )
        self._one_at_a_time = asyncio.Lock()
        self._answer: asyncio.Future[DriveAnswer] | None = None
        self._reset: asyncio.Future[None] | None = None
        self._rx_timeout_s = manners.rx_timeout_s or 30.0

    async def run(self, login_reply: bytes) -> None:
        """Serve the session from the end of the login to its own.

        Raises ViolationError or TimeoutError when the console is to blame for the end.
        """
        first = self._host.header(0x4B) if self._manners.segments is Segments.JOINED else b""
        await self._link.send(login_reply + first)
        beating: list[asyncio.Task[None]] = []
        try:
            heartbeat_s = await self._open()
            beating = [
                asyncio.create_task(self._repeat(seconds, kind))
                for seconds, kind in ((heartbeat_s, 0x4B), (self._manners.ping_s, 0x44))
                if seconds
            ]
            await self._receive()
        finally:
            for task in beating:
                task.cancel()
            await asyncio.gather(*beating, return_exceptions=True)
            self._lose()

    async def scsi(self, cdb: bytes, drive: ConsoleDrive = ConsoleDrive.CD) -> DriveAnswer:
        """What the drive answers; raises NoDriveError, or HostResetError when a reset comes first.

        The host has one command open at a time: others wait.
        """
        async with self._one_at_a_time:
            if self._reset:
                await asyncio.shield(self._reset)
            if self.drives is not DriveSwitch.ON:
                raise NoDriveError("the console's drives are not switched on")
            is_read = cdb[0] == _READ_10
            self.reads += is_read
            self._answer = asyncio.get_running_loop().create_future()
            try:
                command = self._host.command(drive, cdb)
                if is_read and self._nth_read == self._manners.reset_in_read:
                    await self._begin_reset(command)
                else:
                    await self._link.send(command)
                async with asyncio.timeout(_ANSWER_S):
                    answer = await self._answer
            except TimeoutError:
                self._link.cut()
                raise NoDriveError(f"no answer to {cdb.hex(' ')} in {_ANSWER_S} s") from None
            except ConnectionError as err:
                raise NoDriveError("the console has left") from err
            finally:
                self._answer = None
            if is_read and self._nth_read == self._manners.cut_after_reads:
                self._link.cut()
            return answer

    @property
    def _nth_read(self) -> int:
        return self._reads_before + self.reads

    async def reset(self) -> None:
        """Tell the console that the host is reset, and wait until it has noted that."""
        if not self._reset:
            await self._begin_reset(b"")
        assert self._reset is not None
        async with asyncio.timeout(_ANSWER_S):
            await asyncio.shield(self._reset)

    async def close(self) -> None:
        """End the session from our side."""
        await self._link.send(self._host.header(0x43))
        self._link.cut()

    async def _begin_reset(self, before: bytes) -> None:
        self._reset = asyncio.get_running_loop().create_future()
        self._reset.add_done_callback(lambda done: done.cancelled() or done.exception())
        if self._answer and not self._answer.done():
            self._answer.set_exception(HostResetError("the host was reset"))
        await self._link.send(before + self._host.reset_occurred())

    async def _open(self) -> float:
        """Take OPEN_SESSION; how often we are to show that we live."""
        message = await self._link.next(self._rx_timeout_s)
        if message is None:
            return 0.0
        if message[0] != redirection.OPEN:
            raise ViolationError(f"message 0x{message[0]:02X} before IDE-R is open")
        self._host.count(message)
        rx_timeout_ms, heartbeat_ms = self._host.opening(message)
        self._rx_timeout_s = self._manners.rx_timeout_s or rx_timeout_ms / 1000
        await self._link.send(self._host.open_reply())
        wished = self._manners.heartbeat_s
        return heartbeat_ms / 1000 if wished is None else wished

    async def _receive(self) -> None:
        while message := await self._link.next(self._rx_timeout_s):
            if message[0] == redirection.END_SESSION:
                return
            self._host.count(message)
            match message[0]:
                case redirection.PING:
                    await self._link.send(self._host.header(0x45))
                case redirection.PONG:
                    self.pongs += 1
                case redirection.HEARTBEAT:
                    pass
                case redirection.FEATURES:
                    await self._features(message)
                case redirection.RESET_NOTED:
                    self._noted()
                case redirection.CLOSE:
                    await self._closed()
                    return
                case redirection.COMMAND_END | redirection.GET_DATA | redirection.DATA_TO_HOST:
                    self._answered(message)
                case _:
                    raise ViolationError(f"message 0x{message[0]:02X} during IDE-R")

    def _answered(self, message: bytes) -> None:
        if self._reset:
            return  # void: the command went with the reset
        answer = self._host.answered(message)
        if answer and self._answer and not self._answer.done():
            self._answer.set_result(answer)

    def _noted(self) -> None:
        if not self._reset:
            raise ViolationError("a reset noted that was none")
        self._reset.set_result(None)
        self._reset = None
        self.resets += 1
        if self.drives is DriveSwitch.AT_RESET:
            self._switch(DriveSwitch.ON)

    async def _features(self, message: bytes) -> None:
        kind = message[8]
        if kind == redirection.ASK_FEATURES:
            reply = 0x01
        elif kind == 2:
            reply = 0x02 if self.drives is DriveSwitch.ON else 0
        elif kind == 3:
            reply = self._set_features(int.from_bytes(message[9:13], "little"))
        else:
            raise ViolationError(f"features message of kind {kind}")
        await self._link.send(self._host.features_reply(kind, reply))

    def _set_features(self, value: int) -> int:
        when = value & ~_ON
        if when not in (_AT_RESET, _GRACEFULLY, _NOW):
            raise ViolationError(f"features value 0x{value:X}")
        is_busy = when == _GRACEFULLY and self._answer is not None
        if self._manners.rejects_features or is_busy:
            return 0
        if not value & _ON:
            self._switch(DriveSwitch.OFF)
        else:
            self._switch(DriveSwitch.AT_RESET if when == _AT_RESET else DriveSwitch.ON)
        return 1

    async def _closed(self) -> None:
        self._switch(DriveSwitch.OFF)
        await self._link.send(self._host.header(0x43))
        message = await self._link.next(_CLOSE_S)
        if message is not None and message[0] != redirection.END_SESSION:
            raise ViolationError(f"message 0x{message[0]:02X} after IDE-R was closed")

    def _switch(self, drives: DriveSwitch) -> None:
        self.drives = drives
        log.info("fake_amt.drives", drives=drives.name.lower())

    def _lose(self) -> None:
        for waiting in (self._answer, self._reset):
            if waiting and not waiting.done():
                waiting.set_exception(NoDriveError("the console has left"))
        self._switch(DriveSwitch.OFF)

    async def _repeat(self, seconds: float, kind: int) -> None:
        while True:
            await asyncio.sleep(seconds)
            await self._link.send(self._host.header(kind))
