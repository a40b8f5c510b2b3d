"""Packed images are unpacked on their way in; what cannot be is refused before it has all come."""

from __future__ import annotations

import asyncio
import bz2
import gzip
import io
import json
import lzma
import os
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import web

from bootserver.errors import ImageError
from bootserver.images import part as part_module
from bootserver.images import unpack as unpack_module
from bootserver.images.add import add_image, add_upload
from bootserver.images.unpack import PIECE_BYTES, unpacker_of
from tests.images.files import names, sha256
from tests.images.mirror import Mirror, serving

Pack = Callable[[bytes], bytes]


def zipped(*files: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip archive as programs write it that can go back to fill in the sizes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return file.getvalue()


class _Pipe(io.RawIOBase):
    """What cannot be gone back in: zipfile writes CRC and sizes behind each file then."""

    def __init__(self) -> None:
        self.data = b""

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload]
        self.data += piece
        return len(piece)


def zipped_to_a_pipe(*files: tuple[str, bytes]) -> bytes:
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return pipe.data


def zipped_in_64_bits(data: bytes) -> bytes:
    """Sizes in the extra field, as for files of 4 GiB and more."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive,
        archive.open("a.iso", "w", force_zip64=True) as member,
    ):
        member.write(data)
    return file.getvalue()


def halves(pack: Pack) -> Pack:
    """Packs in two streams, as pbzip2, pigz and pixz may."""
    return lambda data: pack(data[:600_000]) + pack(data[600_000:])


def quickly_packed(data: bytes) -> bytes:
    return lzma.compress(data, preset=0)


README = ("README", b"Read me. " * 5000)
PACKS: dict[str, tuple[str, Pack]] = {
    "xz": ("xz", quickly_packed),
    "xz in streams, padded": ("xz", lambda data: halves(quickly_packed)(data) + bytes(8)),
    "gzip": ("gz", gzip.compress),
    "gzip in streams, padded": ("gz", lambda data: halves(gzip.compress)(data) + bytes(512)),
    "bzip2": ("bz2", bz2.compress),
    "bzip2 in streams": ("bz2", halves(bz2.compress)),
    "zip": ("zip", lambda data: zipped(README, ("d/", b""), ("d/a.iso", data), ("z.txt", b"z"))),
    "zip, stored": ("zip", lambda data: zipped(("A.ISO", data), README, method=0)),
    "zip to a pipe": ("zip", lambda data: zipped_to_a_pipe(README, ("a.img", data), ("z", b"z"))),
    "zip in 64 bits": ("zip", zipped_in_64_bits),
    "zip of a Mac": ("zip", lambda data: zipped(("a.iso", data), ("__MACOSX/._a.iso", b"x"))),
}


@pytest.fixture(params=PACKS)
def packed(request: pytest.FixtureRequest, content: bytes) -> tuple[str, bytes]:
    """A suffix, and the content packed so."""
    suffix, pack = PACKS[request.param]
    return suffix, pack(content)


async def test_packed_download_becomes_an_image(
    directory: Path, mirror: Mirror, content: bytes, packed: tuple[str, bytes]
) -> None:
    suffix, mirror.content = packed
    steps: list[tuple[int, int | None]] = []

    path = await add_image(
        f"{mirror.url}.{suffix}", directory, progress=lambda *step: steps.append(step)
    )

    assert path == directory / "rescue.iso"
    assert path.read_bytes() == content
    assert names(directory) == ["rescue.iso"]
    assert steps[-1] == (len(mirror.content), len(mirror.content))


@pytest.mark.slow
async def test_packed_file_becomes_an_image(
    directory: Path, tmp_path: Path, content: bytes, packed: tuple[str, bytes]
) -> None:
    suffix, data = packed
    (tmp_path / f"rescue.img.{suffix}").write_bytes(data)

    path = await add_image(str(tmp_path / f"rescue.img.{suffix}"), directory)
    again = await add_image(str(tmp_path / f"rescue.img.{suffix}"), directory)

    assert path == again == directory / "rescue.img"
    assert path.read_bytes() == content


async def bits(data: bytes, count: int) -> AsyncIterator[bytes]:
    for at in range(0, len(data), count):
        yield data[at : at + count]


@pytest.mark.slow
async def test_packed_upload_becomes_an_image(
    directory: Path, content: bytes, packed: tuple[str, bytes]
) -> None:
    suffix, data = packed

    path = await add_upload(
        bits(data, 7919), directory, name=f"rescue.{suffix}", size_bytes=len(data)
    )

    assert path == directory / "rescue.iso"
    assert path.read_bytes() == content


@pytest.mark.parametrize("kind", PACKS)
def test_pieces_of_any_size_are_unpacked_the_same(kind: str) -> None:
    data = bytes(range(256)) * 20
    packed = PACKS[kind][1](data)
    for count in (1, 2, 3, 29, 31, 1000):
        unpacker = unpacker_of(packed[:16])
        assert unpacker is not None

        parts = (packed[at : at + count] for at in range(0, len(packed), count))
        found = b"".join(piece for part in parts for piece in unpacker.unpack(part))

        assert found == data
        assert unpacker.is_whole


async def test_packed_image_of_another_suffix_is_known_by_its_bytes(
    directory: Path, mirror: Mirror, content: bytes
) -> None:
    mirror.content = quickly_packed(content)

    assert (await add_image(mirror.url, directory)).read_bytes() == content


async def test_digest_may_be_that_of_the_download_or_of_the_image(
    directory: Path, mirror: Mirror, content: bytes
) -> None:
    mirror.content = quickly_packed(content)
    for number, digest in enumerate((sha256(content), sha256(mirror.content))):
        path = await add_image(f"{mirror.url}.xz", directory, name=f"{number}.iso", sha256=digest)
        assert path.read_bytes() == content

    with pytest.raises(ImageError) as caught:
        await add_image(f"{mirror.url}.xz", directory, sha256="0" * 64)

    for digest in (sha256(content), sha256(mirror.content), "0" * 64):
        assert digest in caught.value.message
    assert names(directory) == ["0.iso", "1.iso"]


async def test_cut_packed_download_goes_on_within_its_call(
    directory: Path, mirror: Mirror, content: bytes
) -> None:
    mirror.content = gzip.compress(content)
    mirror.cuts = [300_000, 10]
    mirror.part = directory / ".got"
    mirror.part.touch()

    def note(done_bytes: int, total_bytes: int | None) -> None:
        (directory / ".got").write_bytes(bytes(done_bytes))

    path = await add_image(f"{mirror.url}.gz", directory, progress=note)

    assert path.read_bytes() == content
    assert mirror.requests == [None, "bytes=300000-", "bytes=300010-"]


async def test_given_up_packed_download_leaves_nothing_for_the_next_call(
    directory: Path, mirror: Mirror, content: bytes
) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"ETag": '"v1"', "Content-Length": "1000000"})
        await response.prepare(request)
        await response.write(gzip.compress(content)[:200_000])
        assert request.transport is not None
        request.transport.close()
        return response

    async with serving(handle) as address:
        with pytest.raises(ImageError, match="broke the connection off"):
            await add_image(f"{address}/rescue.iso.gz", directory)

    assert names(directory) == []


async def test_packed_part_has_no_record_to_go_on_by(
    directory: Path, mirror: Mirror, content: bytes
) -> None:
    """Killed in the middle, it must not be taken for the beginning of a plain download."""
    mirror.content = gzip.compress(content)
    seen: list[bool] = []

    def look(done_bytes: int, total_bytes: int | None) -> None:
        seen.append((directory / ".rescue.iso.part.json").exists())

    await add_image(f"{mirror.url}.gz", directory, progress=look)

    assert seen
    assert not any(seen)


BEGINNINGS = {
    "zstd": (b"\x28\xb5\x2f\xfd", "packed with zstd"),
    "7-Zip": (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    "RAR": (b"Rar!\x1a\x07\x01\0", "a RAR archive"),
    "lz4": (b"\x04\x22\x4d\x18\x64\x40", "packed with lz4"),
    "cabinet": (b"MSCF\0\0\0\0", "a cabinet archive"),
    "WIM": (b"MSWIM\0\0\0", "a Windows image"),
    "QCOW2": (b"QFI\xfb", "a virtual disk"),
    "page": (b"\r\n<!DOCTYPE html>", "a web page"),
}


@pytest.mark.parametrize("kind", BEGINNINGS)
async def test_what_can_never_be_an_image_is_refused_by_its_first_bytes(
    directory: Path, kind: str
) -> None:
    head, words = BEGINNINGS[kind]
    with pytest.raises(ImageError, match=f"rescue.iso: it is {words}") as caught:
        await added_of_a_beginning(directory, head.ljust(64, b"\0"))

    assert caught.value.hint
    assert names(directory) == []


@pytest.mark.parametrize("pack", [bytes, quickly_packed], ids=["plain", "packed"])
async def test_what_is_no_image_is_refused_after_three_megabytes(
    directory: Path, pack: Pack
) -> None:
    noise = os.urandom(32 * 1024) * 100

    with pytest.raises(ImageError, match="it is no image of a disc or disk"):
        await added_of_a_beginning(directory, pack(noise)[: 3 << 20])

    assert names(directory) == []


async def added_of_a_beginning(directory: Path, data: bytes) -> Path:
    """What comes of a download of which the server holds all but the beginning back for ever."""
    stopped = asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        headers = {"ETag": '"v1"', "Content-Length": "8000000000"}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        await response.write(data)
        await stopped.wait()
        return response

    async with serving(handle) as address:
        try:
            return await add_image(f"{address}/rescue.iso", directory)
        finally:
            stopped.set()


SPOILT: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "xz, cut": (lambda data: quickly_packed(data)[:-100], "ends before what is packed in it"),
    "gzip, cut": (lambda data: gzip.compress(data)[:-100], "ends before what is packed in it"),
    "zip, cut": (lambda data: zipped(("a.iso", data))[:500_000], "ends before what is packed"),
    "xz, damaged": (lambda data: spoilt(quickly_packed(data)), "what is packed is damaged"),
    "gzip, damaged": (lambda data: spoilt(gzip.compress(data)), "what is packed is damaged"),
    "bzip2, damaged": (lambda data: spoilt(bz2.compress(data)), "what is packed is damaged"),
    "zip, damaged": (
        lambda data: spoilt(zipped(("a.iso", data), method=0)),
        "what is packed is damaged",
    ),
    "zip to a pipe, damaged": (
        lambda data: spoilt(zipped_to_a_pipe(("a.iso", data))),
        "what is packed is damaged",
    ),
    "two images": (
        lambda data: zipped(("a.iso", data), ("b.img", data)),
        "more than one image: a.iso and b.img",
    ),
    "no image": (lambda data: zipped(README), r"the zip archive has no \.iso or \.img file"),
    "empty": (lambda data: zipped(), "an empty zip archive"),
    "encrypted": (
        lambda data: patched(zipped(("a.iso", data)), 6, b"\1"),
        "a.iso in it is encrypted",
    ),
    "other method": (
        lambda data: patched(zipped(("a.iso", data)), 8, b"\x0e"),
        "a.iso in it is packed by method 14",
    ),
}


@pytest.mark.parametrize("kind", ["two images", "no image"])
async def test_zip_without_just_one_image_is_refused_by_its_end(
    directory: Path, tmp_path: Path, mirror: Mirror, content: bytes, kind: str
) -> None:
    pack, words = SPOILT[kind]
    mirror.content = pack(content)
    (tmp_path / "a.zip").write_bytes(mirror.content)
    steps: list[int] = []

    for source in (f"{mirror.url}.zip", str(tmp_path / "a.zip")):
        with pytest.raises(ImageError, match=words):
            await add_image(source, directory, progress=lambda done, total: steps.append(done))

    assert steps == []
    assert mirror.requests == ["bytes=-65536"]
    assert names(directory) == []


async def test_server_without_ranges_gives_zips_all_the_same(
    directory: Path, mirror: Mirror, content: bytes
) -> None:
    mirror.ranges = False
    mirror.content = zipped(("a.iso", content))

    assert (await add_image(f"{mirror.url}.zip", directory)).read_bytes() == content


def spoilt(data: bytes) -> bytes:
    """One bit of random content is another."""
    return patched(data, 700_000, bytes([data[700_000] ^ 1]))


def patched(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


@pytest.mark.slow
@pytest.mark.parametrize("kind", SPOILT)
async def test_what_cannot_be_unpacked_is_told_and_not_kept(
    directory: Path, mirror: Mirror, content: bytes, kind: str
) -> None:
    pack, words = SPOILT[kind]
    mirror.content = pack(content)

    with pytest.raises(ImageError, match=words) as caught:
        await add_image(mirror.url, directory)

    assert caught.value.message.startswith("rescue.iso: ")
    assert caught.value.hint
    assert names(directory) == []


@pytest.mark.parametrize(
    ("limit", "value", "words"),
    [
        ("UNPACKED_LIMIT_BYTES", 4 << 20, "it unpacks to more than 4,194,304 bytes"),
        ("RESERVE_BYTES", 1 << 60, "there is no room for rescue.iso"),
    ],
)
async def test_bomb_ends_at_its_limit(
    directory: Path,
    mirror: Mirror,
    content: bytes,
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    value: int,
    words: str,
) -> None:
    monkeypatch.setattr(part_module, limit, value)
    mirror.content = gzip.compress(content + bytes(20 << 20), 1)

    with pytest.raises(ImageError, match=words):
        await add_image(mirror.url, directory)

    assert names(directory) == []


def test_bomb_is_in_memory_piece_by_piece() -> None:
    bomb = gzip.compress(bytes(8 << 20), 1)
    unpacker = unpacker_of(bomb[:16])
    assert unpacker is not None

    assert max(map(len, unpacker.unpack(bomb))) <= PIECE_BYTES


def test_unpacking_that_wants_too_much_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack_module, "XZ_MEMORY_BYTES", 1 << 20)
    packed = lzma.compress(b"x" * 100)
    unpacker = unpacker_of(packed)
    assert unpacker is not None

    with pytest.raises(ImageError, match="takes more than 1 MiB of memory"):
        list(unpacker.unpack(packed))


def test_zip_headers_of_noise_lead_nowhere() -> None:
    """Each ends in an error or in nothing."""
    for seed in range(2000):
        noise = b"PK\3\4" + json.dumps([seed]).encode() + _noise(seed)
        unpacker = unpacker_of(noise[:16])
        assert unpacker is not None
        try:
            found = b"".join(unpacker.unpack(noise))
        except ImageError:
            continue
        assert len(found) <= len(noise) * 1100


def _noise(seed: int) -> bytes:
    return b"".join(_numbers(seed))


def _numbers(seed: int) -> Iterator[bytes]:
    for _ in range(40):
        seed = (seed * 6364136223846793005 + 1442695040888963407) % 2**64
        yield seed.to_bytes(8, "little")
