"""IDE-R as the firmware speaks it: commands to the console's drives, and their answers checked.

Pure: one `IderHost` per session turns CDBs into messages and the console's messages into data or
sense. The layouts' offsets stand at each function; masks and registers are of the ATAPI task file.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from bootserver.bench.fake_amt import redirection
from bootserver.bench.fake_amt.redirection import ViolationError

_CD, _FLOPPY = 0xB0, 0xA0
_LAST, _DMA = 0x02, 0x01


class ConsoleDrive(IntEnum):
    """The console's two drives, by their device register."""

    CD = _CD
    FLOPPY = _FLOPPY


@dataclass(frozen=True, slots=True)
class DriveAnswer:
    """What a command brought: data, or sense when `sense` is not all zero."""

    data: bytes = b""
    sense: tuple[int, int, int] = (0, 0, 0)

    @property
    def is_good(self) -> bool:
        """Whether the drive did it."""
        return self.sense == (0, 0, 0)


@dataclass(slots=True)
class _Command:
    drive: ConsoleDrive
    data: bytearray


class IderHost:
    """One session's IDE-R, from the firmware's side; `lenient` forgives registers and numbers."""

    def __init__(self, *, readbfr: int, writebfr: int, dma: bool, lenient: bool) -> None:
        self._readbfr, self._writebfr = readbfr, writebfr
        self._dma = dma
        self._lenient = lenient
        self._sent = 0
        self._received = 0
        self._command: _Command | None = None

    def count(self, message: bytes) -> None:
        """Check the header of a message from the console; raises ViolationError."""
        sequence = int.from_bytes(message[4:8], "little")
        if self._lenient:
            return
        if sequence != self._received:
            raise ViolationError(f"sequence number {sequence}, expected {self._received}")
        self._received += 1
        if message[1:3] != b"\0\0":
            raise ViolationError("bytes 1 and 2 of a header are 0")
        if message[0] not in (redirection.COMMAND_END, redirection.DATA_TO_HOST) and message[3]:
            raise ViolationError(f"attributes 0x{message[3]:02X} in message 0x{message[0]:02X}")

    # 8 rx_timeout (2), 10 tx_timeout (2), 12 heartbeat (2), in ms; 14 version 1 (4)
    def opening(self, message: bytes) -> tuple[int, int]:
        """What OPEN_SESSION asks for: rx_timeout and heartbeat, in ms."""
        rx_ms, _, heartbeat_ms, version = struct.unpack_from("<HHHI", message, 8)
        if self._lenient:
            return max(rx_ms, 10000), heartbeat_ms
        if version != 1:
            raise ViolationError(f"IDE-R version {version}")
        if rx_ms < 10000 or 0 < heartbeat_ms < 100:
            raise ViolationError(f"rx_timeout {rx_ms} ms, heartbeat {heartbeat_ms} ms")
        return rx_ms, heartbeat_ms

    # 8 protocol, 10 firmware version, 16 readbfr (2), 18 writebfr (2), 21 proto 0, 25 IANA (4),
    # 29 OEM bytes
    def open_reply(self) -> bytes:
        """OPEN_SESSION_REPLY."""
        body = struct.pack("<BBBB4xHH5xIB", 1, 0, 1, 0, self._readbfr, self._writebfr, 343, 0)
        return self.header(0x41) + body

    # 8 kind, 9 value (4)
    def features_reply(self, kind: int, value: int) -> bytes:
        """FEATURES_REPLY."""
        return self.header(0x49) + struct.pack("<BI", kind, value)

    # 8 reset mask
    def reset_occurred(self) -> bytes:
        """RESET_OCCURRED; what the console still sends for the command before is void."""
        self._command = None
        return self.header(0x46) + b"\x03"

    # 0 id, 3 attributes, 4 sequence number (4)
    def header(self, kind: int, attributes: int = 0) -> bytes:
        """The first eight bytes of our next message, which is the whole of some."""
        header = struct.pack("<BxxBI", kind, attributes, self._sent)
        self._sent += 1
        return header

    # 8 device control, 9 features (bit 0 DMA), 10 sector count, 11 sector number,
    # 12 byte count limit (2), 14 device, 15 ATA command PACKET, 16 CDB (12)
    def command(self, drive: ConsoleDrive, cdb: bytes) -> bytes:
        """COMMAND_WRITTEN for that CDB, which is filled up to 12 bytes."""
        self._command = _Command(drive, bytearray())
        byte_count = 0 if self._dma else 0xFFFE
        registers = struct.pack("<BBBBHBB", 0, int(self._dma), 0, 0, byte_count, drive, 0xA0)
        return self.header(0x50) + registers + cdb.ljust(12, b"\0")

    def answered(self, message: bytes) -> DriveAnswer | None:
        """The answer once a message completes it; raises ViolationError."""
        command = self._command
        if command is None:
            raise ViolationError(f"message 0x{message[0]:02X}, but no command is open")
        if message[0] == redirection.GET_DATA:
            raise ViolationError("data wanted from the host, which only reads")
        if message[0] == redirection.COMMAND_END:
            if command.data:
                raise ViolationError("a command's end after data")
            answer = DriveAnswer(sense=self._checked_end(message, command.drive))
        else:
            is_last = self._checked_data(message, command.drive)
            command.data += message[34:]
            if not is_last:
                return None
            answer = DriveAnswer(bytes(command.data))
        self._command = None
        return answer

    # 20 output mask, 21 error, 22 interrupt reason, 26 device, 27 status, 28 sense (3)
    def _checked_end(self, message: bytes, drive: ConsoleDrive) -> tuple[int, int, int]:
        key, code, qualifier = message[28:31]
        if self._lenient:
            return key, code, qualifier
        is_good = message[27] == 0x50
        masks = (0xC5, 0x85) if is_good else (0x87,)
        expected = bytes([message[20], 0 if is_good else key << 4, 3, 0, 0, 0, drive])
        if (
            message[3] != _LAST
            or any(message[8:20])
            or message[20] not in masks
            or message[20:27] != expected
            or message[27] not in (0x50, 0x51)
            or is_good != (key == 0)
            or (is_good and (code or qualifier))
        ):
            raise ViolationError(f"a command's end with wrong registers: {message.hex(' ')}")
        return key, code, qualifier

    # 9 length (2), 12 input mask, 14 interrupt reason, 16 byte count (2), 18 device, 19 status,
    # 20 output mask, 22 interrupt reason, 26 device, 27 status, 28 sense (3), 34 data
    def _checked_data(self, message: bytes, drive: ConsoleDrive) -> bool:
        length = int.from_bytes(message[9:11], "little")
        is_last = bool(message[3] & _LAST)
        if length > self._readbfr:
            raise ViolationError(f"{length} bytes at once, with room for {self._readbfr}")
        if self._lenient:
            return is_last
        mask, byte_count, dma = (0xB4, 0, _DMA) if self._dma else (0xB5, length, 0)
        registers = struct.pack("<BHBBBBBHBB", 0, length, 0, mask, 0, 2, 0, byte_count, drive, 0x58)
        output = bytes([0x85, 0, 3, 0, 0, 0, drive, 0x50]) if is_last else bytes(8)
        if (
            message[3] != (_LAST if is_last else 0) + dma
            or message[8:20] != registers
            or message[20:28] != output
            or any(message[28:34])
        ):
            raise ViolationError(f"data with wrong registers: {message[:34].hex(' ')}")
        return is_last
