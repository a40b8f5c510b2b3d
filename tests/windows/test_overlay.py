"""Discs with drivers put in, judged by 7-Zip and wimlib; nothing is copied."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from bootserver.files.layout import Layout
from bootserver.files.open_version import open_version
from bootserver.images.iso import inspect_iso
from bootserver.model import ByteRange, Content
from bootserver.pci import PciId
from bootserver.windows import overlay
from bootserver.windows.drivers import DriverLibrary, FoundDriver
from bootserver.windows.inspect import inspect_winpe
from bootserver.windows.overlay import with_drivers
from bootserver.windows.startup import START, STARTNET, WINPESHL
from bootserver.windows.target import WindowsTarget
from bootserver.windows.unpack import DriverError
from tests.fixtures.winpe import (
    STARTNET as OWN_STARTNET,
)
from tests.fixtures.winpe import (
    FakeDriver,
    WinPeSpec,
    disc_content,
    in_wim,
    make_winpe,
    wim_from_disc,
    wim_hashes,
    wimlib,
    winpe_disc,
    winpe_wim,
)

WINDOWS = WindowsTarget.parse("10.0.22621", "amd64")
NEW = FakeDriver("e1r68x64", "Intel", ("PCI\\VEN_8086&DEV_1533",), size_bytes=400_000)
OTHER = FakeDriver("rt25cx21x64", "Realtek", ("PCI\\VEN_10EC&DEV_8125",))
SPECS = {
    "ISO 9660": WinPeSpec(shape="iso9660", extra_disc_bytes=5000, integrity=True),
    "Joliet": WinPeSpec(shape="joliet", extra_disc_bytes=5000, compression="XPRESS"),
    "bridge": WinPeSpec(extra_disc_bytes=5000, images=2),
    "UDF": WinPeSpec(shape="udf", extra_disc_bytes=5000, winpeshl=True),
}


def drivers_for(tmp_path: Path, *drivers: FakeDriver) -> Sequence[FoundDriver]:
    """What the library has for the first card of each."""
    for driver in drivers:
        folder = tmp_path / "drivers" / driver.name
        folder.mkdir(parents=True)
        for name, data in driver.files("amd64").items():
            (folder / name).write_bytes(data)
    library = DriverLibrary(tmp_path / "drivers", tmp_path / "state")
    return [library.find(PciId.parse(driver.ids[0]), WINDOWS) for driver in drivers]


def prepared(disc: Content, drivers: Sequence[FoundDriver]) -> Layout:
    return with_drivers(disc, drivers).layout


def written(disc: Content, layout: Layout, path: Path) -> Path:
    with open_version(disc, layout) as file:
        path.write_bytes(file.read(ByteRange(0, file.size_bytes)))
    return path


@pytest.mark.interop
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_drivers_are_put_in_and_all_else_stays(spec: WinPeSpec, tmp_path: Path):
    disc, index = winpe_disc(spec), spec.images
    content = disc_content(disc)

    layout = prepared(content, drivers_for(tmp_path, NEW, OTHER))

    own_bytes = sum(len(piece) for piece in layout.pieces if isinstance(piece, bytes))
    new = written(content, layout, tmp_path / "new.iso")
    assert own_bytes < 1_000_000 < disc.stat().st_size
    wim = wim_from_disc(new, tmp_path)
    wimlib("verify", wim)
    before, after = wim_hashes(winpe_wim(spec), index), wim_hashes(wim, index)
    changed = WINPESHL if spec.winpeshl or spec.images == 2 else STARTNET
    added = {
        f"/bootserver/drivers/{number}/{name}": data
        for number, driver in enumerate((NEW, OTHER), 1)
        for name, data in driver.files("amd64").items()
    }
    differing = {path for path, sha1 in after.items() if sha1 != before.get(path, "")}
    assert differing == {*added, START, changed}
    assert before.keys() <= after.keys()
    assert all(in_wim(wim, path, index) == data for path, data in added.items())
    facts, old_facts = inspect_iso(new), inspect_iso(disc)
    assert [entry.load_sectors for entry in facts.el_torito] == [
        entry.load_sectors for entry in old_facts.el_torito
    ]
    assert facts.missing_bytes == 0
    files, old_files = disc_files(new, tmp_path / "n"), disc_files(disc, tmp_path / "o")
    assert files.keys() == old_files.keys()
    assert {name for name in files if files[name] != old_files[name]} == {"sources/boot.wim"}
    found = inspect_winpe(disc_content(new))
    assert (found.index, found.windows) == (index, str(WINDOWS))
    put_in = [driver for driver in found.drivers if driver.path.startswith("/bootserver")]
    assert [driver.pci_ids for driver in put_in] == [("8086:1533",), ("10ec:8125",)]
    assert put_in[0].packed_bytes > 400_000
    assert not put_in[1].dropped_by


def disc_files(disc: Path, work: Path) -> dict[str, bytes]:
    """All files of the disc, as 7-Zip reads them."""
    command = ("7z", "x", "-y", f"-o{work}", str(disc))
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return {
        str(path.relative_to(work)).lower(): path.read_bytes()
        for path in work.rglob("*")
        if path.is_file() and "[BOOT]" not in path.parts
    }


def test_the_own_start_of_the_image_is_kept(tmp_path: Path):
    disc = disc_content(winpe_disc())

    layout = prepared(disc, drivers_for(tmp_path, NEW))

    wim = wim_from_disc(written(disc, layout, tmp_path / "new.iso"), tmp_path)
    startnet = in_wim(wim, STARTNET)
    assert startnet.endswith(OWN_STARTNET)
    assert startnet != OWN_STARTNET
    assert b"drvload" in in_wim(wim, START)


def test_equal_drivers_give_the_same_disc_with_the_same_tag(tmp_path: Path):
    disc, drivers = disc_content(winpe_disc()), drivers_for(tmp_path, NEW, OTHER)
    first, again = (prepared(disc, drivers) for _ in range(2))
    twice = prepared(disc, [*drivers, drivers[0]])
    other = prepared(disc, drivers[:1])

    assert first.etag(disc) == again.etag(disc)
    assert first == again == twice
    assert other.etag(disc) != first.etag(disc)


def test_a_disc_with_drivers_takes_more_of_them(tmp_path: Path):
    disc, drivers = disc_content(winpe_disc()), drivers_for(tmp_path, NEW, OTHER)
    once = written(disc, prepared(disc, drivers[:1]), tmp_path / "once.iso")

    twice = prepared(disc_content(once), drivers)

    wim = wim_from_disc(written(disc_content(once), twice, tmp_path / "twice.iso"), tmp_path)
    wimlib("verify", wim)
    assert (
        in_wim(wim, "/bootserver/drivers/2/rt25cx21x64.sys")
        == OTHER.files("amd64")["rt25cx21x64.sys"]
    )
    assert in_wim(wim, STARTNET).count(b"bootserver") == 1


def test_too_many_drivers_and_lost_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    disc, drivers = disc_content(winpe_disc()), drivers_for(tmp_path, NEW)
    monkeypatch.setattr(overlay, "LIMIT_BYTES", 300_000)
    with pytest.raises(DriverError, match=r"the drivers have 0\.4 MB; the limit is 0\.3 MB"):
        prepared(disc, drivers)
    (tmp_path / "drivers" / NEW.name / f"{NEW.name}.sys").unlink()
    with pytest.raises(DriverError, match=r"e1r68x64\.sys cannot be read: No such file"):
        prepared(disc, drivers)


def test_the_disc_itself_is_not_touched(tmp_path: Path):
    disc = make_winpe(tmp_path / "pe.iso")
    before, status = disc.read_bytes(), disc.stat()
    disc.chmod(0o444)

    prepared(disc_content(disc), drivers_for(tmp_path, NEW))

    assert disc.read_bytes() == before
    assert disc.stat().st_mtime_ns == status.st_mtime_ns
