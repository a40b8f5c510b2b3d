"""New images of discs of Windows PE, judged by wimlib, 7-Zip and xorriso."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from bootserver.images.iso import inspect_iso
from bootserver.images.optimize import optimize
from bootserver.model import FileVersion, Image
from bootserver.pci import PciId
from bootserver.windows.changes import OptimizeReport, WinPeWishes
from bootserver.windows.drivers import DriverLibrary
from bootserver.windows.startup import START, STARTNET, WINPESHL
from tests.fixtures.drivers import write_folder
from tests.fixtures.winpe import (
    FOREIGN,
    PLAIN,
    WIFI,
    FakeDriver,
    WinPeSpec,
    in_wim,
    wim_from_disc,
    wim_hashes,
    wimlib,
    winpe_disc,
    winpe_wim,
)

NEW = FakeDriver("e1r68x64", "Intel", ("PCI\\VEN_8086&DEV_1533",), size_bytes=40_000)
REALTEK = FakeDriver("rt25cx21x64", "Realtek", ("PCI\\VEN_10EC&DEV_8125",))
SPECS = {
    "ISO 9660": WinPeSpec(shape="iso9660", extra_disc_bytes=5000, integrity=True),
    "Joliet": WinPeSpec(shape="joliet", extra_disc_bytes=5000, compression="XPRESS"),
    "bridge": WinPeSpec(extra_disc_bytes=5000, images=2, integrity=True),
    "UDF": WinPeSpec(shape="udf", extra_disc_bytes=5000, winpeshl=True),
}
INJECT = WinPeWishes(nics=(PciId(0x8086, 0x1533),))
TRIM = WinPeWishes(drop_foreign_nics=True, drop_wifi=True)
BOTH = replace(INJECT, drop_foreign_nics=True, drop_wifi=True)
GONE = {f"{driver.name}." for driver in (*FOREIGN, *WIFI)}


class Site:
    """A library of images, one of drivers, and a state directory."""

    def __init__(self, root: Path, spec: WinPeSpec = PLAIN) -> None:
        self.images, self.state = root / "images", root / "state"
        self.images.mkdir(parents=True)
        for driver in (NEW, REALTEK):
            write_folder(root / "drivers" / driver.name, driver.files("amd64"))
        self.drivers = DriverLibrary(root / "drivers", self.state / "drivers")
        (self.images / "pe.iso").hardlink_to(winpe_disc(spec))

    def image(self, name: str = "pe") -> Image:
        path = self.images / f"{name}.iso"
        return Image(name, str(path), FileVersion.of(path.stat()), sha256="ab" * 32)

    async def optimize(
        self, wishes: WinPeWishes, source: str = "pe", name: str = "new"
    ) -> OptimizeReport:
        return await optimize(
            self.image(source),
            wishes,
            self.drivers,
            directory=self.images,
            state=self.state,
            name=name,
        )

    @property
    def new(self) -> Path:
        return self.images / "new.iso"

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
    spec: WinPeSpec, wishes: WinPeWishes, tmp_path: Path
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
