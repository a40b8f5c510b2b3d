"""What TCP tells of a connection: from bytes as Linux gives them, and from sockets that hang."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bootserver.config import Config
from bootserver.http.tcp_info import parse_tcp_info
from bootserver.model import TransferEnd
from bootserver.sessions import diagnosis
from bootserver.sessions.diagnosis import TcpFacts
from tests.fixtures.boots import Boots, running_boots
from tests.fixtures.isos import make_iso


def tcp_info(size_bytes: int) -> bytes:
    """A struct tcp_info of which every byte that is not asked for is 0xEE."""
    info = bytearray(b"\xee" * 260)
    info[3] = 2  # probes
    for offset, value in ((16, 1448), (24, 5), (56, 12_500), (100, 17), (228, 65_536)):
        struct.pack_into("=I", info, offset, value)
    return bytes(info[:size_bytes])


def test_the_facts_are_where_linux_puts_them():
    assert parse_tcp_info(tcp_info(232)) == TcpFacts(
        unacknowledged_segments=5,
        probes=2,
        retransmits=17,
        acknowledged_s_ago=12.5,
        mss_bytes=1448,
        window_bytes=65_536,
    )


@pytest.mark.parametrize("size_bytes", [104, 192, 231])
def test_an_older_kernel_does_not_tell_the_window(size_bytes: int):
    facts = parse_tcp_info(tcp_info(size_bytes))

    assert facts is not None
    assert facts.window_bytes is None
    assert not facts.window_is_closed


@pytest.mark.parametrize("size_bytes", [0, 1, 103])
def test_less_than_that_tells_nothing(size_bytes: int):
    assert parse_tcp_info(tcp_info(size_bytes)) is None


@pytest.fixture
async def boots(config: Config) -> AsyncIterator[Boots]:
    iso = make_iso(config.images.path / "rescue.iso", bios=True)
    enlarge(iso)
    async with running_boots(config) as boots:
        yield boots


def enlarge(iso: Path) -> None:
    with iso.open("ab") as file:
        file.truncate(iso.stat().st_size + (64 << 20))


async def begin(boots: Boots) -> str:
    script = await boots.script(await boots.token())
    [line] = [line for line in script.splitlines() if line.startswith("initrd")]
    return line.split("/b/")[1].split("/")[0]


@pytest.mark.slow
async def test_a_machine_that_does_not_read_has_a_closed_window(
    boots: Boots, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(diagnosis, "STILL_S", 0.5)
    key = await begin(boots)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    with client:
        await loop.sock_connect(client, ("127.0.0.1", int(boots.url.rpartition(":")[2])))
        await loop.sock_sendall(
            client, f"GET /b/{key}/image.iso HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        )

        async with asyncio.timeout(30):
            while not (stalled := boots.ledger.find(key, "").stalled):
                await boots.ledger.look()
                await asyncio.sleep(0.05)
        await boots.ledger.flush()
        session = boots.ledger.find(key, "")
        [transfer] = (await boots.store.transfers([session.id]))[session.id]

    assert "the machine's receive window is closed" in stalled
    assert transfer.link == "receiver window closed"
    assert transfer.outcome == ""
    assert 0 < transfer.sent_bytes < transfer.size_bytes


async def test_a_whole_image_is_one_transfer_and_a_client_that_leaves_another(boots: Boots):
    key = await begin(boots)
    async with boots.http.get(f"{boots.url}/b/{key}/image.iso") as answer:
        await answer.content.readexactly(100_000)
        answer.close()
    async with asyncio.timeout(30):
        while not boots.ledger.find(key, "").error:
            await asyncio.sleep(0.01)
    size = len(await boots.body(f"/b/{key}/image.iso"))
    await boots.ledger.flush()

    session = boots.ledger.find(key, "")
    left, whole = (await boots.store.transfers([session.id]))[session.id]

    assert (left.name, left.protocol, left.size_bytes) == ("image.iso", "http", size)
    assert left.outcome == TransferEnd.CLIENT_LEFT
    assert (whole.sent_bytes, whole.outcome) == (size, TransferEnd.COMPLETE)
    assert session.sent_bytes == left.sent_bytes + size
    assert (session.recipe, session.method) == ("disc", "memdisk")


async def test_ranges_and_looks_make_one_transfer(boots: Boots):
    key = await begin(boots)
    assert await boots.status(f"/b/{key}/image.iso", "HEAD") == 200
    for start in (0, 1000, 5000):
        await boots.body(f"/b/{key}/image.iso", Range=f"bytes={start}-{start + 99}")
    await boots.ledger.flush()

    session = boots.ledger.find(key, "")
    [transfer] = (await boots.store.transfers([session.id]))[session.id]

    assert (transfer.sent_bytes, transfer.requests) == (300, 3)
    assert transfer.outcome == ""  # more ranges may come
