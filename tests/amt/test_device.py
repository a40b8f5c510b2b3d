"""Drives over a real connection: what goes out, when, in how many writes, and every way to end."""

from __future__ import annotations

from bootserver.amt.device import redirect
from bootserver.amt.events import Closed
from bootserver.amt.ider import DriveKind
from bootserver.amt.media import MemoryMedium
from tests.fakes.amt_firmware import Firmware, command, firmware

# 300 blocks, each full of its own number (two bytes, big-endian)
IMAGE = b"".join(lba.to_bytes(2, "big") * 1024 for lba in range(300))
CD = MemoryMedium(DriveKind.CD, IMAGE)
READ_FIRST_BLOCK = "28 00 00000000 00 0001 00"


async def test_a_read_is_answered_and_counted_and_the_end_is_orderly() -> None:
    async def script(device: Firmware) -> None:
        await device.attach()
        await device.send(command(2, READ_FIRST_BLOCK))
        await device.expect(
            bytes.fromhex(
                "54 0000 03 02000000 00 0008 00 b4 00 02 00 0000 b0 58"
                "85 00 03 000000 b0 50 000000 000000"
            ),
            IMAGE[:2048],
        )
        await device.detach(3, 3)

    async with firmware(script) as port:
        async with redirect("127.0.0.1", "admin", "P@ssw0rd", CD, port=port) as drives:
            stats = await drives.wait_until(lambda stats: stats.reads == 1)
            assert drives.firmware.read_buffer_bytes == 8192
        assert await drives.wait_closed() == Closed(asked=True)

    assert (stats.commands, stats.read_bytes, stats.resets) == (1, 2048, 0)
    assert stats.first_read_at == stats.last_read_at is not None
