"""Other people's programs read our stub."""

from __future__ import annotations

import re
import subprocess
from functools import partial
from pathlib import Path

import pytest

from bootserver.config import PROJECT, StubConfig
from bootserver.model import Architecture, StubFormat
from bootserver.stub.loaders import read_loader
from bootserver.stub.plan import StubPlan, plan_stub
from bootserver.stub.spec import StubSpec
from bootserver.stub.write import write_stub

pytestmark = pytest.mark.interop

SPEC = StubSpec(
    "memtest",
    ("http://192.0.2.1:8080",),
    69,
    serial="0 115200",
    architectures=(Architecture.BIOS, Architecture.X64, Architecture.ARM64),
)


@pytest.fixture(scope="module")
def plan() -> StubPlan:
    stub = StubConfig(build=PROJECT / "stub" / "build")
    return plan_stub(SPEC, "ab" * 16, partial(read_loader, stub))


@pytest.fixture(scope="module")
def stub(plan: StubPlan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stub") / "stub.iso"
    write_stub(plan, path)
    return path


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, check=True)
    return (done.stdout + done.stderr).decode()


def test_xorriso_finds_the_boot_entry_and_a_clean_isohybrid(stub: Path):
    report = run(
        "xorriso", "-indev", stub, "-report_el_torito", "plain", "-report_system_area", "plain"
    )

    assert "El Torito , MBR isohybrid cyl-align-on" in report
    assert "El Torito img path :   1  /ISOLINUX.BIN" in report
    assert "El Torito img opts :   1  boot-info-table isohybrid-suitable" in report
    assert re.search(rf"MBR partition +: +1 +0x80 +0x17 +0 +{stub.stat().st_size // 512}\n", report)
    assert "El Torito img path :   2  /EFI.IMG" in report
    assert re.search(r"El Torito boot img : +2 +UEFI +y +none", report)
    assert "MBR partition path :   2  /EFI.IMG" in report
    assert "WARNING" not in report
    assert "FAILURE" not in report


def test_xorriso_takes_out_every_file_as_it_went_in(stub: Path, plan: StubPlan, tmp_path: Path):
    run("xorriso", "-osirrox", "on", "-indev", stub, "-extract", "/", tmp_path / "out")

    for file in plan.files:
        data = (tmp_path / "out" / file.path.lstrip("/")).read_bytes()
        table = slice(8, 64) if file.path == "/ISOLINUX.BIN" else slice(0)  # boot info table
        assert data[: table.start] == file.data[: table.start]
        assert data[table.stop :] == file.data[table.stop :], file.path


def test_isoinfo_reads_the_volume_and_its_catalog(stub: Path):
    report = run("isoinfo", "-d", "-i", stub)

    assert "Volume id: BOOTSERVER" in report
    assert "Eltorito validation header:" in report
    assert "Bootid 88 (bootable)" in report
    assert "Boot media 0 (No Emulation Boot)" in report


def test_7z_finds_nothing_wrong(stub: Path):
    assert "Everything is Ok" in run("7z", "t", stub)


def test_sgdisk_finds_nothing_wrong_with_the_image_for_sticks(tmp_path: Path):
    stub = StubConfig(build=PROJECT / "stub" / "build")
    plan = plan_stub(SPEC, "ab" * 16, partial(read_loader, stub), format=StubFormat.IMG)
    path = tmp_path / "stub.img"
    write_stub(plan, path)

    verdict = run("/sbin/sgdisk", "--verify", path)
    table = run("/sbin/sgdisk", "--print", path)

    assert "No problems found." in verdict
    assert "Warning" not in verdict
    assert re.search(r"^ +1 +\d+ +\d+ .*EF00 +bootserver$", table, re.MULTILINE)


def test_the_efi_partition_is_a_clean_fat_with_our_files(
    stub: Path, plan: StubPlan, tmp_path: Path
):
    esp = tmp_path / "esp.img"
    file = plan.file("/EFI.IMG")
    assert file is not None
    esp.write_bytes(file.data)

    run("/sbin/fsck.fat", "-n", "-v", esp)
    listing = run("mdir", "-i", esp, "-/", "-b", "::").splitlines()

    assert {"::/EFI/BOOT/BOOTX64.EFI", "::/EFI/BOOT/BOOTAA64.EFI"} <= set(listing)
