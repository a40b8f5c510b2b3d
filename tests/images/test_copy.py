"""Copying a local file: in the kernel where it can, by reading and writing where it cannot."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from bootserver.images import copy as copy_module
from bootserver.images.add import add_image
from tests.images.files import names


async def test_local_file_is_copied_under_its_name(
    directory: Path, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "Rescue 1.ISO").write_bytes(content)
    steps: list[tuple[int, int | None]] = []

    path = await add_image(
        str(tmp_path / "Rescue 1.ISO"), directory, progress=lambda *step: steps.append(step)
    )

    assert path == directory / "Rescue 1.iso"
    assert path.read_bytes() == content
    assert names(directory) == ["Rescue 1.iso"]
    assert steps[-1] == (len(content), len(content))


async def test_copy_works_where_the_kernel_does_not_copy(
    directory: Path, tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> int:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "copy_file_range", refuse)
    (tmp_path / "a.iso").write_bytes(content)

    assert (await add_image(str(tmp_path / "a.iso"), directory)).read_bytes() == content


async def test_cancelled_copy_leaves_nothing(
    directory: Path, tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copy_module, "KERNEL_COPY_BYTES", 65_536)
    (tmp_path / "a.iso").write_bytes(content)
    task: asyncio.Task[Path] | None = None

    def cancel(done_bytes: int, total_bytes: int | None) -> None:
        assert task is not None
        task.cancel()

    task = asyncio.create_task(add_image(str(tmp_path / "a.iso"), directory, progress=cancel))
    with pytest.raises(asyncio.CancelledError):
        await task

    assert names(directory) == []
