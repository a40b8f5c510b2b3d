"""What the console says to AMT's firmware over redirection: plain functions, values to bytes."""

from __future__ import annotations

import hashlib
import struct

from bootserver.amt.redirection.protocol import (
    AUTH_URI,
    NONCE_COUNT,
    AuthMethod,
    Device,
    FeatureKind,
    Service,
    Timings,
)

_DATA_TO_HOST = struct.Struct("<B2xBIxHxBxBxHBBBxB3xBB6x")
_COMMAND_END = struct.Struct("<B2xBI12xBBB3xBBBBB")
_GET_DATA = struct.Struct("<B2xBIxHxB3xHBB11x")
_LAST, _DMA = 0x02, 0x01  # attributes


# StartRedirectionSession: 0 0x10, 1 0 for storage and serial line, 4 tag
def start_session(service: Service) -> bytes:
    """Asks for a redirection session."""
    return b"\x10\0\0\0" + service.encode()


def end_session() -> bytes:
    """Says that nothing more will come."""
    return b"\x12\0\0\0"


# AuthenticateSession: 0 0x13, 4 method, 5 length (4) of the data, which follows
def authenticate(method: AuthMethod, fields: tuple[bytes, ...] = ()) -> bytes:
    """A step of the login; each field goes out after a byte with its length."""
    data = b"".join(bytes([len(value)]) + value for value in fields)
    return struct.pack("<B3xBI", 0x13, method, len(data)) + data


def digest_response(
    user: bytes, password: bytes, realm: bytes, nonce: bytes, cnonce: bytes
) -> bytes:
    """The proof of knowing the password: RFC 2617 §3.2.2.1, qop=auth, method POST."""

    def md5_hex(*parts: bytes) -> bytes:
        return hashlib.md5(b":".join(parts), usedforsecurity=False).hexdigest().encode()

    secret = md5_hex(user, realm, password)
    return md5_hex(secret, nonce, NONCE_COUNT, cnonce, b"auth", md5_hex(b"POST", AUTH_URI))


# OPEN_SESSION: 8 rx_timeout (2), 10 tx_timeout (2), 12 heartbeat (2), all in ms; 14 version 1 (4)
def open_session(sequence: int, timings: Timings) -> bytes:
    """Opens IDE-R in a session that has logged in."""
    body = (timings.rx_timeout_ms, timings.tx_timeout_ms, timings.heartbeat_ms, 1)
    return struct.pack("<B3xIHHHI", 0x40, sequence, *body)


def close_session(sequence: int) -> bytes:
    """Asks for the end of IDE-R."""
    return struct.pack("<B3xI", 0x42, sequence)


def ping(sequence: int) -> bytes:
    """Asks for a pong, and shows that we live."""
    return struct.pack("<B3xI", 0x44, sequence)


def pong(sequence: int) -> bytes:
    """Answers a ping."""
    return struct.pack("<B3xI", 0x45, sequence)


def reset_response(sequence: int) -> bytes:
    """Says that we have taken note of the host's reset."""
    return struct.pack("<B3xI", 0x47, sequence)


# DISABLE_ENABLE_FEATURES: 8 kind, 9 value (4), not there when kind is 1
def features(sequence: int, kind: FeatureKind, value: int = 0) -> bytes:
    """Asks about the redirected drives, or switches them."""
    head = struct.pack("<B3xIB", 0x48, sequence, kind)
    return head if kind is FeatureKind.SUPPORTED else head + struct.pack("<I", value)


# COMMAND_END_RESPONSE, attributes "last"
#   20  which of the registers count: 0xC5 good, 0x87 with the error register
#   21  error register, sense key << 4        22  interrupt reason 3, status phase
#   26  device        27  status: 0x50 good, 0x51 error        28  sense key, ASC, ASCQ
def command_end(sequence: int, device: Device, sense: tuple[int, int, int] | None = None) -> bytes:
    """The end of a command without data: good, or with a sense key, ASC and ASCQ."""
    if sense is None:
        return _COMMAND_END.pack(0x51, _LAST, sequence, 0xC5, 0, 3, device, 0x50, 0, 0, 0)
    error = (sense[0] << 4) & 0xFF
    return _COMMAND_END.pack(0x51, _LAST, sequence, 0x87, error, 3, device, 0x51, *sense)


# DATA_TO_HOST; the registers are set before the data (12 to 19) and, by the last one, after (20 on)
#   9   data length (2)     12  which count: 0xB5 PIO, 0xB4 DMA     14  reason 2, data to host
#   16  byte count (2), 0 if DMA      18  device      19  status 0x58
#   20  which count: 0x85, or 0 before the last       22  reason 3, status phase
#   26  device              27  status 0x50           34  data
def data_to_host(
    sequence: int, device: Device, data: bytes | memoryview, *, dma: bool, last: bool
) -> bytes:
    """One piece of what a command returns; the last one ends the command."""
    size = len(data)
    head = _DATA_TO_HOST.pack(
        0x54,
        (_LAST if last else 0) | (_DMA if dma else 0),
        sequence,
        size,
        0xB4 if dma else 0xB5,
        2,
        0 if dma else size,
        device,
        0x58,
        *((0x85, 3, device, 0x50) if last else (0, 0, 0, 0)),
    )
    return b"".join((head, data))


# GET_DATA_FROM_HOST: 9 and 16 bytes wanted (2), 12 0xB5, 18 device, 19 status 0x58
def get_data_from_host(sequence: int, device: Device, size_bytes: int) -> bytes:
    """Asks for what the host wants to write."""
    return _GET_DATA.pack(0x52, 0, sequence, size_bytes, 0xB5, size_bytes, device, 0x58)
