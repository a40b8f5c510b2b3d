"""WIMs on discs: what is read of them, what is refused, and how little is copied for it."""

import os
import shutil
import stat
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from bootserver.errors import ImageNotReadyError
from bootserver.files.layout import Layout
from bootserver.files.open_version import open_version
from bootserver.model import ByteRange, Content
from bootserver.windows import wim as wim_module
from bootserver.windows.target import WindowsTarget
from bootserver.windows.wim import WimError, WimlibMissingError, wim_on_disc
from tests.fixtures.isos import WINDOWS_FILES, windows_disc
from tests.fixtures.winpe import (
    INTEL,
    WinPeSpec,
    disc_content,
    in_wim,
    make_winpe,
    solid_wim,
    wim_from_disc,
    wim_hashes,
    wimlib,
    winpe_disc,
    winpe_wim,
)

PATH = "/sources/boot.wim"
INF = "/Windows/INF/e1d68x64.inf"
TWO = WinPeSpec(images=2, compression="XPRESS", integrity=True)
LARGE = WinPeSpec(ballast_bytes=11_000_000)


def with_wim(tmp_path: Path, wim: Path) -> Content:
    """A disc with that boot.wim."""
    return disc_content(make_winpe(tmp_path / "pe.iso", boot_wim=wim))


def altered(tmp_path: Path, data: bytes) -> Content:
    path = tmp_path / "altered.wim"
    path.write_bytes(data)
    return with_wim(tmp_path, path)


def read_inf_of(disc: Content) -> bytes:
    with wim_on_disc(disc, PATH) as wim:
        index = wim.info().booted.index
        [data] = wim.read(index, [file for file in wim.files(index) if file.path == INF])
        return data


@pytest.mark.interop
@pytest.mark.parametrize("shape", ["iso9660", "joliet", "bridge", "udf"])
@pytest.mark.parametrize("compression", ["LZX", "XPRESS"])
def test_a_wim_is_read_in_each_shape_of_disc(shape, compression, tmp_path: Path):
    disc = winpe_disc(WinPeSpec(shape=shape, compression=compression))
    whole = wim_from_disc(disc, tmp_path)  # as 7-Zip reads it

    with wim_on_disc(disc_content(disc), PATH) as wim:
        info = wim.info()
        files = wim.files(1)

    assert (info.compression, info.chunk_bytes, info.is_solid) == (compression, 32768, False)
    assert [(image.index, image.name) for image in info.images] == [(1, "Microsoft Windows PE")]
    assert info.booted.windows == WindowsTarget.parse("10.0.22621", "amd64")
    hashes = {path: sha1 for path, sha1 in wim_hashes(whole).items() if sha1}
    assert {file.path: file.sha1 for file in files} == hashes
    assert read_inf_of(disc_content(disc)) == in_wim(whole, INF) == INTEL.inf("amd64")


def test_the_image_that_is_booted_is_that_of_the_boot_index_else_the_last(tmp_path: Path):
    with wim_on_disc(disc_content(winpe_disc(TWO)), PATH) as wim:
        of_index = wim.info()
    unmarked = tmp_path / "unmarked.wim"
    shutil.copyfile(winpe_wim(TWO), unmarked)
    wimlib("info", unmarked, "0", "--boot")
    with wim_on_disc(with_wim(tmp_path, unmarked), PATH) as wim:
        last = wim.info()
    first = tmp_path / "first.wim"
    shutil.copyfile(winpe_wim(TWO), first)
    wimlib("info", first, "1", "--boot")
    with wim_on_disc(with_wim(tmp_path, first), PATH) as wim:
        of_first = wim.info()

    assert (of_index.boot_index, of_index.booted.index) == (2, 2)
    assert (last.boot_index, last.booted.index) == (0, 2)
    assert (of_first.boot_index, of_first.booted.index) == (1, 1)


def test_of_a_wim_on_a_disc_only_what_is_read_is_copied():
    with wim_on_disc(disc_content(winpe_disc(LARGE)), PATH) as wim:
        [inf] = [file for file in wim.files(1) if file.path == INF]
        wim.read(1, [inf])
        status = wim._path.stat()

    assert status.st_size == winpe_wim(LARGE).stat().st_size > 11_000_000
    assert status.st_blocks * 512 < 200_000


@pytest.mark.interop
def test_a_solid_wim_is_read_and_said_to_be_solid(tmp_path: Path):
    solid = solid_wim(tmp_path / "solid.wim")
    disc = with_wim(tmp_path, solid)

    with wim_on_disc(disc, PATH) as wim:
        info, files = wim.info(), wim.files(1)

    assert (info.compression, info.is_solid) == ("LZMS", True)
    assert {file.path: file.sha1 for file in files} == {
        path: sha1 for path, sha1 in wim_hashes(solid).items() if sha1
    }
    contents = {file.sha1: file.packed_bytes for file in files}
    [resource] = {file.stored for file in files if file.size_bytes}
    assert len(resource) - len(contents) <= sum(contents.values()) <= len(resource)
    assert read_inf_of(disc) == INTEL.inf("amd64")


def test_damaged_wims_are_refused_in_a_sentence(tmp_path: Path):
    whole = winpe_wim().read_bytes()
    with wim_on_disc(disc_content(winpe_disc()), PATH) as wim:
        [inf] = [file for file in wim.files(1) if file.path == INF]
    middle = (inf.stored.start + inf.stored.stop) // 2
    tree = int.from_bytes(whole[104:112], "little") + 8  # in the boot image's names
    for damage, data, sentence in (
        ("content", _flipped(whole, middle), "SHA-1|invalid compressed data"),
        ("names", _flipped(whole, tree), "SHA-1|invalid compressed data"),
        ("short", whole[:1_000_000], "boot.wim of pe.iso ends before its tables do"),
        ("header", whole[:100], "boot.wim of pe.iso is no WIM"),
        ("empty", b"", "boot.wim of pe.iso is no WIM"),
        ("other", b"hello" * 100, "boot.wim of pe.iso is no WIM"),
        ("huge", whole[:48] + b"\xff" * 7 + whole[55:], "tables of no size that there is"),
        ("no images", whole[:72] + bytes(24) + whole[96:], "boot.wim of pe.iso cannot be read"),
    ):
        with pytest.raises(WimError, match=sentence) as caught:
            read_inf_of(altered(tmp_path, data))
        assert caught.value.hint, damage


def test_a_part_of_a_split_wim_is_refused(tmp_path: Path):
    wimlib("split", winpe_wim(), tmp_path / "part.swm", "1")

    with pytest.raises(WimError, match=r"boot\.wim of pe\.iso is part 1 of 2") as caught:
        read_inf_of(with_wim(tmp_path, tmp_path / "part.swm"))

    assert "join" in caught.value.hint


def test_a_disc_without_a_wim_is_refused(tmp_path: Path):
    tree = tmp_path / "tree"
    for name, data in WINDOWS_FILES.items():
        if name != "sources/boot.wim":
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes(data)
    disc = windows_disc(tmp_path / "none.iso", tree, "bridge", "X")

    with pytest.raises(WimError, match=r"none\.iso is no disc of Windows PE: it has no /sources"):
        read_inf_of(disc_content(disc))


def test_without_wimlib_its_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(WimlibMissingError, match="wimlib-imagex is missing") as caught:
        read_inf_of(disc_content(winpe_disc()))

    assert caught.value.hint == "run: apt-get install wimtools"


def test_hostile_names_are_no_way_out_and_a_line_break_is_refused(tmp_path: Path):
    strange = '/Windows/INF/@it\'s; 100% "ä".inf'
    spec = WinPeSpec(wim_files={strange[1:]: b"quoted", "Windows/INF/*.inf": b"globbed"})
    disc = disc_content(make_winpe(tmp_path / "strange.iso", spec))
    with wim_on_disc(disc, PATH) as wim:
        files = [file for file in wim.files(1) if file.path in (strange, "/Windows/INF/*.inf")]
        contents = dict(zip((file.path for file in files), wim.read(1, files), strict=True))
    spec = WinPeSpec(wim_files={'Windows/INF/a"\nShort Name = ""\n.inf': b"broken"})
    broken = disc_content(make_winpe(tmp_path / "broken.iso", spec))

    assert contents == {strange: b"quoted", "/Windows/INF/*.inf": b"globbed"}
    with wim_on_disc(broken, PATH) as wim, pytest.raises(WimError, match="line break in its name"):
        wim.files(1)


def test_links_are_no_files(tmp_path: Path):
    tree = tmp_path / "tree"
    (tree / "real").mkdir(parents=True)
    (tree / "real" / "net.inf").write_bytes(b"real")
    (tree / "link").symlink_to("/etc")
    (tree / "link.inf").symlink_to("real/net.inf")
    wimlib("capture", tree, tmp_path / "links.wim", "--boot")

    with wim_on_disc(with_wim(tmp_path, tmp_path / "links.wim"), PATH) as wim:
        assert [file.path for file in wim.files(1)] == ["/real/net.inf"]


def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str) -> None:
    """A script in place of wimlib-imagex."""
    program = tmp_path / "bin" / "wimlib-imagex"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """wimlib-imagex as a program that never ends; the file has its process id."""
    stand_in(monkeypatch, tmp_path, f'echo $$ > "{tmp_path}/pid"\nexec sleep 3600\n')
    return tmp_path / "pid"


def test_wimlib_has_bounded_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    wait = 'while [ "$(ulimit -v)" = unlimited ]; do :; done'
    stand_in(monkeypatch, tmp_path, f"{wait}\nulimit -v >&2\nexit 1\n")

    with (
        wim_on_disc(disc_content(winpe_disc()), PATH) as wim,
        pytest.raises(WimError, match=f"cannot be read: {2 << 20}"),  # KiB
    ):
        wim.info()


def test_wimlib_is_killed_and_waited_for_when_that_is_cancelled(endless: Path):
    cancelled = threading.Event()
    disc = disc_content(winpe_disc())

    def cancel_once_it_runs():
        while not endless.exists() or not endless.read_text().strip():
            pass
        cancelled.set()

    canceller = threading.Thread(target=cancel_once_it_runs)
    canceller.start()
    with (
        wim_on_disc(disc, PATH, cancelled) as wim,
        pytest.raises(WimError, match="cannot be read: that was cancelled"),
    ):
        wim.info()
    canceller.join()

    with pytest.raises(ProcessLookupError):
        os.kill(int(endless.read_text()), 0)


def test_wimlib_has_bounded_time(endless: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(wim_module, "TIMEOUT_S", 0.2)

    with (
        wim_on_disc(disc_content(winpe_disc()), PATH) as wim,
        pytest.raises(WimError, match="wimlib-imagex has not ended within 0 seconds"),
    ):
        wim.info()


def test_too_long_lists_and_too_much_to_read_are_refused(monkeypatch: pytest.MonkeyPatch):
    with wim_on_disc(disc_content(winpe_disc()), PATH) as wim:
        files = wim.files(1)
        monkeypatch.setattr(wim_module, "READ_LIMIT_BYTES", 1000)
        with pytest.raises(WimError, match="what is to be read has"):
            wim.read(1, files)


def test_a_disc_that_changes_meanwhile_is_not_ready(tmp_path: Path):
    disc = make_winpe(tmp_path / "pe.iso")

    with ExitStack() as stack:
        wim = stack.enter_context(wim_on_disc(disc_content(disc), PATH))
        wim.info()
        with disc.open("ab") as file:
            file.write(b"more")

        with pytest.raises(ImageNotReadyError):
            stack.close()


def test_without_room_for_temporary_files_that_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))

    with pytest.raises(
        WimError, match=r"boot\.wim of .*\.iso cannot be read: No such file"
    ) as caught:
        read_inf_of(disc_content(winpe_disc()))

    assert "TMPDIR" in caught.value.hint


ADDED = {
    "/bootserver/drivers/e1d68x64/e1d68x64.inf": b"[Version]",
    '/bootserver/drivers/e1d68x64/it\'s "new".sys': b"driver" * 5000,
    "/windows/SYSTEM32/StartNet.cmd": b"wpeinit & echo changed\r\n",
}


def assembled(disc: Content, layout: Layout, path: Path) -> Path:
    with open_version(disc, layout) as file:
        path.write_bytes(file.read(ByteRange(0, file.size_bytes)))
    return path


def with_added(disc: Content, path: Path) -> Path:
    with wim_on_disc(disc, PATH) as wim:
        return assembled(disc, wim.with_files(wim.info().booted.index, ADDED), path)


@pytest.mark.interop
@pytest.mark.parametrize(
    "spec",
    [
        WinPeSpec(shape="udf"),
        TWO,
        WinPeSpec(shape="iso9660", integrity=True, ballast_bytes=11_000_000),
    ],
    ids=["one image", "two images", "integrity"],
)
def test_files_are_added_by_a_new_header_and_an_end(spec: WinPeSpec, tmp_path: Path):
    disc, index = disc_content(winpe_disc(spec)), spec.images

    wim = with_added(disc, tmp_path / "new.wim")

    old, new = winpe_wim(spec).read_bytes(), wim.read_bytes()
    assert new[208 : len(old)] == old[208:]
    assert len(new) < len(old) + 60_000
    wimlib("verify", wim)
    before, after = wim_hashes(winpe_wim(spec), index), wim_hashes(wim, index)
    replaced = "/Windows/System32/startnet.cmd"
    added = [*list(ADDED)[:2], "/Windows/System32/StartNet.cmd"]
    assert {path for path, sha1 in after.items() if sha1 != before.get(path, "")} == set(added)
    assert before.keys() - {replaced} < after.keys()
    assert replaced not in after
    for path, data in zip(added, ADDED.values(), strict=True):
        assert in_wim(wim, path, index) == data
    others = [number for number in (1, 2)[: spec.images] if number != index]
    assert all(wim_hashes(wim, n) == wim_hashes(winpe_wim(spec), n) for n in others)
    info = wimlib("info", wim).decode()
    assert f"Boot Index:     {index}" in info
    assert ("Integrity info" in info) is spec.integrity
    if spec.integrity:
        wimlib("extract", wim, str(index), added[0], "--to-stdout", "--check")


def test_equal_files_added_give_equal_bytes(tmp_path: Path):
    disc = disc_content(winpe_disc())
    first, second = (with_added(disc, tmp_path / name).read_bytes() for name in ("1.wim", "2.wim"))

    assert first == second


def test_for_adding_files_only_tables_are_copied(tmp_path: Path):
    disc = disc_content(winpe_disc(LARGE))
    with wim_on_disc(disc, PATH) as wim:
        wim.with_files(1, ADDED)
        copied_bytes = wim._path.stat().st_blocks * 512

    assert copied_bytes < 300_000


def test_nothing_is_added_to_a_wim_that_windows_would_not_start_then(tmp_path: Path):
    solid_wim(tmp_path / "solid.wim")
    wimlib(
        "export",
        winpe_wim(),
        "1",
        tmp_path / "chunk.wim",
        "--boot",
        "--chunk-size=65536",
        "--compress=LZX",
    )

    for name in ("solid.wim", "chunk.wim"):
        disc = with_wim(tmp_path, tmp_path / name)
        with (
            wim_on_disc(disc, PATH) as wim,
            pytest.raises(WimError, match="is packed as") as caught,
        ):
            wim.with_files(1, ADDED)
        assert "--compress=LZX" in caught.value.hint


def _flipped(data: bytes, offset: int) -> bytes:
    return data[:offset] + bytes([data[offset] ^ 0xFF]) + data[offset + 1 :]
