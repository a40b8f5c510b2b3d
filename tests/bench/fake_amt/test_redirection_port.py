"""The redirection port over real sockets: who is let in, and how a session goes on and ends."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bootserver.bench.fake_amt import (
    ConsoleDrive,
    DriveAnswer,
    FakeAmtDevice,
    FakeSpec,
    HostResetError,
    NoDriveError,
    OptInRequired,
    RedirectionManners,
    RedirectionSetting,
    Segments,
    fake_amt,
)
from tests.bench.fake_amt.wire import WAIT_S, Console, Wsman, attached, console, md5

BLOCK = bytes(range(256)) * 8
READ_16 = bytes.fromhex("28 00 00 00 00 10 00 00 01 00")


def spec(tmp_path: Path, **manners: Any) -> FakeSpec:
    return FakeSpec(tmp_path, redirection_manners=RedirectionManners(**manners))


async def left_with(device: FakeAmtDevice, violation: str) -> None:
    await device.wait_until(lambda: bool(device.violations), timeout_s=WAIT_S)
    assert violation in device.violations[0]
    await device.wait_until(lambda: not device.state.sessions, timeout_s=WAIT_S)


async def test_a_drive_answers_the_host(tmp_path: Path):
    async with fake_amt(spec(tmp_path)) as device, attached(device) as one:
        asked = asyncio.create_task(device.read_blocks(16, 1))

        command = await one.expect(28)
        one.send(one.data(BLOCK[:2000], last=False), one.data(BLOCK[2000:]))

        assert command == bytes.fromhex("50 00 00 00 02 00 00 00 00 01 00 00 00 00 B0 A0") + (
            READ_16 + b"\0\0"
        )
        assert await asked == BLOCK
        assert device.violations == []


async def test_a_drive_answers_with_sense(tmp_path: Path):
    async with fake_amt(spec(tmp_path)) as device, attached(device) as one:
        asked = asyncio.create_task(device.scsi(bytes(6), ConsoleDrive.CD))
        await one.expect(28)
        one.send(one.refused(2, 0x3A, 0))

        assert await asked == DriveAnswer(sense=(2, 0x3A, 0))


async def test_the_host_has_one_command_open_at_a_time(tmp_path: Path):
    async with fake_amt(spec(tmp_path)) as device, attached(device) as one:
        first = asyncio.create_task(device.scsi(bytes(6)))
        second = asyncio.create_task(device.scsi(READ_16))

        assert (await one.expect(28))[16] == 0x00
        one.send(one.good())
        assert await first == DriveAnswer()
        assert (await one.expect(28))[16] == 0x28
        one.send(one.data(BLOCK))
        assert await second == DriveAnswer(BLOCK)


async def test_over_tls_it_is_the_same(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path, tls=True)) as device:
        trusting = ssl.create_default_context(cadata=device.certificate_pem)
        connection = await asyncio.open_connection(
            device.host, device.redirection_port, ssl=trusting
        )
        one = Console(*connection)

        assert await one.log_in(device) == 0
        one.leave()


async def test_a_wrong_password_is_refused_and_logged(tmp_path: Path):
    async with fake_amt(spec(tmp_path)) as device, console(device) as one:
        assert await one.log_in(device, password="guess") == 1

        assert await one.has_been_left()
        assert [event.sensor_type for event in device.state.events] == [6]


async def test_the_older_digest_is_taken_where_it_is_offered(tmp_path: Path):
    async with fake_amt(spec(tmp_path, auth_types=(3,))) as device, console(device) as one:
        one.send(b"\x10\0\0\0IDER")
        await one.expect(13)
        one.send(b"\x13\0\0\0\x03\x1f\0\0\0\x05admin\0\0\x13/RedirectionService\0\0\0")
        challenge = await one.expect(9 + 40 + 33)
        realm, nonce = device.state.realm, challenge[-32:].decode()
        # RFC 2069: no count, no cnonce, no qop
        secret = md5("admin", realm, device.spec.password)
        proof = md5(secret, nonce, md5("POST", "/RedirectionService"))
        fields = ["admin", realm, nonce, "/RedirectionService", "", "", proof]
        data = b"".join(bytes([len(field)]) + field.encode() for field in fields)
        one.send(b"\x13\0\0\0\x03" + bytes([len(data), 0, 0, 0]) + data)

        assert challenge[:10] == b"\x14\x01\0\0\x03\x49\0\0\0\x27"
        assert await one.expect(9) == b"\x14\0\0\0\x03\0\0\0\0"


async def test_a_password_in_clear_is_not_offered(tmp_path: Path):
    async with fake_amt(spec(tmp_path)) as device, console(device) as one:
        one.send(b"\x10\0\0\0IDER")
        await one.expect(13)
        one.send(b"\x13\0\0\0\x01\x0f\0\0\0\x05admin\x08P@ssw0rd")

        assert await one.expect(9) == b"\x14\x02\0\0\x01\0\0\0\0"
        assert await one.has_been_left()


@pytest.mark.parametrize(
    ("fake", "tag", "status"),
    [
        (FakeSpec(Path(), redirection=RedirectionSetting.SOL), b"IDER", 3),
        (FakeSpec(Path(), redirection=RedirectionSetting.IDER), b"SOL ", 3),
        (FakeSpec(Path(), consent=OptInRequired.ALL), b"IDER", 3),
        (FakeSpec(Path(), redirection_manners=RedirectionManners(busy=True)), b"IDER", 2),
        (FakeSpec(Path()), b"DISK", 1),
    ],
    ids=["no IDE-R", "no SOL", "no consent", "busy", "unknown"],
)
async def test_a_session_that_cannot_be_is_refused_by_its_status(
    tmp_path: Path, fake: FakeSpec, tag: bytes, status: int
):
    async with fake_amt(replace(fake, workdir=tmp_path)) as device, console(device) as one:
        one.send(b"\x10\0\0\0" + tag)

        assert await one.expect(4) == bytes([0x11, status, 0, 0])
        assert await one.has_been_left()


async def test_the_drives_are_for_one_console_at_a_time(tmp_path: Path):
    async with fake_amt(spec(tmp_path)) as device, attached(device) as first:
        async with console(device) as second:
            second.send(b"\x10\0\0\0IDER")
            assert await second.expect(4) == b"\x11\x02\0\0"
        first.leave()
        await device.wait_until(lambda: not device.state.sessions, timeout_s=WAIT_S)

        async with attached(device):
            assert device.state.sessions == {"IDER"}


async def test_serial_line_and_drives_may_be_open_at_once(tmp_path: Path):
    async with fake_amt(spec(tmp_path)) as device, attached(device), console(device) as serial:
        assert await serial.log_in(device, b"SOL ") == 0

        await device.wait_until(lambda: device.state.sessions == {"IDER", "SOL"}, timeout_s=WAIT_S)


async def test_without_its_listener_the_port_is_closed_until_it_is_switched_on(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path, listener=False)) as device:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(device.host, device.redirection_port)
        port = device.redirection_port

        reply = await Wsman(device).put(
            "AMT_RedirectionService", ListenerEnabled="true", EnabledState="32771"
        )

        assert reply.text("ListenerEnabled") == "true"
        assert device.redirection_port == port
        async with attached(device):
            pass


@pytest.mark.parametrize(("value", "reply"), [(0x09, 1), (0x11, 1), (0x19, 1), (0x08, 1)], ids=hex)
async def test_drives_are_switched_at_once_or_at_the_next_reset(
    tmp_path: Path, value: int, reply: int
):
    async with fake_amt(spec(tmp_path)) as device, console(device) as one:
        await one.log_in(device)
        await one.open()

        switched = await one.switch(value)

        assert switched == b"\x49\0\0\0\x01\0\0\0\x03" + bytes([reply, 0, 0, 0])
        one.send(one.header(0x48) + b"\x02\0\0\0\0")
        is_on = value in (0x11, 0x19)
        assert (await one.expect(13))[8:] == b"\x02" + bytes([0x02 if is_on else 0, 0, 0, 0])
        if not is_on:
            with pytest.raises(NoDriveError):
                await device.scsi(bytes(6))


async def test_drives_may_be_rejected(tmp_path: Path):
    async with fake_amt(spec(tmp_path, rejects_features=True)) as device, console(device) as one:
        await one.log_in(device)
        await one.open()

        assert (await one.switch(0x19))[8:] == b"\x03\0\0\0\0"
        with pytest.raises(NoDriveError):
            await device.scsi(bytes(6))


async def test_graceful_switching_is_rejected_while_a_command_is_open(tmp_path: Path):
    async with fake_amt(spec(tmp_path)) as device, attached(device) as one:
        asked = asyncio.create_task(device.scsi(bytes(6)))
        await one.expect(28)

        assert (await one.switch(0x11))[8:] == b"\x03\0\0\0\0"
        one.send(one.good())
        await asked


async def test_a_reset_brings_the_drives_that_wait_for_it(tmp_path: Path):
    async with fake_amt(spec(tmp_path)) as device, attached(device, 0x09) as one:
        device.reset_host()
        assert await one.expect(9) == b"\x46\0\0\0\x02\0\0\0\x03"
        one.send(one.header(0x47))

        await device.drives_on(timeout_s=WAIT_S)


async def test_a_reset_in_the_middle_of_a_read_voids_it(tmp_path: Path):
    async with fake_amt(spec(tmp_path, reset_in_read=2)) as device, attached(device) as one:
        first = asyncio.create_task(device.scsi(READ_16))
        await one.expect(28)
        one.send(one.data(BLOCK))
        assert await first == DriveAnswer(BLOCK)

        second = asyncio.create_task(device.scsi(READ_16))
        command_and_reset = await one.expect(28 + 9)
        one.send(one.data(b"void", last=False), one.header(0x47))

        assert (command_and_reset[0], command_and_reset[28]) == (0x50, 0x46)
        with pytest.raises(HostResetError):
            await second
        again = asyncio.create_task(device.scsi(READ_16))
        await one.expect(28)
        one.send(one.data(BLOCK))
        assert await again == DriveAnswer(BLOCK)
        assert device.violations == []


async def test_no_command_comes_before_the_console_has_noted_a_reset(tmp_path: Path):
    async with fake_amt(spec(tmp_path)) as device, attached(device) as one:
        device.reset_host()
        assert (await one.expect(9))[0] == 0x46
        asked = asyncio.create_task(device.scsi(bytes(6)))
        one.send(one.header(0x44))
        assert (await one.expect(8))[0] == 0x45  # and not the command

        one.send(one.header(0x47))
        assert (await one.expect(28))[0] == 0x50
        one.send(one.good())
        assert await asked == DriveAnswer()


async def test_a_connection_that_is_cut_leaves_the_host_without_drives(tmp_path: Path):
    async with fake_amt(spec(tmp_path, cut_after_reads=1)) as device, attached(device) as one:
        asked = asyncio.create_task(device.scsi(READ_16))
        await one.expect(28)
        one.send(one.data(BLOCK))

        assert await asked == DriveAnswer(BLOCK)
        assert await one.has_been_left()
        await device.wait_until(lambda: not device.state.sessions, timeout_s=WAIT_S)
        with pytest.raises(NoDriveError):
            await device.scsi(READ_16)


async def test_a_command_whose_console_leaves_fails(tmp_path: Path):
    async with fake_amt(spec(tmp_path)) as device, attached(device) as one:
        asked = asyncio.create_task(device.scsi(READ_16))
        await one.expect(28)
        one.leave()

        with pytest.raises(NoDriveError):
            await asked


async def test_a_silent_console_is_left(tmp_path: Path):
    async with fake_amt(spec(tmp_path, rx_timeout_s=0.2)) as device, attached(device) as one:
        assert await one.has_been_left()

        await left_with(device, "nothing came for too long")


async def test_pings_go_both_ways(tmp_path: Path):
    async with fake_amt(spec(tmp_path, ping_s=0.05)) as device, attached(device) as one:
        assert (await one.expect(8))[:4] == b"\x44\0\0\0"
        one.send(one.header(0x45), one.header(0x44))
        while (await one.expect(8))[0] == 0x44:  # more of its pings may come first
            one.send(one.header(0x45))

        assert device.ider
        assert device.ider.pongs >= 1


async def test_heartbeats_come_as_often_as_the_console_asked(tmp_path: Path):
    async with fake_amt(spec(tmp_path)) as device, console(device) as one:
        await one.log_in(device)
        await one.open(heartbeat_ms=100)

        assert await one.expect(16) == b"\x4b\0\0\0\x01\0\0\0" + b"\x4b\0\0\0\x02\0\0\0"


async def test_the_first_message_may_come_with_the_logins_reply(tmp_path: Path):
    joined = spec(tmp_path, segments=Segments.JOINED)
    async with fake_amt(joined) as device, console(device) as one:
        assert await one.log_in(device) == 0

        assert await one.expect(8) == b"\x4b\0\0\0\0\0\0\0"
        assert (await one.open())[:8] == b"\x41\0\0\0\x01\0\0\0"


async def test_messages_may_come_byte_by_byte(tmp_path: Path):
    async with fake_amt(spec(tmp_path, segments=Segments.BYTES)) as device, attached(device):
        assert device.violations == []


@pytest.mark.parametrize(
    ("message", "violation"),
    [
        (b"\x44\0\0\0\x07\0\0\0", "sequence number 7, expected 2"),
        (b"\x47\0\0\0\x02\0\0\0", "a reset noted that was none"),
        (b"\x40\0\0\0\x02\0\0\0" + bytes(10), "during IDE-R"),
        (b"\x51\0\0\x02\x02\0\0\0" + bytes(23), "no command is open"),
        (b"\x48\0\0\0\x02\0\0\0\x03\x01\0\0\0", "features value 0x1"),
        (b"\x99", "message 0x99 is unknown"),
    ],
    ids=["sequence", "47", "40 again", "51 for nothing", "features", "unknown"],
)
async def test_a_violation_ends_the_session(tmp_path: Path, message: bytes, violation: str):
    async with fake_amt(spec(tmp_path)) as device, attached(device) as one:
        one.send(message)

        assert await one.has_been_left()
        await left_with(device, violation)


async def test_ider_before_the_login_is_a_violation(tmp_path: Path):
    async with fake_amt(spec(tmp_path)) as device, console(device) as one:
        one.send(b"\x10\0\0\0IDER" + b"\x40\0\0\0\0\0\0\0\x30\x75\0\0\0\0\x01\0\0\0")

        assert await one.expect(13)
        assert await one.has_been_left()
        await left_with(device, "before the login")


async def test_a_session_ends_in_good_order(tmp_path: Path):
    async with fake_amt(spec(tmp_path)) as device, attached(device) as one:
        one.send(one.header(0x42))
        assert await one.expect(8) == b"\x43\0\0\0\x02\0\0\0"
        one.send(b"\x12\0\0\0")

        assert await one.has_been_left()
        await device.wait_until(lambda: not device.state.sessions, timeout_s=WAIT_S)
        assert device.violations == []
