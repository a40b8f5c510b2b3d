"""Records of what machines are told to boot: kept, held and dropped on a real file system."""

from __future__ import annotations

import errno
import fcntl
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bootserver.amt.armed import ArmedRecords


def test_a_record_that_cannot_be_deleted_is_a_line_and_ends_nothing(tmp_path: Path) -> None:
    with ArmedRecords(tmp_path).hold("192.0.2.20") as record, capture_logs() as logs:
        (tmp_path / "192.0.2.20").unlink()
        (tmp_path / "192.0.2.20").mkdir()  # unlink() refuses it, as on a disk that takes nothing
        record.drop()

    assert [line["event"] for line in logs] == ["amt.record_stays"]


def test_files_of_others_beside_the_records_are_no_hosts(tmp_path: Path) -> None:
    records = ArmedRecords(tmp_path)
    for host in ("192.0.2.20", "pc-7.example", "2001:db8::1"):
        with records.hold(host):
            pass
    for name in (".nfs000000000001", ".192.0.2.20.swp", "192.0.2.20~", "x" * 200):
        (tmp_path / name).touch()

    assert records.left() == ["192.0.2.20", "2001:db8::1", "pc-7.example"]


def test_where_a_file_system_has_no_locks_a_machine_is_armed_without_a_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    records = ArmedRecords(tmp_path)

    with capture_logs() as logs, records.hold("192.0.2.20") as record:
        left = records.left()
        record.drop()

    assert left == []
    assert [line["event"] for line in logs] == ["amt.not_recorded"]
