"""A planned stub as bytes."""

import os
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bootserver.errors import StubError
from bootserver.model import Architecture
from bootserver.stub.plan import StubPlan, plan_stub
from bootserver.stub.read import read_stub
from bootserver.stub.spec import StubSpec
from bootserver.stub.write import master, shelve, write_stub
from tests.conftest import STAND_INS


def plan(image: str = "memtest") -> StubPlan:
    spec = StubSpec(image, ("http://192.0.2.1:8080",), 69)
    return plan_stub(spec, "ab" * 16, STAND_INS.__getitem__)


def test_equal_plans_give_equal_bytes_on_any_day_in_any_time_zone(monkeypatch: pytest.MonkeyPatch):
    first = master(plan())

    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 400 * 86400)
    second = master(plan())
    monkeypatch.undo()
    time.tzset()

    assert first == second


def test_mastering_leaves_the_clock_of_the_process_alone():
    before = time.time()
    master(plan())

    import pycdlib.headervd

    assert vars(pycdlib.headervd)["time"] is time
    assert time.time() >= before


def test_the_stub_ends_on_a_cylinder():
    assert len(master(plan())) % (256 * 1024) == 0


def test_the_boot_sector_starts_isolinux_from_a_stick():
    data = master(plan())

    lba = struct.unpack_from("<Q", data, 432)[0] * 512
    status, kind, start, blocks = struct.unpack("<B3xB3xII", data[446:462])

    assert data[:432] == STAND_INS["isohdpfx.bin"]
    assert data[lba : lba + 8] == STAND_INS["isolinux.bin"][:8]
    assert data[510:512] == b"\x55\xaa"
    assert (status, kind, start, blocks) == (0x80, 0x17, 0, len(data) // 512)


def test_isolinux_gets_its_boot_info_table():
    data = master(plan())

    start = struct.unpack_from("<Q", data, 432)[0] * 512
    volume, lba, size_bytes = struct.unpack_from("<III", data, start + 8)

    assert (volume, lba, size_bytes) == (16, start // 2048, len(STAND_INS["isolinux.bin"]))


def test_a_stub_is_written_whole_or_not_at_all(tmp_path: Path):
    target = tmp_path / "none" / "stub.iso"

    with pytest.raises(StubError, match="cannot be written"):
        write_stub(plan(), target)

    assert list(tmp_path.iterdir()) == []


def test_the_shelf_keeps_those_that_were_asked_for_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("bootserver.stub.write.SHELF_STUBS", 2)
    old = shelve(plan("one"), tmp_path)
    os.utime(old, (1, 1))

    kept = [shelve(plan("two"), tmp_path), shelve(plan("three"), tmp_path)]

    assert sorted(tmp_path.iterdir()) == sorted(kept)


def test_a_stub_that_was_just_asked_for_stays_however_full_the_shelf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("bootserver.stub.write.SHELF_STUBS", 2)
    plans = [plan(f"image-{number}") for number in range(20)]

    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda one: shelve(one, tmp_path), [*plans, *plans]))

    assert {path: path.read_bytes() for path in paths} == {
        path: master(one) for path, one in zip(paths, plans, strict=False)
    }


def test_a_stub_that_many_ask_for_at_once_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    made: list[StubPlan] = []

    def counted(wanted: StubPlan) -> bytes:
        made.append(wanted)
        return master(wanted)

    monkeypatch.setattr("bootserver.stub.write.master", counted)
    with ThreadPoolExecutor(8) as pool:
        inodes = {path.stat().st_ino for path in pool.map(shelve, [plan()] * 8, [tmp_path] * 8)}

    assert (len(made), len(inodes)) == (1, 1)


def test_a_stub_on_the_shelf_is_not_written_again(tmp_path: Path):
    path = shelve(plan(), tmp_path)
    before = path.stat().st_ino

    assert shelve(plan(), tmp_path).stat().st_ino == before


def test_a_stub_can_be_read_back(tmp_path: Path):
    write_stub(plan("memtest86+x64"), tmp_path / "stub.iso")

    facts = read_stub(tmp_path / "stub.iso")

    assert facts["image"] == "memtest86+x64"
    assert (facts["bios"], facts["uefi"]) == (True, "none")
    assert facts["servers"] == ["http://192.0.2.1:8080", "tftp://192.0.2.1"]
    assert facts["files"]["IPXE.KRN"] == len(STAND_INS["ipxe.lkrn"])


@pytest.mark.parametrize(("packed", "kind"), [(True, "packed"), (False, "plain")])
def test_a_stub_tells_which_ipxe_it_has(tmp_path: Path, packed: bool, kind: str):
    both = (Architecture.BIOS, Architecture.X64)
    spec = StubSpec("memtest", ("http://192.0.2.1:8080",), architectures=both, pack=packed)
    write_stub(plan_stub(spec, "ab" * 16, STAND_INS.__getitem__), tmp_path / "stub.iso")

    assert read_stub(tmp_path / "stub.iso")["uefi"] == kind


@pytest.mark.parametrize("architecture", Architecture)
def test_a_stub_for_one_architecture_has_no_others(tmp_path: Path, architecture: Architecture):
    spec = StubSpec("memtest", ("http://192.0.2.1:8080",), architectures=(architecture,))
    write_stub(plan_stub(spec, "ab" * 16, STAND_INS.__getitem__), tmp_path / "stub.iso")

    facts = read_stub(tmp_path / "stub.iso")

    assert facts["image"] == "memtest"
    assert facts["bios"] == (architecture is Architecture.BIOS)
    assert (facts["uefi"] != "none") == (architecture is not Architecture.BIOS)


def test_reading_something_else_is_one_sentence(tmp_path: Path):
    (tmp_path / "text.iso").write_text("no ISO")

    with pytest.raises(StubError, match="is not an ISO"):
        read_stub(tmp_path / "text.iso")
