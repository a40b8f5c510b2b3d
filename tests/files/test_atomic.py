"""Small files: whole or not at all, and nothing of them is left behind."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bootserver.config import Config
from bootserver.errors import BootServerError
from bootserver.files.atomic import create_once, sweep_leftovers, write_atomically
from bootserver.images.settings import change_settings, settings_of
from bootserver.model import StubFormat
from bootserver.stub.registry import IssuedStub
from bootserver.stub.site import plan_for_site
from bootserver.stub.spec import stub_spec
from bootserver.stub.write import write_stub

LIMIT_BYTES = 50
LARGE = b"x" * 60 * LIMIT_BYTES


@contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    """No file of this process grows beyond that: writing more fails with EFBIG."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def write_anew(directory: Path, config: Config) -> None:
    write_atomically(directory / "file", LARGE, shared=False)


def write_first(directory: Path, config: Config) -> None:
    create_once(directory / "file", LARGE)


def write_a_stub(directory: Path, config: Config) -> None:
    plan = plan_for_site(config, IssuedStub("ab" * 16, stub_spec(config, "rescue")))
    write_stub(plan, directory / "stub.iso")


def write_settings(directory: Path, config: Config) -> None:
    image = directory / "rescue.iso"
    values = dict.fromkeys(("title", "memdisk", "recipe"), "") | {"arguments": LARGE.decode()}
    change_settings(image, values, settings_of(image)[1])


def write_packed(directory: Path, config: Config) -> None:
    stub = IssuedStub("ab" * 16, stub_spec(config, "rescue"))
    plan_for_site(config, stub, StubFormat.ISO)  # a cache that fails is no failure
    raise OSError


@pytest.mark.parametrize(
    "write", [write_anew, write_first, write_a_stub, write_settings, write_packed]
)
def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path, config: Config, write):
    directory = tmp_path / "here"
    directory.mkdir()

    with largest_file(LIMIT_BYTES), pytest.raises((OSError, BootServerError)):
        write(directory, config)

    assert list(directory.iterdir()) == []
    assert list((config.state.path / "packed").glob("*")) == []


def test_a_file_is_forced_to_the_disk_with_its_name(tmp_path: Path, monkeypatch):
    forced: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda fd: forced.append(Path(f"/dev/fd/{fd}").readlink()))

    write_atomically(tmp_path / "file", b"data")

    written, directory = forced
    assert written.parent == directory == tmp_path


@pytest.mark.parametrize("mask", [0, 0o022, 0o777])
def test_a_file_is_its_owners_only_whatever_the_umask(tmp_path: Path, mask: int):
    with umask(mask):
        write_atomically(tmp_path / "put", b"data")
        create_once(tmp_path / "once", b"data")

    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"put": 0o600, "once": 0o600}


def test_a_shared_file_is_as_the_umask_says(tmp_path: Path):
    with umask(0o027):
        write_atomically(tmp_path / "file", b"data", shared=True)

    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_the_longest_name_can_be_written(tmp_path: Path):
    write_atomically(tmp_path / ("n" * 255), b"data")

    assert [len(path.name) for path in tmp_path.iterdir()] == [255]


# A writer that stops in the middle, which says so.
WRITER = textwrap.dedent("""
    import os, sys, time
    from pathlib import Path
    from bootserver.files.atomic import write_atomically

    def stop(fd):
        print("writing", flush=True)
        time.sleep(600)

    os.fsync = stop
    write_atomically(Path(sys.argv[1]) / "file", b"data")
""")


def test_what_a_killed_writer_left_is_swept_and_what_is_being_written_is_not(tmp_path: Path):
    (tmp_path / ".mine.bootserver").write_bytes(b"")
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        try:
            assert writer.stdout
            writer.stdout.readline()
            swept = sweep_leftovers(tmp_path.iterdir())
            [left] = set(tmp_path.iterdir()) - {tmp_path / ".mine.bootserver"}
        finally:
            writer.kill()

    assert swept == []
    assert sweep_leftovers(tmp_path.iterdir()) == [left]
    assert list(tmp_path.iterdir()) == [tmp_path / ".mine.bootserver"]
