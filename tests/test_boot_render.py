"""The scripts that machines get, line by line as iPXE reads them."""

from __future__ import annotations

import shutil
import subprocess
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote

import pytest

from bootserver.boot.render import (
    TITLE_COLUMNS,
    BootScript,
    MenuChoice,
    menu_titles,
    render_hook,
    render_menu,
    render_message,
    render_open,
)
from bootserver.model import FileVersion, Image, Method, Way
from tests.fixtures.readers import hostile_names, ipxe_commands

IMAGE = Image("live", "/images/live.iso", FileVersion(1, 1, 1), title="Live ${x} && more")
BASE = "/b/KEY"

ASKED = ("what shall this machine boot?", "pick/${picked}")


def script(way: Way, **fields: Any) -> list[str]:
    text = BootScript(IMAGE, way, BASE, expected_bytes=2_000_000, **fields).render()
    assert text.startswith("#!ipxe\n")
    return text.splitlines()


def between(lines: list[str], first: str, last: str) -> list[str]:
    return lines[lines.index(first) + 1 : lines.index(last)]


def test_a_kernel_is_told_the_names_of_its_initrds_in_their_order():
    way = Way(Method.KERNEL, "/live/vmlinuz", ("/boot/amd_ucode.img", "/live/initrd.img"))
    lines = script(way, arguments="boot=live fetch=http://192.0.2.1/x quiet")

    assert between(lines, ":fetch", "boot ||") == [
        "imgfree ||",
        "kernel /b/KEY/tree/live/vmlinuz initrd=amd_ucode.img initrd=initrd.img "
        "boot=live fetch=http://192.0.2.1/x quiet || goto retry",
        "initrd --name amd_ucode.img /b/KEY/tree/boot/amd_ucode.img || goto retry",
        "initrd --name initrd.img /b/KEY/tree/live/initrd.img || goto retry",
        "imgfetch --name beacon /b/KEY/phase/handoff && imgfree beacon ||",
    ]


def test_the_whole_iso_can_go_into_the_initramfs():
    way = Way(
        Method.KERNEL, "/boot/linux26", ("/boot/initrd.img",), iso_in_initramfs="/proxmox.iso"
    )
    lines = script(way, arguments="rw")

    kernel = "kernel /b/KEY/tree/boot/linux26 initrd=initrd.img initrd=image.iso rw || goto retry"
    assert kernel in lines
    assert "initrd --name image.iso /b/KEY/image.iso /proxmox.iso || goto retry" in lines


def test_wimboot_gets_its_files_by_name_and_boot_wim_last():
    way = Way(
        Method.WIMBOOT,
        files=(("BCD", "/boot/bcd"), ("boot.sdi", "/boot/boot.sdi"), ("boot.wim", "/s/boot.wim")),
    )
    lines = script(way)

    assert [line for line in lines if line.startswith(("kernel", "initrd"))] == [
        "kernel /nbp/wimboot  || goto retry",
        "initrd --name BCD /b/KEY/tree/boot/bcd BCD || goto retry",
        "initrd --name boot.sdi /b/KEY/tree/boot/boot.sdi boot.sdi || goto retry",
        "initrd --name boot.wim /b/KEY/tree/s/boot.wim boot.wim || goto retry",
    ]


def test_one_program_is_started_with_its_arguments_after_the_beacon():
    way = Way(Method.CHAIN, "/efi/boot/bootx64.efi")
    lines = script(way, arguments="-c http://192.0.2.1/boot.cfg")

    assert between(lines, "imgfree ||", "imgexec program ||") == [
        "imgfetch --name program /b/KEY/tree/efi/boot/bootx64.efi -c http://192.0.2.1/boot.cfg "
        "|| goto retry",
        "imgfetch --name beacon /b/KEY/phase/handoff && imgfree beacon ||",
    ]


def test_memdisk_takes_a_disk_image_that_is_on_the_disc():
    lines = script(Way(Method.MEMDISK, "/boot/floppy.img"), memdisk="floppy")

    assert "kernel /nbp/memdisk floppy || goto retry" in lines
    assert "initrd --name image.iso /b/KEY/tree/boot/floppy.img || goto retry" in lines


def test_the_ram_disk_is_checked_where_the_digest_is_known():
    [known] = [x for x in script(Way(Method.RAMDISK), sha256="ab") if x.startswith("imgexec")]
    [unknown] = [x for x in script(Way(Method.RAMDISK)) if x.startswith("imgexec")]

    assert " url=/b/KEY/image.iso sha256=ab size=2000000 notify=/b/KEY/phase/handoff ||" in known
    assert " url=/b/KEY/image.iso size=2000000 notify=/b/KEY/phase/handoff ||" in unknown


@pytest.mark.parametrize("method", Method)
def test_a_title_cannot_become_a_command_and_every_method_comes_back(method: Method):
    lines = script(Way(method, program="/x"))

    assert "echo bootserver: Live $ {x} ${}&& more (2.0 MB to fetch)" in lines
    assert ":retry" in lines
    assert "isset ${who} && chain --replace boot.ipxe?${who} ||" in lines


def test_a_menu_offers_what_boots_and_gives_the_reason_for_what_does_not():
    text = render_menu(
        *ASKED,
        [MenuChoice("a%20b", "A B (12 MB)")],
        ["Other: it has || no boot entry"],
        default="a%20b",
        timeout_s=30,
    )

    assert "\nitem -- a%20b A B (12 MB)\n" in text
    assert "\nitem --gap -- Other: it has ${}|| no boot entry\n" in text
    assert "\nchoose --timeout 30000 --default a%20b picked || goto menu\n" in text
    assert "\nisset ${who} && chain --replace pick/${picked}/boot.ipxe?${who} ||\n" in text


def test_every_name_in_a_menu_is_text():
    names = [name for name in hostile_names(400) if name and name.isprintable()]
    keys = ["--help", *(quote(name, safe="") for name in names[1:])]
    text = render_menu(
        *ASKED,
        [MenuChoice(key, name) for key, name in zip(keys, names, strict=True)],
        [f"{name}: no" for name in names],
        default="--help",
        timeout_s=0,
    )

    commands = ipxe_commands(text, {"picked": "PICKED"})

    chosen = [words[1:3] for words in commands if words[:2] == ["item", "--"]]
    assert chosen == [["--", key] for key in keys]
    known = {"menu", "item", "choose", "goto", "iseq", "shell", "isset", "chain", "set", "sanboot"}
    assert {words[0] for words in commands} <= known | {"exit", "echo", "prompt"}
    gaps = [words[2:3] for words in commands if words[:2] == ["item", "--gap"]]
    assert all(after in ([], ["--"]) for after in gaps)


def titles(*images: tuple[str, str]) -> list[str]:
    version = FileVersion(1, 1, 1)
    return menu_titles([Image(key, "/x", version, title=title) for key, title in images])


def test_discs_with_one_volume_id_are_told_apart_by_their_ids():
    made = [(f"disc-{number:02}", "DVD_ROM") for number in range(24)]

    assert titles(*made, ("x", "Other")) == [*(f"DVD_ROM [{key}]" for key, _ in made), "Other"]


def test_a_title_that_the_screen_cannot_show_is_the_images_id():
    assert titles(("rescue", "\ue000\ue001")) == ["[rescue]"]
    assert titles(("\ue000", "\ue000"), ("\ue001", "\ue001")) == ["[] #1", "[] #2"]


def test_titles_that_differ_where_the_screen_cuts_them_off_are_told_apart():
    long = "Debian GNU/Linux 13.1.0 live for amd64 with firmware, desktop and "
    first, second = titles(("a", long + "GNOME"), ("b", long + "KDE Plasma"))

    assert first != second
    assert first.endswith("desktop and GNOME")
    assert len(first) <= TITLE_COLUMNS
    same = titles(("a" * 240 + "1", long), ("a" * 240 + "2", long))
    assert [len(title) <= TITLE_COLUMNS for title in same] == [True, True]
    assert same[0] != same[1]


def test_letters_beyond_ascii_are_transliterated_in_whatever_form_they_come():
    composed, decomposed = titles(("a", "Système Müller"), ("b", "Syste\u0300me Mu\u0308ller"))

    assert composed == "Systeme Muller [a]"
    assert decomposed == "Systeme Muller [b]"
    assert titles(("c", "Диск восстановления")) == ["Disk vosstanovleniya"]


def test_a_default_that_does_not_boot_here_is_the_machines_own_disk():
    text = render_menu(*ASKED, [], ["Other: no"], default="other", timeout_s=0)

    assert "\nchoose --default / picked || goto menu\n" in text
    assert "No image of the library boots on this machine." in text


def test_a_machine_without_a_stub_is_sent_on_over_http_first():
    text = render_open("TOKEN", "http://192.0.2.1:8080")

    chains = [line for line in text.splitlines() if line.startswith("chain")]
    assert chains == [
        "chain --autofree http://192.0.2.1:8080/b/TOKEN/boot.ipxe?${who} ||",
        "chain --autofree /b/TOKEN/boot.ipxe ||",
    ]
    assert "\nset who mac=${${nic}/mac:hexhyp}&uuid=${uuid}&serial.hex=" in text
    assert text.index("set nic netX") < text.index("set who")


def test_a_message_is_broken_to_fit_the_screen():
    lines = render_message(["word " * 40], retry_s=5).splitlines()

    shown = [line.removeprefix("echo ") for line in lines if line.startswith("echo b")]
    assert len(shown) > 2
    assert all(len(line) < 80 for line in shown)


def test_a_live_system_calls_home_by_whatever_it_has():
    path, script = render_hook("live-boot", "http://192.0.2.1:8080/b/KEY/phase/up")

    assert path == "usr/lib/live/boot/0000-bootserver.sh"
    assert "\ncurl -fso /dev/null http://192.0.2.1:8080/b/KEY/phase/up && exit\n" in script
    assert script.endswith(" read -r line <&3' 192.0.2.1 8080 /b/KEY/phase/up\nUP\n)\n")


@pytest.mark.parametrize("make", ["live-boot", "dracut"])
def test_the_script_in_the_initramfs_leaves_a_unit_in_run_and_nothing_in_the_shell(
    tmp_path: Path, make: str
):
    _, script = render_hook(make, "http://192.0.2.1:8080/b/KEY/phase/up")
    run = tmp_path / "run"
    sourced = f"set -eu\n{script.replace('/run/', f'{run}/')}\nset\n"

    # By those programs alone that every initramfs has; dracut sources it in each of its stages.
    bare = tmp_path / "bin"
    bare.mkdir()
    for program in ("mkdir", "ln"):
        (bare / program).symlink_to(shutil.which(program))
    for _ in range(2):
        said = subprocess.run(
            [shutil.which("sh"), "-c", sourced],
            env={"PATH": str(bare)},
            capture_output=True,
            text=True,
            check=True,
        )

    unit = run / "systemd" / "system" / "multi-user.target.wants" / "bootserver-up.service"
    assert "ExecStart=/bin/sh " in unit.read_text()
    assert (run / "bootserver-up.sh").read_text() == script.partition("<<'UP'\n")[2].partition(
        "UP\n"
    )[0]
    assert "line=" not in said.stdout


def test_no_address_of_a_server_is_a_command_of_the_system(tmp_path: Path):
    url = "http://h:8080/b/K'; echo PWNED; ' $(echo PWNED) \\"
    _, script = render_hook("live-boot", url)
    call = script.partition("<<'UP'\n")[2].partition("UP\n")[0]
    show = (
        'curl() { printf \'%s\\n\' "$@"; false; }; wget() { curl "$@"; }; bash() { curl "$@"; }\n'
    )

    said = subprocess.run(["sh", "-c", show + call], capture_output=True, text=True, check=False)

    lines = said.stdout.splitlines()
    assert lines[2] == lines[5] == url
    assert lines[-3:] == ["h", "8080", url.removeprefix("http://h:8080")]


def test_the_call_home_reaches_a_server_also_without_curl_and_wget(tmp_path: Path):
    asked = []

    class Server(BaseHTTPRequestHandler):
        raw_requestline: bytes

        def do_GET(self):
            asked.append((self.path, self.raw_requestline[-2:]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Server) as server:
        Thread(target=server.handle_request, daemon=True).start()
        _, script = render_hook("live-boot", f"http://127.0.0.1:{server.server_port}/b/K/phase/up")
        bare = tmp_path / "bin"
        bare.mkdir()
        for program in ("bash", "sh"):
            (bare / program).symlink_to(shutil.which(program))
        call = script.partition("<<'UP'\n")[2].partition("UP\n")[0]
        subprocess.run(["sh", "-c", call], env={"PATH": str(bare)}, timeout=30, check=True)

    assert asked == [("/b/K/phase/up", b"\r\n")]  # aiohttp insists on it
