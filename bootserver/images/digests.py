"""SHA-256 of image files, and the table that keeps what is known about each version of a file."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter
from sqlalchemy import delete, insert, select

from bootserver.database import DatabaseEngine
from bootserver.errors import ImageNotReadyError
from bootserver.files.open_version import open_regular, unreadable
from bootserver.images.iso import INSPECTION_REVISION
from bootserver.model import FileVersion, IsoFacts
from bootserver.schema import DIGESTS

CHUNK_BYTES = 1024**2
_FACTS = TypeAdapter(IsoFacts)


@dataclass(frozen=True, slots=True)
class Finding:
    """What reading a file has told. `sha256` is "" where a problem made hashing pointless."""

    sha256: str
    facts: IsoFacts | None
    problem: str = ""


def hash_file(
    path: Path,
    *,
    progress: Callable[[int], None] = lambda done_bytes: None,
    cancelled: threading.Event | None = None,
) -> tuple[str, FileVersion]:
    """The file's SHA-256 and the version it belongs to; blocks, so run it in a thread.

    Raises ImageNotReadyError if the file changed meanwhile or `cancelled` was set. Raises
    ImageError (caused by an OSError) if it cannot be read. What `progress` raises ends it too.
    """
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(CHUNK_BYTES))
    done_bytes = 0
    try:
        with open_regular(path) as file:
            before = FileVersion.of(os.fstat(file.fileno()))
            while count := os.readv(file.fileno(), [buffer]):
                digest.update(buffer[:count])
                done_bytes += count
                progress(done_bytes)
                if cancelled is not None and cancelled.is_set():
                    raise ImageNotReadyError(f"reading {path.name} was cancelled")
            after = FileVersion.of(os.fstat(file.fileno()))
    except OSError as err:
        raise unreadable(path.name, err) from err
    if after != before or done_bytes != before.size_bytes:
        raise ImageNotReadyError(
            f"{path.name} changed while it was read", hint="wait until it is copied"
        )
    return digest.hexdigest(), before


async def find(engine: DatabaseEngine, path: Path, version: FileVersion) -> Finding | None:
    """What is known of exactly this version of the file, None if nothing is.

    If another release of the inspection found the facts, only the digest is still good. `facts` is
    None then, and `problem` empty.
    """
    query = select(DIGESTS).where(
        DIGESTS.c.path == str(path),
        DIGESTS.c.size_bytes == version.size_bytes,
        DIGESTS.c.mtime_ns == version.mtime_ns,
        DIGESTS.c.inode == _signed(version.inode),
    )
    async with engine.connect() as connection:
        row = (await connection.execute(query)).one_or_none()
    if row is None:
        return None
    if row.inspection != INSPECTION_REVISION:
        return Finding(row.sha256, None)
    facts = _FACTS.validate_python(row.facts) if row.facts else None
    return Finding(row.sha256, facts, row.problem)


async def store(engine: DatabaseEngine, path: Path, version: FileVersion, finding: Finding) -> None:
    """Keeps the finding, in place of any about another version of the file."""
    row = {
        "path": str(path),
        "size_bytes": version.size_bytes,
        "mtime_ns": version.mtime_ns,
        "inode": _signed(version.inode),
        "sha256": finding.sha256,
        "facts": _FACTS.dump_python(finding.facts, mode="json") if finding.facts else {},
        "problem": finding.problem,
        "inspection": INSPECTION_REVISION,
    }
    async with engine.begin() as connection:
        await connection.execute(delete(DIGESTS).where(DIGESTS.c.path == str(path)))
        await connection.execute(insert(DIGESTS).values(row))


def _signed(inode: int) -> int:
    """Databases hold 64 signed bits; some network file systems use the 64th."""
    return inode if inode < 2**63 else inode - 2**64
