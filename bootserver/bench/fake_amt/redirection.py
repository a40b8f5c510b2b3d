"""What a console may say on the redirection port: where each message ends, and what is in it.

Pure, strict, and little-endian throughout. Lengths follow from the first byte and from lengths
inside, so an unknown first byte ends the conversation.

| id | what                           | bytes                                    |
|----|--------------------------------|------------------------------------------|
| 10 | start a redirection session    | 8                                        |
| 12 | end it                         | 4                                        |
| 13 | authenticate                   | 9 + the length at 5 (4 bytes)            |
| 20 | start SOL                      | 24                                       |
| 22 | end SOL                        | 8                                        |
| 24 | SOL ping; 25 pong              | 8                                        |
| 27 | SOL controls                   | 14                                       |
| 28 | SOL data to the host           | 10 + the length at 8 (2 bytes)           |
| 2B | SOL heartbeat                  | 8                                        |
| 40 | open IDE-R                     | 18                                       |
| 42 | close IDE-R                    | 8                                        |
| 44 | IDE-R ping; 45 pong            | 8                                        |
| 47 | the host's reset is noted      | 8                                        |
| 48 | features                       | 9 when the kind at 8 is 1, else 13       |
| 4B | IDE-R heartbeat                | 8                                        |
| 51 | a command's end                | 31                                       |
| 52 | data wanted from the host      | 31                                       |
| 54 | data for the host              | 34 + the length at 9 (2 bytes)           |
"""

from __future__ import annotations

import struct

START_SESSION, END_SESSION, AUTHENTICATE = 0x10, 0x12, 0x13
SOL_START, SOL_END, SOL_PING, SOL_PONG = 0x20, 0x22, 0x24, 0x25
SOL_CONTROLS, SOL_TO_HOST, SOL_HEARTBEAT = 0x27, 0x28, 0x2B
OPEN, CLOSE, PING, PONG, RESET_NOTED = 0x40, 0x42, 0x44, 0x45, 0x47
FEATURES, HEARTBEAT, COMMAND_END, GET_DATA, DATA_TO_HOST = 0x48, 0x4B, 0x51, 0x52, 0x54

_FIXED = {
    START_SESSION: 8,
    END_SESSION: 4,
    SOL_START: 24,
    SOL_END: 8,
    SOL_PING: 8,
    SOL_PONG: 8,
    SOL_CONTROLS: 14,
    SOL_HEARTBEAT: 8,
    OPEN: 18,
    CLOSE: 8,
    PING: 8,
    PONG: 8,
    RESET_NOTED: 8,
    HEARTBEAT: 8,
    COMMAND_END: 31,
    GET_DATA: 31,
}
# id: bytes before the data, where their length stands, how it is written
_WITH_DATA = {
    AUTHENTICATE: (9, 5, struct.Struct("<I")),
    SOL_TO_HOST: (10, 8, struct.Struct("<H")),
    DATA_TO_HOST: (34, 9, struct.Struct("<H")),
}
_LOGIN_LIMIT_BYTES = 4096
ASK_FEATURES = 1


class ViolationError(Exception):
    """The console said what no firmware understands, or at the wrong time."""


class Splitter:
    """Cuts a console's bytes into its messages, wherever they were split on the way."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are complete with `data`; raises ViolationError at an unknown one."""
        self._waiting += data
        messages = []
        while (size := _size(self._waiting)) and size <= len(self._waiting):
            messages.append(bytes(self._waiting[:size]))
            del self._waiting[:size]
        return messages


def _size(data: bytearray) -> int:
    """How long the first message is; 0 while that is not known."""
    if not data:
        return 0
    kind = data[0]
    if kind in _FIXED:
        return _FIXED[kind]
    if kind == FEATURES:
        return 0 if len(data) < 9 else 9 if data[8] == ASK_FEATURES else 13
    if kind not in _WITH_DATA:
        raise ViolationError(f"message 0x{kind:02X} is unknown")
    head, at, number = _WITH_DATA[kind]
    if len(data) < head:
        return 0
    length: int = number.unpack_from(data, at)[0]
    if kind == AUTHENTICATE and length > _LOGIN_LIMIT_BYTES:
        raise ViolationError(f"{length} bytes of login")
    return head + length


def fields_of(data: bytes) -> list[bytes]:
    """Login fields, each after a byte with its length; raises ViolationError if they end early."""
    fields, at = [], 0
    while at < len(data):
        end = at + 1 + data[at]
        if end > len(data):
            raise ViolationError("a login field is cut off")
        fields.append(data[at + 1 : end])
        at = end
    return fields


def with_lengths(*fields: bytes) -> bytes:
    """Fields of a challenge, each after a byte with its length."""
    return b"".join(bytes([len(field)]) + field for field in fields)


def login_reply(status: int, kind: int, data: bytes = b"") -> bytes:
    """AuthenticateSessionReply: 0 0x14, 1 status, 4 kind, 5 length (4), 9 data."""
    return struct.pack("<BBxxBI", 0x14, status, kind, len(data)) + data


def start_reply(status: int) -> bytes:
    """StartRedirectionSessionReply: 0 0x11, 1 status, 4 protocol 1.0, 6 firmware, 8 IANA, 12 OEM.

    A refusal has its first four bytes only.
    """
    if status:
        return bytes([0x11, status, 0, 0])
    return struct.pack("<BBxxBBBBIB", 0x11, 0, 1, 0, 1, 0, 343, 0)
