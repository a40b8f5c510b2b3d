"""Hostile discs: whatever the bytes are, there is an answer or an ImageError, within the budget."""

from __future__ import annotations

import os
import random
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bootserver.disc.source import READ_BUDGET_BYTES
from bootserver.disc.volume import Volume, open_volume
from bootserver.errors import ImageError
from tests.fixtures.discs import SECTOR, tree_of
from tests.fixtures.isos import make_iso
from tests.fixtures.udf import EMBEDDED, PARTITION_START, SHORT, tagged, udf_volume

pytestmark = pytest.mark.slow

FILES = {
    "boot/grub/grub.cfg": b"menuentry",
    "1/2/3/4/5/6/7/8/9/10/file": b"deep",
    "live/vmlinuz-with-a-name-that-needs-a-continuation-area" + "x" * 190: b"kernel",
    **{f"many/file{n}": b"" for n in range(60)},
}
PATHS = (
    "/",
    "/boot/grub/grub.cfg",
    "/BOOT/GRUB/GRUB.CFG",
    "/link",
    "/many/file7",
    "/1/2/3/4/5/6/7/8/9/10",
)
FUZZ = settings(max_examples=120, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Small discs of every kind as something to break."""
    work = tmp_path_factory.mktemp("fuzz")
    tree = tree_of(work / "tree", FILES, {"link": "boot/../boot/grub/grub.cfg"})
    iso = work / "a.iso"
    subprocess.run(
        ["genisoimage", "-quiet", "-R", "-J", "-joliet-long", "-o", iso, tree],
        check=True,
        capture_output=True,
    )
    short = {name: data for name, data in FILES.items() if len(name) < 100}
    return {
        "rock ridge": iso.read_bytes(),
        "bridge": make_iso(work / "b.iso", short, joliet=True, udf=True, bios=True).read_bytes(),
        "udf": udf_volume(work / "c.iso", FILES, allocation=SHORT, chained=True).read_bytes(),
        "metadata": udf_volume(
            work / "d.iso", FILES, allocation=EMBEDDED, metadata=True, extended=True
        ).read_bytes(),
    }


@contextmanager
def counted_reads() -> Iterator[list[int]]:
    """The bytes read from images in the block."""
    counts: list[int] = []
    pread = os.pread

    def counted(fd: int, count: int, offset: int) -> bytes:
        counts.append(count)
        return pread(fd, count, offset)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pread", counted)
        yield counts


def explore(data: bytes, path: Path) -> None:
    """Ask a disc for all kinds of things."""
    path.write_bytes(data)
    fd = os.open(path, os.O_RDONLY)
    try:
        volume = open_volume(fd, len(data), "fuzzed")
        for asked in PATHS:
            for ask in (volume.find, volume.children, _everything(volume)):
                _answered(ask, asked)
        for changes in ({"/many": None}, {"/boot/grub/grub.cfg": (bytes(9000),)}):
            _answered(volume.rewritten, changes)
    except ImageError as err:
        assert err.message  # noqa: PT017 - either outcome is right; a third is not
    finally:
        os.close(fd)


def _everything(volume: Volume) -> object:
    return lambda _: volume.paths(lambda path: True, lambda path: path.count("/") < 12)


def _answered(ask: object, argument: object) -> None:
    """Either outcome is right, within the budget; a third is not."""
    assert callable(ask)
    with counted_reads() as counts:
        try:
            ask(argument)
        except ImageError as err:
            assert err.message  # noqa: PT017
    assert sum(counts) <= READ_BUDGET_BYTES


@FUZZ
@given(
    kind=st.sampled_from(["rock ridge", "bridge", "udf", "metadata"]),
    seed=st.integers(0, 2**32),
    flips=st.integers(1, 24),
)
def test_flipped_bytes(
    tmp_path_factory: pytest.TempPathFactory,
    discs: dict[str, bytes],
    kind: str,
    seed: int,
    flips: int,
) -> None:
    data = bytearray(discs[kind])
    chance = random.Random(seed)
    used = [at for at in range(32 * 1024, len(data)) if data[at]]
    for at in chance.sample(used, flips):
        data[at] ^= chance.randrange(1, 256)

    explore(bytes(data), tmp_path_factory.getbasetemp() / "fuzzed.iso")


@FUZZ
@given(
    kind=st.sampled_from(["rock ridge", "bridge"]),
    seed=st.integers(0, 2**32),
    count=st.integers(1, 6),
)
def test_lengths_and_blocks_of_records_and_continuations(
    tmp_path_factory: pytest.TempPathFactory,
    discs: dict[str, bytes],
    kind: str,
    seed: int,
    count: int,
) -> None:
    """Directory records point to each other's directories, and CE entries to other areas."""
    data = bytearray(discs[kind])
    chance = random.Random(seed)
    records = _records(data)
    blocks = [struct.unpack_from("<L", data, at + 2)[0] for at in records]
    areas = [*_all(data, b"CE\x1c\x01"), *_all(data, b"CL\x0c\x01")]
    for _ in range(count):
        at = chance.choice(records)
        match chance.randrange(5):
            case 0:
                struct.pack_into("<L", data, at + 2, chance.choice(blocks))
                data[at + 25] |= 2
            case 1:
                struct.pack_into("<L", data, at + 10, chance.choice([0, 1, 2047, 2**23, 2**32 - 1]))
            case 2:
                data[at + chance.choice([0, 1, 25, 26, 32])] = chance.randrange(256)
            case _ if areas:
                field = chance.choice([4, 12, 20])
                value = chance.choice([0, 28, *blocks, 2**31])
                struct.pack_into("<L", data, chance.choice(areas) + field % 12, value)

    explore(bytes(data), tmp_path_factory.getbasetemp() / "fuzzed.iso")


@FUZZ
@given(
    kind=st.sampled_from(["udf", "metadata"]), seed=st.integers(0, 2**32), count=st.integers(1, 5)
)
def test_udf_descriptors_that_lie_with_right_checksums(
    tmp_path_factory: pytest.TempPathFactory,
    discs: dict[str, bytes],
    kind: str,
    seed: int,
    count: int,
) -> None:
    data = bytearray(discs[kind])
    chance = random.Random(seed)
    tags = [at for at in range(32 * SECTOR, len(data), SECTOR) if _length(data, at)]
    for _ in range(count):
        at = chance.choice(tags)
        other = chance.choice([at, *tags]) // SECTOR - PARTITION_START
        field = at + chance.randrange(16, min(16 + _length(data, at), SECTOR) - 4)
        value = chance.choice([0, 1, 8, 2048, 2**30, 2**32 - 1, max(other, 0), 0xC0000800])
        struct.pack_into("<L", data, field, value)
        number, location = struct.unpack_from("<H10xL", data, at)
        body = bytes(data[at + 16 : at + 16 + _length(data, at)])
        data[at : at + 16 + len(body)] = tagged(number, location, body)

    explore(bytes(data), tmp_path_factory.getbasetemp() / "fuzzed.iso")


@settings(max_examples=60)
@given(tail=st.binary(max_size=8 * SECTOR))
def test_bytes_of_chance_behind_a_magic(
    tmp_path_factory: pytest.TempPathFactory, tail: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.iso"
    for magic in (b"\x01CD001\x01", b"\x00NSR02\x01"):
        explore(bytes(16 * SECTOR) + magic + tail + bytes(300 * SECTOR), path)


def _records(data: bytes | bytearray) -> list[int]:
    """Where directory records seem to begin: their numbers are there in both byte orders."""
    return [
        at
        for at in range(18 * SECTOR, min(len(data), 600 * SECTOR) - 34, 2)
        if data[at] >= 34
        and data[at + 2 : at + 6] == data[at + 6 : at + 10][::-1]
        and data[at + 10 : at + 14] == data[at + 14 : at + 18][::-1]
        and any(data[at + 2 : at + 10])
    ]


def _all(data: bytes | bytearray, signature: bytes) -> Iterator[int]:
    at = data.find(signature)
    while at >= 0:
        yield at
        at = data.find(signature, at + 1)


def _length(data: bytes | bytearray, at: int) -> int:
    """Bytes that the CRC of the descriptor there is over, 0 if there is none."""
    right = data[at + 4] == (sum(data[at : at + 16]) - data[at + 4]) % 256
    length = int.from_bytes(data[at + 10 : at + 12], "little")
    return length if right and 20 < length <= SECTOR - 16 else 0
