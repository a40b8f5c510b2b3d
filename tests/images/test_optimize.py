"""New images of discs of Windows PE, judged by wimlib, 7-Zip and xorriso."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bootserver.errors import ImageError, ImageNotReadyError
from bootserver.files.locks import lock
from bootserver.images.iso import inspect_iso
from bootserver.images.optimize import write
from bootserver.images.optimize.wishes import OptimizeWishes, parse_addition
from bootserver.images.optimize.write import optimize, preview, sweep_workshop
from bootserver.pci import PciId
from bootserver.windows.drivers import NoDriverError
from bootserver.windows.inspect import BOOT_WIM, inspect_winpe
from bootserver.windows.startup import START, STARTNET, WINPESHL
from bootserver.windows.wim import Wim, WimError, wim_on_disc
from tests.fixtures.drivers import write_folder
from tests.fixtures.isos import make_iso
from tests.fixtures.winpe import (
    FOREIGN,
    INTEL,
    PLAIN,
    WIFI,
    FakeDriver,
    WinPeSpec,
    disc_content,
    in_wim,
    make_winpe,
    solid_wim,
    store_folder,
    wim_from_disc,
    wim_hashes,
    wimlib,
    winpe_disc,
    winpe_wim,
)
from tests.fixtures.workplace import Workplace

NEW = FakeDriver("e1r68x64", "Intel", ("PCI\\VEN_8086&DEV_1533",), size_bytes=40_000)
REALTEK = FakeDriver("rt25cx21x64", "Realtek", ("PCI\\VEN_10EC&DEV_8125",))
SPECS = {
    "ISO 9660": WinPeSpec(shape="iso9660", extra_disc_bytes=5000, integrity=True),
    "Joliet": WinPeSpec(shape="joliet", extra_disc_bytes=5000, compression="XPRESS"),
    "bridge": WinPeSpec(extra_disc_bytes=5000, images=2, integrity=True),
    "UDF": WinPeSpec(shape="udf", extra_disc_bytes=5000, winpeshl=True),
}
INJECT = OptimizeWishes(nics=(PciId(0x8086, 0x1533),))
TRIM = OptimizeWishes(drop_foreign_nics=True, drop_wifi=True)
BOTH = replace(INJECT, drop_foreign_nics=True, drop_wifi=True)
GONE = {f"{driver.name}." for driver in (*FOREIGN, *WIFI)}


class Site(Workplace):
    """A library with one disc of Windows PE, and two drivers."""

    source = "pe"

    def __init__(self, root: Path, spec: WinPeSpec = PLAIN, disc: Path | None = None) -> None:
        super().__init__(root)
        for driver in (NEW, REALTEK):
            write_folder(root / "drivers" / driver.name, driver.files("amd64"))
        (self.images / "pe.iso").hardlink_to(disc or winpe_disc(spec))

    @property
    def new(self) -> Path:
        return self.images / "new.iso"

    @property
    def left(self) -> list[str]:
        """What is left of temporary files."""
        return sorted(path.name for path in (self.state / "optimize").iterdir())

    @property
    def names(self) -> list[str]:
        return sorted(path.name for path in self.images.iterdir())


def disc_hashes(disc: Path, work: Path) -> dict[str, bytes]:
    """All files of the disc, as 7-Zip reads them."""
    subprocess.run(("7z", "x", "-y", f"-o{work}", disc), check=True, capture_output=True)
    return {
        str(path.relative_to(work)).lower(): path.read_bytes()
        for path in work.rglob("*")
        if path.is_file() and "[BOOT]" not in path.parts
    }


def boot_entries(disc: Path) -> list[str]:
    """The El Torito entries as xorriso lists them, without their sectors."""
    command = ("xorriso", "-indev", disc, "-report_el_torito", "plain")
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [
        " ".join(line.split()[:-1])
        for line in done.stdout.splitlines()
        if line.startswith("El Torito boot img")
    ]


@pytest.mark.interop
@pytest.mark.parametrize("wishes", [INJECT, TRIM, BOTH], ids=["inject", "trim", "both"])
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
async def test_what_was_wanted_is_different_and_all_else_stays(
    spec: WinPeSpec, wishes: OptimizeWishes, tmp_path: Path
):
    site = Site(tmp_path, spec)

    report = await site.optimize(wishes)

    assert (report.image, report.result) == ("pe", "new")
    assert report.size_bytes == site.new.stat().st_size
    assert report.saved_bytes == winpe_disc(spec).stat().st_size - report.size_bytes
    wim, index = wim_from_disc(site.new, tmp_path), spec.images
    wimlib("verify", wim)
    info = wimlib("info", wim).decode()
    assert ("Integrity info" in info) == spec.integrity
    assert f"Boot Index:     {index}" in info
    before, after = wim_hashes(winpe_wim(spec), index), wim_hashes(wim, index)
    before = {path: sha1 for path, sha1 in before.items() if sha1}
    after = {path: sha1 for path, sha1 in after.items() if sha1}
    changed = WINPESHL if spec.winpeshl or spec.images == 2 else STARTNET
    added = {f"/bootserver/drivers/1/{name}": d for name, d in NEW.files("amd64").items()}
    inserted = {*added, START, changed} if wishes.nics else set()
    dropped = {path for path in before if any(f"/{name}" in path.lower() for name in GONE)}
    dropped = dropped if wishes.drop_wifi else set()
    assert {path for path in after if after[path] != before.get(path)} == inserted
    assert before.keys() - after.keys() == dropped
    assert {file.path for file in report.added} == inserted
    assert {file.path for file in report.removed} == dropped
    assert all(in_wim(wim, path, index) == added[path] for path in inserted & added.keys())
    for other in range(1, index):
        assert wim_hashes(wim, other) == wim_hashes(winpe_wim(spec), other)
    facts, old_facts = inspect_iso(site.new), inspect_iso(winpe_disc(spec))
    assert facts.missing_bytes == 0
    assert [e.load_sectors for e in facts.el_torito] == [
        e.load_sectors for e in old_facts.el_torito
    ]
    assert boot_entries(site.new) == boot_entries(winpe_disc(spec))
    files, old = (
        disc_hashes(site.new, tmp_path / "n"),
        disc_hashes(winpe_disc(spec), tmp_path / "o"),
    )
    assert files.keys() == old.keys()
    assert {name for name in files if files[name] != old[name]} == {"sources/boot.wim"}
    again = await site.optimize(wishes, source="new", name="again")
    assert again.result == ""
    assert (again.added, again.removed) == ((), ())
    assert site.names == ["new.iso", "pe.iso"]


async def test_a_preview_tells_the_same_and_writes_nothing(tmp_path: Path):
    site = Site(tmp_path)

    planned = await preview(site.image(), BOTH, site.drivers, name="new.iso")

    assert site.names == ["pe.iso"]
    done = await site.optimize(BOTH)
    assert planned.size_bytes == pytest.approx(done.size_bytes, abs=20_000)
    assert (
        replace(
            planned,
            **{
                name: getattr(done, name)
                for name in (
                    *("size_bytes", "saved_bytes"),
                    *("seconds_at_100_mbit", "seconds_at_1_gbit"),
                )
            },
        )
        == done
    )


async def test_settings_of_the_original_hold_for_the_new_one_but_for_its_title(tmp_path: Path):
    site = Site(tmp_path)
    (site.images / "pe.toml").write_text('title = "Ghost"\nmemdisk = "iso"\n')

    await site.optimize(TRIM)

    assert (site.images / "new.toml").read_text() == 'memdisk = "iso"\n'


async def test_a_disc_that_cannot_be_rewritten_is_refused_beforehand(tmp_path: Path):
    disc = make_winpe(tmp_path / "pe.iso")
    with disc.open("r+b") as file:
        file.seek(446)
        file.write(b"\x80".ljust(64, b"\0") + b"\x55\xaa")
    site = Site(tmp_path, disc=disc)

    with pytest.raises(ImageError, match="has a partition table"):
        await preview(site.image(), TRIM, site.drivers)


@pytest.mark.interop
async def test_a_wim_that_is_not_packed_stays_so(tmp_path: Path):
    wim = tmp_path / "plain.wim"
    wimlib("export", winpe_wim(), "1", wim, "--boot", "--compress=none")
    site = Site(tmp_path, disc=make_winpe(tmp_path / "pe.iso", boot_wim=wim))

    await site.optimize(BOTH)

    new = wim_from_disc(site.new, tmp_path)
    wimlib("verify", new)
    assert "Compression:    None" in wimlib("info", new).decode()


async def test_equal_wishes_give_equal_bytes(tmp_path: Path):
    site = Site(tmp_path, SPECS["bridge"])
    wishes = replace(BOTH, drop_unused_images=True, lines=("a.exe",))

    await site.optimize(wishes)
    await site.optimize(wishes, name="again")

    assert site.new.read_bytes() == (site.images / "again.iso").read_bytes()


@pytest.mark.interop
async def test_images_that_are_not_booted_go(tmp_path: Path):
    site = Site(tmp_path, SPECS["bridge"])

    report = await site.optimize(OptimizeWishes(drop_unused_images=True))

    assert report.images_removed == ("Microsoft Windows PE",)
    assert report.saved_bytes > 0
    wim = wim_from_disc(site.new, tmp_path)
    wimlib("verify", wim)
    info = wimlib("info", wim).decode()
    assert "Image Count:    1" in info
    assert "Boot Index:     1" in info
    assert wim_hashes(wim, 1) == wim_hashes(winpe_wim(SPECS["bridge"]), 2)


async def test_a_disc_of_which_no_image_is_marked_keeps_the_one_that_is_booted(tmp_path: Path):
    wim = tmp_path / "unmarked.wim"
    wim.write_bytes(winpe_wim(SPECS["bridge"]).read_bytes())
    wimlib("info", wim, "0", "--boot")
    site = Site(tmp_path, disc=make_winpe(tmp_path / "pe.iso", boot_wim=wim))

    await site.optimize(replace(TRIM, drop_unused_images=True))

    found = inspect_winpe(disc_content(site.new))
    assert found.images == ("Microsoft Windows Setup",)


@pytest.mark.interop
async def test_paths_go_out_of_the_image_or_else_off_the_disc(tmp_path: Path):
    files = {"support/deep/a.txt": b"a" * 5000, "support/b.txt": b"b", "Windows/c.txt": b"c"}
    own = {"Windows/Fonts/arial.ttf": b"arial" * 999, "Windows/c.txt": b"other"}
    site = Site(tmp_path, WinPeSpec(disc_files=files, wim_files=own))

    report = await site.optimize(
        OptimizeWishes(drop_paths=("/windows/fonts", "/SUPPORT", "disc:/Windows"))
    )

    wim = wim_from_disc(site.new, tmp_path)
    assert "/Windows/Fonts/arial.ttf" not in wim_hashes(wim)
    assert in_wim(wim, "/Windows/c.txt") == b"other"
    left = disc_hashes(site.new, tmp_path / "n")
    assert not [path for path in left if path.startswith(("support", "windows"))]
    assert [(file.path, file.size_bytes) for file in report.removed[1:]] == [
        ("disc:/SUPPORT", 5001),
        ("disc:/Windows", 1),
    ]


async def test_what_is_on_the_disc_alone_goes_without_a_new_wim(tmp_path: Path):
    site = Site(tmp_path, WinPeSpec(extra_disc_bytes=50_000))

    report = await site.optimize(OptimizeWishes(drop_paths=("/support",)))

    assert report.saved_bytes >= 50_000
    new, old = wim_from_disc(site.new, tmp_path), winpe_wim(WinPeSpec(extra_disc_bytes=50_000))
    assert new.read_bytes() == old.read_bytes()


@pytest.mark.interop
async def test_files_and_folders_are_put_in_by_their_paths_in_windows(tmp_path: Path):
    site = Site(tmp_path)
    folder = write_folder(tmp_path / "vnc", {"tvnserver.exe": b"MZ", "empty.txt": b""})
    (folder / "deep er").mkdir()
    (folder / "deep er" / "it's.txt").write_bytes(b"deep")
    texts = (
        f"{folder}:X:\\tools\\vnc",
        f"{folder}/tvnserver.exe:/WINDOWS/System32/",
        f"{folder}:/",
    )

    await site.optimize(OptimizeWishes(added=tuple(map(parse_addition, texts))))

    wim = wim_from_disc(site.new, tmp_path)
    assert in_wim(wim, "/tools/vnc/deep er/it's.txt") == b"deep"
    assert in_wim(wim, "/Windows/System32/tvnserver.exe") == b"MZ"
    assert in_wim(wim, "/empty.txt") == b""
    assert in_wim(wim, STARTNET) == b"wpeinit\r\n"  # nothing is to be started


async def test_links_and_names_that_windows_does_not_know_are_refused(tmp_path: Path):
    site = Site(tmp_path)
    folder = write_folder(tmp_path / "vnc", {"a:b.txt": b""})
    with pytest.raises(ImageError, match=r"Windows knows no name such as .*a:b"):
        await site.optimize(OptimizeWishes(added=((folder, "/vnc"),)))
    (folder / "a:b.txt").unlink()
    (folder / "link").symlink_to("/etc/hostname")
    with pytest.raises(ImageError, match="is a link"):
        await site.optimize(OptimizeWishes(added=((folder, "/vnc"),)))
    assert site.names == ["pe.iso"]


async def test_all_wired_cards_of_intel_get_their_drivers(tmp_path: Path):
    site = Site(tmp_path)
    for driver in (WIFI[0], INTEL, replace(INTEL, name="older", version="01/01/2010,1.0.0.0")):
        write_folder(tmp_path / "drivers" / driver.name, driver.files("amd64"))

    report = await preview(site.image(), OptimizeWishes(vpro=True), site.drivers)

    assert report.drivers_added == ("e1d68x64.inf 12.15.31.4", "e1r68x64.inf 12.15.31.4")


async def test_a_card_that_is_wanted_keeps_the_driver_that_the_image_has(tmp_path: Path):
    site = Site(tmp_path)
    wishes = OptimizeWishes(machine=(PciId(0x10EC, 0x8168),), drop_foreign_nics=True)

    report = await preview(site.image(), wishes, site.drivers)

    assert "rt640x64.inf" not in report.drivers_removed
    assert "b57nd60a.inf" in report.drivers_removed
    assert report.notes == ("no driver in the library is for the device 10ec:8168",)


async def test_what_another_driver_has_too_stays_under_all_its_names(tmp_path: Path):
    own = f"{store_folder(FOREIGN[0])}/common.dll"
    others = (f"{store_folder(INTEL)}/common.dll", "Windows/System32/common.dll")
    site = Site(tmp_path, WinPeSpec(wim_files=dict.fromkeys((own, *others), b"common" * 999)))

    report = await preview(site.image(), TRIM, site.drivers)

    common = {file.path for file in report.removed if file.path.endswith("common.dll")}
    assert common == {f"/{own}"}


async def test_a_machine_that_no_driver_is_for_is_refused(tmp_path: Path):
    site = Site(tmp_path)
    with pytest.raises(NoDriverError, match="is for the device 1af4:1000"):
        await preview(site.image(), OptimizeWishes(machine=(PciId(0x1AF4, 0x1000),)), site.drivers)


async def test_drivers_for_an_unknown_windows_are_refused(tmp_path: Path):
    files = {"Windows/System32/ntoskrnl.exe": b"MZ no kernel"}
    site = Site(tmp_path, WinPeSpec(version_in_xml=False, wim_files=files))
    with pytest.raises(ImageError, match="which Windows the image has is not known"):
        await site.optimize(INJECT)


def damaged_wim(path: Path) -> Path:
    """One with another byte in a large file, which wimlib copies as it is packed."""
    text = " ".join(map(str, range(100_000))).encode()
    spec = WinPeSpec(wim_files={"Windows/numbers.txt": text})
    with wim_on_disc(disc_content(winpe_disc(spec)), BOOT_WIM) as wim:
        [stored] = {file.stored for file in wim.files(1) if file.path.endswith("/numbers.txt")}
    data = bytearray(winpe_wim(spec).read_bytes())
    data[stored.start + len(stored) // 2] ^= 0xFF
    path.write_bytes(data)
    return path


def split_wim(path: Path) -> Path:
    wimlib("split", winpe_wim(), path, "1")
    return path


@pytest.mark.interop
@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (damaged_wim, "boot.wim of pe.iso cannot be read"),
        (solid_wim, "boot.wim of pe.iso is packed as LZMS"),
        (split_wim, "boot.wim of pe.iso is part 1 of"),
    ],
)
async def test_a_wim_that_cannot_be_changed_is_refused_in_a_sentence(
    make, sentence, tmp_path: Path
):
    wim = make(tmp_path / "boot.swm")
    site = Site(tmp_path, disc=make_winpe(tmp_path / "pe.iso", boot_wim=wim))
    before = (site.images / "pe.iso").read_bytes()

    with pytest.raises(WimError) as caught:
        await site.optimize(INJECT)

    assert sentence in caught.value.message
    assert site.names == ["pe.iso"]
    assert site.left == ["lock"]
    assert (site.images / "pe.iso").read_bytes() == before


@contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    """No file may become larger: what a full disk does at a known place."""
    old, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (old, hard))


@pytest.mark.parametrize(
    ("room_bytes", "sentence"),
    [
        (-1000, "boot.wim of pe.iso cannot be read: File too large"),
        (20_000, "boot.wim of pe.iso cannot be read: there is no room for temporary files"),
        (250_000, "new.iso is larger than the file system of"),
    ],
    ids=["the copy of the WIM", "the new WIM", "the new image"],
)
async def test_where_there_is_no_room_that_is_said_and_nothing_left(
    room_bytes: int, sentence: str, tmp_path: Path
):
    site = Site(tmp_path)
    (tmp_path / "tool.exe").write_bytes(random.Random(0).randbytes(100_000))
    wishes = OptimizeWishes(added=((tmp_path / "tool.exe", "/tool.exe"),))

    with (
        largest_file(winpe_wim().stat().st_size + room_bytes),
        pytest.raises(ImageError) as caught,
    ):
        await site.optimize(wishes)

    assert sentence in caught.value.message
    assert site.names == ["pe.iso"]
    assert site.left == ["lock"]


async def test_an_image_with_other_files_than_planned_gets_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    site = Site(tmp_path)
    monkeypatch.setattr(write, "content_of", lambda wim: {"/other": "ab"})

    with pytest.raises(ImageError, match="other files than it should"):
        await site.optimize(TRIM)

    assert site.names == ["pe.iso"]


async def test_an_image_of_that_name_is_not_replaced(tmp_path: Path):
    site = Site(tmp_path)
    make_iso(site.new)
    before = site.new.read_bytes()

    with pytest.raises(ImageError, match=r"new\.iso already exists, with other content"):
        await site.optimize(TRIM)

    assert site.new.read_bytes() == before


async def test_an_original_that_changes_meanwhile_is_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    site = Site(tmp_path, disc=make_winpe(tmp_path / "pe.iso"))
    monkeypatch.setattr(write, "CHUNK_BYTES", 100_000)

    def progress(done_bytes: int, total_bytes: int | None) -> None:
        os.utime(site.images / "pe.iso", (1, 1))

    with pytest.raises(ImageNotReadyError):
        await optimize(
            site.image(),
            TRIM,
            site.drivers,
            directory=site.images,
            state=site.state,
            name="new",
            progress=progress,
        )

    assert site.names == ["pe.iso"]


async def test_two_wait_for_each_other_and_one_that_is_cancelled_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    site, begun, refused = Site(tmp_path), asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def noted_lock(fd: int) -> OSError | None:
        try:
            return lock(fd)
        except BlockingIOError:
            refused.set()
            raise

    def endless(wim, *args, **options):
        loop.call_soon_threadsafe(begun.set)
        wim._cancelled.wait()
        raise WimError("that was cancelled")

    monkeypatch.setattr(write, "lock", noted_lock)
    with monkeypatch.context() as patch:
        patch.setattr(Wim, "rebuilt", endless)
        first = asyncio.create_task(site.optimize(TRIM, name="first"))
        await begun.wait()
    second = asyncio.create_task(site.optimize(TRIM))
    async with asyncio.timeout(60):
        await refused.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first

    assert (await second).result == "new"
    assert site.names == ["new.iso", "pe.iso"]
    assert site.left == ["lock"]


SLOW_WIMLIB = """#!/bin/sh
[ "$1" = update ] && { : > "$BEGUN"; exec sleep 600; }
exec PROGRAM "$@"
"""


async def test_after_kill_nine_nothing_is_listed_and_the_next_one_sweeps(tmp_path: Path):
    site, begun = Site(tmp_path), tmp_path / "begun"
    stand_in = tmp_path / "bin" / "wimlib-imagex"
    stand_in.parent.mkdir()
    stand_in.write_text(SLOW_WIMLIB.replace("PROGRAM", shutil.which("wimlib-imagex") or ""))
    stand_in.chmod(0o755)
    (tmp_path / "config.toml").write_text(f'[state]\npath = "{site.state}"\n')
    words = ("--config", tmp_path / "config.toml", "images", "optimize", "pe", "--drop-wifi")
    environment = os.environ | {
        "PATH": f"{stand_in.parent}:{os.environ['PATH']}",
        "BEGUN": str(begun),
    }
    process = subprocess.Popen(
        (sys.executable, "-m", "bootserver", *words), env=environment, start_new_session=True
    )
    try:
        while not begun.exists():
            assert process.poll() is None
            await asyncio.sleep(0.05)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    assert site.names == ["pe.iso"]
    assert site.left == ["lock", "work"]
    work = site.state / "optimize" / "work"
    await site.optimize(TRIM)
    assert site.left == ["lock"]
    work.mkdir()
    sweep_workshop(site.state)
    assert site.left == ["lock"]


async def test_a_server_that_starts_leaves_alone_what_is_at_work(tmp_path: Path):
    folder = tmp_path / "optimize"
    (folder / "work").mkdir(parents=True)
    with (folder / "lock").open("wb") as file:
        lock(file.fileno())
        sweep_workshop(tmp_path)

    assert (folder / "work").is_dir()
