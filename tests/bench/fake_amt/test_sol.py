"""The host's serial line over the redirection port."""

from __future__ import annotations

from pathlib import Path

from bootserver.bench.fake_amt import FakeSpec, RedirectionManners, fake_amt
from tests.bench.fake_amt.wire import WAIT_S, console

# 10000 bytes at once, timeouts 100, 0, 10000, 100 ms, no heartbeat
START = bytes.fromhex("20 00 00 00 01 00 00 00 10 27 64 00 00 00 10 27 64 00 00 00 00 00 00 00")
STARTED = bytes.fromhex("21 00 00 00 00 00 00 00 10 27 64 00 00 00 10 27 64 00 00 00 00 00 00")


async def test_what_the_host_prints_is_shown_and_what_is_typed_reaches_it(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path)) as device, console(device) as one:
        assert await one.log_in(device, b"SOL ") == 0
        one.send(START)
        assert await one.expect(23) == STARTED

        device.print_serial(b"boot: ")
        one.send(b"\x28\0\0\0\x02\0\0\0\x03\0ls\r")

        assert await one.expect(16) == b"\x2a\0\0\0\x01\0\0\0\x06\0boot: "
        await device.wait_until(lambda: device.typed == b"ls\r", timeout_s=WAIT_S)


async def test_no_more_comes_at_once_than_the_console_has_room_for(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path)) as device, console(device) as one:
        await one.log_in(device, b"SOL ")
        one.send(START[:8] + b"\x04\0" + START[10:])
        await one.expect(23)

        device.print_serial(b"boot: ")

        assert await one.expect(14) == b"\x2a\0\0\0\x01\0\0\0\x04\0boot"
        assert await one.expect(12) == b"\x2a\0\0\0\x02\0\0\0\x02\0: "


async def test_what_is_printed_before_anybody_looks_is_lost(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path)) as device, console(device) as one:
        device.print_serial(b"lost")
        await one.log_in(device, b"SOL ")
        one.send(START)
        await one.expect(23)

        device.print_serial(b"seen")

        assert await one.expect(14) == b"\x2a\0\0\0\x01\0\0\0\x04\0seen"


async def test_controls_pings_and_the_end_are_answered(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path)) as device, console(device) as one:
        await one.log_in(device, b"SOL ")
        one.send(START)
        await one.expect(23)

        one.send(b"\x27\0\0\0\x02\0\0\0\0\0\x1b\0\0\0")
        assert await one.expect(10) == b"\x29\0\0\0\x01\0\0\0\0\0"
        one.send(b"\x24\0\0\0\x03\0\0\0")
        assert await one.expect(8) == b"\x25\0\0\0\x02\0\0\0"
        one.send(b"\x22\0\0\0\x04\0\0\0", b"\x12\0\0\0")
        assert await one.expect(8) == b"\x23\0\0\0\x03\0\0\0"

        assert await one.has_been_left()
        assert device.violations == []


async def test_a_message_of_ider_is_a_violation(tmp_path: Path):
    beating = FakeSpec(tmp_path, redirection_manners=RedirectionManners(heartbeat_s=0.05))
    async with fake_amt(beating) as device, console(device) as one:
        await one.log_in(device, b"SOL ")
        one.send(START)
        await one.expect(23)
        assert await one.expect(8) == b"\x2b\0\0\0\x01\0\0\0"

        one.send(b"\x42\0\0\0\x02\0\0\0")

        await device.wait_until(lambda: bool(device.violations), timeout_s=WAIT_S)
