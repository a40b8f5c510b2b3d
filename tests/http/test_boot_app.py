"""The boot plane over HTTP, with a real library, real ledger and real sockets."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

from bootserver.config import Config
from bootserver.model import BootPhase
from bootserver.stub.spec import stub_spec
from tests.conftest import STAND_INS
from tests.fixtures.boots import Boots, running_boots
from tests.fixtures.isos import make_iso


@pytest.fixture
async def boots(config: Config) -> AsyncIterator[Boots]:
    make_iso(config.images.path / "rescue.iso", bios=True)
    async with running_boots(config) as boots:
        yield boots


def session_key(script: str) -> str:
    [line] = [line for line in script.splitlines() if line.startswith("initrd")]
    return line.split("/b/")[1].split("/")[0]


async def test_a_whole_boot_leaves_its_phases_in_the_ledger(boots: Boots):
    script = await boots.script(await boots.token())
    key = session_key(script)
    async with boots.http.get(f"{boots.url}/b/{key}/image.iso") as answer:
        body = await answer.read()
    await boots.status(f"/b/{key}/phase/handoff")

    assert body == boots.iso.read_bytes()
    assert answer.headers["ETag"] == f'"{hashlib.sha256(body).hexdigest()}"'
    assert answer.headers["Content-Length"] == str(len(body))
    assert await boots.phases() == [
        BootPhase.CREATED,
        BootPhase.STUB_STARTED,
        BootPhase.SCRIPT_SERVED,
        BootPhase.FETCHING,
        BootPhase.FETCHED,
        BootPhase.HANDED_OFF,
    ]
    [session] = await boots.store.recent(10)
    assert session.machine.mac == "52:54:00:12:34:56"
    assert session.sent_bytes == session.image_bytes == len(body)


async def test_the_script_loads_memdisk_and_the_image_relative_to_itself(boots: Boots):
    script = await boots.script(await boots.token())

    assert script.startswith("#!ipxe\n")
    assert "\nkernel /nbp/memdisk iso raw || goto retry\n" in script
    assert f"\ninitrd --name image.iso /b/{session_key(script)}/image.iso || goto retry\n" in script


async def test_the_beacon_is_the_last_fetch_and_is_freed_before_the_boot(boots: Boots):
    lines = (await boots.script(await boots.token())).splitlines()

    beacon = next(i for i, line in enumerate(lines) if "phase/handoff" in line)
    assert "imgfree beacon" in lines[beacon]
    assert lines[beacon + 1].startswith("boot")
    assert lines[beacon - 1].startswith("initrd")


async def test_a_system_calls_home_by_a_stub_of_its_image_whichever_has_booted_it(boots: Boots):
    key = session_key(await boots.script(await boots.token(""), picked="rescue"))
    await boots.status(f"/b/{key}/phase/handoff")
    own, other = [
        await boots.stubs.issue(stub_spec(boots.config, name)) for name in ("rescue", "other")
    ]
    place = urlsplit(own.up_url).path

    assert await boots.status(place.replace(own.token, other.token)) == 404
    assert await boots.status(f"/b/{own.token}/phase/handoff") == 404
    assert BootPhase.OS_UP not in await boots.phases()
    assert await boots.status(place) == 200
    assert (await boots.phases())[-1] is BootPhase.OS_UP


async def test_every_label_that_a_script_goes_to_exists(boots: Boots):
    token = await boots.token()
    for script in (await boots.script(token), await boots.script(token, platform="efi")):
        words = script.split()
        labels = {line[1:] for line in script.splitlines() if line.startswith(":")}
        targets = {after for word, after in pairwise(words) if word == "goto"}
        assert targets <= labels


async def test_a_fetch_that_fails_again_and_again_asks_for_the_script_anew(boots: Boots):
    script = await boots.script(await boots.token())

    assert script.rstrip().endswith("chain --replace boot.ipxe || goto fetch")


async def test_a_side_car_chooses_memdisks_arguments(boots: Boots):
    boots.iso.with_suffix(".toml").write_text('memdisk = "iso safeint"\n')
    await boots.library.scan()

    assert "kernel /nbp/memdisk iso safeint ||" in await boots.script(await boots.token())


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"dimms": "1000......."}, "needs 65 MiB of memory"),
        ({"platform": "efi"}, "has no EFI boot file"),
        ({"platform": "efi", "buildarch": "i386"}, "32-bit UEFI (IA32)"),
    ],
)
async def test_what_cannot_boot_is_refused_in_a_script(
    boots: Boots, query: dict[str, Any], words: str
):
    script = await boots.script(await boots.token(), **query)

    assert words in " ".join(script.replace("\necho bootserver:", "").split())
    assert "initrd" not in script
    assert await boots.phases() == [BootPhase.CREATED, BootPhase.STUB_STARTED]
    [session] = await boots.store.recent(10)
    assert words in session.error


async def test_a_uefi_machine_gets_our_ram_disk_with_the_digest(boots: Boots):
    make_iso(boots.config.images.path / "both.iso", bios=True, uefi=True)
    await boots.library.scan()
    await boots.library.settled()

    script = await boots.script(await boots.token("both"), platform="efi", buildarch="x86_64")

    [line] = [line for line in script.splitlines() if line.startswith("imgexec")]
    assert "/nbp/ramdisk.efi url=/b/" in line
    assert f"sha256={boots.library.get('both').sha256} " in line
    assert "/phase/handoff" in line
    assert "memdisk" not in script


async def test_an_image_without_a_bios_entry_is_refused_in_a_script(boots: Boots):
    make_iso(boots.config.images.path / "data.iso", bios=False)
    await boots.library.scan()
    await boots.library.settled()

    assert "has no boot entry for BIOS machines" in await boots.script(await boots.token("data"))


async def test_a_missing_image_is_said_on_the_screen(boots: Boots):
    boots.iso.unlink()
    await boots.library.scan()

    script = await boots.script(await boots.token())

    assert "there is no image 'rescue' in the library" in script
    assert "chain --replace boot.ipxe" in script


async def test_an_unknown_token_is_a_script_for_scripts_and_404_for_bytes(boots: Boots):
    assert "this stub is not known to this server" in await boots.script("0" * 32)
    for path in ("image.iso", "stub.iso", "phase/handoff"):
        assert await boots.status(f"/b/{'0' * 32}/{path}") == 404


async def test_only_the_tokens_own_image_is_reachable(boots: Boots):
    token = await boots.token()
    for path in (
        f"/b/{token}/../../images/rescue.iso",
        f"/b/{token}/%2e%2e/%2e%2e/config.toml",
        f"/b/{token}%2fimage.iso",
        f"/b/{token}/other.iso",
        f"/b/{token}/image.iso/..%2f..%2fconfig.toml",
        "/nbp/..%2fMANIFEST.toml",
        "/nbp/%2e%2e%2f%2e%2e%2fconfig.toml",
        "/nbp/isolinux.bin",
        "/images/rescue.iso",
        "/",
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(boots.url.split(":")[2]))
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        status = (await reader.read()).split(b" ")[1]
        writer.close()

        assert status == b"404", path


async def test_nothing_can_be_written(boots: Boots):
    token = await boots.token()
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert await boots.status(f"/b/{token}/image.iso", method) == 405


async def test_a_look_is_no_boot(boots: Boots):
    token = await boots.token()
    for path in ("boot.ipxe", "image.iso", "stub.iso"):
        assert await boots.status(f"/b/{token}/{path}", "HEAD") == 200
    assert await boots.status(f"/b/{token}/image.iso") == 200  # curl, without a script

    await boots.ledger.flush()
    assert await boots.store.recent(10) == []


async def test_loaders_are_public_and_have_ranges(boots: Boots):
    headers = {"Range": "bytes=0-6"}
    async with boots.http.get(f"{boots.url}/nbp/memdisk", headers=headers) as answer:
        assert answer.status == 206
        assert await answer.read() == STAND_INS["memdisk"][:7]


async def test_a_missing_loader_is_a_sentence_that_mends_it(boots: Boots):
    (boots.config.stub.build / "memdisk").unlink()

    async with boots.http.get(f"{boots.url}/nbp/memdisk") as answer:
        assert answer.status == 404
        assert "run: make setup" in await answer.text()


async def test_the_stub_is_served_as_it_is_built(boots: Boots):
    token = await boots.token()
    async with boots.http.get(f"{boots.url}/b/{token}/stub.iso") as answer:
        stub = await answer.read()

    assert stub[32769:32774] == b"CD001"
    assert token.encode() in stub
    assert answer.headers["ETag"] == f'"{hashlib.sha256(stub).hexdigest()}"'


async def test_a_stub_that_cannot_be_kept_is_a_sentence_and_a_log_line(boots: Boots):
    (boots.config.state.path / "shelf").touch()

    with capture_logs() as logs:
        async with boots.http.get(f"{boots.url}/b/{await boots.token()}/stub.iso") as answer:
            text = await answer.text()

    assert answer.status == 503
    assert text.startswith("the server cannot keep its stub: ")
    assert str(boots.config.state.path) not in text
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["stub.not_kept"]


async def test_a_file_that_cannot_be_served_is_no_failure_of_the_server(
    boots: Boots, tmp_path: Path
):
    (tmp_path / "vmlinuz").write_bytes(bytes(100_000))
    iso = boots.config.images.path / "packed.iso"
    subprocess.run(
        [
            *("xorriso", "-outdev", iso, "-map", tmp_path / "vmlinuz", "/vmlinuz"),
            *("-zisofs", "level=9", "-set_filter_r", "--zisofs", "/", "--", "-commit"),
        ],
        check=True,
        capture_output=True,
    )
    await boots.look_again()

    async with boots.http.get(
        f"{boots.url}/b/{await boots.token('packed')}/tree/vmlinuz"
    ) as answer:
        assert answer.status == 422
        assert "compressed by zisofs" in await answer.text()


async def test_an_image_that_has_just_changed_is_not_served_with_the_old_etag(boots: Boots):
    token = await boots.token()
    data = bytearray(boots.iso.read_bytes())
    data[-1] ^= 1
    boots.iso.write_bytes(data)

    assert await boots.status(f"/b/{token}/image.iso") == 503

    await boots.library.scan()
    await boots.library.settled()
    async with boots.http.get(f"{boots.url}/b/{token}/image.iso") as answer:
        assert answer.headers["ETag"] == f'"{hashlib.sha256(data).hexdigest()}"'
        assert await answer.read() == data


async def test_an_image_replaced_by_rename_ends_with_its_old_bytes(boots: Boots):
    old = boots.iso.read_bytes() + os.urandom(32 << 20)
    boots.iso.write_bytes(old)
    await boots.library.scan()
    await boots.library.settled()
    token = await boots.token()
    async with boots.http.get(f"{boots.url}/b/{token}/image.iso") as answer:
        head = await answer.content.readexactly(1000)
        new = boots.iso.with_suffix(".new")
        new.write_bytes(bytes(len(old)))
        new.rename(boots.iso)
        body = head + await answer.content.read()

    assert body == old


async def test_a_client_that_leaves_is_an_event_and_the_boot_goes_on(boots: Boots):
    boots.iso.write_bytes(boots.iso.read_bytes() + bytes(64 << 20))
    await boots.library.scan()
    await boots.library.settled()
    key = session_key(await boots.script(await boots.token()))
    with capture_logs() as logs:
        async with boots.http.get(f"{boots.url}/b/{key}/image.iso") as answer:
            await answer.content.readexactly(100_000)
            answer.close()
        async with asyncio.timeout(30):
            while not any(line["event"] == "boot.hindered" for line in logs):
                await asyncio.sleep(0.01)
        broken = boots.ledger.find(key, "")
        async with boots.http.get(f"{boots.url}/b/{key}/image.iso") as answer:
            await answer.read()

    assert broken.error.startswith("the download broke off after")
    assert broken.phase is BootPhase.FETCHING
    assert boots.ledger.find(key, "").phase is BootPhase.FETCHED
    assert boots.ledger.find(key, "").error == ""
    assert not any(line["log_level"] in ("error", "critical") for line in logs)


async def test_an_unforeseen_error_is_a_500_and_one_log_line(
    boots: Boots, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(boots.stubs, "find", lambda token: 1 / 0)
    with capture_logs() as logs:
        status = await boots.status(f"/b/{'0' * 32}/image.iso")

    assert status == 500
    assert [line["event"] for line in logs] == ["http.failed"]


async def test_no_token_is_in_the_log(boots: Boots):
    token = await boots.token()
    with capture_logs() as logs:
        key = session_key(await boots.script(token))
        await boots.status(f"/b/{key}/image.iso")
        await boots.status(f"/b/{key}/phase/handoff")
        await boots.script(token, platform="efi")

    assert logs
    assert not any(secret in str(logs) for secret in (token, key))
