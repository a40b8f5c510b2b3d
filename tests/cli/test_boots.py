"""`bootserver boots` as a user types it: watched live, exported, listed."""

from __future__ import annotations

import asyncio
import csv
import fcntl
import io
import json
import os
import pty
import signal
import struct
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from bootserver.database import open_database
from bootserver.model import BootPhase, Machine
from bootserver.sessions.ledger import Ledger
from bootserver.sessions.store import SessionStore
from tests.fixtures.isos import make_iso
from tests.fixtures.processes import child
from tests.fixtures.server import COMMAND, Site, serving

EVENT_S = 60
MAC = "52:54:00:12:34:56"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path / "site")
    make_iso(site.path / "images" / "rescue.iso", bios=True, pad_bytes=1 << 20)
    return site


async def record(site: Site, *images: str) -> list[str]:
    """Boots in the ledger of a site whose server does not run; their ids."""
    (site.path / "var").mkdir(exist_ok=True)
    url = f"sqlite+aiosqlite:///{site.path}/var/bootserver.db"
    async with open_database(url) as engine:
        ledger = Ledger(SessionStore(engine), expire_after=timedelta(days=1))
        ids = []
        for number, image in enumerate(images):
            machine = Machine(mac=f"52:54:00:00:00:{number:02x}")
            session = ledger.start("token", image, machine, "192.0.2.9")
            ledger.advance(session.key, BootPhase.HANDED_OFF)
            ids.append(session.id)
        await ledger.flush()
    return ids


@asynccontextmanager
async def watching(
    site: Site, *options: str, stdout: int = asyncio.subprocess.PIPE
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`bootserver boots watch`, ended at the end of the block."""
    async with child(
        *(*COMMAND, "boots", "watch", *options),
        cwd=site.path,
        # "": who runs the tests (xdist, say) may have told a width that is not this terminal's.
        env=site.environment | {"TERM": "xterm", "COLUMNS": ""},
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
    ) as process:
        yield process


async def until_watched(site: Site) -> None:
    """Returns once a client watches."""
    url = f"http://127.0.0.1:{site.admin_port}/api/v1/status"
    async with asyncio.timeout(EVENT_S), aiohttp.ClientSession() as http:
        while True:
            async with http.get(url) as answer:
                if (await answer.json())["watchers"]:
                    return
            await asyncio.sleep(0.05)


async def boot(site: Site) -> None:
    """What a machine does over HTTP, from its script to the hand-off."""
    token = (await site.query("stub", "build", "rescue"))["token"]
    base = f"http://127.0.0.1:{site.boot_port}/b"
    query = {"mac": MAC.replace(":", "-"), "platform": "pcbios", "dimms": "0004......."}
    async with asyncio.timeout(EVENT_S), aiohttp.ClientSession() as http:
        while True:
            async with http.get(f"{base}/{token}/boot.ipxe", params=query) as answer:
                key = (await answer.text()).partition("/b/")[2].partition("/")[0]
            if key and key != token:
                break
            await asyncio.sleep(0.2)  # the image has just come, and is being read
        for name in ("image.iso", "phase/handoff"):
            async with http.get(f"{base}/{key}/{name}") as answer:
                await answer.read()


async def lines_until(stream: asyncio.StreamReader, words: str) -> list[str]:
    lines = []
    async with asyncio.timeout(EVENT_S):
        while line := (await stream.readline()).decode():
            lines.append(line)
            if words in line:
                return lines
    raise AssertionError(f"no {words!r} in {lines}")


async def interrupt(process: asyncio.subprocess.Process) -> str:
    """Ctrl-C; what stands on standard error at the end."""
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(EVENT_S):
        assert process.stderr is not None
        errors = (await process.stderr.read()).decode()
        assert await process.wait() == 0
    return errors


@pytest.mark.slow
async def test_into_a_pipe_each_phase_is_a_line(site: Site):
    async with serving(site), watching(site) as process:
        await until_watched(site)
        await boot(site)
        lines = await lines_until(process.stdout, "handed_off")
        errors = await interrupt(process)

    phases = [line.split()[4] for line in lines]
    assert phases == [
        *("created", "stub_started", "script_served", "fetching", "fetched", "handed_off")
    ]
    assert all(MAC in line for line in lines)
    assert errors == ""


@pytest.mark.slow
async def test_for_scripts_each_line_is_a_boot(site: Site):
    async with serving(site), watching(site, "--json") as process:
        await until_watched(site)
        await boot(site)
        lines = await lines_until(process.stdout, '"phase": "handed_off"')
        await interrupt(process)
        [listed] = await site.query("boots", "list")

    last = json.loads(lines[-1])
    assert last["machine"]["mac"] == MAC
    assert last["sent_bytes"] == (site.path / "images" / "rescue.iso").stat().st_size
    assert last["phases"] == listed["phases"]


@pytest.mark.slow
async def test_on_a_terminal_there_are_bars(site: Site):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 200, 0, 0))
    shown = bytearray()
    seen = asyncio.Event()

    def read() -> None:
        shown.extend(os.read(ours, 65536))
        if b"handed_off" in shown:
            seen.set()

    loop = asyncio.get_running_loop()
    loop.add_reader(ours, read)
    try:
        async with serving(site), watching(site, stdout=theirs) as process:
            await until_watched(site)
            await boot(site)
            await asyncio.wait_for(seen.wait(), EVENT_S)
            errors = await interrupt(process)
    finally:
        loop.remove_reader(ours)
        os.close(ours)
        os.close(theirs)

    text = shown.decode()
    assert MAC in text
    assert "━" in text
    assert "1.1/1.1 MB" in text
    assert errors == ""


@pytest.mark.slow
async def test_a_server_that_comes_back_is_watched_again(site: Site):
    async with watching_through_a_restart(site) as process:
        await lines_until(process.stderr, "is gone, waiting for it")
        async with serving(site):
            await lines_until(process.stderr, "is back")
            await boot(site)
            await lines_until(process.stdout, "handed_off")
            await interrupt(process)


@asynccontextmanager
async def watching_through_a_restart(site: Site) -> AsyncIterator[asyncio.subprocess.Process]:
    """A watcher whose server has just gone."""
    async with serving(site) as server:
        cm = watching(site)
        process = await cm.__aenter__()
        await until_watched(site)
        server.stop()
        await server.process.wait()
    try:
        yield process
    finally:
        await cm.__aexit__(None, None, None)


async def test_without_a_server_watching_ends_with_a_sentence(site: Site):
    errors = await site.command("boots", "watch", expect=1)

    assert f"no bootserver answers at http://127.0.0.1:{site.admin_port}" in errors
    assert "bootserver serve" in errors
    assert "Traceback" not in errors


async def test_what_is_no_bootserver_is_not_watched(site: Site):
    server = await asyncio.start_server(_teapot, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        errors = await site.command(
            "boots", "watch", "--url", f"http://127.0.0.1:{port}/", expect=1
        )

    assert f"no bootserver answers at http://127.0.0.1:{port}: it answered 418" in errors


async def _teapot(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 418 I'm a teapot\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()
    writer.close()


@pytest.mark.slow
async def test_boots_are_exported_in_every_form(site: Site):
    one, two = await record(site, "one", "two")

    rows = list(csv.DictReader(io.StringIO(await site.command("boots", "export"))))
    boots = json.loads(await site.command("boots", "export", "--format", "json"))
    exposition = await site.command("boots", "export", "--format", "openmetrics")
    families = list(text_string_to_metric_families(exposition))

    assert [row["id"] for row in rows] == [two, one]
    assert [boot["id"] for boot in boots] == [two, one]
    assert boots == await site.query("boots", "list")
    assert exposition.endswith("# EOF\n")
    assert {"boots", "boot_phase_seconds", "image_bytes"} <= {family.name for family in families}


@pytest.mark.slow
async def test_an_export_goes_into_a_file_and_may_be_of_some_boots(site: Site):
    _, two = await record(site, "one", "two")

    printed = await site.command(
        "boots", "export", "--image", "two", "--since", "2020-01-01", "-o", "out.csv"
    )
    none = await site.command("boots", "export", "--since", "2999-01-01")

    [row] = csv.DictReader(io.StringIO((site.path / "out.csv").read_text()))
    assert printed == ""
    assert row["id"] == two
    assert len(none.splitlines()) == 1


@pytest.mark.slow
async def test_a_file_that_cannot_be_written_is_a_sentence(site: Site):
    errors = await site.command("boots", "export", "-o", "none/out.csv", expect=1)

    assert "cannot be written" in errors
    assert "Traceback" not in errors


@pytest.mark.slow
async def test_a_boot_is_shown_with_its_phases(site: Site):
    [one] = await record(site, "one")

    text = await site.command("boots", "show", one[:6])
    shown = await site.query("boots", "show", one)

    assert text.startswith(f"{one}  one on 52:54:00:00:00:00\n")
    assert [phase["phase"] for phase in shown["phases"]] == [
        "created",
        "stub_started",
        "handed_off",
    ]
    assert "token" not in shown
    assert "key" not in shown
