"""Other people's TFTP clients fetch from our server, on a good network and on a bad one."""

import asyncio
import hashlib
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.lossy_udp import lossy_relay
from tests.fakes.tftp_content import Shelf, serving
from tests.fixtures import processes

pytestmark = pytest.mark.interop

Command = Callable[[str, int, str, str], list[str]]  # host, port, remote, local


def atftp(*options: str) -> Command:
    flags = [word for option in options for word in ("--option", option)]
    return lambda host, port, remote, local: [
        "atftp", *flags, "--tftp-timeout", "1", "-g", "-r", remote, "-l", local, host, str(port)
    ]  # fmt: skip


def curl(*flags: str) -> Command:
    return lambda host, port, remote, local: [
        "curl", "-sS", "-g", *flags, "-o", local,
        f"tftp://{f'[{host}]' if ':' in host else host}:{port}/{remote}",
    ]  # fmt: skip


def tftp_hpa(host: str, port: int, remote: str, local: str) -> list[str]:
    return ["tftp", "-m", "binary", host, str(port), "-c", "get", remote, local]


def tftp_hpa_netascii(host: str, port: int, remote: str, local: str) -> list[str]:
    return ["tftp", "-m", "ascii", host, str(port), "-c", "get", remote, local]


def tftpy_client(host: str, port: int, remote: str, local: str) -> list[str]:
    fetching = (
        "import sys, tftpy; tftpy.TftpClient(sys.argv[1], int(sys.argv[2])).download(*sys.argv[3:])"
    )
    return [sys.executable, "-c", fetching, host, str(port), remote, local]


def busybox(*flags: str) -> Command:
    return lambda host, port, remote, local: [
        "busybox", "tftp", "-g", *flags, "-r", remote, "-l", local, host, str(port)
    ]  # fmt: skip


# tftp-hpa's client has no option for options; it asks for none.
CLIENTS: dict[str, Command] = {
    "atftp": atftp(),
    "atftp-tsize": atftp("tsize 0"),
    "atftp-timeout": atftp("timeout 1"),
    "atftp-b8": atftp("blksize 8"),
    "atftp-b1468": atftp("blksize 1468"),
    "atftp-b65464": atftp("blksize 65464"),
    "atftp-b1468-w2": atftp("blksize 1468", "windowsize 2"),
    "atftp-b512-w64": atftp("blksize 512", "windowsize 64"),
    "atftp-all": atftp("tsize 0", "timeout 1", "blksize 1468", "windowsize 16"),
    "curl": curl(),
    "curl-no-options": curl("--tftp-no-options"),
    "curl-b8": curl("--tftp-blksize", "8"),
    "curl-b1468": curl("--tftp-blksize", "1468"),
    "curl-b65464": curl("--tftp-blksize", "65464"),
    "busybox": busybox(),
    "busybox-b64": busybox("-b", "64"),  # its request must fit into a block
    "busybox-b1468": busybox("-b", "1468"),
    "busybox-b65464": busybox("-b", "65464"),
    "tftp-hpa": tftp_hpa,
    "tftpy": tftpy_client,
}
SMALL_BLOCKS = ("atftp-b8", "curl-b8", "busybox-b64")
COMMON = {name: command for name, command in CLIENTS.items() if name not in SMALL_BLOCKS}


async def run(
    command: Command, port: int, into: Path, host: str = "127.0.0.1", remote: str = "file"
) -> tuple[int | None, bytes]:
    """The client's exit code and what it said; it works in a directory of its own."""
    into.mkdir(exist_ok=True)
    code, output, _ = await processes.run(
        *command(host, port, remote, "fetched"),
        cwd=into,
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.STDOUT,
    )
    return code, output


async def fetch(command: Command, port: int, into: Path, host: str = "127.0.0.1") -> None:
    """Fetches `file` as `into/fetched`; the client must be content with what it got."""
    exit_code, output = await run(command, port, into, host)
    assert exit_code == 0, output


@pytest.mark.parametrize(
    ("name", "size_bytes"),
    [
        (name, size_bytes)
        for name in COMMON
        for size_bytes in (0, 1, 511, 512, 513, 65_464, 300_001)
        # curl asks for tsize and takes the right answer for an empty file, 0, for a fault
        if size_bytes or name == "curl-no-options" or not name.startswith("curl")
    ],
)
async def test_file_arrives_whole(name, size_bytes, tmp_path):
    content = random.Random(size_bytes).randbytes(size_bytes)
    shelf = Shelf(file=content)

    async with serving(shelf.open_file) as server:
        await fetch(COMMON[name], server.addresses[0][1], tmp_path)
        await server.stop(grace_s=10)

    assert (tmp_path / "fetched").read_bytes() == content
    assert [file.closed for file in shelf.opened] == [True]


async def test_netascii_arrives_as_it_was_at_a_client_that_translates(tmp_path):
    """tftp-hpa's default mode. Line ends of all kinds, also across two blocks."""
    content = random.Random(9).randbytes(20_000) + b"\r\n\r\0\n\r" * 3_000

    async with serving(Shelf(file=content).open_file) as server:
        await fetch(tftp_hpa_netascii, server.addresses[0][1], tmp_path)

    assert (tmp_path / "fetched").read_bytes() == content


@pytest.mark.parametrize("name", SMALL_BLOCKS)
async def test_smallest_blocks(name, tmp_path):
    content = random.Random(8).randbytes(5_000)

    async with serving(Shelf(file=content).open_file) as server:
        await fetch(CLIENTS[name], server.addresses[0][1], tmp_path)

    assert (tmp_path / "fetched").read_bytes() == content


@pytest.mark.parametrize("name", ["atftp-all", "curl-b1468", "busybox-b1468", "tftp-hpa"])
async def test_file_arrives_whole_over_ipv6(name, tmp_path):
    content = random.Random(6).randbytes(100_000)

    async with serving(Shelf(file=content).open_file, host="::1") as server:
        await fetch(CLIENTS[name], server.addresses[0][1], tmp_path, host="::1")

    assert (tmp_path / "fetched").read_bytes() == content


@pytest.mark.parametrize(
    ("name", "exit_codes", "words"),
    [
        ("atftp", {255}, b"file not found"),
        ("curl", {68}, b""),  # CURLE_TFTP_NOTFOUND
        ("busybox", {1}, b"file not found"),
        ("tftp-hpa", {0, 76}, b"file not found"),  # 0 whatever happens; EX_PROTOCOL on Debian sid
    ],
)
async def test_missing_file_is_understood_by_the_client(name, exit_codes, words, tmp_path):
    async with serving(Shelf().open_file) as server:
        ended, output = await run(CLIENTS[name], server.addresses[0][1], tmp_path, "127.0.0.1")

    assert ended in exit_codes
    assert words in output.lower()


async def fetch_despite_loss(command: Command, port: int, into: Path, remote: str) -> None:
    """Like `fetch`, but atftp may try again: it gives up if its ACK of the OACK was lost."""
    for _ in range(5):
        exit_code, output = await run(command, port, into, remote=remote)
        if b"unexpected OACK" not in output:
            break
    assert exit_code == 0, output


async def fetch_all_over(loss: float, seed: int, size_bytes: int, into: Path) -> int:
    """Every client at once through a lossy relay; returns how many datagrams were dropped.

    At once, because the time goes into the waits that the clients choose: 5 s before tftp-hpa
    repeats a lost request, and 6 s for every loss where curl negotiates `timeout`. Those curls
    fetch a tenth of the file.
    """
    content = random.Random(seed).randbytes(size_bytes)
    shelf = Shelf(file=content, tenth=content[: size_bytes // 10])
    remotes = {
        name: "tenth" if name.startswith("curl") and name != "curl-no-options" else "file"
        for name in COMMON
    }
    async with (
        serving(shelf.open_file) as server,
        lossy_relay(server.addresses[0], loss=loss, seed=seed) as relay,
    ):
        await asyncio.gather(
            *(
                fetch_despite_loss(COMMON[name], relay.port, into / name, remote)
                for name, remote in remotes.items()
            )
        )
    for name, remote in remotes.items():
        assert (into / name / "fetched").read_bytes() == shelf.content[remote], name
    return relay.dropped


async def test_relay_without_loss_is_no_hindrance(tmp_path):
    assert await fetch_all_over(0.0, 1, 200_000, tmp_path) == 0


@pytest.mark.slow
async def test_one_percent_lost_each_way(tmp_path):
    assert await fetch_all_over(0.01, 2, 200_000, tmp_path) > 20


@pytest.mark.slow
async def test_ten_percent_lost_each_way(tmp_path):
    assert await fetch_all_over(0.10, 3, 50_000, tmp_path) > 100


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["atftp-b1468", "atftp-all", "curl-b1468", "busybox-b1468", "tftp-hpa"]
)
async def test_hundred_megabytes_roll_the_block_numbers_over(name, tmp_path):
    content = random.Random(100).randbytes(100_000_000)  # 68,120 blocks of 1,468 bytes

    async with serving(Shelf(file=content).open_file) as server:
        await fetch(CLIENTS[name], server.addresses[0][1], tmp_path)

    with (tmp_path / "fetched").open("rb") as fetched:
        digest = hashlib.file_digest(fetched, "sha256").hexdigest()
    assert digest == hashlib.sha256(content).hexdigest()
