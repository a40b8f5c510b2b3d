"""A broken or hostile firmware on a real connection: the console ends, in words, and holds little.

What the firmware says is a whole session with some of it changed, in any pieces: first all until
the session is open, and when the console wants its drives switched on (or does not) all the rest.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import suppress

import pytest

from bootserver.amt.errors import AmtError
from bootserver.amt.redirection.drives import RedirectedDrives, redirect
from bootserver.amt.redirection.ider import COMMANDS_MAX, StorageSession
from bootserver.amt.redirection.link import Patience, RedirectionLink
from bootserver.amt.redirection.media import MemoryMedium, blank_floppy
from bootserver.amt.redirection.scsi import DriveKind
from tests.fakes.amt_firmware import (
    CHALLENGE,
    METHODS,
    START_OK,
    WELCOME,
    command,
    open_reply,
    reset,
)

pytestmark = pytest.mark.slow

CD = MemoryMedium(DriveKind.CD, bytes(2048 * 300))
PATIENCE = Patience(answer_s=0.15, ping_every_s=0.01, silence_s=0.1, close_s=0.05)
# A DATA_FROM_HOST, the longest message, which is never asked for.
MESSAGE_BYTES_MAX = 14 + 8192
HELD_BYTES_MAX = (1 << 20) + (256 << 10)

HEAD = [START_OK, METHODS, CHALLENGE, WELCOME]
TAIL = [
    bytes.fromhex("49 0000 00 01000000 03 01000000"),
    command(2, "28 00 00000000 00 0020 00"),
    command(3, "28 00 00000000 00 012C 00"),
    bytes.fromhex("4b 0000 00 04000000"),
    reset(5),
    command(6, "43 00 00 00 00 00 00 03 24 00"),
    bytes.fromhex("44 0000 00 07000000"),
    command(8, "28 00 00000000 00 0001 00", device=0xA0),
    bytes.fromhex("53 0000 00 09000000 00 0300 000000") + b"abc",
    bytes.fromhex("4a 0000 00 0a000000 05 0000"),
    bytes.fromhex("43 0000 00 0b000000"),
]


def head(rng: random.Random) -> list[bytes]:
    """All until the session is open, with any buffer."""
    return [*HEAD, open_reply(rng.choice([512, 1024, 4096, 8192, 8192, 8192, 0, 511, 65535]))]


def mutated(rng: random.Random, messages: list[bytes]) -> bytes:
    """The messages with some dropped, doubled, cut short, changed or invented."""
    changed: list[bytes] = []
    for message in messages:
        match rng.randrange(60):
            case 0:
                continue
            case 1:
                changed += [message, message]
            case 2:
                changed.append(message[: rng.randrange(len(message))])
            case 3:
                at = rng.randrange(len(message))
                changed.append(message[:at] + rng.randbytes(1) + message[at + 1 :])
            case 4:
                changed += [message, rng.randbytes(rng.randrange(1, 300))]
            case 5:
                changed += [rng.choice(TAIL), message]
            case _:
                changed.append(message)
    return b"".join(changed)


def pieces(rng: random.Random, said: bytes) -> list[bytes]:
    largest = rng.choice([1, 3, 20, 1000]) if len(said) < 10_000 else 100_000
    cut, at = [], 0
    while at < len(said):
        size = rng.randint(1, largest)
        cut.append(said[at : at + size])
        at += size
    return cut


@pytest.fixture
def largest(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """How much consoles have held, at most; at the end none has crashed."""
    held = {"message": 0, "unsent": 0, "commands": 0, "waiting": 0, "resets": 0, "crashes": 0}
    receive = RedirectionLink.data_received

    def look(link: RedirectionLink, data: bytes) -> None:
        try:
            receive(link, data)
        except Exception:  # asyncio would log it and close the connection
            held["crashes"] += 1
            raise
        session, transport = link.session, link._transport
        assert isinstance(session, StorageSession)
        assert transport is not None
        drives = link._take.__self__  # type: ignore[attr-defined]
        assert isinstance(drives, RedirectedDrives)
        for name, size in (
            ("message", len(session._messages._buffer)),
            ("unsent", transport.get_write_buffer_size()),
            ("commands", len(session._commands)),
            ("waiting", len(drives._commands)),
            ("resets", drives.stats.resets),
        ):
            held[name] = max(held[name], size)

    monkeypatch.setattr(RedirectionLink, "data_received", look)
    yield held
    assert held["crashes"] == 0


# As test_redirection has them: the request, the login, OPEN_SESSION, and the switching on.
SAID_UNTIL_SWITCHING = 8 + 9 + (9 + 32) + (9 + 166) + 18 + 13


async def meet(
    rng: random.Random, head: bytes, tail: bytes, *, stays: bool = False, reads: bool = True
) -> str:
    """How a console ends that meets such a firmware; raises what is not an AmtError."""

    async def say(writer: asyncio.StreamWriter, said: bytes) -> None:
        for piece in pieces(rng, said):
            writer.write(piece)
            await writer.drain()
            if rng.random() < 0.1:
                await asyncio.sleep(0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hearing = asyncio.create_task(reader.readexactly(SAID_UNTIL_SWITCHING))
        with suppress(ConnectionError):
            await say(writer, head)
            await asyncio.wait({hearing}, timeout=0.03)
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)
            if reads:
                hearing = asyncio.create_task(reader.read())
            await say(writer, tail)
            if stays:
                async with asyncio.timeout(20):
                    while not writer.transport.is_closing():
                        writer.write(b"\x4b" + rng.randbytes(7))
                        await asyncio.sleep(0.01)
        writer.transport.abort()
        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)
        served.set()

    served = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        async with (
            asyncio.timeout(20),
            redirect(
                *("127.0.0.1", "admin", "pw", CD, blank_floppy()), port=port, patience=PATIENCE
            ) as drives,
        ):
            return str(await drives.wait_closed())
    except AmtError as err:
        return err.message
    finally:
        await served.wait()
        server.close()


@pytest.mark.parametrize("seed", range(8))
async def test_a_changed_session_ends_and_little_is_held(
    seed: int, largest: dict[str, int]
) -> None:
    rng = random.Random(seed)
    ends = set()

    for _ in range(25):
        end = await meet(
            *(rng, mutated(rng, head(rng)), mutated(rng, TAIL)),
            stays=rng.random() < 0.2,
            reads=rng.random() < 0.8,
        )
        ends.add(end)

    assert len(ends) > 5  # it was not always the same that went wrong,
    assert largest["resets"] > 0  # and not always at the beginning
    assert all(ends)
    assert largest["message"] < MESSAGE_BYTES_MAX
    assert largest["unsent"] <= HELD_BYTES_MAX
    assert largest["commands"] <= COMMANDS_MAX
    assert largest["waiting"] <= COMMANDS_MAX


@pytest.mark.parametrize("seed", range(3))
async def test_noise_instead_of_a_session_ends(seed: int, largest: dict[str, int]) -> None:
    rng = random.Random(seed)

    for _ in range(20):
        known = rng.choice([b"", START_OK, b"".join(HEAD), b"".join(head(rng))])
        assert await meet(rng, known, rng.randbytes(rng.randrange(3000)))

    assert largest["message"] < MESSAGE_BYTES_MAX


@pytest.mark.parametrize("seed", range(3))
async def test_a_session_that_is_cut_anywhere_ends(seed: int, largest: dict[str, int]) -> None:
    rng = random.Random(seed)
    tail = b"".join(TAIL)

    for _ in range(20):
        known = b"".join(head(rng))
        assert await meet(rng, known[: rng.randrange(len(known))], b"")
        assert await meet(rng, known, tail[: rng.randrange(len(tail))])


async def test_a_flood_of_commands_and_resets_is_not_piled_up(largest: dict[str, int]) -> None:
    flood = TAIL[0] + b"".join(
        command(number, "28 00 00000000 00 012C 00") + reset(number + 1)
        for number in range(2, 20_000, 2)
    )

    assert await meet(random.Random(0), b"".join([*HEAD, open_reply()]), flood, reads=False)

    assert largest["resets"] > 1000
    assert largest["waiting"] <= COMMANDS_MAX
    assert largest["unsent"] <= HELD_BYTES_MAX
