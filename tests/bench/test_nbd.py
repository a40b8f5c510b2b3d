"""Exports over NBD that are not plain files: with a block size, not there, or unreadable."""

from __future__ import annotations

import struct
from pathlib import Path

from bootserver.bench.nbd import serve_nbd
from tests.bench.test_slow_link import Client

REPLY = b"\x00\x03\xe8\x89\x04\x55\x65\xa9"
GO = b"IHAVEOPT" + struct.pack(">II", 7, 6) + bytes(6)
CD_BYTES = 3 << 30


class Cd:
    """A large CD whose blocks are numbered, with a bad one."""

    block_bytes = 2048
    bad_block = 7

    def __init__(self, *, is_in: bool = True) -> None:
        self.is_in = is_in

    async def size_bytes(self) -> int:
        if not self.is_in:
            raise OSError("no disc")
        return CD_BYTES

    async def read(self, offset: int, size: int) -> bytes:
        if offset == self.bad_block * 2048:
            raise OSError("unreadable")
        return struct.pack(">I", offset // 2048) * (size // 4)


async def test_clients_are_told_the_block_size(tmp_path: Path):
    async with serve_nbd(Cd(), tmp_path / "socket"):
        client = await Client.connect(tmp_path / "socket")
        await client.expect(18)
        client.send(b"\0\0\0\x03" + GO)

        assert await client.expect(20 + 12) == REPLY + struct.pack(
            ">IIIHQH", 7, 3, 12, 0, CD_BYTES, 3
        )
        assert await client.expect(20 + 14) == REPLY + struct.pack(
            ">IIIHIII", 7, 3, 14, 3, 2048, 4096, 32 << 20
        )
        assert await client.expect(20) == REPLY + struct.pack(">III", 7, 1, 0)
        client.leave()


async def test_blocks_beyond_2_gib_are_read(tmp_path: Path):
    async with serve_nbd(Cd(), tmp_path / "socket"):
        client = await Client.connect(tmp_path / "socket")
        await client.expect(18)
        client.send(b"\0\0\0\x03" + GO)
        await client.expect(20 + 12 + 20 + 14 + 20)

        client.ask(CD_BYTES - 2048, 2048)

        assert await client.answer(2048) == (0, 1, struct.pack(">I", 0x17FFFF) * 512)
        client.leave()


async def test_a_block_that_cannot_be_read_is_an_error_and_the_next_is_read(tmp_path: Path):
    async with serve_nbd(Cd(), tmp_path / "socket"):
        client = await Client.connect(tmp_path / "socket")
        await client.expect(18)
        client.send(b"\0\0\0\x03" + GO)
        await client.expect(20 + 12 + 20 + 14 + 20)

        client.ask(7 * 2048, 2048)
        client.ask(8 * 2048, 2048, handle=2)

        assert await client.answer(0) == (5, 1, b"")
        assert await client.answer(2048) == (0, 2, struct.pack(">I", 8) * 512)
        client.leave()


async def test_an_export_that_is_not_there_is_refused_until_it_is(tmp_path: Path):
    cd = Cd(is_in=False)
    async with serve_nbd(cd, tmp_path / "socket"):
        client = await Client.connect(tmp_path / "socket")
        await client.expect(18)
        client.send(b"\0\0\0\x03" + GO)
        assert await client.expect(20) == REPLY + struct.pack(">III", 7, 0x80000006, 0)

        cd.is_in = True
        client.send(GO)

        assert (await client.expect(20))[8:16] == struct.pack(">II", 7, 3)
        client.leave()
