"""Intel AMT's storage redirection (IDE-R, USB-R): its messages, and the console's session.

Theory of operation. After the login the console sends OPEN_SESSION. The firmware answers with the
size of its buffer, and from then on it speaks first. It shows the drives to the host when it is
asked to (`switch_on`); it accepts or rejects that. Then it forwards the host's SCSI commands, one
COMMAND_WRITTEN each. The console answers them in order. DATA_TO_HOST carries data, in pieces that
fit the buffer; the last piece ends the command. COMMAND_END_RESPONSE ends one without data, good or
with sense. The drives are read-only, so the host writes nothing.

RESET_OCCURRED may come at any time. It voids the commands before it. Its answer follows at once,
and nothing more of those commands goes out.

The session keeps the commands without an answer, and the next number of each direction. It fails
with `Failure.REJECTED` where the firmware refuses to open, or to show the drives. It fails with
`Failure.PROTOCOL` at a gap in the firmware's numbers, and at an answer to no question. It does so
at an impossible buffer size, and at more open commands than firmware can have.

Layouts as consoles in the field have them on the wire; offsets stand at each message.
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass

from bootserver.amt.errors import Failure, RedirectionError
from bootserver.amt.redirection.protocol import (
    MessageShape,
    Ping,
    Service,
    ServiceEnd,
    ServiceMessage,
    SignOfLife,
    bare,
    header,
    sequence_of,
)
from bootserver.amt.redirection.scsi import DriveKind, Sense
from bootserver.amt.redirection.session import Session, SessionEvent, SessionState

CHUNK_BYTES_MIN, CHUNK_BYTES_MAX = 512, 8192  # what a firmware may say of its buffers
# Firmware waits for the answer before it sends the next, so this is for a broken one.
COMMANDS_MAX = 16
RX_TIMEOUT_MS = 30_000  # the firmware ends a session whose console is silent for longer
HEARTBEAT_MS = 20_000

_SET_FEATURES = 3  # kind of a DISABLE_ENABLE_FEATURES: switch the drives
_ON, _ON_RESET, _NOW = 0x01, 0x08, 0x18  # its value: bit 0 to show them, bits 3 and 4 from when on
_ACCEPTED = 1  # the value of its answer
_LAST, _DMA = 0x02, 0x01  # attributes


# ---- What the firmware says


@dataclass(frozen=True, slots=True)
class OpenReply(ServiceMessage):
    """The answer to OPEN_SESSION: versions, and how much the firmware takes at a time."""

    status: int
    protocol: tuple[int, int]
    firmware: tuple[int, int]
    read_buffer_bytes: int  # at most so much data in one DATA_TO_HOST
    write_buffer_bytes: int
    transfer_protocol: int
    oem_iana: int


@dataclass(frozen=True, slots=True)
class ResetOccurred(ServiceMessage):
    """The host was reset: commands that were under way are void."""

    mask: int


@dataclass(frozen=True, slots=True)
class FeaturesReply(ServiceMessage):
    """The answer to DISABLE_ENABLE_FEATURES."""

    kind: int
    value: int


@dataclass(frozen=True, slots=True)
class ErrorOccurred(ServiceMessage):
    """The firmware complains; worth a line in the log, and nothing else."""

    code: int


@dataclass(frozen=True, slots=True)
class CommandWritten(ServiceMessage):
    """The host gave a drive a command: the task file and the packet."""

    features: int
    sector_count: int
    sector_number: int
    byte_count_limit: int
    device_register: int
    ata_command: int  # 0xA0 PACKET; the firmware keeps all others to itself
    cdb: bytes

    @property
    def drive(self) -> DriveKind:
        """Which drive is meant: bit 4 of the device register."""
        return DriveKind.CD if self.device_register & 0x10 else DriveKind.FLOPPY

    @property
    def dma(self) -> bool:
        """True if the host wants the data by DMA."""
        return bool(self.features & 1)


# OPEN_SESSION_REPLY
#   1   not 0: refused             8  protocol major, minor     10 firmware major, minor
#   16  read buffer (2)            18 write buffer (2)          21 transfer protocol, 0
#   25  OEM number (4)             29 length of OEM data, which follows
def _open_reply(raw: bytes) -> OpenReply:
    read_buffer_bytes, write_buffer_bytes = struct.unpack_from("<HH", raw, 16)
    return OpenReply(
        sequence=sequence_of(raw),
        status=raw[1],
        protocol=(raw[8], raw[9]),
        firmware=(raw[10], raw[11]),
        read_buffer_bytes=read_buffer_bytes,
        write_buffer_bytes=write_buffer_bytes,
        transfer_protocol=raw[21],
        oem_iana=int.from_bytes(raw[25:29], "little"),
    )


# RESET_OCCURRED: 8 mask          ERROR_OCCURRED, 11 bytes: 8 code
# FEATURES_REPLY: 8 kind, 9 value (4)
# COMMAND_WRITTEN
#   8   device control        9  features, bit 0 DMA      10 sector count    11 sector number
#   12  byte count limit (2)  14 device, bit 4 CD         15 ATA command     16 CDB (12)
_SHAPES = {
    0x41: MessageShape(30, _open_reply, 29, 1, 255),
    0x43: bare(ServiceEnd),
    0x44: bare(Ping),
    0x45: bare(SignOfLife),  # a pong
    0x46: MessageShape(9, lambda raw: ResetOccurred(sequence_of(raw), raw[8])),
    0x49: MessageShape(
        13, lambda raw: FeaturesReply(sequence_of(raw), *struct.unpack_from("<BI", raw, 8))
    ),
    0x4A: MessageShape(11, lambda raw: ErrorOccurred(sequence_of(raw), raw[8])),
    0x4B: bare(SignOfLife),  # a heartbeat
    0x50: MessageShape(
        28,
        lambda raw: CommandWritten(sequence_of(raw), *struct.unpack_from("<BBBHBB12s", raw, 9)),
    ),
}


# ---- What the console says

_DATA_TO_HOST = struct.Struct("<B2xBIxHxBxBxHBBBxB3xBB6x")
_COMMAND_END = struct.Struct("<B2xBI12xBBB3xBBBBB")


# COMMAND_END_RESPONSE, attributes "last"
#   20  which of the registers count: 0xC5 good, 0x87 with the error register
#   21  error register, sense key << 4        22  interrupt reason 3, status phase
#   26  device        27  status: 0x50 good, 0x51 error        28  sense key, ASC, ASCQ
def _command_end(sequence: int, drive: DriveKind, sense: Sense | None) -> bytes:
    if sense is None:
        return _COMMAND_END.pack(0x51, _LAST, sequence, 0xC5, 0, 3, drive, 0x50, 0, 0, 0)
    error = (sense.key << 4) & 0xFF
    return _COMMAND_END.pack(0x51, _LAST, sequence, 0x87, error, 3, drive, 0x51, *sense)


# DATA_TO_HOST; the registers are set before the data (12 to 19) and, by the last one, after (20 on)
#   9   data length (2)     12  which count: 0xB5 PIO, 0xB4 DMA     14  reason 2, data to host
#   16  byte count (2), 0 if DMA      18  device      19  status 0x58
#   20  which count: 0x85, or 0 before the last       22  reason 3, status phase
#   26  device              27  status 0x50           34  data
def _data_to_host(
    sequence: int, drive: DriveKind, data: bytes | memoryview, *, dma: bool, last: bool
) -> bytes:
    size = len(data)
    head = _DATA_TO_HOST.pack(
        0x54,
        (_LAST if last else 0) | (_DMA if dma else 0),
        sequence,
        size,
        0xB4 if dma else 0xB5,
        2,
        0 if dma else size,
        drive,
        0x58,
        *((0x85, 3, drive, 0x50) if last else (0, 0, 0, 0)),
    )
    return b"".join((head, data))


class StorageSession(Session):
    """One IDE-R session.

    Its events: OpenReply (time for `switch_on`), FeaturesReply (the drives are shown),
    CommandWritten (to be answered), ResetOccurred, ErrorOccurred, Closed, Failed.
    """

    service = Service.STORAGE
    shapes = _SHAPES
    alive_command, pong_command, close_command = 0x44, 0x45, 0x42

    def __init__(self, user: str, password: str, *, cnonce: str) -> None:
        super().__init__(user, password, cnonce=cnonce)
        self._received = 0
        self._chunk_bytes = CHUNK_BYTES_MIN
        self._commands: deque[CommandWritten] = deque()  # not yet answered
        self._is_switching = False

    # DISABLE_ENABLE_FEATURES: 8 kind, 9 value (4)
    def switch_on(self, *, now: bool = False) -> None:
        """Shows the drives to the host at its next reset; FeaturesReply or `Failed` will tell.

        `now` does not wait for a reset. That ends the session if Linux is running.
        """
        self._require("switching drives", SessionState.OPEN)
        self._is_switching = True
        value = (_NOW if now else _ON_RESET) | _ON
        self._out.append(header(0x48, self._next()) + struct.pack("<BI", _SET_FEATURES, value))

    def send_data(
        self, command: CommandWritten, data: bytes | memoryview, *, last: bool = True
    ) -> bool:
        """Answers a command with data; False if a reset or the end has made it void.

        A long answer may come in parts, so that it need not be in memory at once.
        """
        if not data:
            raise RedirectionError("a command without data is answered by end_command")
        if not self._is_current(command):
            return False
        view = memoryview(data)
        for at in range(0, len(view), self._chunk_bytes):
            chunk = view[at : at + self._chunk_bytes]
            final = last and at + len(chunk) == len(view)
            self._out.append(
                _data_to_host(self._next(), command.drive, chunk, dma=command.dma, last=final)
            )
        if last:
            self._commands.popleft()
        return True

    def end_command(self, command: CommandWritten, sense: Sense | None = None) -> bool:
        """Ends a command: good, or with sense; False if a reset or the end has made it void."""
        if not self._is_current(command):
            return False
        self._out.append(_command_end(self._next(), command.drive, sense))
        self._commands.popleft()
        return True

    def _is_current(self, command: CommandWritten) -> bool:
        if command not in self._commands:
            return False
        if command != self._commands[0]:
            raise RedirectionError("commands are answered in the order in which they came")
        return True

    # OPEN_SESSION: 8 rx_timeout (2), 10 tx_timeout (2), 12 heartbeat (2), all in ms;
    # 14 version 1 (4)
    def _open(self) -> bytes:
        times = struct.pack("<HHHI", RX_TIMEOUT_MS, 0, HEARTBEAT_MS, 1)
        return header(0x40, self._next()) + times

    def _clear(self) -> None:
        self._commands.clear()

    def _check(self, message: ServiceMessage) -> None:
        if self.state is SessionState.OPENING:
            match message:
                case OpenReply(sequence=0):
                    self._received = 0  # the signs of life before it may count, or not
                case OpenReply():
                    pass
                case Ping() | SignOfLife() | ResetOccurred():
                    self._received += 1
                    return
                case _:
                    raise self._out_of_order(message)
        if message.sequence != self._received:
            raise RedirectionError(
                f"the device's message has the number {message.sequence}, "
                f"where {self._received} was due"
            )
        self._received = (self._received + 1) & 0xFFFFFFFF

    def _served(self, message: ServiceMessage) -> SessionEvent | None:
        match message:
            case OpenReply() if self.state is SessionState.OPENING:
                self._opened(message)
            case ErrorOccurred():
                pass
            case _ if self.state is SessionState.CLOSING:
                return None  # sent before the firmware saw our CLOSE
            case ResetOccurred():
                self._clear()
                self._send(0x47)
            case FeaturesReply(kind=kind, value=value):
                if kind != _SET_FEATURES:
                    return None  # of what is supported: we do not ask
                self._switched(value)
            case CommandWritten():
                if len(self._commands) == COMMANDS_MAX:
                    raise RedirectionError(
                        f"the device sent {COMMANDS_MAX + 1} commands without waiting"
                    )
                self._commands.append(message)
            case _:
                raise self._out_of_order(message)
        return message

    def _opened(self, reply: OpenReply) -> None:
        if reply.status != 0 or reply.transfer_protocol != 0:
            raise RedirectionError(
                f"the device would not open storage redirection: status {reply.status}, "
                f"transfer protocol {reply.transfer_protocol}",
                failure=Failure.REJECTED,
            )
        if (
            not CHUNK_BYTES_MIN <= reply.read_buffer_bytes <= CHUNK_BYTES_MAX
            or reply.write_buffer_bytes > CHUNK_BYTES_MAX
        ):
            raise RedirectionError(
                f"the device claims buffers of {reply.read_buffer_bytes:,} and "
                f"{reply.write_buffer_bytes:,} bytes; it can have "
                f"{CHUNK_BYTES_MIN:,} to {CHUNK_BYTES_MAX:,}"
            )
        self._chunk_bytes = reply.read_buffer_bytes
        self.state = SessionState.OPEN

    def _switched(self, value: int) -> None:
        if not self._is_switching:
            raise RedirectionError("the device answers a switching of drives that was not asked")
        if value != _ACCEPTED:
            raise RedirectionError(
                f"the device refused to switch its redirected drives (answer {value})",
                hint="let them appear at the next reset, and see to the user's consent",
                failure=Failure.REJECTED,
            )
        self._is_switching = False
