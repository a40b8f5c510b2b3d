"""Packed programs: what the UEFI loader in stub/efi unpacks, a third to a half as large."""

from __future__ import annotations

import lzma
import re
import struct
import zlib

MAGIC = b"BSP1"  # of the format and its settings: packed programs are kept by it

# What packs iPXE best of all settings tried; the decoder holds lc + lp to 4.
LC, LP, PB = 4, 0, 2

DICTIONARY_BYTES_MIN = 4096
DISTANCE_BYTES = 4

# CALL and JMP, and MOV and LEA with a RIP-relative operand: 32 bits of distance follow.
WITH_DISTANCE = re.compile(rb"[\xe8\xe9]|[\x89\x8b\x8d][\x05\x0d\x15\x1d\x25\x2d\x35\x3d]")


def pack(program: bytes) -> bytes:
    """`program` packed for the UEFI loader: the format is described in stub/efi/packed.h."""
    method = {
        "id": lzma.FILTER_LZMA1,
        "lc": LC,
        "lp": LP,
        "pb": PB,
        # All of the program: it is unpacked in one piece, so that this costs the loader nothing.
        "dict_size": max(len(program), DICTIONARY_BYTES_MIN),
        "mode": lzma.MODE_NORMAL,
        "mf": lzma.MF_BT4,
        "nice_len": 64,
        "depth": 0,
    }
    stream = lzma.compress(with_targets(program), lzma.FORMAT_RAW, filters=[method])
    properties = (PB * 5 + LP) * 9 + LC
    header = struct.pack(
        "<4sIIIB3x", MAGIC, len(program), len(stream), zlib.crc32(program), properties
    )
    return header + stream


def with_targets(program: bytes) -> bytes:
    """`program` with the targets of its instructions instead of the distances to them.

    A function that is called from many places then looks the same in all of them. It is our own and
    not liblzma's x86 filter, since it knows RIP-relative operands (3 KB less of iPXE). It also
    keeps no state: distances that lead from their place into the program change places with the
    negative targets.
    """
    filtered = bytearray(program)
    size = len(program)
    at = 0
    while (found := WITH_DISTANCE.search(program, at)) and found.end() + DISTANCE_BYTES <= size:
        start = found.end()
        at = start + DISTANCE_BYTES
        (distance,) = struct.unpack_from("<i", program, start)
        target = distance
        if -start <= distance < size - start:
            target = start + distance
        elif size - start <= distance < size:
            target = distance - size  # a value that the first case has set free
        struct.pack_into("<i", filtered, start, target)
    return bytes(filtered)
