"""The command line as a user types it: real processes, real loaders."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from bootserver.database import open_database
from bootserver.model import Architecture, Firmware, Machine
from bootserver.sessions.ledger import Ledger
from bootserver.sessions.store import SessionStore
from bootserver.stub.loaders import LOADERS
from tests.fixtures.isos import make_iso
from tests.fixtures.packaged import MEMTEST, packaged
from tests.fixtures.secure_boot import make_key_pair
from tests.fixtures.server import Site

pytestmark = pytest.mark.slow

TOKEN = re.compile(r"[0-9a-f]{32}")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path / "site")
    make_iso(site.path / "images" / "rescue.iso", bios=True, volume_id="RESCUE_1")
    return site


async def test_a_stub_built_twice_is_the_same_stub(site: Site):
    one = await site.query("stub", "build", "rescue", "-o", "one.iso")
    two = await site.query("stub", "build", "rescue", "-o", "two.iso")

    assert (site.path / "one.iso").read_bytes() == (site.path / "two.iso").read_bytes()
    assert one["digest"] == two["digest"]
    assert one["sha256"] == two["sha256"]
    assert one["size_bytes"] == (site.path / "one.iso").stat().st_size
    assert one["image"] == "rescue"
    assert TOKEN.fullmatch(one["token"])
    assert one["urls"]["script"].endswith(f"/b/{one['token']}/boot.ipxe")
    for url in one["urls"].values():
        path = url.removeprefix("http://").partition("/")[2]
        assert not set("?&:") & set(path)


async def test_a_stub_for_bios_machines_alone_is_under_a_megabyte(tmp_path: Path):
    site = Site(tmp_path / "bios", stub='architectures = ["bios"]\n')
    make_iso(site.path / "images" / "rescue.iso", bios=True)

    assert (await site.query("stub", "build", "rescue"))["size_bytes"] <= 1_000_000


async def test_a_stub_says_what_it_costs_over_redirection(site: Site):
    text = await site.command("stub", "build", "rescue")

    assert (site.path / "rescue.stub.iso").exists()
    for firmware in ("BIOS", "UEFI"):
        line = rf"over redirection {firmware} reads [0-9,]+ bytes: [0-9.]+ s at 150 kB/s, "
        assert re.search(line + r"[0-9.]+ s at 1.5 MB/s", text)
    assert re.search(r"digest +[0-9a-f]{64}", text)


async def test_a_stub_can_be_looked_into(site: Site):
    await site.command("stub", "build", "rescue", "--server", "http://192.0.2.7:81/")

    shown = await site.query("stub", "show", "rescue.stub.iso")

    assert shown["image"] == "rescue"
    assert shown["servers"][0] == "http://192.0.2.7:81"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["stub", "build", "rescu"], "did you mean rescue?"),
        (["stub", "build", "rescue", "-o", "none/x.iso"], "cannot be written"),
        (["stub", "build", "rescue", "--static-ip", "10.0.0.1"], "write 10.0.0.1/24"),
        (["images", "show", "none"], "there is no image 'none'"),
        (["images", "add", "none.iso"], "none.iso"),
        (["boots", "show", "abc"], "run: bootserver boots list"),
        (["stub", "show", "config.toml"], "is not an ISO"),
    ],
)
async def test_bad_input_is_a_sentence_and_what_to_do(site: Site, arguments: list[str], words: str):
    errors = await site.command(*arguments, expect=1)

    assert words in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    "command", [["stub", "build", "menu"], ["machines", "set", "52:54:00:12:34:56", "--image=menu"]]
)
async def test_an_entry_that_the_disc_does_not_have_is_refused_with_those_it_has(
    site: Site, command: list[str]
):
    files = {"boot/grub/grub.cfg": b"menuentry Live { linux /k }\nmenuentry Disk { exit }\n"}
    make_iso(site.path / "images" / "menu.iso", {**files, "k": b"kernel"}, bios=True)

    errors = await site.command(*command, "--entry", "#3", expect=1)
    await site.command(*command, "--entry", "#1")

    assert "menu has no entry “#3” in /boot/grub/grub.cfg" in errors
    assert "its entries: #1 Live, #2 Disk" in errors


async def test_an_entry_needs_an_image(site: Site):
    errors = await site.command("stub", "build", "--entry", "#1", expect=1)

    assert "an entry is of one image" in errors


@pytest.mark.parametrize(
    "arguments",
    [
        ["stub", "build", "rescue", "--mac", "zz"],
        ["stub", "build", "rescue", "--entry", "a\nb"],
        ["stub", "build", "rescue", "--server", "192.0.2.1"],
        ["stub", "build", "rescue", "--server", "http://192.0.2.1/a?b"],
    ],
)
async def test_wrong_options_are_usage_errors(site: Site, arguments: list[str]):
    assert "Invalid value for" in await site.command(*arguments, expect=2)


async def test_images_are_listed_with_their_digests(site: Site):
    (site.path / "images" / "text.iso").write_text("no ISO at all")

    rescue, text = await site.query("images", "list")

    assert (rescue["id"], rescue["title"], rescue["firmware"]) == ("rescue", "RESCUE_1", ["bios"])
    assert re.fullmatch(r"[0-9a-f]{64}", rescue["sha256"])
    assert "is not an ISO" in text["problem"]


async def test_what_is_no_image_is_listed_with_what_to_do(site: Site):
    (site.path / "images" / "debian.iso.xz").touch()

    text = await site.command("images", "list")

    assert "No image: debian.iso.xz is compressed: run bootserver images add " in text


async def test_an_image_is_added_shown_and_removed(site: Site):
    make_iso(site.path / "new.iso", bios=True)

    added = await site.query("images", "add", "new.iso", "--name", "tools/fresh")
    shown = await site.query("images", "show", "tools/fresh")
    stub = await site.query("stub", "build", "tools/fresh")
    await site.command("images", "remove", "tools/fresh")

    assert added["sha256"] == shown["sha256"]
    assert stub["file"] == "fresh.stub.iso"
    assert shown["boot_entries"][0].startswith("platform 0x00, no emulation")
    assert [image["id"] for image in await site.query("images", "list")] == ["rescue"]


async def test_a_side_car_that_is_another_images_too_stays(site: Site):
    images = site.path / "images"
    (images / "rescue.img").touch()
    os.utime(images / "rescue.img", (0, 0))  # else it may still be written
    (images / "rescue.toml").write_text('title = "Rescue"')

    await site.command("images", "remove", "rescue")

    assert sorted(path.name for path in images.iterdir()) == ["rescue.iso", "rescue.toml"]


async def test_a_wrong_digest_adds_nothing(site: Site):
    make_iso(site.path / "new.iso", bios=True)

    errors = await site.command("images", "add", "new.iso", "--sha256", "0" * 64, expect=1)

    assert "0" * 64 in errors
    assert not (site.path / "images" / "new.iso").exists()


async def test_the_configuration_in_force_is_printed(site: Site):
    values = await site.query("config")

    assert values["server"]["boot_port"] == site.boot_port
    assert values["images"]["path"] == str(site.path / "images")


async def test_doctor_says_what_mends_a_missing_loader(tmp_path: Path):
    site = Site(tmp_path / "site", loaders="nothing-here")

    errors = json.loads(await site.command("doctor", "--json", expect=1, stream="output"))

    assert len(errors["problems"]) == sum(a is not Architecture.ARM64 for a, _ in LOADERS.values())
    assert all("run: make setup" in problem for problem in errors["problems"])


async def test_doctor_says_what_machines_must_trust_over_https(tmp_path: Path):
    pair = make_key_pair(tmp_path, "site")
    own = f'[server.tls]\ncertificate = "{pair.certificate}"\nkey = "{pair.key}"\n'
    off = await Site(tmp_path / "off").query("doctor")
    ours = await Site(tmp_path / "ours", https_port=8443).query("doctor")
    site = Site(tmp_path / "theirs", https_port=8443, extra=own)
    theirs = json.loads(await site.command("doctor", "--json", expect=1, stream="output"))

    assert "off" in off["https"]
    assert f"a CA will be made in {tmp_path}/ours/var/ca" in ours["https"]
    assert f"must trust the root in {pair.certificate}, SHA-256 " in theirs["https"]
    [problem] = theirs["problems"]
    assert "is not for 10.0.2.2, which machines call" in problem


async def test_nothing_booted_yet_is_said(site: Site):
    assert "No boots yet" in await site.command("boots", "list")
    assert await site.query("boots", "list") == []


async def test_config_may_stand_before_or_after_the_command(site: Site, tmp_path: Path):
    other = tmp_path / "other.toml"
    other.write_text("[server]\nboot_port = 1234\n")

    before = json.loads(await site.command("--config", str(other), "config", "--json"))
    after = json.loads(await site.command("config", "--config", str(other), "--json"))

    assert before["server"]["boot_port"] == after["server"]["boot_port"] == 1234


async def test_an_image_is_explained_before_it_boots(site: Site):
    (site.path / "images" / "new.iso").write_bytes(packaged(MEMTEST).read_bytes())  # just copied
    explanation = await site.query("images", "explain", "new")
    text = await site.command("images", "explain", "new")

    assert explanation["recipe"] == "memtest86+"
    assert explanation["bios"]["method"] == "memdisk"
    assert explanation["uefi"]["method"] == "chain"
    assert explanation["ram_bytes"] >= packaged(MEMTEST).stat().st_size
    assert any("MT86PLUS" in reason for reason in explanation["reasons"])
    assert "BIOS: iPXE loads the whole image (6.2 MB) into memory" in text
    assert "UEFI: iPXE starts the program /efi/boot/bootx64.efi from the disc" in text


async def test_an_explanation_for_a_machine_that_was_never_here_says_so(site: Site):
    image = site.add(packaged(MEMTEST))
    errors = await site.command(
        "images", "explain", image, "--client", "52:54:00:00:00:99", expect=1
    )

    assert "no machine 52:54:00:00:00:99 has booted from here" in errors
    assert "bootserver machines list" in errors


@pytest.mark.parametrize("client", ["52-54-00-12-34-56", "00112233-4455-6677-8899-AABBCCDDEEFF"])
async def test_an_explanation_for_a_known_machine_has_its_firmware_and_memory(
    site: Site, client: str
):
    (site.path / "var").mkdir()
    async with open_database(f"sqlite+aiosqlite:///{site.path}/var/bootserver.db") as engine:
        ledger = Ledger(SessionStore(engine), expire_after=timedelta(days=1))
        machine = Machine(
            mac="52:54:00:12:34:56",
            uuid="00112233-4455-6677-8899-aabbccddeeff",
            firmware=Firmware.BIOS,
            memory_mib=32,
        )
        ledger.start("0" * 32, "rescue", machine, "192.0.2.7")
        await ledger.flush()

    told = await site.query("images", "explain", "rescue", "--client", client)

    assert told["machine"]["method"] == ""
    assert "this machine has 32" in told["machine"]["refusal"]
    assert told["bios"]["method"] == "memdisk"  # with memory enough


async def test_an_explanation_is_for_a_machine_by_mac_or_uuid_only(site: Site):
    errors = await site.command("images", "explain", "rescue", "--client", "serial=S1", expect=2)

    assert "give a MAC address or a UUID" in errors


async def test_a_stub_without_an_image_is_one_with_a_menu(site: Site):
    built = await site.query("stub", "build", "-o", str(site.path / "menu.iso"))

    assert built["image"] == built["urls"]["image"] == built["urls"]["tree"] == ""
    assert built["urls"]["script"].endswith("/boot.ipxe")


async def test_a_stub_tells_where_the_files_of_its_image_are(site: Site):
    built = await site.query("stub", "build", site.add(packaged(MEMTEST)))

    assert built["urls"]["tree"].endswith(f"/b/{built['token']}/tree/")


def test_no_command_waits_for_libraries_that_another_needs():
    heavy = ("aiohttp", "cryptography", "jinja2", "pycdlib", "pyte", "rich.console", "sqlalchemy")
    program = f"import sys, bootserver.cli; print([m for m in {heavy} if m in sys.modules])"

    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    ).stdout

    assert output == "[]\n"
