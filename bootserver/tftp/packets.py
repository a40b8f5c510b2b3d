"""The TFTP packets on the wire: what a request asks for, and the bytes of our answers.

    offset  RRQ, WRQ            DATA           ACK            ERROR          OACK
    0       opcode 1, 2         opcode 3       opcode 4       opcode 5       opcode 6
    2       name, 0, mode, 0,   block number   block number   error code     option, 0, value, 0,
    4       option, 0,          bytes          -              message, 0     ...
    ...     value, 0, ...

Option lists, OACK and ERROR go through tftpy's codec. It is kept away from the rest: it decodes
names as ASCII only, logs every ERROR it sees, walks a 64 KiB datagram byte by byte, and takes
several microseconds for a DATA or an ACK, of which there are tens of thousands in a second.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from tftpy.TftpPacketTypes import TftpPacketERR, TftpPacketOACK, TftpPacketRRQ
from tftpy.TftpShared import TftpException

from bootserver.errors import BootServerError

REQUEST_BYTES_MAX = 512  # RFC 2347, "Packet Formats"
ERROR_TEXT_MAX = 100

RRQ, WRQ = 1, 2
DATA = 3
ACK = b"\0\4"
ERROR = b"\0\5"

_DATA_HEADER = struct.Struct("!HH")


class ErrorCode(IntEnum):
    """What an ERROR packet says to the program (RFC 1350, appendix; RFC 2347 for 8)."""

    UNDEFINED = 0
    FILE_NOT_FOUND = 1
    ACCESS_VIOLATION = 2
    DISK_FULL = 3
    ILLEGAL_OPERATION = 4
    UNKNOWN_TRANSFER = 5
    FILE_EXISTS = 6
    NO_SUCH_USER = 7
    OPTION_REFUSED = 8


class TftpRefusal(BootServerError):
    """The client gets an ERROR packet with this code and message (its first 100 characters)."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = ErrorCode(code)


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """A file, asked for by name; `options` are as the client spelled them, in its order."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict)


def is_request(datagram: bytes) -> bool:
    """True for RRQ and WRQ: the only packets that deserve an answer from the server's port.

    An answer to anything else could make two servers talk to each other for ever.
    """
    return datagram[:1] == b"\0" and datagram[1:2] in (b"\1", b"\2")


def parse_request(datagram: bytes) -> ReadRequest:
    """The read request in a datagram for which `is_request` holds; else raises TftpRefusal."""
    if len(datagram) > REQUEST_BYTES_MAX:
        raise TftpRefusal(ErrorCode.ILLEGAL_OPERATION, "malformed request: over 512 bytes")
    if datagram[1] == WRQ:
        raise TftpRefusal(ErrorCode.ACCESS_VIOLATION, "access violation: this server is read-only")
    fields = datagram[2:].split(b"\0", 2)
    if len(fields) < 3:
        raise TftpRefusal(ErrorCode.ILLEGAL_OPERATION, "malformed request: cut short")
    name, mode, options = fields
    if mode.lower() != b"octet":  # firmware asks for nothing else
        raise TftpRefusal(ErrorCode.ILLEGAL_OPERATION, "only octet (binary) mode is served")
    return ReadRequest(_decode_name(name), _decode_options(options))


def _decode_name(raw: bytes) -> str:
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError as err:
        raise TftpRefusal(ErrorCode.FILE_NOT_FOUND, "file not found: name is not UTF-8") from err
    if not name:
        raise TftpRefusal(ErrorCode.ILLEGAL_OPERATION, "malformed request: no file name")
    if not name.isprintable():
        raise TftpRefusal(ErrorCode.ILLEGAL_OPERATION, "malformed request: unprintable file name")
    return name


def _decode_options(raw: bytes) -> dict[str, str]:
    try:
        options: dict[str, str] = TftpPacketRRQ().decode_options(raw)
    except (TftpException, struct.error, UnicodeDecodeError) as err:
        raise TftpRefusal(ErrorCode.ILLEGAL_OPERATION, "malformed request: options") from err
    return options


def encode_data(block: int, data: bytes) -> bytes:
    """A DATA packet; block numbers roll over past 65,535 to 0."""
    return _DATA_HEADER.pack(DATA, block & 0xFFFF) + data


def encode_oack(options: Mapping[str, str]) -> bytes:
    """An OACK packet with these options, in this order."""
    packet = TftpPacketOACK()
    packet.options = dict(options)
    return bytes(packet.encode().buffer)


def encode_error(code: int, message: str) -> bytes:
    """An ERROR packet; what is not printable ASCII becomes `?`."""
    text = "".join(c if c.isascii() and c.isprintable() else "?" for c in message[:ERROR_TEXT_MAX])
    packet = TftpPacketERR()
    packet.errorcode = int(code)
    packet.errmsgs = {int(code): text.encode("ascii")}  # tftpy sends only what this table holds
    return bytes(packet.encode().buffer)


def error_text(datagram: bytes) -> str:
    """What the client's ERROR packet says, fit for a log line: `0: aborted by user`."""
    code = int.from_bytes(datagram[2:4], "big")
    message = datagram[4 : 4 + ERROR_TEXT_MAX].partition(b"\0")[0].decode("ascii", "replace")
    return f"{code}: {''.join(c if c.isprintable() else '?' for c in message)}"
