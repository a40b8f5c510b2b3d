"""The redirection console against the fake device, whose firmware side is strict and not ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bootserver.amt.errors import AmtUnreachableError, Failure, RedirectionError
from bootserver.amt.redirection.drives import RedirectedDrives, redirect
from bootserver.amt.redirection.link import Patience
from bootserver.amt.redirection.media import MemoryMedium, blank_floppy
from bootserver.amt.redirection.scsi import DriveKind
from bootserver.amt.redirection.serial_line import serial_over_lan
from bootserver.amt.tls import Tls
from bootserver.bench.fake_amt import (
    FakeAmtDevice,
    FakeSpec,
    RedirectionManners,
    Segments,
    SystemState,
    fake_amt,
)
from bootserver.bench.fake_amt.ider import ConsoleDrive

IMAGE = b"".join(lba.to_bytes(2, "big") * 1024 for lba in range(300))
CD = MemoryMedium(DriveKind.CD, IMAGE)


@asynccontextmanager
async def redirected(
    device: FakeAmtDevice,
    *,
    now: bool = True,
    password: str = "P@ssw0rd",
    patience: Patience | None = None,
) -> AsyncIterator[RedirectedDrives]:
    tls = Tls(pin_sha256=device.certificate_sha256) if device.certificate_sha256 else None
    async with redirect(
        *(device.host, "admin", password, CD, blank_floppy()),
        port=device.redirection_port,
        tls=tls,
        now=now,
        patience=patience,
    ) as drives:
        yield drives


async def read_all(device: FakeAmtDevice) -> bytes:
    """The disc as a host reads it, in pieces of 32 blocks."""
    blocks = await device.capacity()
    return b"".join(
        [await device.read_blocks(lba, min(32, blocks - lba)) for lba in range(0, blocks, 32)]
    )


MANNERS = [
    *(RedirectionManners(readbfr=size) for size in (512, 1024, 4096, 8192)),
    *(RedirectionManners(segments=segments) for segments in (Segments.BYTES, Segments.JOINED)),
    RedirectionManners(dma=False),
    RedirectionManners(heartbeat_s=0.01, ping_s=0.01),
    RedirectionManners(reset_in_read=3),
]


@pytest.mark.slow
@pytest.mark.parametrize("manners", MANNERS)
async def test_a_disc_is_read_as_it_is(tmp_path: Path, manners: RedirectionManners) -> None:
    read_last = bytes.fromhex("28 00 00000b3f 00 0001 00 0000")
    async with (
        fake_amt(FakeSpec(tmp_path, redirection_manners=manners)) as device,
        redirected(device) as drives,
    ):
        assert drives.firmware.read_buffer_bytes == manners.readbfr
        await device.drives_on()
        assert await read_all(device) == IMAGE
        floppy = await device.scsi(read_last, ConsoleDrive.FLOPPY)
        stats = drives.stats

    assert floppy.data == bytes(512)
    assert stats.read_bytes == len(IMAGE) + 512
    assert stats.resets == (1 if manners.reset_in_read else 0)
    assert device.violations == []


async def test_a_disc_is_read_over_tls(tmp_path: Path) -> None:
    async with fake_amt(FakeSpec(tmp_path, tls=True)) as device, redirected(device):
        await device.drives_on()
        assert await read_all(device) == IMAGE

    assert device.violations == []


async def test_drives_appear_at_the_next_reset(tmp_path: Path) -> None:
    async with (
        fake_amt(FakeSpec(tmp_path, power=SystemState.S0)) as device,
        redirected(device, now=False) as drives,
    ):
        assert device.ider is not None
        assert device.ider.drives.name == "AT_RESET"
        device.reset_host()
        await drives.wait_until(lambda stats: stats.resets == 1)
        await device.drives_on()
        assert await read_all(device) == IMAGE

    assert device.violations == []


async def test_a_connection_that_is_cut_is_told_and_can_be_made_again(tmp_path: Path) -> None:
    manners = RedirectionManners(cut_after_reads=2)
    async with fake_amt(FakeSpec(tmp_path, redirection_manners=manners)) as device:
        async with redirected(device) as drives, asyncio.timeout(20):
            await device.drives_on()
            assert await device.read_blocks(0, 32) == IMAGE[:65536]
            assert await device.read_blocks(32, 32) == IMAGE[65536:131072]
            with pytest.raises(RedirectionError, match="connection") as raised:
                await drives.wait_closed()
        async with redirected(device):
            await device.drives_on()
            assert await read_all(device) == IMAGE

    assert raised.value.failure is Failure.LOST
    assert device.violations == []


@pytest.mark.parametrize(
    ("manners", "password", "failure"),
    [
        (RedirectionManners(busy=True), "P@ssw0rd", Failure.BUSY),
        (RedirectionManners(), "wrong", Failure.WRONG_PASSWORD),
        (RedirectionManners(rejects_features=True), "P@ssw0rd", Failure.REJECTED),
        (RedirectionManners(auth_types=(1,)), "P@ssw0rd", Failure.NO_DIGEST),
    ],
    ids=["busy", "password", "features", "clear-text"],
)
async def test_a_refusal_is_told(
    tmp_path: Path, manners: RedirectionManners, password: str, failure: Failure
) -> None:
    async with fake_amt(FakeSpec(tmp_path, redirection_manners=manners)) as device:
        with pytest.raises(RedirectionError) as raised:
            async with redirected(device, password=password):
                pass

    assert raised.value.failure is failure
    assert raised.value.message


async def test_a_listener_that_is_off_is_told(tmp_path: Path) -> None:
    async with fake_amt(FakeSpec(tmp_path, listener=False)) as device:
        with pytest.raises(AmtUnreachableError, match="Connection refused") as raised:
            async with redirected(device):
                pass

    assert "redirection is switched off" in raised.value.hint


@pytest.mark.slow
async def test_pings_keep_a_session_alive(tmp_path: Path) -> None:
    manners = RedirectionManners(rx_timeout_s=0.3)
    async with fake_amt(FakeSpec(tmp_path, redirection_manners=manners)) as device:
        async with redirected(device, patience=Patience(ping_every_s=0.05)) as drives:
            await device.drives_on()
            await asyncio.sleep(1)
            assert await device.read_blocks(0, 1) == IMAGE[:2048]
        async with redirected(device, patience=Patience(ping_every_s=10)) as drives:
            with pytest.raises(RedirectionError):  # the device has given up a silent console
                await drives.wait_until(lambda stats: stats.reads > 0)


async def test_the_serial_line_works_beside_the_drives(tmp_path: Path) -> None:
    async with (
        fake_amt(FakeSpec(tmp_path)) as device,
        redirected(device),
        serial_over_lan(device.host, "admin", "P@ssw0rd", port=device.redirection_port) as line,
    ):
        device.print_serial(b"Welcome")
        said = b""
        while said != b"Welcome":
            said += await anext(line)
        await line.send(b"ls\r" * 1000)
        await device.wait_until(lambda: len(device.typed) == 3000)

    assert device.typed == b"ls\r" * 1000
    assert device.violations == []
