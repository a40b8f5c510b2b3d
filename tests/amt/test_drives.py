"""Drives over a real connection: what goes out, when, and in how many writes."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bootserver.amt.errors import RedirectionError
from bootserver.amt.redirection.drives import redirect
from bootserver.amt.redirection.link import Patience, RedirectionLink
from bootserver.amt.redirection.media import MemoryMedium, blank_floppy, open_cd
from bootserver.amt.redirection.scsi import DriveKind
from bootserver.amt.redirection.session import Closed
from tests.fakes.amt_firmware import (
    CHALLENGE,
    METHODS,
    START_OK,
    WELCOME,
    Firmware,
    command,
    expected_answer,
    firmware,
    open_reply,
    reset,
)
from tests.fixtures.scsi_probe import CD_PROBE, FLOPPY_PROBE, NO_MEDIUM

# 300 blocks, each full of its own number (two bytes, big-endian)
IMAGE = b"".join(lba.to_bytes(2, "big") * 1024 for lba in range(300))
CD = MemoryMedium(DriveKind.CD, IMAGE)
READ_FIRST_BLOCK = "28 00 00000000 00 0001 00"
READ_32_BLOCKS = "28 00 00000010 00 0020 00"
TEST_UNIT_READY = "00 00 00 00 00 00"
UNREADABLE = (3, 0x11, 0)
# What the console may hold beyond what its sockets do: UNSENT_BYTES_DEAF and one read of asyncio's.
HELD_BYTES_MAX = (1 << 20) + (256 << 10)


@pytest.fixture
def links(monkeypatch: pytest.MonkeyPatch) -> list[RedirectionLink]:
    """The consoles' connections, as they are made."""
    made: list[RedirectionLink] = []
    original = RedirectionLink.connection_made

    def note(link: RedirectionLink, transport: asyncio.BaseTransport) -> None:
        made.append(link)
        original(link, transport)

    monkeypatch.setattr(RedirectionLink, "connection_made", note)
    return made


def transport_of(link: RedirectionLink) -> asyncio.Transport:
    assert link._transport is not None
    return link._transport


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.005)


async def test_a_read_is_answered_and_counted_and_the_end_is_orderly() -> None:
    async def script(device: Firmware) -> None:
        await device.attach()
        await device.send(command(2, READ_FIRST_BLOCK))
        await device.expect(expected_answer(2, IMAGE[:2048]))
        await device.detach(3, 3)

    async with firmware(script) as port:
        async with redirect("127.0.0.1", "admin", "P@ssw0rd", CD, port=port) as drives:
            stats = await drives.wait_until(lambda stats: stats.reads == 1)
            assert drives.firmware.read_buffer_bytes == 8192
            assert drives.firmware.firmware == (11, 8)
        assert await drives.wait_closed() == Closed(asked=True)

    assert (stats.commands, stats.read_bytes, stats.resets) == (1, 2048, 0)
    assert stats.first_read_at is not None
    assert stats.first_read_at == stats.last_read_at


async def test_a_read_of_32_blocks_is_one_write_that_nagle_does_not_hold_up(
    links: list[RedirectionLink], monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[int] = []

    async def script(device: Firmware) -> None:
        await device.attach()
        transport = transport_of(links[0])
        write = transport.write

        def count(data: bytes) -> None:
            writes.append(len(data))
            write(data)

        monkeypatch.setattr(transport, "write", count)
        await device.send(command(2, READ_32_BLOCKS))
        data = await device.read_data(65536, sequence=2)
        assert data == IMAGE[16 * 2048 : 48 * 2048]

    async with (
        firmware(script) as port,
        redirect("127.0.0.1", "admin", "P@ssw0rd", CD, port=port) as drives,
    ):
        await drives.wait_until(lambda stats: stats.reads == 1)
        assert writes == [65536 + 8 * 34]
        opened = transport_of(links[0]).get_extra_info("socket")
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


@pytest.mark.parametrize("buffer_bytes", [512, 1024, 4096, 8192])
async def test_data_is_cut_by_the_firmwares_buffer(buffer_bytes: int) -> None:
    async def script(device: Firmware) -> None:
        await device.attach(buffer_bytes)
        await device.send(command(2, READ_32_BLOCKS))
        data = await device.read_data(65536, sequence=2, piece_bytes=buffer_bytes)
        assert data == IMAGE[16 * 2048 : 48 * 2048]

    async with (
        firmware(script) as port,
        redirect("127.0.0.1", "admin", "P@ssw0rd", CD, port=port) as drives,
    ):
        await drives.wait_until(lambda stats: stats.read_bytes == 65536)


def answer_of(expected: str | tuple[int, int, int]) -> bytes | tuple[int, int, int]:
    return bytes.fromhex(expected) if isinstance(expected, str) else expected


async def test_the_whole_probe_has_its_exact_bytes_on_the_wire() -> None:
    asked = 0

    async def script(device: Firmware) -> None:
        nonlocal asked
        await device.attach()
        # The medium is new to the first command.
        await device.send(command(2, "4A 01 00 00 10 00 00 00 08 00"))
        await device.expect(expected_answer(2, bytes.fromhex("00 06 04 10 02 02 00 00")))
        sequence = 3
        for drive, probe in ((0xB0, CD_PROBE), (0xA0, FLOPPY_PROBE)):
            for _, cdb, expected in probe:
                await device.send(command(sequence, cdb, device=drive))
                answer = expected_answer(sequence, answer_of(expected), device=f"{drive:02x}")
                assert (await device.read(len(answer))).hex(" ") == answer.hex(" "), cdb
                sequence += 1
                asked += 1
        await device.detach(sequence, sequence)

    async with (
        firmware(script) as port,
        redirect("127.0.0.1", "admin", "P@ssw0rd", CD, blank_floppy(), port=port) as drives,
    ):
        await drives.wait_until(lambda stats: stats.commands == len(CD_PROBE + FLOPPY_PROBE) + 1)

    assert asked == len(CD_PROBE) + len(FLOPPY_PROBE)


async def test_data_by_pio_names_its_size_in_the_registers() -> None:
    async def script(device: Firmware) -> None:
        await device.attach()
        await device.send(command(2, "25 00 00 00 00 00 00 00 00 00", dma=False))
        await device.expect(
            bytes.fromhex(
                "54 0000 02 02000000 00 0800 00 b5 00 02 00 0800 b0 58"
                "85 00 03 000000 b0 50 000000 000000 0000012b 00000800"
            )
        )

    async with (
        firmware(script) as port,
        redirect("127.0.0.1", "admin", "P@ssw0rd", CD, port=port) as drives,
    ):
        await drives.wait_until(lambda stats: stats.commands == 1)


async def test_a_floppy_drive_is_empty_unless_there_is_a_floppy() -> None:
    async def script(device: Firmware) -> None:
        await device.attach()
        await device.send(command(2, READ_FIRST_BLOCK, device=0xA0))
        await device.expect(expected_answer(2, NO_MEDIUM, device="a0"))

    async with (
        firmware(script) as port,
        redirect("127.0.0.1", "admin", "P@ssw0rd", CD, port=port) as drives,
    ):
        await drives.wait_until(lambda stats: stats.commands == 1)


async def test_commands_that_come_together_are_answered_in_order() -> None:
    async def script(device: Firmware) -> None:
        await device.attach(8192, command(2, READ_FIRST_BLOCK), command(3, TEST_UNIT_READY))
        await device.expect(expected_answer(2, IMAGE[:2048]), expected_answer(3, b""))

    async with (
        firmware(script) as port,
        redirect("127.0.0.1", "admin", "P@ssw0rd", CD, port=port) as drives,
    ):
        await drives.wait_until(lambda stats: stats.commands == 2)


async def test_what_is_no_packet_command_is_refused() -> None:
    async def script(device: Firmware) -> None:
        await device.attach()
        identify = bytearray(command(2, TEST_UNIT_READY))
        identify[15] = 0xA1
        await device.send(bytes(identify))
        await device.expect(expected_answer(2, (5, 0x20, 0)))

    async with (
        firmware(script) as port,
        redirect("127.0.0.1", "admin", "P@ssw0rd", CD, port=port) as drives,
    ):
        await drives.wait_until(lambda stats: stats.commands == 1)


async def test_drives_may_appear_at_once_and_are_ready_after_a_reset() -> None:
    async def script(device: Firmware) -> None:
        await device.log_in()
        await device.send(WELCOME)
        await device.read(18)
        await device.send(open_reply())
        await device.expect(bytes.fromhex("48 0000 00 01000000 03 19000000"))
        await device.send(bytes.fromhex("49 0000 00 01000000 03 01000000"))
        await device.send(command(2, TEST_UNIT_READY), command(3, TEST_UNIT_READY))
        await device.expect(expected_answer(2, b""), expected_answer(3, b""))
        await device.send(reset(4))
        await device.expect(bytes.fromhex("47 0000 00 04000000"))
        await device.send(command(5, TEST_UNIT_READY))
        await device.expect(expected_answer(5, b""))

    async with (
        firmware(script) as port,
        redirect("127.0.0.1", "admin", "pw", CD, port=port, now=True) as drives,
    ):
        await drives.wait_until(lambda stats: stats.commands == 3)


async def test_an_eject_is_counted_and_the_medium_stays() -> None:
    async def script(device: Firmware) -> None:
        await device.attach()
        await device.send(command(2, "1B 00 00 00 02 00"), command(3, TEST_UNIT_READY))
        await device.expect(expected_answer(2, b""), expected_answer(3, b""))
        await device.send(bytes.fromhex("4a 0000 00 04000000 05 0000"))

    async with (
        firmware(script) as port,
        redirect("127.0.0.1", "admin", "P@ssw0rd", CD, port=port) as drives,
    ):
        stats = await drives.wait_until(lambda stats: stats.device_errors == 1)

    assert stats.ejects == 1


@pytest.mark.slow
async def test_the_session_is_the_same_at_every_split_of_the_firmwares_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    login = START_OK + METHODS + CHALLENGE + WELCOME + open_reply()
    work = b"".join(
        [
            bytes.fromhex("49 0000 00 01000000 03 01000000"),
            *(command(2, "08 00 00 00 01 00"), bytes.fromhex("44 0000 00 03000000")),
            *(bytes.fromhex("4b 0000 00 04000000"), command(5, TEST_UNIT_READY)),
        ]
    )
    heard = 0
    receive = RedirectionLink.data_received

    def note(link: RedirectionLink, data: bytes) -> None:
        nonlocal heard
        receive(link, data)
        heard += len(data)

    monkeypatch.setattr(RedirectionLink, "data_received", note)

    async def cut(device: Firmware, said: bytes, at: int) -> None:
        nonlocal heard
        heard = 0
        await device.send(said[:at])
        await until(lambda: heard == at)
        await device.send(said[at:])

    for at in range(max(len(login), len(work))):

        async def script(device: Firmware, at: int = at) -> None:
            await cut(device, login, min(at, len(login)))
            await device.read(8 + 9 + 9 + 32 + 9 + 166 + 18)  # as test_redirection has it
            await device.expect(bytes.fromhex("48 0000 00 01000000 03 09000000"))
            await cut(device, work, min(at, len(work)))
            said = await device.read(2082 + 8 + 31)  # in the order in which they are ready
            assert said.count(bytes.fromhex("45 0000 00")) == 1
            await device.send(reset(6))
            await device.expect(bytes.fromhex("47 0000 00 05000000"))

        async with (
            firmware(script) as port,
            redirect("127.0.0.1", "admin", "pw", CD, port=port) as drives,
        ):
            stats = await drives.wait_until(lambda stats: stats.resets == 1)
        assert (stats.commands, stats.reads) == (2, 1), at


# ---- Resets, and devices that do not read


class Zeros:
    """A medium of any size; it counts what is read of it."""

    def __init__(self, size_blocks: int) -> None:
        self.size_blocks = size_blocks
        self.read_blocks = 0

    def read_at_once(self, lba: int, count: int) -> bytes:
        self.read_blocks += count
        return bytes(count * 2048)

    def read(self, lba: int, count: int) -> bytes:
        raise AssertionError("all was read at once")


def tighten(device: Firmware, link: RedirectionLink) -> None:
    """The kernel holds little of what the console says."""
    for transport, option in (
        (device.writer.transport, socket.SO_RCVBUF),
        (transport_of(link), socket.SO_SNDBUF),
    ):
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, option, 64 << 10)


async def test_a_reset_in_mid_read_ends_the_read_and_the_next_command_is_answered(
    links: list[RedirectionLink],
) -> None:
    disc = Zeros(1 << 20)
    ends: list[int] = []

    async def script(device: Firmware) -> None:
        await device.attach()
        await device.send(command(2, "28 00 00000000 00 FFFF 00"))
        await until(lambda: not links[0]._writable.is_set())  # and 128 MiB are not yet out
        await device.send(reset(3), command(4, TEST_UNIT_READY))
        data_bytes, sequence = 0, 2
        while True:
            first = await device.read(8)
            assert int.from_bytes(first[4:8], "little") == sequence
            sequence += 1
            if first[0] != 0x54:
                break
            assert first[3] == 1  # never the last
            rest = await device.read(26)
            data_bytes += len(await device.read(int.from_bytes(rest[1:3], "little")))
        assert first[:4].hex() == "47000000"
        await device.expect(expected_answer(sequence, b""))
        ends.append(data_bytes)

    async with (
        firmware(script) as port,
        redirect("127.0.0.1", "admin", "P@ssw0rd", disc, port=port) as drives,
    ):
        await drives.wait_until(lambda stats: stats.commands == 2)

    assert 0 < ends[0] < 65535 * 2048
    assert ends[0] == disc.read_blocks * 2048 or disc.read_blocks * 2048 - ends[0] <= 256 << 10
    assert drives.stats.reads == 0
    assert drives.stats.resets == 1


async def test_a_device_that_does_not_read_is_not_read_for(links: list[RedirectionLink]) -> None:
    disc = Zeros(1 << 20)

    async def script(device: Firmware) -> None:
        await device.attach()
        tighten(device, links[0])
        await device.send(*(command(n, "28 00 00000000 00 FFFF 00") for n in range(2, 18)))
        await until(lambda: not links[0]._writable.is_set())
        for _ in range(100):
            await asyncio.sleep(0)
        # of 2 GiB: two pieces, and what the sockets take
        assert transport_of(links[0]).get_write_buffer_size() <= 2 * (256 << 10) + 64 * 34
        assert disc.read_blocks * 2048 <= 1 << 20

    async with (
        firmware(script) as port,
        redirect("127.0.0.1", "admin", "P@ssw0rd", disc, port=port) as drives,
    ):
        with pytest.raises(RedirectionError):  # the script has ended
            await drives.wait_closed()


@pytest.mark.slow
async def test_a_flood_of_pings_is_answered_no_faster_than_it_is_read(
    links: list[RedirectionLink],
) -> None:
    numbers = [n.to_bytes(4, "little") for n in range(2, 200_000)]  # 1.6 MB, each way
    largest = 0

    def deaf() -> bool:
        nonlocal largest
        largest = max(largest, transport_of(links[0]).get_write_buffer_size())
        return not transport_of(links[0]).is_reading()

    async def script(device: Firmware) -> None:
        await device.attach()
        tighten(device, links[0])
        flood = asyncio.create_task(device.send(b"".join(b"\x44\0\0\0" + n for n in numbers)))
        await until(deaf)
        pongs = b"".join(b"\x45\0\0\0" + n for n in numbers)
        assert await device.read(len(pongs)) == pongs
        await flood

    async with (
        firmware(script) as port,
        redirect("127.0.0.1", "admin", "P@ssw0rd", CD, port=port) as drives,
    ):
        await until(lambda: links[0].ended.done())
        assert drives.stats.commands == 0

    assert (1 << 20) < largest <= HELD_BYTES_MAX


# ---- Pings


async def test_the_console_pings_and_answers_pings() -> None:
    async def script(device: Firmware) -> None:
        await device.attach()
        await device.expect(bytes.fromhex("44 0000 00 02000000"))
        await device.expect(bytes.fromhex("44 0000 00 03000000"))
        await device.send(bytes.fromhex("45 0000 00 02000000 4b 0000 00 03000000"))

    async with (
        firmware(script) as port,
        redirect(
            "127.0.0.1", "admin", "pw", CD, port=port, patience=Patience(ping_every_s=0.05)
        ) as drives,
    ):
        with pytest.raises(RedirectionError, match="device ended the connection"):
            await drives.wait_closed()


# ---- Images


class Cold:
    """A medium on a slow disk: nothing is there at once."""

    size_blocks = 300

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.before: Callable[[], object] = lambda: None

    def read_at_once(self, lba: int, count: int) -> None:
        return None

    def read(self, lba: int, count: int) -> bytes:
        self.before()
        if self.error:
            raise self.error
        return IMAGE[lba * 2048 : (lba + count) * 2048]


async def test_an_image_that_is_not_at_hand_is_read_in_a_thread() -> None:
    async def script(device: Firmware) -> None:
        await device.attach()
        await device.send(command(2, READ_32_BLOCKS))
        assert await device.read_data(65536, sequence=2) == IMAGE[16 * 2048 : 48 * 2048]

    async with (
        firmware(script) as port,
        redirect("127.0.0.1", "admin", "P@ssw0rd", Cold(), port=port) as drives,
    ):
        await drives.wait_until(lambda stats: stats.reads == 1)


async def test_a_disk_that_sleeps_holds_up_nothing_but_its_read() -> None:
    disc = Cold()
    awake = threading.Event()
    disc.before = awake.wait

    async def script(device: Firmware) -> None:
        await device.attach()
        await device.send(command(2, READ_32_BLOCKS))
        await device.send(bytes.fromhex("44 0000 00 03000000"), reset(4))
        await device.expect(bytes.fromhex("45 0000 00 02000000  47 0000 00 03000000"))
        await device.send(command(5, READ_FIRST_BLOCK))
        awake.set()
        await device.expect(expected_answer(4, IMAGE[:2048]))  # and nothing of the void READ

    async with (
        firmware(script) as port,
        redirect("127.0.0.1", "admin", "P@ssw0rd", disc, port=port) as drives,
    ):
        try:
            stats = await drives.wait_until(lambda stats: stats.reads == 1)
        finally:
            awake.set()

    assert (stats.resets, stats.read_bytes) == (1, 2048)


async def test_an_image_that_cannot_be_read_is_a_medium_error_and_the_session_goes_on() -> None:
    disc = Cold()
    disc.error = OSError(5, "Input/output error")

    async def script(device: Firmware) -> None:
        await device.attach()
        await device.send(command(2, READ_FIRST_BLOCK))
        await device.expect(expected_answer(2, UNREADABLE))
        disc.error = None
        await device.send(command(3, READ_FIRST_BLOCK))
        await device.expect(expected_answer(3, IMAGE[:2048]))

    async with (
        firmware(script) as port,
        redirect("127.0.0.1", "admin", "P@ssw0rd", disc, port=port) as drives,
    ):
        stats = await drives.wait_until(lambda stats: stats.reads == 1)

    assert stats.failed_reads == 1


async def test_a_fault_of_ours_ends_the_session_rather_than_leave_the_host_waiting() -> None:
    disc = Cold()
    disc.error = ZeroDivisionError("a bug")

    async def script(device: Firmware) -> None:
        await device.attach()
        await device.send(command(2, READ_FIRST_BLOCK))
        await device.nothing_more()

    async with (
        firmware(script) as port,
        redirect("127.0.0.1", "admin", "P@ssw0rd", disc, port=port) as drives,
    ):
        with pytest.raises(RedirectionError, match="this console has a fault"):
            await drives.wait_closed()


async def test_a_disc_of_more_than_4_gib_is_read_to_its_last_block(tmp_path: Path) -> None:
    path = tmp_path / "dvd.iso"
    with path.open("wb") as file:
        file.truncate((5 << 30) - 1000)  # not whole blocks, and no room taken
        file.seek((4 << 30) + 2048)
        file.write(b"behind 4 GiB")
    blocks = (5 << 30) // 2048

    async def script(device: Firmware) -> None:
        await device.attach()
        await device.send(command(2, "25 00 00000000 00 0000 00"))
        await device.expect(expected_answer(2, bytes.fromhex("0027ffff 00000800")))
        await device.send(command(3, "28 00 00200001 00 0001 00"))
        await device.expect(expected_answer(3, b"behind 4 GiB".ljust(2048, b"\0")))
        await device.send(command(4, f"28 00 {blocks - 1:08x} 00 0001 00"))
        await device.expect(expected_answer(4, bytes(2048)))

    async with (
        firmware(script) as port,
        open_cd(path) as cd,
        redirect("127.0.0.1", "admin", "P@ssw0rd", cd, port=port) as drives,
    ):
        await drives.wait_until(lambda stats: stats.reads == 2)
