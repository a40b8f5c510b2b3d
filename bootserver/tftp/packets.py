r"""The TFTP packets on the wire: what a request asks for, and the bytes of our answers.

    offset  RRQ, WRQ            DATA           ACK            ERROR          OACK
    0       opcode 1, 2         opcode 3       opcode 4       opcode 5       opcode 6
    2       name, 0, mode, 0,   block number   block number   error code     option, 0, value, 0,
    4       option, 0,          bytes          -              message, 0     ...
    ...     value, 0, ...

What we send is exact: OACK and ERROR go through tftpy's codec. Cisco switches refuse an OACK with a
byte too many (uftpd#43). tftpy is kept away from the rest. It refuses what old firmware sends, and
logs every ERROR it sees. It takes several microseconds for each of very many DATA packets and ACKs.

What we read need not be. This is what firmware sends, who sends it, and how it is read:

    the request                          is sent by                             is read as
    name, 0xFF, perhaps more bytes       ROMs that take DHCP option 67 for a C  the name
                                         string: Lenovo T460, Jetway
                                         (netboot.xyz#1198), Intel PXE-2.0 on
                                         Realtek RTL8139 (uClibc bug 6146)
    name, code and length of an option   the same, if option 67 is not the      the name
                                         last one (tftp-hpa: "y", 10, "; o")
    no NUL behind the last field         SGI PROM (booterizer#44), RTL8139      the last field
    netascii                             HP ProCurve (tftpy#4), tftp-hpa        netascii
    option with an empty value           Grandstream phones (tftpy#141)         an unknown option
    \ for /, //, / at the start          Windows (rs-tftpd#24), FreeBSD loader  one / between parts
                                         (kayak#246), iPXE (ipxe#31)
    multicast                            clients by RFC 2090                    an unknown option
    option name that is not ASCII        not known: from our own trials         an unknown option
    option without a value               not known: from our own trials         an empty value
    no mode, "nameoctet", other modes    not known: from our own trials         octet
    NULs between or behind the fields    not known: from our own trials         nothing

An unknown option is passed over (RFC 2347), and the file is served.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from tftpy.TftpPacketTypes import TftpPacketERR, TftpPacketOACK

from bootserver.errors import BootServerError
from bootserver.quoting import printable

REQUEST_BYTES_MAX = 1472  # an Ethernet frame; RFC 2347 has 512, without a ROM's padding
ERROR_TEXT_MAX = 100
LOGGED_NAME_MAX = 100

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
    netascii: bool = False


def is_request(datagram: bytes) -> bool:
    """True for RRQ and WRQ: the only packets that deserve an answer from the server's port.

    An answer to anything else could make two servers talk to each other for ever.
    """
    return datagram[:1] == b"\0" and datagram[1:2] in (b"\1", b"\2")


def parse_request(datagram: bytes) -> ReadRequest:
    """The read request in a datagram for which `is_request` holds; else raises TftpRefusal."""
    if len(datagram) > REQUEST_BYTES_MAX:
        raise TftpRefusal(ErrorCode.ILLEGAL_OPERATION, "malformed request: too long")
    if datagram[1] == WRQ:
        raise TftpRefusal(ErrorCode.ACCESS_VIOLATION, "access violation: this server is read-only")
    raw_name, *rest = datagram[2:].split(b"\0")
    fields = iter(rest)
    mode = next(filter(None, fields), b"").lower()
    if not mode and raw_name[-5:].lower() == b"octet":
        raw_name = raw_name[:-5]
    if mode == b"mail":  # RFC 1350 §1: obsolete
        raise TftpRefusal(ErrorCode.ILLEGAL_OPERATION, "mail mode is not served")
    options: dict[str, str] = {}
    for option in filter(None, fields):  # `filter` leaves an empty value to its option
        options.setdefault(option.decode("latin-1"), next(fields, b"").decode("latin-1"))
    return ReadRequest(_decode_name(raw_name), options, netascii=mode == b"netascii")


def _decode_name(raw: bytes) -> str:
    """The name up to the first byte that is not printable UTF-8: what follows is DHCP's."""
    try:
        name = raw.decode()
    except UnicodeDecodeError as err:
        name = raw[: err.start].decode()
    end = next((i for i, char in enumerate(name) if not char.isprintable()), len(name))
    if name[end : end + 1] and (name[end + 1 : end + 2] or "x").isprintable():
        end -= 1  # a DHCP option's length, and before it its code, which happens to be printable
    if end <= 0:
        raise TftpRefusal(ErrorCode.ILLEGAL_OPERATION, "malformed request: no file name")
    return name[:end]


def name_for_log(datagram: bytes) -> str:
    """The last part of a request's name as the client sent it, printable: `boot.efi\\xff`.

    The parts before it may be a token.
    """
    last = re.split(rb"[/\\]", datagram[2:].partition(b"\0")[0])[-1]
    text = last[:LOGGED_NAME_MAX].decode("utf-8", "backslashreplace")
    return printable(text)


def encode_data(block: int, data: bytes) -> bytes:
    """A DATA packet; block numbers roll over past 65,535 to 0."""
    return _DATA_HEADER.pack(DATA, block & 0xFFFF) + data


def encode_oack(options: Mapping[str, str]) -> bytes:
    """An OACK packet with these options, in this order."""
    packet = TftpPacketOACK()
    packet.options = dict(options)
    return bytes(packet.encode().buffer)


def encode_error(code: int, message: str, bytes_max: int = ERROR_TEXT_MAX + 5) -> bytes:
    """An ERROR packet, its message cut to fit; what is not printable ASCII becomes `?`."""
    message = message[: min(ERROR_TEXT_MAX, bytes_max - 5)]
    text = "".join(c if c.isascii() and c.isprintable() else "?" for c in message)
    packet = TftpPacketERR()
    packet.errorcode = int(code)
    packet.errmsgs = {int(code): text.encode("ascii")}  # tftpy sends only what this table holds
    return bytes(packet.encode().buffer)


def error_text(datagram: bytes) -> str:
    """What the client's ERROR packet says, fit for a log line: `0: aborted by user`."""
    code = int.from_bytes(datagram[2:4], "big")
    message = datagram[4 : 4 + ERROR_TEXT_MAX].partition(b"\0")[0].decode("ascii", "replace")
    return f"{code}: {printable(message)}"
