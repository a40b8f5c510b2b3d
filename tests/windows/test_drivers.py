"""The library of drivers: what is found in folders and archives, and what is refused."""

import struct
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bootserver.pci import PciId
from bootserver.windows.drivers import DriverLibrary, NoDriverError
from bootserver.windows.target import WindowsTarget
from bootserver.windows.unpack import DriverError, unpack
from tests.fixtures.drivers import driver_files, write_folder, zipped

WINDOWS_10 = WindowsTarget.parse("10.0.19041", "amd64")
DEVICE = PciId.parse("8086:15bc")


def cab(path: Path, content: dict[str, bytes], *, size_bytes: int | None = None) -> Path:
    """A cabinet with stored files ([MS-CAB]); `size_bytes` is a size that it lies about."""
    data = b"".join(content.values())
    assert len(data) < 32768  # one block
    entries, offset = b"", 0
    for name, part in content.items():
        size = len(part) if size_bytes is None else size_bytes
        entries += struct.pack("<IIHHHH", size, offset, 0, 0x5021, 0, 0x20) + name.encode() + b"\0"
        offset += len(part)
    blocks = 36 + 8 + len(entries)
    whole = struct.pack(
        "<4sIIIIIBBHHHHH",
        b"MSCF",
        0,
        blocks + 8 + len(data),
        0,
        44,
        0,
        3,
        1,
        1,
        len(content),
        0,
        0,
        0,
    )
    whole += struct.pack("<IHH", blocks, 1, 0) + entries
    path.write_bytes(whole + struct.pack("<IHH", 0, len(data), len(data)) + data)
    return path


@pytest.fixture
def library(tmp_path: Path) -> DriverLibrary:
    return DriverLibrary(tmp_path / "drivers", tmp_path / "state")


@pytest.mark.parametrize("kind", ["folder", "zip", "cab"])
def test_driver_is_found_with_its_catalog(tmp_path, library, kind):
    make = {"folder": write_folder, "zip": zipped, "cab": cab}[kind]
    name = library.add(make(tmp_path / f"nic.{kind}", driver_files()))

    found = library.find(DEVICE, WINDOWS_10)

    assert found.name == name
    assert {Path(file).name: Path(file).read_bytes() for file in found.files} == driver_files()
    library.remove(name)
    assert library.packages() == []
    assert not list(tmp_path.glob("state/unpacked/*"))


def test_newer_of_two_equal_drivers_is_found(tmp_path, library):
    library.add(write_folder(tmp_path / "new", driver_files(date="02/01/2021")))
    library.add(write_folder(tmp_path / "old", driver_files()))

    assert library.find(DEVICE, WINDOWS_10).name == "new"


def test_driver_of_another_architecture_is_refused_in_words(tmp_path, library):
    library.add(write_folder(tmp_path / "arm", driver_files(arch="arm64")))

    with pytest.raises(NoDriverError, match=r"^nic\.inf is for arm64, and not for amd64$"):
        library.find(DEVICE, WINDOWS_10)


def test_inf_file_is_read_again_only_after_it_has_changed(tmp_path, library, monkeypatch):
    folder = tmp_path / "drivers" / library.add(write_folder(tmp_path / "nic", driver_files()))
    library.packages()
    read: list[str] = []
    monkeypatch.setattr("bootserver.windows.drivers._read", read.append)
    library.packages()
    assert read == []
    monkeypatch.undo()

    (folder / "nic.inf").write_bytes(driver_files(arch="x86")["nic.inf"])

    assert library.packages()[0].architectures == ("x86",)


def test_file_that_is_missing_is_named(tmp_path, library):
    library.add(write_folder(tmp_path / "nic", {"nic.inf": driver_files()["nic.inf"]}))

    with pytest.raises(DriverError, match=r"NIC\.CAT is missing"):
        library.find(DEVICE, WINDOWS_10)


def test_two_that_look_at_once_unpack_an_archive_once(tmp_path, library, monkeypatch):
    (tmp_path / "drivers").mkdir()
    zipped(tmp_path / "drivers" / "nic.zip", driver_files())
    unpacked: list[Path] = []

    def slowly(archive: Path, folder: Path) -> None:
        unpacked.append(archive)
        time.sleep(0.1)
        unpack(archive, folder)

    monkeypatch.setattr("bootserver.windows.drivers.unpack", slowly)
    with ThreadPoolExecutor() as threads:
        [one, other] = threads.map(lambda look: look(), [library.packages] * 2)

    assert one == other
    assert [package.problem for package in one] == [""]
    assert len(unpacked) == 1


def test_bombs_are_refused_and_leave_nothing(tmp_path, library):
    bombs = [
        cab(tmp_path / "bomb.cab", {f"{n}.inf": b"" for n in range(5)}, size_bytes=0x7FFF0000),
        zipped(tmp_path / "many.zip", {f"{n}.inf": b"" for n in range(20_001)}),
    ]

    for bomb in bombs:
        with pytest.raises(DriverError, match="would unpack to"):
            library.add(bomb)

    assert not list((tmp_path / "drivers").iterdir())
    assert not list((tmp_path / "state").glob("unpacked/*"))


CLIMBING = ["../nic.inf", "a/../../nic.inf", "/nic.inf", "C:\\nic.inf"]


@pytest.mark.parametrize("name", CLIMBING)
def test_names_that_climb_out_of_a_zip_are_refused(tmp_path, library, name):
    with pytest.raises(DriverError, match="outside"):
        library.add(zipped(tmp_path / "a.zip", {name: b"x"}))


@pytest.mark.parametrize("name", CLIMBING)
def test_names_that_climb_out_of_a_cab_write_nothing_outside(tmp_path, library, name):
    with pytest.raises(DriverError):
        library.add(cab(tmp_path / "a.cab", {name: b"x"}))

    outside = [path for path in tmp_path.rglob("*.inf") if "unpacked" not in path.parts]
    assert outside == []


@pytest.mark.parametrize("suffix", ["zip", "cab"])
def test_damaged_archive_is_refused(tmp_path, library, suffix):
    archive = tmp_path / f"a.{suffix}"
    archive.write_bytes(b"rubbish")

    with pytest.raises(DriverError, match="unpack"):
        library.add(archive)


def test_missing_cabextract_is_named_with_its_package(tmp_path, library, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(DriverError, match="apt-get install cabextract"):
        library.add(cab(tmp_path / "nic.cab", driver_files()))


def test_path_that_is_not_utf_8_is_a_problem_of_that_driver_alone(tmp_path, library):
    write_folder(tmp_path / "drivers" / "nic", driver_files())
    odd = write_folder(tmp_path / "drivers" / "caf\udce9", driver_files())

    [bad, good] = library.packages()

    assert (bad.name, bad.problem) == ("caf\ufffd", "its path is not UTF-8: rename it")
    assert library.find(DEVICE, WINDOWS_10).path == good.path
    assert odd.name not in good.path
