"""Digests: the right sum or none, and a cache that knows exactly one version of a file."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bootserver.database import DatabaseEngine, open_database
from bootserver.errors import ImageError, ImageNotReadyError
from bootserver.images import digests
from bootserver.images.digests import CHUNK_BYTES, Finding, find, hash_file, store
from bootserver.model import ElToritoEntry, FileVersion, IsoFacts, PlainDisk

CONTENT = os.urandom(2 * CHUNK_BYTES + 12_345)
VERSION = FileVersion(size_bytes=6 * 1024**3, mtime_ns=1_764_000_000_123_456_789, inode=2**64 - 5)
FACTS = IsoFacts(
    size_bytes=6 * 1024**3,
    volume_id="LIVE",
    has_udf=True,
    el_torito=(ElToritoEntry(0, True, 0, 4, 30), ElToritoEntry(0xEF, True, 0, 8192, 99)),
    markers={"/live": 0, "/.disk/info": 24},
    texts={"/.disk/info": "Debian GNU/Linux 12 Live"},
)


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[DatabaseEngine]:
    async with open_database(f"sqlite+aiosqlite:///{tmp_path}/test.db") as engine:
        yield engine


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.iso"
    path.write_bytes(CONTENT)
    return path


def test_digest_is_sha256_of_the_whole_content(file: Path) -> None:
    sha256, version = hash_file(file)

    assert sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert version == FileVersion.of(file.stat())


def test_empty_file_has_the_digest_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.iso").touch()

    assert hash_file(tmp_path / "a.iso")[0] == hashlib.sha256().hexdigest()


def test_progress_counts_up_to_the_size(file: Path) -> None:
    steps: list[int] = []

    hash_file(file, progress=steps.append)

    assert steps == [CHUNK_BYTES, 2 * CHUNK_BYTES, len(CONTENT)]


def test_set_event_ends_it_within_a_chunk(file: Path) -> None:
    cancelled = threading.Event()
    steps: list[int] = []

    def progress(done_bytes: int) -> None:
        steps.append(done_bytes)
        cancelled.set()

    with pytest.raises(ImageNotReadyError, match="cancelled"):
        hash_file(file, progress=progress, cancelled=cancelled)

    assert steps == [CHUNK_BYTES]


def test_file_that_grows_meanwhile_has_no_digest(file: Path) -> None:
    def grow(done_bytes: int) -> None:
        if done_bytes == CHUNK_BYTES:
            with file.open("ab") as out:
                out.write(b"more")

    with pytest.raises(ImageNotReadyError, match="changed while it was read"):
        hash_file(file, progress=grow)


def test_file_overwritten_in_place_meanwhile_has_no_digest(file: Path) -> None:
    def overwrite(done_bytes: int) -> None:
        with file.open("r+b") as out:
            out.write(b"other")
        os.utime(file, ns=(1, done_bytes))

    with pytest.raises(ImageNotReadyError, match="changed while it was read"):
        hash_file(file, progress=overwrite)


def test_missing_file_is_an_image_error_caused_by_the_system(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"a\.iso cannot be read") as caught:
        hash_file(tmp_path / "a.iso")

    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize(
    "facts",
    [FACTS, IsoFacts(1_474_560, plain_disk=PlainDisk("floppy", True, False))],
    ids=["disc", "plain disk"],
)
async def test_finding_comes_back_equal(engine: DatabaseEngine, facts: IsoFacts) -> None:
    finding = Finding("ab" * 32, facts)

    await store(engine, Path("/images/a.iso"), VERSION, finding)

    assert await find(engine, Path("/images/a.iso"), VERSION) == finding


async def test_problem_comes_back_without_facts(engine: DatabaseEngine) -> None:
    finding = Finding("", None, "a.iso is truncated")

    await store(engine, Path("/images/a.iso"), VERSION, finding)

    assert await find(engine, Path("/images/a.iso"), VERSION) == finding


@pytest.mark.parametrize(
    "other",
    [
        FileVersion(VERSION.size_bytes + 1, VERSION.mtime_ns, VERSION.inode),
        FileVersion(VERSION.size_bytes, VERSION.mtime_ns + 1, VERSION.inode),
        FileVersion(VERSION.size_bytes, VERSION.mtime_ns, VERSION.inode + 1),
    ],
    ids=["size", "mtime", "inode"],
)
async def test_other_version_is_not_known(engine: DatabaseEngine, other: FileVersion) -> None:
    await store(engine, Path("/images/a.iso"), VERSION, Finding("ab" * 32, FACTS))

    assert await find(engine, Path("/images/a.iso"), other) is None


async def test_new_version_takes_the_place_of_the_old(engine: DatabaseEngine) -> None:
    path, newer = Path("/images/a.iso"), FileVersion(1, 2, 3)
    await store(engine, path, VERSION, Finding("ab" * 32, FACTS))

    await store(engine, path, newer, Finding("cd" * 32, FACTS))

    assert await find(engine, path, VERSION) is None
    assert await find(engine, path, newer) == Finding("cd" * 32, FACTS)


async def test_other_releases_facts_are_dropped_and_their_digest_kept(
    engine: DatabaseEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store(engine, Path("/images/a.iso"), VERSION, Finding("ab" * 32, FACTS))
    monkeypatch.setattr(digests, "INSPECTION_REVISION", "another")

    assert await find(engine, Path("/images/a.iso"), VERSION) == Finding("ab" * 32, None)
