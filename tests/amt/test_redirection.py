"""The console's side of IDE-R: exact bytes, any split of the stream, the login, order, garbage."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bootserver.amt.errors import Failure, RedirectionError
from bootserver.amt.redirection.ider import (
    COMMANDS_MAX,
    CommandWritten,
    ErrorOccurred,
    FeaturesReply,
    OpenReply,
    ResetOccurred,
    StorageSession,
)
from bootserver.amt.redirection.protocol import (
    AuthReply,
    FirmwareMessages,
    Message,
    Ping,
    ServiceEnd,
    SignOfLife,
    StartReply,
    Unintelligible,
)
from bootserver.amt.redirection.scsi import DriveKind, Sense
from bootserver.amt.redirection.session import (
    Closed,
    Failed,
    SessionEvent,
    SessionState,
    digest_response,
)

REALM = b"Digest:0123456789ABCDEF0123456789ABCDEF"
NONCE = b"n0nce-of-the-device"
CNONCE = "00112233445566778899aabbccddeeff"
PASSWORD = "P@ssw0rd"

# What the firmware sends, by hand from the tables in the facts.
START_OK = bytes.fromhex("11 00 0000 01 00 0b 02 57010000 02 aabb")
METHODS = bytes.fromhex("14 00 0000 00 03000000 01 03 04")
CHALLENGE_FIELDS = b"\x27" + REALM + b"\x13" + NONCE + b"\x04auth"
CHALLENGE = bytes.fromhex("14 01 0000 04 41000000") + CHALLENGE_FIELDS
WELCOME = bytes.fromhex("14 00 0000 04 00000000")
OPEN_REPLY = bytes.fromhex(
    "41 0000 00 00000000 01 02 0b 08 00000000 0020 0010 00 00 000000 57010000 01 ee"
)
SWITCH_REPLY = bytes.fromhex("49 0000 00 01000000 03 01000000")
HEARTBEAT = bytes.fromhex("4b 0000 00 02000000")
PING = bytes.fromhex("44 0000 00 03000000")
PONG = bytes.fromhex("45 0000 00 04000000")
# READ(10) of one block at 16 from the CD, by DMA
READ = bytes.fromhex("50 0000 00 05000000 08 01 02 03 fe ff b0 a0 28 00 00000010 00 0001 00 0000")
# WRITE(10) to the floppy, by PIO
WRITE = bytes.fromhex("50 0000 00 06000000 00 00 00 00 00 02 a0 a0 2a 00 00000000 00 0001 00 0000")
RESET = bytes.fromhex("46 0000 00 08000000 01")
ERROR = bytes.fromhex("4a 0000 00 09000000 05 0000")
FEATURES = bytes.fromhex("49 0000 00 0a000000 01 01000000")
CLOSE_REPLY = bytes.fromhex("43 0000 00 0b000000")

STREAM = {
    START_OK: StartReply(0, (1, 0), (11, 2)),
    METHODS: AuthReply(0, 0, b"\1\3\4"),
    CHALLENGE: AuthReply(1, 4, CHALLENGE_FIELDS),
    WELCOME: AuthReply(0, 4, b""),
    OPEN_REPLY: OpenReply(0, 0, (1, 2), (11, 8), 8192, 4096, 0, 343),
    SWITCH_REPLY: FeaturesReply(1, 3, 1),
    HEARTBEAT: SignOfLife(2),
    PING: Ping(3),
    PONG: SignOfLife(4),
    READ: CommandWritten(5, 1, 2, 3, 0xFFFE, 0xB0, 0xA0, bytes.fromhex("280000000010000001000000")),
    WRITE: CommandWritten(
        6, 0, 0, 0, 0x0200, 0xA0, 0xA0, bytes.fromhex("2a0000000000000001000000")
    ),
    RESET: ResetOccurred(8, 1),
    ERROR: ErrorOccurred(9, 5),
    FEATURES: FeaturesReply(10, 1, 1),
    CLOSE_REPLY: ServiceEnd(11),
}


def opened(read_buffer: bytes = b"\x00\x20") -> StorageSession:
    """A session that has just been opened; the firmware's next number is 1, ours too."""
    session = StorageSession("admin", PASSWORD, cnonce=CNONCE)
    session.start()
    reply = OPEN_REPLY[:16] + read_buffer + OPEN_REPLY[18:]
    for message in (START_OK, METHODS, CHALLENGE, WELCOME, reply):
        session.receive(message)
    assert session.state is SessionState.OPEN
    session.data_to_send()
    return session


def numbered(message: bytes, sequence: int) -> bytes:
    return message[:4] + sequence.to_bytes(4, "little") + message[8:]


def commanded(session: StorageSession, message: bytes, sequence: int = 1) -> CommandWritten:
    (event,) = session.receive(numbered(message, sequence))
    assert isinstance(event, CommandWritten)
    return event


def failure(events: list[SessionEvent]) -> Failed:
    assert isinstance(events[-1], Failed)
    return events[-1]


# ---- Reading


@pytest.mark.parametrize("raw", STREAM, ids=lambda raw: f"{raw[0]:02x}")
def test_every_message_is_read_whole_and_byte_by_byte(raw: bytes) -> None:
    whole, single = FirmwareMessages(StorageSession.shapes), FirmwareMessages(StorageSession.shapes)

    assert whole.feed(raw) == [STREAM[raw]]
    for at in range(len(raw) - 1):
        assert single.feed(raw[at : at + 1]) == []
    assert single.feed(raw[-1:]) == [STREAM[raw]]
    assert whole._buffer == single._buffer == b""


def test_a_stream_is_read_the_same_at_every_split() -> None:
    stream = b"".join(STREAM)

    for at in range(len(stream) + 1):
        messages = FirmwareMessages(StorageSession.shapes)
        assert messages.feed(stream[:at]) + messages.feed(stream[at:]) == list(STREAM.values())


def test_a_command_names_its_drive_and_its_way() -> None:
    (read,) = FirmwareMessages(StorageSession.shapes).feed(READ)
    (write,) = FirmwareMessages(StorageSession.shapes).feed(WRITE)

    assert isinstance(read, CommandWritten)
    assert isinstance(write, CommandWritten)
    assert (read.drive, read.dma) == (DriveKind.CD, True)
    assert (write.drive, write.dma) == (DriveKind.FLOPPY, False)


def test_messages_before_garbage_count_and_none_after_it_at_every_split() -> None:
    stream = PING + b"\x99" + PING

    for at in range(len(stream) + 1):
        messages = FirmwareMessages(StorageSession.shapes)
        assert messages.feed(stream[:at]) + messages.feed(stream[at:]) == [
            Ping(3),
            Unintelligible("no message begins with 0x99"),
        ]
        assert not messages._buffer


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (
            bytes.fromhex("14 00 0000 04 01040000"),
            "message 0x14 claims 1,025 bytes of data; it can have 1,024",
        ),
    ],
    ids=["login"],
)
def test_a_message_too_long_is_refused_before_its_data_comes(raw: bytes, reason: str) -> None:
    assert FirmwareMessages(StorageSession.shapes).feed(raw) == [Unintelligible(reason)]


def test_of_a_refusal_four_bytes_are_enough() -> None:
    messages = FirmwareMessages(StorageSession.shapes)

    assert messages.feed(b"\x11\x02\0") == []
    assert messages.feed(b"\0") == [StartReply(2)]
    assert messages.feed(b"\x01\x00\x0b\x02") == []  # the rest of it, if it comes


@settings(max_examples=150)
@given(st.lists(st.binary(max_size=200) | st.sampled_from([*STREAM]), max_size=20), st.data())
def test_any_bytes_are_read_the_same_however_cut_and_little_is_held(
    parts: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(parts)
    whole = FirmwareMessages(StorageSession.shapes).feed(stream)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))

    messages = FirmwareMessages(StorageSession.shapes)
    read: list[Message] = []
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        read += messages.feed(stream[start:stop])
        assert len(messages._buffer) < 9 + 1024

    assert read == whole


# ---- Our messages


def test_the_way_to_an_open_session_has_exactly_these_bytes() -> None:
    session = StorageSession("admin", PASSWORD, cnonce=CNONCE)

    session.start()
    assert session.data_to_send() == bytes.fromhex("10 00 0000 49444552")

    assert session.receive(START_OK) == []
    assert session.data_to_send() == bytes.fromhex("13 00 0000 00 00000000")

    assert session.receive(METHODS) == []
    # 5 of the name, 19 of the URI, 8 lengths: 32
    assert session.data_to_send() == (
        bytes.fromhex("13 00 0000 04 20000000")
        + b"\x05admin\x00\x00\x13/RedirectionService\x00\x00\x00\x00"
    )

    assert session.receive(CHALLENGE) == []
    # step by step: user:realm:password, method:URI, then all of it
    ha1 = hashlib.md5(b"admin:Digest:0123456789ABCDEF0123456789ABCDEF:P@ssw0rd").hexdigest()
    ha2 = hashlib.md5(b"POST:/RedirectionService").hexdigest()
    text = f"{ha1}:n0nce-of-the-device:00000002:{CNONCE}:auth:{ha2}"
    response = hashlib.md5(text.encode()).hexdigest().encode()
    # 5 + 39 + 19 + 19 + 32 + 8 + 32 + 4, and 8 lengths: 166
    assert session.data_to_send() == (
        bytes.fromhex("13 00 0000 04 a6000000")
        + (b"\x05admin\x27" + REALM + b"\x13" + NONCE + b"\x13/RedirectionService")
        + (b"\x20" + CNONCE.encode() + b"\x0800000002\x20" + response + b"\x04auth")
    )

    assert session.receive(WELCOME) == []
    # 30,000 ms, 0, 20,000 ms, version 1
    assert session.data_to_send() == bytes.fromhex("40 0000 00 00000000 3075 0000 204e 01000000")

    assert session.receive(OPEN_REPLY) == [STREAM[OPEN_REPLY]]
    session.switch_on()
    assert session.data_to_send() == bytes.fromhex("48 0000 00 01000000 03 09000000")
    assert session.receive(SWITCH_REPLY) == [FeaturesReply(1, 3, 1)]


def test_a_known_login_gives_a_known_proof() -> None:
    # printf of the three texts through md5sum, 2026-11-22
    proof = digest_response(b"admin", b"P@ssw0rd", REALM, NONCE, CNONCE.encode())

    assert proof == b"d9641e15d3bbe5788ccb56ef9f35e11c"


def test_the_whole_session_is_the_same_at_every_split() -> None:
    stream = b"".join(
        [
            *(START_OK, METHODS, CHALLENGE, WELCOME, OPEN_REPLY),
            *(numbered(PING, 1), numbered(READ, 2), numbered(RESET, 3), numbered(CLOSE_REPLY, 4)),
        ]
    )

    outcomes = []
    for at in range(len(stream) + 1):
        session = StorageSession("admin", PASSWORD, cnonce=CNONCE)
        session.start()
        events = session.receive(stream[:at]) + session.receive(stream[at:])
        outcomes.append((events, session.data_to_send()))

    assert all(outcome == outcomes[0] for outcome in outcomes)
    events, sent = outcomes[0]
    assert [type(event) for event in events] == [
        OpenReply,
        CommandWritten,
        ResetOccurred,
        Closed,
    ]
    assert sent.endswith(  # pong, response to the reset, end
        bytes.fromhex("45 000000 01000000  47 000000 02000000  12 000000")
    )


@pytest.mark.parametrize(("now", "value"), [(False, "09"), (True, "19")])
def test_drives_are_switched_on_when_asked(now: bool, value: str) -> None:
    session = opened()

    session.switch_on(now=now)

    assert session.data_to_send() == bytes.fromhex(f"48 000000 01000000 03 {value}000000")
    assert session.receive(SWITCH_REPLY) == [FeaturesReply(1, 3, 1)]


def test_features_that_were_not_asked_for_are_no_mistake() -> None:
    assert opened().receive(numbered(FEATURES, 1)) == []


def test_ping_and_close_have_consecutive_numbers() -> None:
    session = opened()

    session.ping()
    session.close()

    assert session.data_to_send() == bytes.fromhex("44 000000 01000000  42 000000 02000000")
    assert session.receive(numbered(CLOSE_REPLY, 1)) == [Closed(asked=True)]
    assert session.data_to_send() == bytes.fromhex("12 000000")
    assert session.data_to_send() == b""


DATA_HEAD_DMA_LAST = (
    "54 0000 03 {n:02x}000000 00 0300 00 b4 00 02 00 0000 b0 58 85 00 03 000000 b0 50 000000 000000"
)
DATA_HEAD_PIO_LAST = (
    "54 0000 02 {n:02x}000000 00 0300 00 b5 00 02 00 0300 a0 58 85 00 03 000000 a0 50 000000 000000"
)


def test_data_by_dma_for_the_cd() -> None:
    session = opened()

    assert session.send_data(commanded(session, READ), b"abc")

    assert session.data_to_send() == bytes.fromhex(DATA_HEAD_DMA_LAST.format(n=1)) + b"abc"


def test_data_by_pio_for_the_floppy() -> None:
    session = opened()

    assert session.send_data(commanded(session, WRITE), b"abc")

    assert session.data_to_send() == bytes.fromhex(DATA_HEAD_PIO_LAST.format(n=1)) + b"abc"


def test_data_before_the_last_piece_leaves_the_command_open() -> None:
    session = opened()
    command = commanded(session, READ)

    assert session.send_data(command, b"xyz", last=False)
    assert session.send_data(command, b"abc")

    assert session.data_to_send() == (
        bytes.fromhex(
            "54 0000 01 01000000 00 0300 00 b4 00 02 00 0000 b0 58"
            "00 00 00 000000 00 00 000000 000000"
        )
        + b"xyz"
        + bytes.fromhex(DATA_HEAD_DMA_LAST.format(n=2))
        + b"abc"
    )


@pytest.mark.parametrize("buffer_bytes", [512, 1024, 4096, 8192])
def test_a_read_is_cut_by_the_firmwares_buffer(buffer_bytes: int) -> None:
    session = opened(buffer_bytes.to_bytes(2, "little"))
    image = bytes(range(256)) * 256 + b"tail"  # 64 KiB and 4 bytes

    assert session.send_data(commanded(session, READ), image)

    sent, got = session.data_to_send(), b""
    lasts: list[int] = []
    while sent:
        size = int.from_bytes(sent[9:11], "little")
        assert size <= buffer_bytes
        assert int.from_bytes(sent[4:8], "little") == len(lasts) + 1
        lasts.append(sent[3] & 2)
        got, sent = got + sent[34 : 34 + size], sent[34 + size :]
    assert got == image
    assert lasts == [0] * (65536 // buffer_bytes) + [2]


def test_a_command_ends_well_or_with_sense() -> None:
    session = opened()

    assert session.end_command(commanded(session, READ, 1))
    assert session.end_command(commanded(session, WRITE, 2), Sense(7, 0x27, 0))

    assert session.data_to_send() == bytes.fromhex(
        "51 0000 02 01000000 00 0000 00 0000000000000000 c5 00 03 000000 b0 50 00 00 00"
        "51 0000 02 02000000 00 0000 00 0000000000000000 87 70 03 000000 a0 51 07 27 00"
    )


# ---- Resets and ends


def test_a_reset_is_answered_and_voids_the_command_under_way() -> None:
    session = opened()
    command = commanded(session, READ)
    session.send_data(command, b"first part", last=False)
    session.data_to_send()

    assert session.receive(numbered(RESET, 2)) == [ResetOccurred(2, 1)]

    assert session.data_to_send() == bytes.fromhex("47 000000 02000000")
    assert not session.send_data(command, b"second part")
    assert not session.end_command(command)
    assert session.data_to_send() == b""
    assert session.end_command(commanded(session, READ, 3))


def test_the_firmware_may_end_the_session_by_itself() -> None:
    session = opened()

    assert session.receive(numbered(CLOSE_REPLY, 1) + PING) == [Closed(asked=False)]
    assert session.data_to_send() == bytes.fromhex("12 000000")
    assert session.receive(PING) == []
    assert session.connection_lost() == []


def test_commands_that_cross_our_close_are_dropped() -> None:
    session = opened()
    command = commanded(session, READ)

    session.close()

    assert session.receive(numbered(READ, 2) + numbered(RESET, 3)) == []
    assert not session.send_data(command, b"abc")
    assert session.connection_lost() == [Closed(asked=True)]


def test_a_ping_that_crosses_our_close_gets_no_answer() -> None:
    session = opened()
    session.close()
    session.data_to_send()

    assert session.receive(numbered(PING, 1)) == []
    assert session.data_to_send() == b""


def test_a_lost_connection_says_what_was_awaited() -> None:
    fresh, busy = StorageSession("admin", PASSWORD, cnonce=CNONCE), opened()
    fresh.start()
    busy.receive(numbered(READ, 1)[:20])

    assert failure(fresh.connection_lost()) == Failed(
        Failure.LOST,
        "the device ended the connection; awaited: the answer to our request for a session",
    )
    assert failure(busy.connection_lost()).message.endswith("awaited: commands of the host")


# ---- Refusals and order


@pytest.mark.parametrize(
    ("stream", "reason", "words"),
    [
        (b"\x11\x02\0\0", Failure.BUSY, "another console holds"),
        (b"\x11\x03\0\0", Failure.DISABLED, "switched off"),
        (b"\x11\xff\0\0", Failure.REJECTED, "status 255"),
        (WELCOME, Failure.PROTOCOL, "sent AuthReply; awaited: the answer to our request"),
        (START_OK + START_OK, Failure.PROTOCOL, "sent StartReply; awaited: the list of ways"),
        (START_OK + bytes.fromhex("14000000000200000001 03"), Failure.NO_DIGEST, "by digest"),
        (START_OK + METHODS + WELCOME, Failure.PROTOCOL, "login status 0; awaited: the challenge"),
        (START_OK + METHODS + METHODS, Failure.PROTOCOL, "login method 0; asked was 4"),
        (
            START_OK + METHODS + bytes.fromhex("14 01 0000 04 03000000 05 61 62"),
            Failure.PROTOCOL,
            "not realm, nonce and qop",
        ),
        (
            START_OK + METHODS + CHALLENGE[:5] + b"\x45\0\0\0" + CHALLENGE[9:-5] + b"\x08auth-int",
            Failure.NO_DIGEST,
            "qop=auth",
        ),
        (START_OK + METHODS + CHALLENGE + CHALLENGE, Failure.WRONG_PASSWORD, "user name or pass"),
        (
            START_OK + METHODS + CHALLENGE + bytes.fromhex("14 02 0000 00 00000000"),
            Failure.WRONG_PASSWORD,
            "user name or password",
        ),
        (
            START_OK + METHODS + CHALLENGE + WELCOME + numbered(READ, 0),
            Failure.PROTOCOL,
            "sent CommandWritten; awaited: the answer to OPEN_SESSION",
        ),
        (b"HTTP/1.1 400", Failure.PROTOCOL, "no message begins with 0x48"),
    ],
)
def test_a_refusal_or_a_wrong_order_ends_the_session_in_words(
    stream: bytes, reason: Failure, words: str
) -> None:
    session = StorageSession("admin", PASSWORD, cnonce=CNONCE)
    session.start()

    failed = failure(session.receive(stream))

    assert failed.failure is reason
    assert words in failed.message
    assert session.state is SessionState.FAILED
    assert session.receive(START_OK) == []


@pytest.mark.parametrize(
    ("at", "value", "words"),
    [
        (1, b"\1", "status 1"),
        (4, b"\1", "number 1, where 0 was due"),
        (16, b"\x01\x20", "buffers of 8,193"),
        (16, b"\0\0", "buffers of 0"),
        (18, b"\x01\x20", "and 8,193"),
        (21, b"\7", "transfer protocol 7"),
    ],
)
def test_an_impossible_open_reply_ends_the_session(at: int, value: bytes, words: str) -> None:
    session = StorageSession("admin", PASSWORD, cnonce=CNONCE)
    session.start()
    session.receive(START_OK + METHODS + CHALLENGE + WELCOME)

    reply = OPEN_REPLY[:at] + value + OPEN_REPLY[at + len(value) :]

    assert words in failure(session.receive(reply)).message


def test_a_gap_in_the_numbers_ends_the_session() -> None:
    session = opened()

    failed = failure(session.receive(numbered(PING, 1) + numbered(PING, 3)))

    assert failed.message == "the device's message has the number 3, where 2 was due"


def test_a_second_open_reply_and_bytes_before_the_start_are_mistakes() -> None:
    fresh = StorageSession("admin", PASSWORD, cnonce=CNONCE)

    second = failure(opened().receive(numbered(OPEN_REPLY, 1)))
    early = failure(fresh.receive(START_OK))

    assert second.message == "the device sent OpenReply; awaited: commands of the host"
    assert early.message == "the device sent StartReply; awaited: nothing, for nothing was sent yet"


@pytest.mark.parametrize("number", [0, 1])  # whether they count or not
def test_signs_of_life_glued_to_the_verdict_are_no_mistake(number: int) -> None:
    session = StorageSession("admin", PASSWORD, cnonce=CNONCE)
    session.start()
    session.receive(START_OK + METHODS + CHALLENGE)

    events = session.receive(
        WELCOME + numbered(HEARTBEAT, 0) + numbered(OPEN_REPLY, number) + numbered(PING, number + 1)
    )

    assert [type(event) for event in events] == [OpenReply]


def test_a_refused_switching_of_drives_is_a_failure() -> None:
    session = opened()
    session.switch_on()

    failed = failure(session.receive(SWITCH_REPLY[:9] + bytes(4)))

    assert failed.failure is Failure.REJECTED
    assert "refused to switch" in failed.message


def test_a_switching_that_was_not_asked_for_is_a_failure() -> None:
    assert "was not asked" in failure(opened().receive(SWITCH_REPLY)).message


def test_more_commands_than_a_firmware_may_have_end_the_session() -> None:
    session = opened()

    events = session.receive(b"".join(numbered(READ, n) for n in range(1, 18)))

    assert len(events) == 17
    assert "17 commands without waiting" in failure(events).message


def test_the_callers_mistakes_raise() -> None:
    session = StorageSession("admin", PASSWORD, cnonce=CNONCE)
    with pytest.raises(RedirectionError, match="it is new"):
        session.switch_on()

    session = opened()
    first, second = commanded(session, READ, 1), commanded(session, READ, 2)
    with pytest.raises(RedirectionError, match="in the order in which they came"):
        session.end_command(second)
    with pytest.raises(RedirectionError, match="answered by end_command"):
        session.send_data(first, b"")
    with pytest.raises(RedirectionError, match="it is open"):
        session.start()
    with pytest.raises(RedirectionError, match="255 bytes"):
        StorageSession("x" * 256, PASSWORD, cnonce=CNONCE)
    assert session.data_to_send() == b""


def test_no_secret_is_shown_or_kept() -> None:
    session = StorageSession("admin", PASSWORD, cnonce=CNONCE)
    assert repr(session) == "<StorageSession new>"

    session.start()
    session.receive(START_OK + METHODS + CHALLENGE)

    assert PASSWORD.encode() not in session.data_to_send()
    assert PASSWORD not in repr(vars(session)) + repr(vars(session._login))


VALID = st.sampled_from([*STREAM]).flatmap(
    lambda raw: st.just(raw) if raw[0] < 0x40 else st.integers(0, 6).map(lambda n: numbered(raw, n))
)


@settings(max_examples=200)
@given(
    st.integers(0, 5),
    st.lists(VALID | st.binary(max_size=40), max_size=25),
    st.integers(1, 60),
)
def test_a_hostile_firmware_neither_crashes_nor_fills_the_session(
    steps: int, parts: list[bytes], cut_bytes: int
) -> None:
    session = StorageSession("admin", PASSWORD, cnonce=CNONCE)
    session.start()
    for message in (START_OK, METHODS, CHALLENGE, WELCOME, OPEN_REPLY)[:steps]:
        session.receive(message)
    session.data_to_send()

    stream = b"".join(parts)
    for at in range(0, len(stream), cut_bytes):
        piece = stream[at : at + cut_bytes]
        events = session.receive(piece)
        assert len(events) <= len(piece)
        # nothing is shorter than 4 bytes, and no answer of ours longer than 200
        assert len(session.data_to_send()) <= 200 * (1 + len(piece) // 4)
        assert len(session._commands) <= COMMANDS_MAX

    if session.state not in (SessionState.ENDED, SessionState.FAILED):
        assert session.connection_lost()
    assert session.state in (SessionState.ENDED, SessionState.FAILED)
