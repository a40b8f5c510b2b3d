"""The loader unpacks what Python packs: liblzma is the model, hostile streams get it nowhere."""

from __future__ import annotations

import lzma
import random
import struct
import subprocess
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bootserver.stub.pack import pack, with_targets

from .conftest import Library

# Text that compresses: random bytes, and pieces that come again.
pieces = st.lists(st.binary(max_size=40), min_size=1, max_size=6)
texts = st.one_of(
    st.binary(max_size=3000),
    st.builds(
        lambda pieces, order: b"".join(pieces[n % len(pieces)] for n in order),
        pieces,
        st.lists(st.integers(0, 5), max_size=200),
    ),
)
properties = st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)).filter(
    lambda bits: bits[0] + bits[1] <= 4  # liblzma's limit as well as ours
)

# Something like code: opcodes with a distance, near, far, and on the edges of the image.
distances = st.one_of(
    st.integers(-400, 400), st.integers(-(2**31), 2**31 - 1), st.sampled_from([-(2**31), -1, 0])
)
instructions = st.builds(
    lambda opcode, distance: opcode + struct.pack("<i", distance),
    st.sampled_from([b"\xe8", b"\xe9", b"\x8b\x05", b"\x8d\x0d", b"\x89\x3d", b"\x48\x8b\x15"]),
    distances,
)
opcodes = st.sampled_from([b"\xe8", b"\xe9", b"\x8b", b"\x8d\x05", b"\x00", b"\xff"])
programs = st.lists(st.one_of(instructions, opcodes, st.binary(max_size=3)), max_size=60).map(
    b"".join
)


def compress(text: bytes, lc: int, lp: int, pb: int) -> bytes:
    method = {"id": lzma.FILTER_LZMA1, "lc": lc, "lp": lp, "pb": pb, "dict_size": 1 << 16}
    return lzma.compress(text, lzma.FORMAT_RAW, filters=[method])


@given(text=texts, bits=properties)
@settings(max_examples=400)
def test_what_liblzma_compresses_is_decoded(
    library: Library, text: bytes, bits: tuple[int, int, int]
):
    lc, lp, pb = bits

    assert library.decode(compress(text, *bits), (pb * 5 + lp) * 9 + lc, len(text)) == text


@pytest.mark.parametrize("distance", [1, 4, 100, 5_000, 70_000, 900_000])
def test_matches_of_every_distance_are_decoded(library: Library, distance: int):
    block = random.Random(distance).randbytes(distance)
    text = block + block[: distance // 2] + block
    method = {"id": lzma.FILTER_LZMA1, "lc": 3, "lp": 0, "pb": 2, "dict_size": 1 << 22}
    stream = lzma.compress(text, lzma.FORMAT_RAW, filters=[method])

    assert library.decode(stream, 93, len(text)) == text


@given(text=texts.filter(len), data=st.data())
@settings(max_examples=200)
def test_a_shortened_stream_is_refused_or_was_long_enough(
    library: Library, text: bytes, data: st.DataObject
):
    stream = compress(text, 3, 0, 2)
    kept = data.draw(st.integers(0, len(stream) - 1))

    assert library.decode(stream[:kept], 93, len(text)) in (None, text)


def test_a_stream_that_is_half_there_is_refused(library: Library):
    text = random.Random(1).randbytes(5000)
    stream = compress(text, 3, 0, 2)

    assert library.decode(stream[:2500], 93, len(text)) is None


def test_a_stream_that_ends_before_all_has_come_is_refused(library: Library):
    stream = compress(b"short", 3, 0, 2)

    assert library.decode(stream, 93, 5) == b"short"
    assert library.decode(stream, 93, 6) is None


@pytest.mark.parametrize("properties", [225, 255, 8, 4 * 9 + 1])
def test_properties_that_need_more_memory_than_there_is_are_refused(
    library: Library, properties: int
):
    assert library.decode(compress(b"text", 3, 0, 2), properties, 4) is None


@pytest.mark.slow
@given(program=programs)
@settings(max_examples=1000)
def test_the_filter_can_be_undone_for_any_bytes(library: Library, program: bytes):
    assert library.without_targets(with_targets(program)) == program


@pytest.mark.parametrize("end", [b"\xe8", b"\xe8\x01\x00\x00", b"\x8b\x05\x01\x00\x00"])
def test_an_instruction_cut_off_at_the_end_stays(library: Library, end: bytes):
    assert library.without_targets(b"\x90" * 50 + end) == b"\x90" * 50 + end


@given(program=programs)
@settings(max_examples=100)
def test_what_was_packed_is_unpacked(library: Library, program: bytes):
    assert library.unpack(pack(program)) == (program or None)  # an empty program is none


def test_a_flipped_bit_never_gives_another_program(library: Library):
    program = b"".join(struct.pack("<BI", 0xE8, n * n) for n in range(150))
    packed = pack(program)
    stream = range(20, len(packed) - 16)  # the end mark behind it is not looked at

    for place in range(len(packed)):
        for bit in range(8):
            damaged = bytearray(packed)
            damaged[place] ^= 1 << bit
            unpacked = library.unpack(bytes(damaged))
            assert unpacked is None or (unpacked == program and place not in stream), (place, bit)


def test_a_program_too_large_to_be_one_is_refused(library: Library):
    header = struct.pack("<4sIIIB3x", b"BSP1", (64 << 20) + 1, 8, zlib.crc32(b""), 94)

    assert library.unpack(header + bytes(8)) is None


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["packed", "filter"])
def test_no_mutation_leads_out_of_memory(fuzz: Path, tmp_path: Path, kind: str):
    code = b"".join(struct.pack("<BIHI", 0xE8, n, 0x058B, n * n) for n in range(500))
    seed = tmp_path / kind
    seed.write_bytes(pack(code) if kind == "packed" else code)

    done = subprocess.run(
        [fuzz, kind, "20000", "3141592653", seed], capture_output=True, text=True, timeout=120
    )

    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 2000  # the checksum refuses nearly all
