"""The running server: what it says, what it survives, how it ends."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import re
import signal
import socket
import subprocess
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from bootserver.bench.ports import free_port
from tests.fixtures.isos import make_iso
from tests.fixtures.processes import run
from tests.fixtures.server import COMMAND, PROBED, RunningServer, Site, serving

EVENT_S = 60

pytestmark = pytest.mark.slow


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path / "site")
    make_iso(site.path / "images" / "rescue.iso", bios=True)
    return site


async def until_logged(server: RunningServer, event: str) -> dict[str, object]:
    """The first log line of that event."""
    async with asyncio.timeout(EVENT_S):
        while True:
            for line in server.log_lines:
                if line["event"] == event:
                    return line
            await asyncio.sleep(0.05)


def local(site: Site, token: str, name: str) -> str:
    return f"http://127.0.0.1:{site.boot_port}/b/{token}/{name}"


async def test_the_announcement_says_where_everything_is(site: Site):
    async with serving(site) as server:
        places = dict(re.findall(r"^  (\S.*?)  +(\S+)$", server.announced, re.MULTILINE))

    assert places["dashboard"] == f"http://127.0.0.1:{site.admin_port}/"
    assert places["machines call"] == f"http://10.0.2.2:{site.boot_port}"
    assert places["images"] == f"{site.path}/images/"


async def test_images_that_come_and_go_are_noticed(site: Site):
    async with serving(site) as server, aiohttp.ClientSession() as http:

        async def until_there_are(*wanted: str) -> None:
            async with asyncio.timeout(EVENT_S):
                while await image_ids(http) != list(wanted):
                    await asyncio.sleep(0.1)

        async def image_ids(http: aiohttp.ClientSession) -> list[str]:
            async with http.get(f"http://127.0.0.1:{site.admin_port}/api/v1/images") as answer:
                return [image["id"] for image in (await answer.json())["images"]]

        assert "bootserver stub build" in server.announced
        await until_there_are("rescue")
        make_iso(site.path / "images" / "second.iso", bios=True)
        await until_there_are("rescue", "second")
        (site.path / "images" / "rescue.iso").unlink()
        await until_there_are("second")


async def test_a_server_that_stops_waits_for_no_thread_that_hangs(tmp_path: Path):
    """The shim is a FIFO without a writer: a thread that reads it hangs, as on dead NFS."""
    shim = tmp_path / "shim.efi"
    shim.touch()
    site = Site(tmp_path / "site", more_server="grace_s = 0\n", stub=f'shim = "{shim}"\n')
    make_iso(site.path / "images" / "rescue.iso", bios=True)
    token = (await site.query("stub", "build", "rescue"))["token"]
    shim.unlink()
    os.mkfifo(shim)
    async with serving(site) as server, aiohttp.ClientSession() as http:
        asking = asyncio.create_task(http.get(local(site, token, "stub.iso")))
        opened = await asyncio.to_thread(shim.open, "wb")  # once the server has it open
        with opened:
            server.stop()
            assert await asyncio.wait_for(server.process.wait(), EVENT_S) == 0
        with pytest.raises(aiohttp.ClientError):
            await asking


async def test_a_busy_port_is_one_line_and_the_rest_serves(site: Site):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", site.boot_port))
        taken.listen()
        async with serving(site) as server, aiohttp.ClientSession() as http:
            lines = [line for line in server.log_lines if line["level"] == "error"]
            async with http.get(f"http://127.0.0.1:{site.admin_port}/healthz") as answer:
                assert answer.status == 200

    assert [line["event"] for line in lines] == ["boot_plane.not_served"]
    assert f"port {site.boot_port} cannot be had" in lines[0]["reason"]


@pytest.fixture
def https_site(tmp_path: Path) -> Site:
    site = Site(tmp_path / "site", https_port=free_port())
    iso = make_iso(site.path / "images" / "rescue.iso", bios=True)
    iso.write_bytes(iso.read_bytes() + random.Random(1).randbytes(3_000_017))
    return site


async def curl(site: Site, url: str, *arguments: str, expect: int = 0) -> bytes:
    """What curl gets of that URL over HTTPS, with no other trust than in the server's own CA."""
    code, output, _ = await run(
        *("curl", "-sS", "--cacert", site.root),
        *("--connect-to", f"{site.host}:{site.https_port}:127.0.0.1:{site.https_port}"),
        *arguments,
        url,
    )
    assert code == expect
    return output


@pytest.mark.interop
async def test_the_boot_plane_is_served_over_https_as_well(https_site: Site):
    site = https_site
    async with serving(site) as server:
        image = (site.path / "images" / "rescue.iso").read_bytes()
        await until_logged(server, "image.hashed")
        stub = await site.query("stub", "build", "rescue")
        script = (await curl(site, site.https(stub["urls"]["script"]))).decode()
        [path] = re.findall(r"^initrd .*(/b/\S+/image\.iso)", script, re.M)
        url = f"https://{site.host}:{site.https_port}{path}"
        head = await curl(site, url, "--head")
        whole = await curl(site, url, "--include")
        part = await curl(site, url, "--range", "1000000-2999999")
        await curl(site, url.replace(site.host, "127.0.0.1"), expect=60)  # for another host
        [boot] = await site.query("boots", "list")

    head_lines, whole_lines = head.split(b"\r\n"), whole.partition(b"\r\n\r\n")[0].split(b"\r\n")
    for lines in (head_lines, whole_lines):
        assert lines[0] == b"HTTP/1.1 200 OK"
        assert b"Content-Length: %d" % len(image) in lines
        assert not [line for line in lines if line.lower().startswith(b"transfer-encoding")]
    assert whole.partition(b"\r\n\r\n")[2] == image
    assert part == image[1_000_000:3_000_000]
    assert boot["phase"] == "fetched"
    assert boot["sent_bytes"] == len(image) + 2_000_000
    assert f"https://{site.host}:{site.https_port}" in server.announced


@pytest.mark.interop
async def test_what_is_booted_over_https_goes_on_and_calls_home_over_plain_http(https_site: Site):
    site = https_site
    make_iso(
        site.path / "images" / "live.iso",
        {
            ".disk/info": b"Debian",
            "live/vmlinuz": b"kernel",
            "live/initrd.img": b"initrd",
            "live/filesystem.squashfs": b"hsqs",
        },
        bios=True,
    )
    (site.path / "images" / "own.txt").write_text("the site's own")
    (site.path / "images" / "live.toml").write_text('[inject]\n"etc/own" = "own.txt"\n')
    async with serving(site) as server:
        await until_logged(server, "image.hashed")
        stub = await site.query("stub", "build", "live")
        script = await curl(site, site.https(stub["urls"]["script"]) + "?platform=efi")
        [path] = re.findall(rb"^initrd .*(/b/\S+/initrd\.img)", script, re.M)
        initrd = await curl(site, f"https://{site.host}:{site.https_port}{path.decode()}")

    assert b"fetch=http://10.0.2.2:%d/b/" % site.boot_port in script
    assert b"https:" not in script + initrd
    assert b"the site's own" in initrd
    up = path.decode().replace("tree/live/initrd.img", "phase/up")
    assert f"http://{site.host}:{site.boot_port}{up}".encode() in initrd


async def test_a_busy_https_port_is_one_line_and_the_rest_serves(https_site: Site):
    site = https_site
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", site.https_port))
        taken.listen()
        async with serving(site) as server, aiohttp.ClientSession() as http:
            lines = [line for line in server.log_lines if line["level"] == "error"]
            async with http.get(local(site, "0" * 32, "boot.ipxe")) as answer:
                assert answer.status == 200

    assert [line["event"] for line in lines] == ["boot_plane_over_https.not_served"]
    assert f"port {site.https_port} cannot be had" in lines[0]["reason"]
    assert "https:" not in server.announced


async def test_a_server_that_can_serve_no_machine_ends_with_a_sentence(tmp_path: Path):
    site = Site(tmp_path / "site", extra="")
    with (site.path / "config.toml").open("a") as file:
        file.write("")
    text = (site.path / "config.toml").read_text()
    (site.path / "config.toml").write_text(text.replace("[tftp]\n", "[tftp]\nenabled = false\n"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", site.boot_port))
        taken.listen()

        errors = await site.command("serve", expect=1)

    assert "no machine can be served" in errors
    assert "Traceback" not in errors


async def test_missing_loaders_and_bad_images_are_a_line_each_and_the_rest_serves(tmp_path: Path):
    site = Site(tmp_path / "site", loaders="none")
    make_iso(site.path / "images" / "rescue.iso", bios=True)
    (site.path / "images" / "broken.iso").write_bytes(b"x" * 100_000)
    async with serving(site) as server:
        await until_logged(server, "image.problem")
        lines = server.log_lines

    missing = [line["problem"] for line in lines if line["event"] == "loader.missing"]
    assert any("isolinux.bin is missing" in problem for problem in missing)
    assert len(missing) == len(set(missing))
    assert sum(line["event"] == "image.problem" for line in lines) == 1


async def test_sigterm_lets_a_running_download_finish(site: Site):
    iso = site.path / "images" / "rescue.iso"
    iso.write_bytes(iso.read_bytes() + bytes(64 << 20))
    async with serving(site) as server, aiohttp.ClientSession() as http:
        token = (await site.query("stub", "build", "rescue"))["token"]
        await until_logged(server, "image.hashed")
        async with http.get(local(site, token, "image.iso")) as answer:
            digest = hashlib.sha256(await answer.content.readexactly(100_000))
            server.stop(signal.SIGTERM)
            await until_logged(server, "server.stopping")
            with pytest.raises(aiohttp.ClientConnectorError):
                async with aiohttp.ClientSession() as late:
                    await late.get(local(site, token, "boot.ipxe"))
            while piece := await answer.content.read(1 << 20):
                digest.update(piece)
        async with asyncio.timeout(EVENT_S):
            assert await server.process.wait() == 0

    assert digest.hexdigest() == hashlib.sha256(iso.read_bytes()).hexdigest()


@pytest.mark.parametrize("hurry", ["time", "signal"])
async def test_a_download_that_takes_too_long_is_cut(tmp_path: Path, hurry: str):
    grace = "grace_s = 0.5\n" if hurry == "time" else "grace_s = 1000\n"
    site = Site(tmp_path / "site", more_server=grace)
    iso = make_iso(site.path / "images" / "rescue.iso", bios=True)
    iso.write_bytes(iso.read_bytes() + bytes(64 << 20))
    async with serving(site) as server, aiohttp.ClientSession() as http:
        token = (await site.query("stub", "build", "rescue"))["token"]
        await until_logged(server, "image.hashed")
        async with http.get(local(site, token, "image.iso")) as answer:
            server.stop(signal.SIGTERM)
            await until_logged(server, "server.stopping")
            if hurry == "signal":
                server.stop(signal.SIGINT)
            async with asyncio.timeout(EVENT_S):
                assert await server.process.wait() == 0
            with pytest.raises(aiohttp.ClientError):
                await answer.read()


async def test_a_signal_that_is_no_end_cuts_no_download(site: Site):
    """A closed terminal sends SIGHUP, log rotation SIGUSR1, a reader that left SIGPIPE."""
    iso = site.path / "images" / "rescue.iso"
    iso.write_bytes(iso.read_bytes() + bytes(64 << 20))
    ignored = [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2]
    async with serving(site) as server, aiohttp.ClientSession() as http:
        token = (await site.query("stub", "build", "rescue"))["token"]
        await until_logged(server, "image.hashed")
        async with http.get(local(site, token, "image.iso")) as answer:
            digest = hashlib.sha256(await answer.content.readexactly(100_000))
            for number in (*ignored, signal.SIGPIPE):
                server.stop(number)
            async with asyncio.timeout(EVENT_S):
                while len(lines := [line for line in server.log_lines if "signal" in line]) < 3:
                    await asyncio.sleep(0.05)
            while piece := await answer.content.read(1 << 20):
                digest.update(piece)

    assert sorted(line["signal"] for line in lines) == sorted(number.name for number in ignored)
    assert {line["event"] for line in lines} == {"server.signal_ignored"}
    assert digest.hexdigest() == hashlib.sha256(iso.read_bytes()).hexdigest()


async def until_held(process_id: int) -> None:
    """Returns at the program's first moment: SIGHUP no longer ends it."""
    bit = 1 << signal.SIGHUP - 1
    async with asyncio.timeout(EVENT_S):
        while True:
            status = Path(f"/proc/{process_id}/status").read_text()
            masks = re.findall(r"Sig(?:Blk|Ign|Cgt):\s+(\S+)", status)
            if any(int(mask, 16) & bit for mask in masks):
                return
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
async def test_a_signal_that_is_no_end_does_not_end_the_start(site: Site, number: signal.Signals):
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        "serve",
        cwd=site.path,
        env=site.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    try:
        await until_held(process.pid)
        output = b""
        async with asyncio.timeout(EVENT_S):
            while b"bootserver is up" not in output:  # it ends, if the signal was its end
                process.send_signal(number)
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.01):
                        piece = await process.stdout.read(65536)
                        assert piece, output
                        output += piece
            process.terminate()
            rest, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()

    assert process.returncode == 0
    assert b"server.signal_ignored" in output
    assert b"Traceback" not in output + rest


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("moment", ["first", "library"])
async def test_a_server_that_is_not_up_yet_ends_at_once(
    site: Site, number: signal.Signals, moment: str
):
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        "serve",
        cwd=site.path,
        env=site.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        await until_held(process.pid)
        async with asyncio.timeout(EVENT_S):
            while moment == "library" and not (site.path / "var" / "bootserver.db").exists():
                await asyncio.sleep(0.02)
            process.send_signal(number)
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()

    assert b"Traceback" not in output
    assert b"bootserver is up" not in output
    assert process.returncode in ((-number, 1) if moment == "first" else (0,)), output


async def test_a_log_that_nobody_reads_any_more_stops_nothing(site: Site):
    """The terminal is closed, or the program at the other end of the pipe has gone."""
    reader, writer = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "serve", cwd=site.path, env=site.environment, stdout=writer, stderr=writer
    )
    os.close(writer)
    os.close(reader)
    try:
        async with asyncio.timeout(EVENT_S), aiohttp.ClientSession() as http:
            while True:
                with suppress(aiohttp.ClientConnectorError):
                    async with http.get(local(site, "0" * 32, "boot.ipxe")) as answer:
                        text = await answer.text()
                        break
                await asyncio.sleep(0.1)
                assert process.returncode is None
        process.terminate()
        async with asyncio.timeout(EVENT_S):
            code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

    assert "not known to this server" in text
    assert code == 0


IN_AN_EMPTY_NETWORK = (
    *("unshare", "--net", *(["--map-root-user"] if os.geteuid() else [])),
    *("sh", "-c", 'ip link set lo up && exec "$@"', "sh"),
)


@pytest.mark.interop
async def test_without_a_default_route_one_sentence_says_so_and_the_rest_serves(tmp_path: Path):
    site = Site(
        tmp_path / "site",
        entering=IN_AN_EMPTY_NETWORK,
        extra="[boot]\nopen_menu = true\n",
        https_port=free_port(),
    )
    make_iso(site.path / "images" / "rescue.iso", bios=True)
    written = (site.path / "config.toml").read_text()
    own = f'url = "http://{site.host}:{site.boot_port}"\n'
    (site.path / "config.toml").write_text(
        written.replace(own, "").replace('address = "127.0.0.1"', 'address = "*"', 1)
    )

    async with serving(site) as server:
        await until_logged(server, "image.hashed")
        entering = ["nsenter", f"--net=/proc/{server.process.pid}/ns/net"]
        if os.geteuid():
            entering += [f"--user=/proc/{server.process.pid}/ns/user", "--preserve-credentials"]
        url = f"http://127.0.0.1:{site.boot_port}"
        boot = ["curl", "-sS", "--max-time", "30", f"{url}/boot.ipxe"]
        page = [*boot[:-1], f"http://127.0.0.1:{site.admin_port}/healthz"]
        menu = await asyncio.to_thread(subprocess.check_output, [*entering, *boot], text=True)
        token = re.findall(r"/b/(\w+)/boot.ipxe", menu)[0]
        script = [*boot[:-1], f"{url}/b/{token}/boot.ipxe?platform=pcbios"]
        shown = await asyncio.to_thread(subprocess.check_output, [*entering, *script], text=True)
        health = await asyncio.to_thread(subprocess.check_output, [*entering, *page], text=True)
        lines = server.log_lines

    [said] = [line for line in lines if line["event"] == "server.address_unknown"]
    assert said["reason"] == "this machine has no default route, so its own address is unknown"
    assert "[server] url" in said["hint"]
    assert "machines call" in server.announced
    assert "rescue" in shown
    assert health == "ok\n"
    assert not [line for line in lines if "exception" in line or "Traceback" in str(line)]


async def test_a_second_server_on_one_state_ends_and_says_who_has_it(site: Site):
    second = Site(site.path / "second", extra=f'[state]\npath = "{site.path / "var"}"\n')
    async with serving(site) as server:
        errors = await second.command("serve", expect=1)
        await site.command("machines", "set", "52:54:00:00:00:01", "--image", "rescue")
        server.stop(signal.SIGKILL)
        await server.process.wait()
        async with serving(second):
            pass

    assert f"process {server.process.pid}" in errors
    assert "[state] path" in errors
    assert "Traceback" not in errors


async def test_the_state_is_its_owners_only_whatever_it_was_before(tmp_path: Path):
    site = Site(tmp_path / "site", https_port=free_port())
    make_iso(site.path / "images" / "rescue.iso", bios=True)
    state = site.path / "var"
    async with serving(site) as server, aiohttp.ClientSession() as http:
        token = (await site.query("stub", "build", "rescue"))["token"]
        async with http.get(local(site, token, "stub.iso")) as answer:
            await answer.read()
        new = readable_by_others(state)
    for path in (state, *state.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    left = state / "shelf" / f".{'0' * 16}.bootserver"
    left.write_bytes(b"half")
    async with serving(site) as server:
        tightened = readable_by_others(state)
        lines = server.log_lines

    assert {path.name for path in state.iterdir()} >= {"bootserver.db", "ca", "secret", "shelf"}
    assert new == tightened == []
    assert [line["event"] for line in lines].count("state.was_readable_by_others") == 1
    assert not left.exists()


def readable_by_others(directory: Path) -> list[str]:
    """What in the directory other users have any right to, itself included."""
    there = (directory, *directory.rglob("*"))
    return [str(path) for path in there if path.stat().st_mode & 0o077]


@pytest.mark.interop
async def test_a_boot_goes_on_and_is_measured_when_the_clock_is_set_to_tomorrow(tmp_path: Path):
    [library] = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
    clock = tmp_path / "clock"
    clock.write_text("+0\n")
    fake = ("DONT_FAKE_MONOTONIC=1", "FAKETIME_NO_CACHE=1", f"FAKETIME_TIMESTAMP_FILE={clock}")
    site = Site(tmp_path / "site", entering=("env", f"LD_PRELOAD={library}", *fake))
    make_iso(site.path / "images" / "rescue.iso", bios=True)
    token = (await site.query("stub", "build", "rescue"))["token"]
    async with serving(site) as server, aiohttp.ClientSession() as http:
        await until_logged(server, "image.hashed")
        async with http.get(local(site, token, "boot.ipxe")) as answer:
            [image] = re.findall(r"^initrd .*(/b/\S+/image\.iso)", await answer.text(), re.M)
        clock.write_text("+1d\n")
        async with http.get(local(site, "0" * 32, "boot.ipxe")):
            tomorrow = str((await until_logged(server, "script.refused"))["timestamp"])
        await asyncio.sleep(2.5)  # two looks at who has expired
        url = f"http://127.0.0.1:{site.boot_port}{image}"
        for path in (url, url.replace("image.iso", "phase/handoff")):
            async with http.get(path) as answer:
                assert answer.status == 200
                await answer.read()
        api = f"http://127.0.0.1:{site.admin_port}/api/v1/boots"
        async with http.get(api) as answer:
            [boot] = (await answer.json())["boots"]

    assert datetime.fromisoformat(tomorrow) > datetime.now(UTC) + timedelta(hours=23)
    assert boot["phase"] == "handed_off"
    assert 2 < boot["total_seconds"] < 3600


async def test_a_database_deleted_meanwhile_costs_nothing_that_was_acknowledged(site: Site):
    """Neither what was written before, nor after, nor by a kill -9 then."""
    state, profiles = site.path / "var", f"http://127.0.0.1:{site.admin_port}/api/v1/profiles"
    async with serving(site) as server, aiohttp.ClientSession() as http:
        await until_logged(server, "image.hashed")
        stub = await site.query("stub", "build", "rescue")
        async with http.get(local(site, stub["token"], "boot.ipxe")) as answer:
            assert answer.status == 200
        for number in ("1", "2"):
            if number == "2":
                for path in state.glob("bootserver.db*"):
                    path.unlink()
            wanted = {"serial": number, "image": "rescue"}
            async with http.post(profiles, json=wanted) as answer:
                assert answer.status == 201
        line = await until_logged(server, "database.was_deleted")
        server.stop(signal.SIGKILL)
        await server.process.wait()
    async with serving(site) as server, aiohttp.ClientSession() as http:
        await until_logged(server, "image.hashed")
        async with http.get(local(site, stub["token"], "boot.ipxe")) as answer:
            script = await answer.text()
        async with http.get(profiles) as answer:
            listed = (await answer.json())["profiles"]
        boots = await site.query("boots", "list")

    assert line["level"] == "error"
    assert script.startswith("#!ipxe")
    assert "not known to this server" not in script
    assert len(listed) == 2
    assert boots[-1]["phase"] == "script_served"


async def test_a_damaged_database_is_kept_aside_and_the_server_serves(site: Site):
    async with serving(site) as server:
        await until_logged(server, "image.hashed")
    database = site.path / "var" / "bootserver.db"
    for path in database.parent.glob("bootserver.db-*"):
        path.unlink()
    database.write_bytes(b"no database" * 1000)
    async with serving(site) as server:
        await until_logged(server, "image.hashed")
        stub = await site.query("stub", "build", "rescue")
        lines = server.log_lines

    [said] = [line for line in lines if line["event"] == "database.damaged"]
    assert said["level"] == "error"
    assert Path(said["moved_to"]).read_bytes() == b"no database" * 1000
    assert stub["image"] == "rescue"


async def test_the_same_names_are_served_over_tftp(site: Site):
    stub = await site.query("stub", "build", "rescue")
    async with serving(site) as server:
        await until_logged(server, "image.hashed")

        def fetch(name: str) -> bytes:
            url = f"tftp://127.0.0.1:{site.tftp_port}/{name}"
            command = ["curl", "-sS", "--max-time", "30", url]
            return subprocess.run(command, capture_output=True, check=True).stdout

        script = await asyncio.to_thread(fetch, f"b/{stub['token']}/boot.ipxe")
        image = await asyncio.to_thread(fetch, f"b/{stub['token']}/image.iso")
        iso = await asyncio.to_thread(fetch, f"b/{stub['token']}/stub.iso")
        with pytest.raises(subprocess.CalledProcessError) as refused:
            await asyncio.to_thread(fetch, "b/nobody/image.iso")
        logged = str(server.log_lines)
        [boot] = await site.query("boots", "list")

    assert script.startswith(b"#!ipxe\n")
    assert image == (site.path / "images" / "rescue.iso").read_bytes()
    assert hashlib.sha256(iso).hexdigest() == stub["sha256"]
    assert refused.value.returncode == 68  # curl: the server has no such file
    assert stub["token"] not in logged
    assert boot["phase"] == "fetched"
    assert boot["sent_bytes"] == len(image)


async def test_garbage_on_every_port_leaves_the_server_serving(site: Site):
    async with serving(site) as server, aiohttp.ClientSession() as http:
        await until_logged(server, "image.hashed")
        for garbage in (
            b"\x00" * 5000,
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET /b/x/boot.ipxe HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 65536 + b"\r\n\r\n",
            b"GET /b/x/image.iso HTTP/1.1\r\nHost: x\r\nRange: bytes="
            + b",".join(b"%d-%d" % (i, i) for i in range(10_000))
            + b"\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS hello
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", site.boot_port)
            writer.write(garbage)
            writer.write_eof()
            answer = await reader.read()
            assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")), answer[:80]
            writer.close()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            for opcode in range(0, 300, 7):
                udp.sendto(
                    bytes((opcode >> 8, opcode & 255)) + b"\xff\x00a" * 20,
                    ("127.0.0.1", site.tftp_port),
                )
        async with http.get(local(site, "0" * 32, "boot.ipxe")) as script:
            assert "not known" in await script.text()
        lines = server.log_lines

    assert server.process.returncode != 1
    assert [line for line in lines if "Traceback" in str(line) or "exception" in line] == []


SEEDS = (
    b"\x00\x01undionly.kpxe\x00octet\x00",
    b"\x00\x01/boot.ipxe\x00netascii\x00tsize\x000\x00",
    b"\x00\x01no//such\\file\x00octet\x00blksize\x001468\x00windowsize\x0064\x00",
    b"\x00\x01snponly.efi\xff\x00octet\x00timeout\x001\x00multicast\x00\x00",
    b"\x00\x02undionly.kpxe\x00octet\x00",
    b"\x00\x05\x00\x00Early Terminate\x00",
    b"\x00\x04\x00\x00",
)


def mutated(chance: random.Random) -> bytes:
    """A datagram that is nearly one of TFTP's."""
    datagram = bytearray(chance.choice(SEEDS))
    for _ in range(chance.randrange(4)):
        at = chance.randrange(2, len(datagram) + 1)
        match chance.randrange(4):
            case 0:
                datagram[at:] = b""
            case 1:
                datagram[at : at + chance.randrange(4)] = chance.randbytes(chance.randrange(4))
            case 2:
                datagram[at:at] = bytes(chance.randrange(600))
            case 3:
                datagram[at:at] = datagram[2 : chance.randrange(2, len(datagram) + 1)]
    return bytes(datagram)


async def test_100_000_odd_datagrams_leave_tftp_serving_and_as_small_as_before(tmp_path: Path):
    site = Site(tmp_path / "site", extra="[boot]\nopen_menu = true\n", entering=PROBED)
    chance = random.Random(10)
    loop = asyncio.get_running_loop()

    async def size(server: RunningServer) -> tuple[int, int, int, int]:
        """Open files without the database's, KiB in memory, blocks and bytes in use."""
        proc = Path(f"/proc/{server.process.pid}")
        [kib] = re.findall(r"VmRSS:\s+(\d+)", (proc / "status").read_text())
        files = 0
        for fd in (proc / "fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                files += "bootserver.db" not in str(fd.readlink())
        return files, int(kib), *await server.in_use()

    async with serving(site) as server, aiohttp.ClientSession() as http:
        sizes = [await size(server)]
        clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(50)]
        for client in clients:
            client.setblocking(False)
        for sent in range(0, 100_000, 100):
            for _ in range(100):
                chance.choice(clients).sendto(mutated(chance), ("127.0.0.1", site.tftp_port))
            last = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            last.setblocking(False)
            last.sendto(b"\x00\x02a\x00octet\x00", ("127.0.0.1", site.tftp_port))
            async with asyncio.timeout(60):
                await loop.sock_recv(last, 600)  # all before it have been read
            last.close()
            for client in clients:  # the newest answer is acknowledged: its port is still there
                answer = b""
                with suppress(BlockingIOError):
                    while True:
                        answer, tid = client.recvfrom(70_000)
                if answer[:2] == b"\x00\x03" and chance.random() < 0.2:
                    client.sendto(b"\x00\x04" + answer[2:4], tid)
            if sent == 20_000:
                sizes.append(await size(server))
        for client in clients:
            client.close()
        transfers = 1.0
        async with asyncio.timeout(EVENT_S):
            while transfers:
                await asyncio.sleep(0.2)
                async with http.get(f"http://127.0.0.1:{site.admin_port}/metrics") as metrics:
                    [transfers] = map(
                        float,
                        re.findall(r'limit_used{limit="transfers"} (\S+)', await metrics.text()),
                    )
        sizes.append(await size(server))
        lines = server.log_lines
        fetched = await asyncio.to_thread(
            subprocess.run,
            ["curl", "-sS", f"tftp://127.0.0.1:{site.tftp_port}/undionly.kpxe"],
            capture_output=True,
            check=True,
        )

    print(
        "open files, KiB, blocks and bytes in use at the start, after 20,000 and at the end: "
        f"{sizes}; {len(lines)} lines"
    )
    assert fetched.stdout == Path(site.loaders, "undionly.kpxe").read_bytes()
    assert [line for line in lines if line["level"] == "error" or "exception" in line] == []
    (files_before, *_), (_, _, blocks, size_bytes), (files_after, _, blocks_after, bytes_after) = (
        sizes
    )
    assert files_after <= files_before + 1  # our own connection to the dashboard
    assert blocks_after - blocks < 8_000  # one for ten datagrams would be a leak
    assert bytes_after - size_bytes < 80_000 * 16


async def test_a_server_killed_in_the_middle_of_a_boot_goes_on_with_its_record(site: Site):
    iso = site.path / "images" / "rescue.iso"
    iso.write_bytes(iso.read_bytes() + bytes(64 << 20))
    token = (await site.query("stub", "build", "rescue"))["token"]
    async with serving(site) as server, aiohttp.ClientSession() as http:
        await until_logged(server, "image.hashed")
        async with http.get(local(site, token, "boot.ipxe")) as answer:
            [image] = re.findall(r"^initrd .*(/b/\S+/image\.iso)", await answer.text(), re.M)
        url = f"http://127.0.0.1:{site.boot_port}{image}"
        async with http.get(url) as answer:
            await answer.content.readexactly(1 << 20)
            async with asyncio.timeout(EVENT_S):
                while not (before := (await site.query("boots", "list"))[0])["sent_bytes"]:
                    await asyncio.sleep(0.1)
            server.stop(signal.SIGKILL)
            await server.process.wait()
            with pytest.raises(aiohttp.ClientError):
                await answer.read()

    async with serving(site) as server, aiohttp.ClientSession() as http:
        async with http.get(url) as answer:
            body = await answer.read()
        async with http.get(url.replace("image.iso", "phase/handoff")) as answer:
            assert answer.status == 200
        await until_logged(server, "boot.handed_off")
        async with asyncio.timeout(EVENT_S):
            while (boots := await site.query("boots", "list"))[0]["phase"] != "handed_off":
                await asyncio.sleep(0.1)

    [after] = boots
    known = len(before["phases"])
    assert hashlib.sha256(body).hexdigest() == hashlib.sha256(iso.read_bytes()).hexdigest()
    assert after["id"] == before["id"]
    assert [phase["at"] for phase in after["phases"][:known]] == [
        phase["at"] for phase in before["phases"]
    ]
    assert [phase["phase"] for phase in after["phases"]] == [
        *("created", "stub_started", "script_served", "fetching", "fetched", "handed_off")
    ]
    assert after["sent_bytes"] >= before["sent_bytes"] + len(body)
