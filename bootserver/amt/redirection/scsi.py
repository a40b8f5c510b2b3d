"""What a redirected drive answers to a SCSI command: a CD with an image in it, or a floppy.

AMT firmware plays the IDE or USB device to its host. It answers INQUIRY and REQUEST SENSE by
itself, and forwards the other commands to us, 12 bytes each. Nothing of the redirection protocol is
known here, and nothing is kept or read. `answer` tells what to send, or which blocks.
`ScsiDrive.after` is the drive that the next command finds.

Commands are those of MMC-5 and SPC-3 (for the floppy, SFF-8070i). Answers have the bytes that
consoles in the field give, which firmware and hosts are known to take. Those consoles say GOOD to
what they have not done; ours has the standard's sense data. A command that is not in COMMANDS is
one that hosts do without.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from typing import NamedTuple

PACKET_BYTES = 12
READ_BLOCKS_MAX = 0xFFFF  # all that READ(10) can ask for; READ(12) could ask for 8 TiB
FLOPPY_BLOCKS = 2880  # 1.44 MB


class DriveKind(IntEnum):
    """The two drives that a redirection session has, as ATA's device register names them."""

    FLOPPY = 0xA0
    CD = 0xB0


BLOCK_BYTES: Mapping[DriveKind, int] = {DriveKind.CD: 2048, DriveKind.FLOPPY: 512}


class DriveEvent(StrEnum):
    """What a command has done besides being answered."""

    NEW_MEDIUM_TOLD = "new_medium_told"
    EJECT_ASKED = "eject_asked"


@dataclass(frozen=True, slots=True)
class ScsiDrive:
    """A drive as one command finds it; one that has just been attached or reset has news.

    `size_blocks` is that of the medium in it, None if there is none.
    `new_medium` is told by GET EVENT STATUS NOTIFICATION. TEST UNIT READY says nothing of it: the
    standard wants it to, but the most used console, MeshCentral's, never does.
    """

    kind: DriveKind
    size_blocks: int | None = None
    new_medium: bool = False

    def after(self, answer: ScsiAnswer) -> ScsiDrive:
        """The drive that the next command finds. An eject is asked for; it is not done here."""
        is_told = answer.event is DriveEvent.NEW_MEDIUM_TOLD
        return replace(self, new_medium=False) if is_told else self


@dataclass(frozen=True, slots=True)
class ScsiCommand:
    """One command packet. All numbers in it are big-endian."""

    packet: bytes

    def number(self, offset: int, size_bytes: int) -> int:
        return int.from_bytes(self.packet[offset : offset + size_bytes], "big")


class Sense(NamedTuple):
    """Why a command was refused: sense key, additional sense code and its qualifier."""

    key: int
    code: int
    qualifier: int = 0


# SPC-3 §4.5.6
NO_MEDIUM = Sense(0x2, 0x3A)
UNRECOVERED_READ_ERROR = Sense(0x3, 0x11)
UNKNOWN_COMMAND = Sense(0x5, 0x20)
PAST_THE_END = Sense(0x5, 0x21)
INVALID_FIELD = Sense(0x5, 0x24)
WRITE_PROTECTED = Sense(0x7, 0x27)


@dataclass(frozen=True, slots=True)
class BlockRange:
    """Blocks of a medium: `count` of them, from `lba` on, and all within it."""

    lba: int
    count: int


@dataclass(frozen=True, slots=True)
class ScsiAnswer:
    """GOOD, with data, blocks of the medium, or nothing; or CHECK CONDITION, with sense alone.

    Blocks that turn out to be unreadable make it CHECK CONDITION with UNRECOVERED_READ_ERROR.
    """

    data: bytes = b""
    blocks: BlockRange | None = None
    sense: Sense | None = None
    event: DriveEvent | None = None


GOOD = ScsiAnswer()


def parse_command(packet: bytes) -> ScsiCommand:
    """The command in a packet; one that was cut short reads as if zeros followed."""
    return ScsiCommand(packet[:PACKET_BYTES].ljust(PACKET_BYTES, b"\0"))


def answer(drive: ScsiDrive, command: ScsiCommand) -> ScsiAnswer:
    """What the drive says. Never raises, and never gives more than READ_BLOCKS_MAX blocks."""
    drives, respond = COMMANDS.get(command.packet[0], (frozenset(), _good))
    if drive.kind not in drives:
        return ScsiAnswer(sense=UNKNOWN_COMMAND)
    return respond(drive, command)


def _good(drive: ScsiDrive, command: ScsiCommand) -> ScsiAnswer:
    return GOOD


def _refuse_write(drive: ScsiDrive, command: ScsiCommand) -> ScsiAnswer:
    return ScsiAnswer(sense=WRITE_PROTECTED)


def _test_unit_ready(drive: ScsiDrive, command: ScsiCommand) -> ScsiAnswer:
    if drive.size_blocks is None:
        return ScsiAnswer(sense=NO_MEDIUM)
    return GOOD


def _start_stop(drive: ScsiDrive, command: ScsiCommand) -> ScsiAnswer:
    load_eject, start = command.packet[4] & 2, command.packet[4] & 1
    return ScsiAnswer(event=DriveEvent.EJECT_ASKED) if load_eject and not start else GOOD


# ---- reading


def _read_6(drive: ScsiDrive, command: ScsiCommand) -> ScsiAnswer:
    lba = command.number(1, 3) & 0x1FFFFF
    return _read(drive, lba, command.packet[4] or 256)


def _read_10(drive: ScsiDrive, command: ScsiCommand) -> ScsiAnswer:
    return _read(drive, command.number(2, 4), command.number(7, 2))


def _read_12(drive: ScsiDrive, command: ScsiCommand) -> ScsiAnswer:
    return _read(drive, command.number(2, 4), command.number(6, 4))


def _read(drive: ScsiDrive, lba: int, count: int) -> ScsiAnswer:
    if drive.size_blocks is None:
        return ScsiAnswer(sense=NO_MEDIUM)
    if count == 0:
        return GOOD  # MMC-5, READ(10): no error
    if lba + count > drive.size_blocks:
        return ScsiAnswer(sense=PAST_THE_END)
    if count > READ_BLOCKS_MAX:
        return ScsiAnswer(sense=INVALID_FIELD)
    return ScsiAnswer(blocks=BlockRange(lba, count))


def _read_capacity(drive: ScsiDrive, command: ScsiCommand) -> ScsiAnswer:
    if drive.size_blocks is None:
        return ScsiAnswer(sense=NO_MEDIUM)
    last_lba = min(max(drive.size_blocks - 1, 0), 0xFFFFFFFF)
    return ScsiAnswer(struct.pack(">II", last_lba, BLOCK_BYTES[drive.kind]))


def _read_format_capacities(drive: ScsiDrive, command: ScsiCommand) -> ScsiAnswer:
    # One formatted medium of 1.44 MB, even for a CD: consoles in the field say so of both drives.
    data = struct.pack(">II4s", 8, FLOPPY_BLOCKS, bytes.fromhex("02 00 02 00"))
    return ScsiAnswer(data[: command.number(7, 2)])


def _read_toc(drive: ScsiDrive, command: ScsiCommand) -> ScsiAnswer:
    """One session with one data track: formats 0 (tracks) and 1 (sessions).

    offset  size
    0       2     length of what follows
    2       2     first and last track (or session)
    4       8     a descriptor: 00, 14 (data, no copying), track, 00, address (4)
    12      8     format 0: the same of the lead-out, track AA
    """
    if drive.size_blocks is None:
        return ScsiAnswer(sense=NO_MEDIUM)
    # Hosts that were written to SFF-8020i have the format in byte 9.
    toc_format = command.packet[2] & 0x0F or command.packet[9] >> 6
    first_track = command.packet[6]
    address = _msf if command.packet[1] & 0x02 else _lba
    start = struct.pack(">4B", 0, 0x14, 1, 0) + address(0)
    lead_out = struct.pack(">4B", 0, 0x14, 0xAA, 0) + address(drive.size_blocks)
    match toc_format, first_track:
        case 0, (0 | 1):
            descriptors = start + lead_out
        case 0, 0xAA:
            descriptors = lead_out
        case 1, _:
            descriptors = start
        case _:
            return ScsiAnswer(sense=INVALID_FIELD)
    toc = struct.pack(">HBB", len(descriptors) + 2, 1, 1) + descriptors
    return ScsiAnswer(toc[: command.number(7, 2)])


def _lba(block: int) -> bytes:
    return struct.pack(">I", min(block, 0xFFFFFFFF))


def _msf(block: int) -> bytes:
    """Minute, second and frame: 75 frames a second, from 2 s on; what is past 255 min stays there.

    Hosts read by LBA from discs of such a size.
    """
    seconds, frame = divmod(min(block + 150, 256 * 60 * 75 - 1), 75)
    return bytes([0, *divmod(seconds, 60), frame])


# ---- what the drive is

# Number, version and flags (02 persistent, 01 current), length of the rest, the rest.
_FEATURES: Mapping[int, bytes] = {
    0x0000: bytes.fromhex("0000 03 04 0008 01 00"),  # profile list: CD-ROM
    0x0001: bytes.fromhex("0001 03 04 00000002"),  # core, over ATAPI
    0x0002: bytes.fromhex("0002 03 04 00000000"),  # morphing
    0x0003: bytes.fromhex("0003 03 04 29000002"),  # removable: a tray, with eject and lock
    0x0010: bytes.fromhex("0010 01 08 00000800 0001 00 00"),  # random readable, 2048 bytes
    0x001E: bytes.fromhex("001E 03 00"),  # CD read
    0x0100: bytes.fromhex("0100 03 00"),  # power management
    0x0105: bytes.fromhex("0105 03 00"),  # timeout
}
_PROFILE_CD_ROM = 0x0008


def _get_configuration(drive: ScsiDrive, command: ScsiCommand) -> ScsiAnswer:
    first = command.number(2, 2)
    match command.packet[1] & 3:
        case 0 | 1:  # all, and all current: ours are always current
            chosen = [feature for number, feature in _FEATURES.items() if number >= first]
        case 2:
            chosen = [feature for number, feature in _FEATURES.items() if number == first]
        case _:
            return ScsiAnswer(sense=INVALID_FIELD)
    features = b"".join(chosen)
    header = struct.pack(">IHH", len(features) + 4, 0, _PROFILE_CD_ROM)
    return ScsiAnswer((header + features)[: command.number(7, 2)])


_MEDIA_CLASS, _MEDIA_CLASS_BIT = 4, 1 << 4
_NO_EVENT_AVAILABLE = 0x80
_NEW_MEDIA = 2


def _get_event_status(drive: ScsiDrive, command: ScsiCommand) -> ScsiAnswer:
    """Of all classes of events, those of the medium; others have none."""
    polled, classes, size = command.packet[1] & 1, command.packet[4], command.number(7, 2)
    if not polled:
        return ScsiAnswer(sense=INVALID_FIELD)
    if not classes & _MEDIA_CLASS_BIT:
        return ScsiAnswer(struct.pack(">HBB", 2, _NO_EVENT_AVAILABLE, _MEDIA_CLASS_BIT)[:size])
    news = drive.new_medium and drive.size_blocks is not None
    code = _NEW_MEDIA if news else 0
    present = 0 if drive.size_blocks is None else 2
    event = struct.pack(">HBB4B", 6, _MEDIA_CLASS, _MEDIA_CLASS_BIT, code, present, 0, 0)
    code_is_sent = news and size >= 5  # it is byte 4
    return ScsiAnswer(event[:size], event=DriveEvent.NEW_MEDIUM_TOLD if code_is_sent else None)


def _get_performance(drive: ScsiDrive, command: ScsiCommand) -> ScsiAnswer:
    return ScsiAnswer(bytes.fromhex("00 00 00 04 02 00 00 00"))  # no descriptors


_ALL_PAGES = 0x3F

_CD_ERROR_RECOVERY = bytes.fromhex("01 06 00 FF 00 00 00 00")
_CD_CAPABILITIES = bytes.fromhex("2A 18 00 00 00 00 20 00 00 00 00 00 00 80") + bytes(12)
# The one of "all pages" differs in byte 6, on the wire of every console in the field.
_CD_CAPABILITIES_OF_ALL = bytes.fromhex("2A 18 00 00 00 00 02 00 00 00 00 00 00 80") + bytes(12)
_FLOPPY_ERROR_RECOVERY = bytes.fromhex("01 0A 00 01 00 00 00 00 02 00 00 00")
_FLOPPY_GEOMETRY = (  # 1.2 Mb/s, 2 heads, 18 sectors of 512 bytes, 80 cylinders; motor off, 720/min
    bytes.fromhex("05 1E 04 B0 02 12 02 00 00 50") + bytes(10) + b"\x28" + bytes(7)
) + bytes.fromhex("02 D0 00 00")

_MODE_PAGES: Mapping[DriveKind, Mapping[int, bytes]] = {
    DriveKind.CD: {
        0x01: _CD_ERROR_RECOVERY,
        0x1A: bytes.fromhex("1A 0A") + bytes(10),  # power condition
        0x1D: bytes.fromhex("1D 0A") + bytes(10),  # time-out and protect
        0x2A: _CD_CAPABILITIES,
        _ALL_PAGES: _CD_ERROR_RECOVERY + _CD_CAPABILITIES_OF_ALL,
    },
    DriveKind.FLOPPY: {
        0x01: _FLOPPY_ERROR_RECOVERY,
        0x05: _FLOPPY_GEOMETRY,
        _ALL_PAGES: _FLOPPY_ERROR_RECOVERY + _FLOPPY_GEOMETRY,
    },
}
_MEDIUM_TYPE: Mapping[DriveKind, int] = {DriveKind.CD: 0x01, DriveKind.FLOPPY: 0x24}
_MODE_HEADER_6: Mapping[DriveKind, bytes] = {
    DriveKind.CD: bytes.fromhex("00 05 80 00"),
    DriveKind.FLOPPY: bytes.fromhex("00 00 80 00"),
}
_READ_ONLY = 0x80


def _mode_sense_6(drive: ScsiDrive, command: ScsiCommand) -> ScsiAnswer:
    page, subpage = command.packet[2] & 0x3F, command.packet[3]
    if (page, subpage) != (_ALL_PAGES, 0):
        return ScsiAnswer(sense=INVALID_FIELD)
    return ScsiAnswer(_MODE_HEADER_6[drive.kind][: command.packet[4]])


def _mode_sense_10(drive: ScsiDrive, command: ScsiCommand) -> ScsiAnswer:
    page, subpage = command.packet[2] & 0x3F, command.packet[3]
    body = _MODE_PAGES[drive.kind].get(page)
    if body is None or subpage:
        return ScsiAnswer(sense=INVALID_FIELD)
    header = struct.pack(">HBB4x", len(body) + 6, _MEDIUM_TYPE[drive.kind], _READ_ONLY)
    return ScsiAnswer((header + body)[: command.number(7, 2)])


_BOTH = frozenset(DriveKind)
_CD_ONLY = frozenset({DriveKind.CD})

Responder = Callable[[ScsiDrive, ScsiCommand], ScsiAnswer]
# The commands that are answered, and on which drives.
COMMANDS: Mapping[int, tuple[frozenset[DriveKind], Responder]] = {
    0x00: (_BOTH, _test_unit_ready),  # TEST UNIT READY
    0x08: (_BOTH, _read_6),  # READ(6)
    0x0A: (_BOTH, _refuse_write),  # WRITE(6)
    0x1A: (_BOTH, _mode_sense_6),  # MODE SENSE(6)
    0x1B: (_BOTH, _start_stop),  # START STOP UNIT
    0x1E: (_BOTH, _good),  # PREVENT ALLOW MEDIUM REMOVAL
    0x23: (_BOTH, _read_format_capacities),  # READ FORMAT CAPACITIES
    0x25: (_BOTH, _read_capacity),  # READ CAPACITY
    0x28: (_BOTH, _read_10),  # READ(10)
    0x2A: (_BOTH, _refuse_write),  # WRITE(10)
    0x2E: (_BOTH, _refuse_write),  # WRITE AND VERIFY(10)
    0x43: (_CD_ONLY, _read_toc),  # READ TOC/PMA/ATIP
    0x46: (_CD_ONLY, _get_configuration),  # GET CONFIGURATION
    0x4A: (_CD_ONLY, _get_event_status),  # GET EVENT STATUS NOTIFICATION
    0x5A: (_BOTH, _mode_sense_10),  # MODE SENSE(10)
    0xA8: (_CD_ONLY, _read_12),  # READ(12)
    0xAC: (_CD_ONLY, _get_performance),  # GET PERFORMANCE
}
