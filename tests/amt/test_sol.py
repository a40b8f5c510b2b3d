"""Serial over LAN: exact bytes, any split, and a line on a real connection."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from pathlib import Path

import pytest

from bootserver.amt.errors import Failure, RedirectionError
from bootserver.amt.redirection.link import Patience, RedirectionLink
from bootserver.amt.redirection.serial_line import UNREAD_BYTES_MAX, SerialLine, serial_over_lan
from bootserver.amt.redirection.session import Closed, Failed, SessionEvent, SessionState
from bootserver.amt.redirection.sol import SerialData, SerialReply, SerialSession
from bootserver.amt.tls import Tls
from tests.fakes.amt_firmware import (
    CHALLENGE,
    END,
    METHODS,
    START_OK,
    WELCOME,
    Firmware,
    firmware,
)
from tests.fixtures.amt_tls import tls_server

START_SERIAL = bytes.fromhex("10 00 0000 534f4c20")
# 10,000 bytes, 100 ms, 0, 10,000 ms, 100 ms, heartbeat 5,000 ms
SETTINGS = bytes.fromhex("20 000000 00000000 1027 6400 0000 1027 6400 8813 00000000")
REPLY = bytes.fromhex("21 000000 00000000 1027 6400 0000 1027 6400 8813 000000")
PING = bytes.fromhex("24 000000 01000000")
PONG = bytes.fromhex("25 000000 02000000")
CONTROLS = bytes.fromhex("29 000000 03000000 1b00")
HEARTBEAT = bytes.fromhex("2b 000000 04000000")
HELLO = bytes.fromhex("2a 000000 05000000 0500") + b"hello"
SERIAL_END = bytes.fromhex("23 000000 06000000")
LOGIN = START_OK + METHODS + CHALLENGE + WELCOME


def started() -> SerialSession:
    session = SerialSession("admin", "pw", cnonce="00112233445566778899aabbccddeeff")
    session.start()
    return session


def opened() -> SerialSession:
    session = started()
    session.receive(LOGIN + REPLY)
    assert session.state is SessionState.OPEN
    session.data_to_send()
    return session


# ---- The session


def test_the_way_to_an_open_line_has_exactly_these_bytes() -> None:
    session = started()
    assert session.data_to_send() == START_SERIAL

    assert session.receive(LOGIN) == []
    assert session.data_to_send().endswith(SETTINGS)

    assert session.receive(REPLY) == [SerialReply(0, 0)]
    session.send(b"abc")
    session.ping()
    session.close()
    assert session.data_to_send() == (
        bytes.fromhex("28 000000 01000000 0300")
        + b"abc"
        + bytes.fromhex("2b 000000 02000000  22 000000 03000000")
    )

    assert session.receive(PING) == []  # it has crossed our CLOSE
    assert session.data_to_send() == b""
    assert session.receive(SERIAL_END) == [Closed(asked=True)]
    assert session.data_to_send() == END


def test_a_ping_is_answered_and_signs_of_life_are_not() -> None:
    session = opened()

    assert session.receive(PING + PONG + CONTROLS + HEARTBEAT) == []

    assert session.data_to_send() == bytes.fromhex("25 000000 01000000")


def test_what_is_sent_goes_in_pieces() -> None:
    session = opened()

    session.send(bytes(1001))

    assert session.data_to_send() == (
        bytes.fromhex("28 000000 01000000 e803")
        + bytes(1000)
        + bytes.fromhex("28 000000 02000000 0100")
        + bytes(1)
    )


def test_a_session_is_read_the_same_at_every_split() -> None:
    said = LOGIN + REPLY + HELLO + PING + CONTROLS + HELLO + SERIAL_END

    outcomes = []
    for at in range(len(said) + 1):
        session = started()
        events = session.receive(said[:at]) + session.receive(said[at:])
        outcomes.append((events, session.data_to_send()))

    assert all(outcome == outcomes[0] for outcome in outcomes)
    assert outcomes[0][0] == [
        SerialReply(0, 0),
        SerialData(5, b"hello"),
        SerialData(5, b"hello"),
        Closed(asked=False),
    ]


@pytest.mark.parametrize(
    ("said", "failure", "words"),
    [
        (b"\x11\x03\0\0", Failure.DISABLED, "Serial over LAN is switched off"),
        (b"\x11\x02\0\0", Failure.BUSY, "another console holds the device's Serial over LAN"),
        (LOGIN + b"\x21\x01" + bytes(21), Failure.REJECTED, "the serial line: status 1"),
        (LOGIN + HELLO, Failure.PROTOCOL, "awaited: the answer to the serial line's settings"),
        (LOGIN + REPLY + REPLY, Failure.PROTOCOL, "awaited: what the host writes"),
        (LOGIN + REPLY + b"\x50", Failure.PROTOCOL, "no message begins with 0x50"),
    ],
)
def test_a_refusal_is_told_in_words(said: bytes, failure: Failure, words: str) -> None:
    failed = started().receive(said)[-1]

    assert isinstance(failed, Failed)
    assert failed.failure is failure
    assert words in failed.message


@pytest.mark.parametrize("seed", range(50))
def test_a_hostile_firmware_neither_crashes_nor_fills_the_session(seed: int) -> None:
    rng = random.Random(seed)
    session = started()
    session.receive(LOGIN[: rng.choice([20, len(LOGIN)])])
    parts = [REPLY, PING, PONG, CONTROLS, HEARTBEAT, HELLO, SERIAL_END]
    said = b"".join(
        rng.choice(parts) if rng.random() < 0.9 else rng.randbytes(rng.randrange(40))
        for _ in range(40)
    )

    events: list[SessionEvent] = []
    for at in range(0, len(said), 7):
        events += session.receive(said[at : at + 7])
        assert len(session._messages._buffer) < 10 + 0xFFFF
        assert len(session.data_to_send()) <= 400

    if not session.ended:
        events += session.connection_lost()
    assert isinstance(events[-1], Closed | Failed)


# ---- The line


async def open_line(device: Firmware) -> None:
    await device.log_in(START_SERIAL)
    await device.send(WELCOME)
    await device.expect(SETTINGS)
    await device.send(REPLY)


async def test_what_the_host_writes_comes_and_what_we_send_goes() -> None:
    async def script(device: Firmware) -> None:
        await open_line(device)
        await device.send(HELLO, HELLO)
        await device.expect(bytes.fromhex("28 000000 01000000 0100") + b"\r")
        await device.send(bytes.fromhex("2a 000000 06000000 0100") + b"!")
        await device.expect(bytes.fromhex("22 000000 02000000"))
        await device.send(SERIAL_END)
        await device.expect(END)
        await device.nothing_more()

    came = b""
    async with (
        firmware(script) as port,
        serial_over_lan("127.0.0.1", "admin", "pw", port=port) as line,
    ):
        async for data in line:
            came += data
            if came == b"hellohello":
                await line.send(b"\r")
            if came.endswith(b"!"):
                await line.close()

    assert came == b"hellohello!"


async def read_into(pieces: list[bytes], line: SerialLine) -> None:
    async for data in line:
        pieces.append(data)


@pytest.mark.parametrize(
    ("last", "words"),
    [(SERIAL_END, "the device has ended the session"), (b"", "the device ended the connection")],
    ids=["end", "cut"],
)
async def test_what_came_before_the_end_is_read_and_then_the_end(last: bytes, words: str) -> None:
    async def script(device: Firmware) -> None:
        await open_line(device)
        await device.send(HELLO, last)
        device.writer.write_eof()
        with suppress(ConnectionError):
            await device.reader.read()

    async with (
        firmware(script) as port,
        serial_over_lan("127.0.0.1", "admin", "pw", port=port) as line,
    ):
        assert await anext(line) == b"hello"
        with pytest.raises(RedirectionError, match=words):
            await anext(line)
        with pytest.raises(RedirectionError, match=words):
            await line.send(b"x")


async def test_a_host_that_writes_more_than_anybody_reads_has_to_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    links: list[RedirectionLink] = []
    original = RedirectionLink.connection_made

    def note(link: RedirectionLink, transport: asyncio.BaseTransport) -> None:
        links.append(link)
        original(link, transport)

    monkeypatch.setattr(RedirectionLink, "connection_made", note)
    pieces = 2000
    held = []

    async def script(device: Firmware) -> None:
        await open_line(device)
        piece = bytes.fromhex("2a 000000 05000000 0010") + bytes(4096)
        await device.send(*[piece] * pieces)
        await device.send(SERIAL_END)
        with suppress(ConnectionError):
            await device.reader.read()

    async with (
        firmware(script) as port,
        serial_over_lan("127.0.0.1", "admin", "pw", port=port) as line,
    ):
        transport = links[0]._transport
        assert transport is not None
        while transport.is_reading():
            await asyncio.sleep(0.005)
        held.append(len(line._unread))
        came: list[bytes] = []
        with pytest.raises(RedirectionError, match="ended the session"):
            await read_into(came, line)

    assert sum(map(len, came)) == pieces * 4096
    assert UNREAD_BYTES_MAX <= held[0] <= UNREAD_BYTES_MAX + (256 << 10)


async def test_a_line_that_is_not_opened_is_given_up() -> None:
    async def script(device: Firmware) -> None:
        await device.log_in(START_SERIAL)
        await device.send(WELCOME)
        await device.expect(SETTINGS)
        await device.nothing_more()

    async with firmware(script) as port:
        with pytest.raises(RedirectionError, match="the answer to the serial line's settings"):
            async with serial_over_lan(
                "127.0.0.1", "admin", "pw", port=port, patience=Patience(answer_s=0.2)
            ):
                pass


async def test_a_line_over_tls(certificates: tuple[Path, Path]) -> None:
    async def script(device: Firmware) -> None:
        await open_line(device)
        await device.send(HELLO, SERIAL_END)
        with suppress(ConnectionError):
            await device.reader.read()

    async with (
        firmware(script, tls=tls_server(certificates[0])) as port,
        serial_over_lan("127.0.0.1", "admin", "pw", port=port, tls=Tls()) as line,
    ):
        assert await anext(line) == b"hello"
