"""The TFTP server over real sockets: it serves, refuses, survives, and ends cleanly."""

import asyncio
import contextlib
import os
import random
import resource
import socket
import threading

import pytest
import structlog

from bootserver.errors import ServiceError
from bootserver.limits import Limit
from bootserver.tftp import server as server_module
from bootserver.tftp.options import TftpLimits
from bootserver.tftp.server import TftpRefusal, TftpRequest, TftpServer
from tests.fakes.tftp_content import MemoryFile, Shelf, serving

FILE = bytes(range(256)) * 5  # 1,280 bytes: blocks of 512, 512 and 256
FIRST_BLOCK = b"\x00\x03\x00\x01" + FILE[:512]
RRQ = b"\x00\x01file\x00octet\x00"


def ack(number: int) -> bytes:
    return b"\x00\x04" + number.to_bytes(2, "big")


class Client:
    """A socket that sends and receives by hand; of `host`, if that is given."""

    def __init__(
        self, server: TftpServer, family: int = socket.AF_INET, host: str | None = None
    ) -> None:
        self.server = server.addresses[0]
        self.tid = self.server
        self.received_bytes = 0
        self.sock = socket.socket(family, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        if host:
            self.sock.bind((host, 0))

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def request(self, datagram: bytes = RRQ) -> None:
        self.sock.sendto(datagram, self.server)

    def send(self, datagram: bytes) -> None:
        self.sock.sendto(datagram, self.tid)

    async def receive(self, timeout_s: float = 5.0) -> bytes:
        async with asyncio.timeout(timeout_s):
            loop = asyncio.get_running_loop()
            datagram, self.tid = await loop.sock_recvfrom(self.sock, 70_000)
        self.received_bytes += len(datagram)
        return datagram

    async def fetch(self, datagram: bytes = RRQ, blksize: int = 512, requests: int = 1) -> bytes:
        """The whole file, in lock-step; all but the last of the requests may stay unanswered."""
        self.request(datagram)
        content, block = b"", 1
        while True:
            try:
                answer = await self.receive(timeout_s=30.0 if requests == 1 else 1.0)
            except TimeoutError:
                requests -= 1
                assert requests
                self.request(datagram)
                continue
            if answer[:2] == b"\x00\x06":
                self.send(ack(0))
                continue
            assert answer[:2] == b"\x00\x03", answer
            if answer[2:4] != block.to_bytes(2, "big"):
                continue  # sent twice, because this busy machine was late
            block += 1
            content += answer[4:]
            self.send(b"\x00\x04" + answer[2:4])
            if len(answer) < 4 + blksize:
                return content


async def assert_serves(server: TftpServer) -> None:
    with Client(server) as client:
        assert await client.fetch() == FILE


async def test_file_arrives_whole_and_is_accounted_for():
    shelf = Shelf(file=FILE)
    async with serving(shelf.open_file) as server:
        with Client(server) as client:
            assert await client.fetch() == FILE
            await asyncio.wait_for(shelf.opened[0].closing.wait(), 5)

            assert shelf.opened[0].closed is True
            assert shelf.opened[0].sent_bytes == len(FILE)
            assert shelf.requests == [TftpRequest("file", "127.0.0.1", "127.0.0.1")]


async def test_ipv6_loopback():
    async with serving(Shelf(file=FILE).open_file, host="::1") as server:
        with Client(server, socket.AF_INET6) as client:
            assert await client.fetch() == FILE


async def test_every_address_of_both_families_by_default():
    shelf = Shelf(file=FILE)
    server = TftpServer(shelf.open_file, port=0)
    await server.start()
    try:
        assert [host for host, _ in server.addresses] == ["0.0.0.0", "::"]
        port = server.addresses[0][1]
        assert {p for _, p in server.addresses} == {port}
        for host in ("127.0.0.1", "::1"):
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            with Client(server, family) as client:
                client.server = (host, port)
                assert await client.fetch() == FILE
        assert [r.local_address for r in shelf.requests] == ["127.0.0.1", "::1"]
    finally:
        await server.stop()


async def test_answer_comes_from_the_address_that_was_written_to():
    """127.0.0.2 stands for the second network of a host with two."""
    shelf = Shelf(file=FILE)
    async with serving(shelf.open_file, host="0.0.0.0") as server:
        with Client(server) as client:
            client.server = ("127.0.0.2", server.addresses[0][1])
            client.request()
            await client.receive()
            assert client.tid[0] == "127.0.0.2"

            client.request(b"\x00\x02file\x00octet\x00")
            while not (await client.receive()).startswith(b"\x00\x05"):
                pass
            assert client.tid[0] == "127.0.0.2"
    assert shelf.requests[0].local_address == "127.0.0.2"


async def test_every_transfer_has_a_port_of_its_own():
    async with serving(Shelf(file=FILE).open_file) as server:
        with Client(server) as one, Client(server) as other:
            one.request()
            other.request()
            await one.receive()
            await other.receive()

            assert len({server.addresses[0][1], one.tid[1], other.tid[1]}) == 3


async def test_stranger_cannot_drive_somebody_elses_transfer():
    shelf = Shelf(file=FILE)
    async with serving(shelf.open_file) as server:
        with Client(server) as client, Client(server) as stranger:
            client.request()
            assert await client.receive() == FIRST_BLOCK

            stranger.sock.sendto(ack(1), client.tid)
            stranger.sock.sendto(b"\x00\x05\x00\x00die\x00", client.tid)
            client.send(ack(1))

            assert (await client.receive())[:4] == b"\x00\x03\x00\x02"
            assert shelf.opened[0].closed is None


async def test_refusal_reaches_the_client_with_its_code_and_words():
    async def open_file(request: TftpRequest) -> MemoryFile:
        raise TftpRefusal(2, "not for you")

    async with serving(open_file) as server:
        with Client(server) as client, structlog.testing.capture_logs() as logs:
            client.request()

            assert await client.receive() == b"\x00\x05\x00\x02not for you\x00"
    assert logs == [
        {"event": "tftp.refused", "log_level": "info", "client": "127.0.0.1", "name": "file",
         "reason": "not for you"}
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("request_bytes", "answer"),
    [
        (b"\x00\x02file\x00octet\x00",
         b"\x00\x05\x00\x02access violation: this server is read-only\x00"),
        (b"\x00\x01nothing\x00octet\x00", b"\x00\x05\x00\x01file not found\x00"),
        (b"\x00\x01f\xe4le\x00octet\x00", b"\x00\x05\x00\x01file not found\x00"),
        (b"\x00\x01file\xff\x00octet\x00", FIRST_BLOCK),
        (b"\x00\x01file\x00octet\x00tsize\x000", b"\x00\x06tsize\x001280\x00"),
        (b"\x00\x01file\x00octet\x00multicast\x00\x00", FIRST_BLOCK),
        (b"\x00\x01file\x00octet\x00v\xe9ndor\x00\x00tsize\x000\x00", b"\x00\x06tsize\x001280\x00"),
        (b"\x00\x01file\x00octet\x00blksize\x00abc\x00", FIRST_BLOCK),
        (b"\x00\x01file\x00octet\x00tsize\x000\x00", b"\x00\x06tsize\x001280\x00"),
        (b"\x00\x01file\x00octet\x00BlkSize\x00600\x00", b"\x00\x06BlkSize\x00600\x00"),
        (b"\x00\x01file\x00octet\x00blksize\x0065536\x00", b"\x00\x06blksize\x0065464\x00"),
        (b"\x00\x01file\x00octet\x00unknown\x001\x00", FIRST_BLOCK),
    ],
)  # fmt: skip
async def test_first_answer(request_bytes, answer):
    async with serving(Shelf(file=FILE).open_file) as server:
        with Client(server) as client:
            client.request(request_bytes)

            assert await client.receive() == answer
        await assert_serves(server)


async def test_log_has_the_name_as_it_was_sent():
    async with serving(Shelf(file=FILE).open_file) as server:
        with Client(server) as client, structlog.testing.capture_logs() as logs:
            for name in (b"/TOKEN/file\xff\xd13", b"/TOKEN/no\xff", b"\xff"):
                client.request(b"\x00\x01" + name + b"\x00octet\x00")
                await client.receive()
            await server.stop()
    assert {line["name"] for line in logs} == {"\\xff", "no\\xff", "file\\xff\\xd13"}


async def test_netascii_has_its_line_ends():
    shelf = Shelf(file=b"a\nb\r\nc\r\0")
    async with serving(shelf.open_file) as server:
        with Client(server) as client:
            client.request(b"\x00\x01file\x00netascii\x00tsize\x000\x00")
            assert await client.receive() == b"\x00\x06tsize\x0012\x00"
            client.send(ack(0))
            assert await client.receive() == b"\x00\x03\x00\x01a\r\nb\r\0\r\nc\r\0\0"
            client.send(ack(1))
            await asyncio.wait_for(shelf.opened[0].closing.wait(), 5)
    assert (shelf.opened[0].closed, shelf.opened[0].sent_bytes) == (True, 8)


async def test_netascii_of_what_does_not_fit_into_memory_is_refused():
    shelf = Shelf(file=bytes(2**19 + 1))
    async with serving(shelf.open_file) as server:
        with Client(server) as client:
            client.request(b"\x00\x01file\x00netascii\x00")
            assert await client.receive() == (
                b"\x00\x05\x00\x04too large for netascii: ask for octet mode\x00"
            )
    assert shelf.opened[0].closed is False


@pytest.mark.parametrize("request_bytes", [RRQ, b"\x00\x01file\x00octet\x00tsize\x000\x00"])
@pytest.mark.parametrize("blocks", [0, 1])
async def test_request_right_behind_an_error_is_answered(request_bytes, blocks):
    """raspberrypi/firmware#1700; and firmware that asks for the size first."""
    shelf = Shelf(file=FILE)
    async with serving(shelf.open_file) as server:
        with Client(server) as client:
            client.request(request_bytes)
            first = await client.receive()
            if blocks:
                client.send(b"\x00\x04" + (first[2:4] if first == FIRST_BLOCK else b"\x00\x00"))
                await client.receive()

            client.send(b"\x00\x05\x00\x00Early Terminate\x00")
            client.request(request_bytes)

            assert await client.receive() == first
            await asyncio.wait_for(shelf.opened[0].closing.wait(), 5)
            assert [file.closed for file in shelf.opened] == [False, None]


async def test_request_right_behind_the_last_ack_leaves_the_file_complete():
    shelf = Shelf(file=b"short", other=b"other")
    async with serving(shelf.open_file) as server:
        with Client(server) as client:
            client.request()
            assert await client.receive() == b"\x00\x03\x00\x01short"

            client.send(ack(1))
            client.request(b"\x00\x01other\x00octet\x00")

            assert await client.receive() == b"\x00\x03\x00\x01other"
            await asyncio.wait_for(shelf.opened[0].closing.wait(), 5)
            assert shelf.opened[0].closed is True


async def test_largest_blocks_of_a_large_file():
    """blksize 65536, which another server accepts and then dies of."""
    content = os.urandom(200_000)
    async with serving(Shelf(file=content).open_file) as server:
        with Client(server) as client:
            request = b"\x00\x01file\x00octet\x00blksize\x0065536\x00"
            assert await client.fetch(request, blksize=65464) == content


async def test_window_is_in_the_buffer_across_read_ahead_pieces():
    """More than one READ_AHEAD_BYTES, in windows that do not divide it."""
    content = os.urandom(1_300_000)
    async with serving(Shelf(file=content).open_file) as server:
        with Client(server) as client:
            client.request(b"\x00\x01file\x00octet\x00blksize\x001000\x00windowsize\x0013\x00")
            assert await client.receive() == b"\x00\x06blksize\x001000\x00windowsize\x0013\x00"
            client.send(ack(0))
            received, block = bytearray(), 0
            while len(received) < len(content) or len(received) == 0:
                answer = await client.receive()
                block += 1
                assert answer[2:4] == block.to_bytes(2, "big")
                received += answer[4:]
                if block % 13 == 0 or len(answer) < 1004:
                    client.send(ack(block))

    assert received == content


@pytest.mark.parametrize(
    "error", [IsADirectoryError(21, "Is a directory"), PermissionError(13, "no"), ValueError("bug")]
)
async def test_whatever_opening_raises_costs_one_line(error):
    shelf = Shelf(file=FILE)

    async def open_file(request: TftpRequest) -> MemoryFile:
        if request.name == "bad":
            raise error
        return await shelf.open_file(request)

    async with serving(open_file) as server:
        with Client(server) as client, structlog.testing.capture_logs() as logs:
            client.request(b"\x00\x01bad\x00octet\x00")
            assert await client.receive() == (
                b"\x00\x05\x00\x00the server cannot read this file\x00"
            )
        assert [line["event"] for line in logs] == ["tftp.failed"]
        await assert_serves(server)


async def test_open_that_hangs_is_given_up_and_hinders_nobody(monkeypatch):
    monkeypatch.setattr(server_module, "OPEN_TIMEOUT_S", 0.2)
    shelf = Shelf(file=FILE)

    async def open_file(request: TftpRequest) -> MemoryFile:
        if request.name == "fifo":
            await asyncio.Event().wait()
        return await shelf.open_file(request)

    async with serving(open_file) as server:
        with Client(server) as client:
            client.request(b"\x00\x01fifo\x00octet\x00")
            await assert_serves(server)
            assert (await client.receive())[:4] == b"\x00\x05\x00\x00"


class BadFile(MemoryFile):
    """Fails where it is told to."""

    def __init__(self, where: str) -> None:
        super().__init__(FILE)
        self.where = where

    def read(self, offset: int, length: int) -> bytes:
        if self.where == "read":
            raise OSError(5, "Input/output error")
        return super().read(offset, length)[: 100 if self.where == "short" else None]

    def progress(self, sent_bytes: int) -> None:
        if self.where == "progress":
            raise ValueError("bug")

    def close(self, complete: bool) -> None:
        super().close(complete)
        if self.where == "close":
            raise ValueError("bug")


@pytest.mark.parametrize("where", ["read", "short", "progress", "close"])
async def test_whatever_the_file_raises_costs_one_line(where):
    shelf = Shelf(file=FILE)
    bad = BadFile(where)

    async def open_file(request: TftpRequest) -> MemoryFile:
        return bad if request.name == "bad" else await shelf.open_file(request)

    async with serving(open_file) as server:
        with Client(server) as client, structlog.testing.capture_logs() as logs:
            client.request(b"\x00\x01bad\x00octet\x00timeout\x00255\x00")  # no retransmissions
            answer = await client.receive()
            while answer[:2] != b"\x00\x05":
                client.send(ack(0) if answer[:2] == b"\x00\x06" else b"\x00\x04" + answer[2:4])
                answer = await client.receive()
        assert len([line for line in logs if line["event"] in ("tftp.failed", "tftp.refused")]) == 1
        assert bad.closed is (where == "close")
        await assert_serves(server)


async def test_read_that_blocks_does_not_hold_up_others():
    released = threading.Event()
    shelf = Shelf(file=FILE)

    class SlowFile(MemoryFile):
        def read(self, offset: int, length: int) -> bytes:
            assert released.wait(30)
            return super().read(offset, length)

    async def open_file(request: TftpRequest) -> MemoryFile:
        return SlowFile(FILE) if request.name == "slow" else await shelf.open_file(request)

    async with serving(open_file) as server:
        with Client(server) as client:
            client.request(b"\x00\x01slow\x00octet\x00")
            await assert_serves(server)
            released.set()
            assert await client.receive() == FIRST_BLOCK


async def test_repeated_request_is_answered_by_the_same_transfer():
    shelf = Shelf(file=FILE)
    async with serving(shelf.open_file, limits=TftpLimits(timeout_s=60)) as server:
        with Client(server) as client:
            client.request()
            assert await client.receive() == FIRST_BLOCK
            tid = client.tid

            answer = b""
            while not answer:  # at first it is taken for one that crossed the answer
                client.request()
                with contextlib.suppress(TimeoutError):
                    answer = await client.receive(timeout_s=0.02)

            assert (answer, client.tid) == (FIRST_BLOCK, tid)
            assert len(shelf.opened) == 1


async def test_request_repeated_by_the_network_does_not_disturb_the_transfer():
    shelf = Shelf(file=FILE)
    async with serving(shelf.open_file) as server:
        with Client(server) as client:
            client.request()
            await client.receive()
            client.send(ack(1))
            assert (await client.receive())[:4] == b"\x00\x03\x00\x02"

            client.request()
            client.send(ack(2))

            assert (await client.receive())[:4] == b"\x00\x03\x00\x03"
            assert len(shelf.opened) == 1


async def test_client_that_was_reset_is_served_from_the_start_again(monkeypatch):
    monkeypatch.setattr(server_module, "RESTART_AFTER_S", 0.0)
    shelf = Shelf(file=FILE)
    async with serving(shelf.open_file) as server:
        with Client(server) as client:
            client.request()
            await client.receive()
            client.send(ack(1))
            await client.receive()

            assert await client.fetch() == FILE

            assert shelf.opened[0].closed is False
            assert len(shelf.opened) == 2


async def test_next_file_from_the_same_port_ends_the_one_before():
    shelf = Shelf(file=FILE, other=b"other")
    async with serving(shelf.open_file) as server:
        with Client(server) as client:
            client.request()
            await client.receive()

            client.request(b"\x00\x01other\x00octet\x00")
            assert await client.receive() == b"\x00\x03\x00\x01other"

            await asyncio.wait_for(shelf.opened[0].closing.wait(), 5)
            assert shelf.opened[0].closed is False


WRITING = b"\x00\x02a\x00octet\x00"


async def test_client_for_whom_there_is_no_place_is_answered_when_it_asks_again():
    """An ERROR would end its boot."""
    shelf = Shelf(file=FILE)
    transfers = Limit(2)
    async with serving(shelf.open_file, transfers=transfers) as server:
        with Client(server) as one, Client(server) as two, Client(server) as three:
            for client in (one, two):
                client.request()
                await client.receive()
                client.send(ack(1))
                await client.receive()

            three.request()
            three.request(WRITING)
            assert (await three.receive())[:4] == b"\x00\x05\x00\x02"  # to the second only
            assert (transfers.used, transfers.max, transfers.refused) == (2, 2, 1)

            one.send(b"\x00\x05\x00\x00bye\x00")
            await asyncio.wait_for(shelf.opened[0].closing.wait(), 5)
            await asyncio.sleep(0)
            three.request()
            assert await three.receive() == FIRST_BLOCK


async def test_transfer_that_nobody_acknowledged_gives_way_the_oldest_first():
    shelf = Shelf(file=FILE)
    async with serving(shelf.open_file, transfers=Limit(3)) as server:
        with Client(server) as real, Client(server) as one, Client(server) as two:
            real.request()
            await real.receive()
            real.send(ack(1))
            await real.receive()
            for client in (one, two):
                client.request()
                await client.receive()

            await assert_serves(server)

            assert [file.closed for file in shelf.opened[:3]] == [None, False, None]
            real.send(ack(2))
            assert (await real.receive())[:4] == b"\x00\x03\x00\x03"


async def test_one_address_leaves_places_to_others():
    shelf = Shelf(file=FILE)
    async with serving(shelf.open_file, transfers_per_address=Limit(2)) as server:
        with Client(server) as one, Client(server) as two, Client(server) as third:
            for client in (one, two):
                client.request()
                await client.receive()
                client.send(ack(1))
                await client.receive()

            third.request()
            third.request(WRITING)
            assert (await third.receive())[:4] == b"\x00\x05\x00\x02"  # to the second only
            with Client(server, host="127.0.0.2") as other:
                assert await other.fetch() == FILE


async def test_256_slow_clients_give_way_to_a_real_one(monkeypatch):
    """Blocks of 8 bytes and now and then an ACK, from two addresses."""
    monkeypatch.setattr(server_module, "SLOW_AFTER_S", 0.0)
    shelf = Shelf(file=FILE)
    transfers = Limit(256)
    request = b"\x00\x01file\x00octet\x00blksize\x008\x00"
    async with serving(shelf.open_file, transfers=transfers) as server:
        with contextlib.ExitStack() as clients:
            slow = [
                clients.enter_context(Client(server, host=f"127.0.0.{2 + i % 2}"))
                for i in range(256)
            ]
            for client in slow:
                client.request(request)
                assert await client.receive() == b"\x00\x06blksize\x008\x00"
                client.send(ack(0))
                await client.receive()
            assert transfers.used == 256

            for host in ("127.0.0.1", "127.0.0.2"):
                with Client(server, host=host) as client:
                    assert await client.fetch() == FILE

        assert transfers.refused
        assert [file.closed for file in shelf.opened[:256]].count(False) in (1, 2)


def answers_to(sockets: list[socket.socket]) -> int:
    """How many bytes have come to these."""
    received = 0
    for sock in sockets:
        with contextlib.suppress(BlockingIOError):
            while True:
                received += len(sock.recv(70_000))
    return received


@pytest.mark.parametrize(
    ("request_bytes", "answer_bytes"),
    [
        # The worst: no options, and the protocol's smallest block. 32 times.
        (b"\x00\x01file\x00octet\x00", 516),
        (b"\x00\x01file\x00octet\x00blksize\x0065464\x00windowsize\x0064\x00", 29),
        (b"\x00\x01file\x00octet\x00blksize\x008\x00tsize\x000\x00", 25),
        (b"\x00\x01file\x00octet\x00tsize", 15),
        (b"\x00\x01no\x00octet\x00", 19),
        (b"\x00\x01x", 19),
        (b"\x00\x01", 16),
        (b"\x00\x02", 16),
    ],
)
async def test_client_that_never_answers_gets_one_packet(request_bytes, answer_bytes):
    shelf = Shelf(file=bytes(100_000))
    limits, transfers = TftpLimits(timeout_s=0.01, retries=3), Limit(256)
    async with serving(shelf.open_file, limits=limits, transfers=transfers) as server:
        with Client(server) as client:
            client.request(request_bytes)
            await client.receive()
            while transfers.used:
                await asyncio.sleep(0.01)
            with pytest.raises(BlockingIOError):
                client.sock.recv(70_000)

            assert client.received_bytes == answer_bytes
            assert answer_bytes <= 8 * len(request_bytes) or request_bytes == RRQ


@pytest.mark.slow
@pytest.mark.parametrize("options", [b"", b"blksize\x0065464\x00windowsize\x0064\x00"])
@pytest.mark.parametrize("addresses", [1, 5000])
async def test_flood_from_5000_ports_is_answered_with_less_than_eight_times_its_bytes(
    options, addresses
):
    """And who comes behind it is served: by the first or second request, without options too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    content = os.urandom(100_000)
    request_bytes = b"\x00\x01file\x00octet\x00" + options
    async with serving(Shelf(file=content).open_file) as server:
        with contextlib.ExitStack() as clients, structlog.testing.capture_logs() as logs:
            flood = []
            for i in range(5000):
                host = f"127.1.{i // 250}.{i % 250 + 1}" if addresses > 1 else "127.0.0.1"
                flood.append(clients.enter_context(Client(server, host=host)))
                flood[-1].request(request_bytes)
                if i % 20 == 0:
                    await asyncio.sleep(0)  # the server reads
            with Client(server) as client:  # when this is answered, all before it have been read
                client.request(WRITING)
                while (await client.receive())[:2] != b"\x00\x05":
                    pass

            for host in ("127.0.0.1", "127.0.0.2"):
                for more in (b"", b"blksize\x001468\x00"):
                    with Client(server, host=host) as honest:
                        blksize = 1468 if more else 512
                        assert await honest.fetch(RRQ + more, blksize, requests=2) == content

            sent = 5000 * len(request_bytes)
            received = answers_to([client.sock for client in flood])
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    print(f"{addresses} addresses, {len(request_bytes)} bytes: {received / sent:.2f} times back")
    assert 0 < received <= 8 * sent
    assert len(logs) < 100


async def test_client_that_has_gone_frees_its_place():
    shelf = Shelf(file=FILE)
    async with serving(shelf.open_file, limits=TftpLimits(timeout_s=0.01)) as server:
        with structlog.testing.capture_logs() as logs:
            with Client(server) as client:
                client.request()
                await client.receive()
                client.send(ack(1))
                await client.receive()
            await asyncio.wait_for(shelf.opened[0].closing.wait(), 5)
            await asyncio.sleep(0)

    assert shelf.opened[0].closed is False
    assert [(line["event"], line["outcome"]) for line in logs] == [("tftp.ended", "gone")]


async def test_silent_client_is_given_up_after_the_retries():
    """One whose address is known: it has fetched something before."""
    shelf = Shelf(file=FILE)
    limits = TftpLimits(timeout_s=0.01, retries=2)
    async with serving(shelf.open_file, limits=limits) as server:
        await assert_serves(server)
        with Client(server) as client:
            client.request()
            while len(shelf.opened) < 2:
                await asyncio.sleep(0.01)
            await asyncio.wait_for(shelf.opened[1].closing.wait(), 5)

            assert [await client.receive() for _ in range(3)] == [FIRST_BLOCK] * 3
            with pytest.raises(TimeoutError):
                await client.receive(timeout_s=0.05)


async def test_stop_lets_a_running_transfer_finish():
    shelf = Shelf(file=FILE)
    async with serving(shelf.open_file) as server:
        with Client(server) as client:
            client.request()
            await client.receive()

            stopping = asyncio.create_task(server.stop(grace_s=5))
            for block in (1, 2):
                client.send(ack(block))
                assert (await client.receive())[3] == block + 1
            client.send(ack(3))
            await asyncio.wait_for(stopping, 5)

    assert shelf.opened[0].closed is True


async def test_stop_ends_what_does_not_finish_and_says_so():
    shelf = Shelf(file=FILE)
    async with serving(shelf.open_file) as server:
        with Client(server) as client:
            client.request()
            await client.receive()
            client.send(ack(1))
            await client.receive()

            await server.stop(grace_s=0)

            assert await client.receive() == b"\x00\x05\x00\x00the server is shutting down\x00"
            assert server.addresses == []
    assert shelf.opened[0].closed is False


async def test_port_in_use_is_a_service_error_with_a_hint():
    async with serving(Shelf().open_file) as server:
        second = TftpServer(Shelf().open_file, hosts=["127.0.0.1"], port=server.addresses[0][1])

        with pytest.raises(ServiceError, match=r"cannot listen on 127\.0\.0\.1") as caught:
            await second.start()
        await second.stop()

    assert caught.value.hint


@pytest.mark.parametrize(
    "datagram",
    [b"", b"\x00", b"\x00\x00", b"\x00\x03\x00\x01abc", b"\x00\x04\x00\x01",
     b"\x00\x05\x00\x00gone\x00", b"\x00\x06blksize\x008\x00", b"\x00\x09", b"\xff" * 65_507],
)  # fmt: skip
async def test_what_is_no_request_gets_no_answer_and_one_line(datagram):
    """An answer could start two servers talking to each other."""
    async with serving(Shelf(file=FILE).open_file) as server:
        with Client(server) as client, structlog.testing.capture_logs() as logs:
            client.request(datagram)
            client.request(b"\x00\x02a\x00octet\x00")

            assert (await client.receive())[:4] == b"\x00\x05\x00\x02"  # to the second only
    assert [line["event"] for line in logs] == ["tftp.stray", "tftp.refused"]


async def test_garbage_of_every_opcode_leaves_the_server_serving():
    chance = random.Random(20)
    shelf = Shelf(file=FILE)
    async with serving(shelf.open_file) as server:
        with Client(server) as vandal:
            for opcode in (*range(10), 255, 256, 511, 65535):
                head = opcode.to_bytes(2, "big")
                for length in (0, 1, 2, 3, 7, 60, 510, 511, 1400, 65_505):
                    vandal.request(head + chance.randbytes(length))
                    vandal.request(head + bytes(length))
                    vandal.request(head + b"a\x00octet\x00" + chance.randbytes(min(length, 1000)))
                    vandal.request(head[:1])
                await asyncio.sleep(0)  # the server reads
                await assert_serves(server)


async def test_garbage_to_a_running_transfer_leaves_it_running():
    chance = random.Random(21)
    limits = TftpLimits(timeout_s=0.05)
    async with serving(Shelf(file=FILE).open_file, limits=limits) as server:
        await assert_serves(server)  # from now on, the first block is repeated
        with Client(server) as client:
            client.request()
            assert await client.receive() == FIRST_BLOCK

            for opcode in (0, 1, 2, 3, 6, 7, 255, 65535):
                for length in (0, 1, 2, 60, 65_505):
                    client.send(opcode.to_bytes(2, "big") + chance.randbytes(length))
            for number in (0, 2, 3, 4, 40_000, 65_535):
                client.send(ack(number))
            client.send(b"\x00\x04\x00")
            client.send(ack(1))

            answer = await client.receive()
            while answer == FIRST_BLOCK:  # our ACK found no room behind all that
                client.send(ack(1))
                answer = await client.receive()
            assert answer[:4] == b"\x00\x03\x00\x02"


async def test_file_descriptors_above_1024_do_no_harm():
    """Where select() would give up: a boot storm, or a process with many HTTP sockets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        async with serving(Shelf(file=FILE).open_file) as server:
            await assert_serves(server)
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_no_file_descriptor_left_is_survived_and_the_client_asks_again():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with serving(Shelf(file=FILE).open_file) as server:
        with Client(server) as client:
            await assert_serves(server)
            held = []
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
            try:
                with contextlib.suppress(OSError):  # EMFILE
                    while True:
                        held.append(os.open(os.devnull, os.O_RDONLY))
                client.request()
                client.request(WRITING)
                assert (await client.receive())[:4] == b"\x00\x05\x00\x02"  # to the second only
            finally:
                for fd in held:
                    os.close(fd)
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await assert_serves(server)


async def test_many_clients_at_once():
    content = os.urandom(50_000)
    async with serving(Shelf(file=content).open_file) as server:

        async def one() -> bool:
            with Client(server) as client:
                request = b"\x00\x01file\x00octet\x00blksize\x001468\x00"
                return await client.fetch(request, blksize=1468) == content

        assert all(await asyncio.gather(*(one() for _ in range(100))))
