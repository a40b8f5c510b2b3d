"""Packed programs, byte for byte: what the loader in stub/efi is written against."""

from __future__ import annotations

import lzma
import struct
import zlib

from bootserver.stub.pack import pack, with_targets

NOP = b"\x90"


def test_the_header_tells_sizes_checksum_and_properties():
    program = b"MZ" + NOP * 500

    packed = pack(program)

    magic, size, stream_size, checksum, properties = struct.unpack_from("<4sIIIB3s", packed)[:5]
    assert magic == b"BSP1"
    assert size == len(program)
    assert stream_size == len(packed) - 20
    assert checksum == zlib.crc32(program)
    assert properties == 94  # lc 4, lp 0, pb 2


def test_the_stream_is_raw_lzma_of_the_filtered_program():
    program = NOP * 5 + b"\xe8\x10\x00\x00\x00" + NOP * 300

    method = {"id": lzma.FILTER_LZMA1, "lc": 4, "lp": 0, "pb": 2, "dict_size": 4096}
    stream = pack(program)[20:]

    unpacked = lzma.decompress(stream, lzma.FORMAT_RAW, filters=[method])
    assert unpacked == with_targets(program)


def test_equal_programs_give_equal_bytes():
    assert pack(NOP * 9) == pack(NOP * 9)


def test_calls_of_one_function_become_equal():
    # Two calls of offset 20, from distances' places 6 and 13.
    program = NOP * 5 + b"\xe8\x0e\x00\x00\x00" + NOP * 2 + b"\xe8\x07\x00\x00\x00" + NOP * 30

    filtered = with_targets(program)

    assert filtered == (
        NOP * 5 + b"\xe8\x14\x00\x00\x00" + NOP * 2 + b"\xe8\x14\x00\x00\x00" + NOP * 30
    )


def test_a_rip_relative_load_and_one_of_another_kind_are_told_apart():
    relative = b"\x48\x8b\x05\x01\x00\x00\x00" + NOP * 20
    on_the_stack = b"\x48\x8b\x44\x01\x00\x00\x00" + NOP * 20

    assert with_targets(relative) == b"\x48\x8b\x05\x04\x00\x00\x00" + NOP * 20
    assert with_targets(on_the_stack) == on_the_stack


def test_a_distance_out_of_the_program_stays():
    program = b"\xe8" + struct.pack("<i", 100) + NOP * 30

    assert with_targets(program) == program


def test_a_distance_that_could_be_taken_for_a_target_makes_room():
    # 35 bytes; place 1: distances -1 to 33 are replaced by targets 0 to 34, and 34 takes -1.
    program = b"\xe8" + struct.pack("<i", 34) + NOP * 30

    assert with_targets(program) == b"\xe8" + struct.pack("<i", -1) + NOP * 30


def test_nothing_is_read_behind_the_end():
    for length in range(7):
        assert (
            with_targets((b"\x48\x8b\x05\x00\x00\x00\x00")[:length])
            == (b"\x48\x8b\x05\x00\x00\x00\x00")[:length]
        )
