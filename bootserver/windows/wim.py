r"""Windows Imaging files (.wim), read by wimlib's command line: no library reads all their formats.

The header, little-endian (Windows Imaging File Format, Microsoft); a resource is three numbers of
64 bits: its size with flags in the highest byte, its offset, and its size unpacked.

| offset | size | meaning                                                |
|--------|------|--------------------------------------------------------|
| 0      | 8    | `MSWIM\0\0\0`                                          |
| 12     | 4    | version: 0x10d00, or 0xe00 with solid resources        |
| 40     | 4    | which part it is, and of how many: 16 bits each        |
| 48     | 24   | resource: the table of all resources, 50 bytes each    |
| 72     | 24   | resource: a description of the images, as XML          |
| 124    | 24   | resource: SHA-1 of each 10 MB; its size may be 0       |

A WIM on a disc is not copied to be read: 260 MB would take a second and more. wimlib is given a
sparse file of the same size instead, with the header, the tables and the trees of names at their
places, and then those files' contents that are to be read: 0.3 MB of a WIM of 260 MB.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import signal
import struct
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from bootserver.disc.volume import COPY_AGAIN, open_volume
from bootserver.errors import ImageError, ImageNotFoundError
from bootserver.files.layout import Layout
from bootserver.files.open_version import OpenFile, open_regular, open_version
from bootserver.files.programs import run_program
from bootserver.model import ByteRange, Content
from bootserver.units import megabytes
from bootserver.windows.wim_listing import WimFile, WimInfo, read_files, read_info

TIMEOUT_S = 300.0
SLOW_BYTES_PER_S = 5_000_000  # at which a WIM is copied or verified on a machine that is busy
# What one command may print: a line for each of Windows' 20,000 files and 20 more come to 20 MB.
OUTPUT_LIMIT_BYTES = 200_000_000
# Of wimlib: a tree of names may be packed a thousandfold. Solid LZMS takes some 200 MB.
MEMORY_LIMIT_BYTES = 2 << 30
TABLES_LIMIT_BYTES = 64_000_000  # of names and resources; those of Windows itself have 10 MB
READ_LIMIT_BYTES = 200_000_000  # of the files that are read at once

_HEADER_BYTES = 208
_TABLE, _XML, _INTEGRITY = 48, 72, 124  # where in the header
_RESOURCE = struct.Struct("<QQQ")
_RESOURCE_ENTRY_BYTES = 50
_METADATA, _PACKED, _SOLID = 0x02, 0x04, 0x10  # flags of a resource; metadata are a tree of names
_SOLID_MARK = 1 << 32  # the unpacked size of a solid resource; its header has the true one
_SOLID_HEADER_BYTES = 16
_CHUNK_BYTES = 1 << 20
_FULL = os.strerror(errno.ENOSPC)
_CHUNK_OF_WINDOWS = 32768  # what Windows' loader unpacks at a time
_PIECES_MIN_BYTES, _PIECES_MAX_BYTES = 4096, 128 << 20  # that wimlib takes from another's table
_ADDED_FOLDER = "added"
_ADD = f"add {_ADDED_FOLDER} /"  # a command of `wimlib-imagex update`
# All that is added has one date, 2000-01-01, so that equal files give equal bytes: as seconds, and
# as wimlib writes it into the description of an image, in units of 100 ns since 1601.
_ADDED_AT = 946_684_800
_MODIFIED = r'(<IMAGE INDEX="{}">.*?<LASTMODIFICATIONTIME>).*?(?=</LASTMODIFICATIONTIME>)'
_ADDED = "<HIGHPART>0x01BF53EB</HIGHPART><LOWPART>0x256D4000</LOWPART>"


class WimError(ImageError):
    """A WIM cannot be read."""


class WimlibMissingError(WimError):
    """wimlib is not installed."""


class Wim:
    """A WIM on a disc; all methods block, and end soon with WimError once `cancelled` is set."""

    def __init__(self, path: Path, name: str, source: OpenFile, cancelled: threading.Event) -> None:
        """The sparse file at `path` gets its content from `source`; `name` is for messages."""
        self._path = path
        self._name = name
        self._source = source
        self._cancelled = cancelled
        self.size_bytes = source.size_bytes

    def info(self) -> WimInfo:
        """What it says of itself."""
        info = read_info(self._run("info"))
        if not info.images:
            raise WimError(f"{self._name} has no image in it", hint=COPY_AGAIN)
        return info

    def files(self, image: int) -> list[WimFile]:
        """The files of an image, as it lists them; no directories, and nothing that is a link."""
        try:
            return read_files(self._run("dir", str(image), "--detailed"))
        except ValueError as err:
            raise WimError(f"{self._name} has {err}", hint="do not use it") from err

    def read(self, image: int, files: Sequence[WimFile]) -> list[bytes]:
        """The contents of some files of an image, in their order, each of its SHA-1."""
        total_bytes = sum(file.size_bytes for file in files)
        if total_bytes > READ_LIMIT_BYTES:
            raise WimError(
                f"{self._name}: what is to be read has {megabytes(total_bytes)}; the limit is "
                f"{megabytes(READ_LIMIT_BYTES)}"
            )
        if not files:
            return []
        self._fill(file.stored for file in files)
        with tempfile.TemporaryDirectory(dir=self._path.parent) as folder:
            # wimlib stays below the folder: it knows no `..`, and takes nothing below a link.
            options = ("--no-globs", "--no-acls", "--no-attributes", f"--dest-dir={folder}")
            paths = "".join(f"{file.path}\n" for file in files)
            self._run("extract", str(image), "@-", *options, stdin=paths)
            return [self._extracted(Path(folder), file) for file in files]

    def with_files(self, image: int, files: Mapping[str, bytes]) -> Layout:
        """The WIM with these files put into an image, as pieces of the disc that it lies on.

        wimlib appends what is new, with new tables, and changes the header. Equal files give equal
        bytes. A file replaces one whose path differs in case alone. Call nothing else afterwards.
        """
        self._require_changeable()
        self._fill_for_integrity()
        self._write_added(files)
        self._run("update", str(image), "--threads=1", f"--command={_ADD}")
        with self._path.open("rb") as written:
            header = written.read(_HEADER_BYTES)
            written.seek(self.size_bytes)
            tail = written.read()
        size, start, _ = _RESOURCE.unpack_from(header, _XML)
        start -= self.size_bytes
        stop = start + _size(size)
        kept = self._source.layout.cut(ByteRange(_HEADER_BYTES, self.size_bytes))
        return Layout((header, *kept, tail[:start] + _dated(tail[start:stop], image) + tail[stop:]))

    def rebuilt(
        self,
        image: int,
        files: Mapping[str, bytes | Path],
        dropped: Iterable[str],
        *,
        alone: bool = False,
    ) -> Path:
        """The whole WIM as a new file, with these files put into an image and those paths dropped.

        Contents that no image names any more are not in it; all others stay packed as they are.
        With `alone` the other images go. Equal arguments give equal bytes. The file is verified,
        and lasts as long as this does. Call nothing else afterwards.
        """
        self._require_changeable()
        self._fill([ByteRange(0, self.size_bytes)])
        for other in reversed(self.info().images if alone else ()):
            if other.index != image:
                self._run("delete", str(other.index), "--soft")
        image = 1 if alone else image
        commands = [f"delete --force --recursive {_quoted(path)}" for path in dropped]
        if files:
            self._write_added(files)
            commands.append(_ADD)
        stdin = "".join(f"{command}\n" for command in commands)
        self._run("update", str(image), "--rebuild", "--threads=1", stdin=stdin)
        with self._path.open("r+b") as written:
            size, start, _ = _RESOURCE.unpack_from(written.read(_HEADER_BYTES), _XML)
            xml = os.pread(written.fileno(), _size(size), start)
            os.pwrite(written.fileno(), _dated(xml, image), start)
        self._run("verify")
        return self._path

    def _require_changeable(self) -> None:
        info = self.info()
        if info.is_solid or info.chunk_bytes not in (0, _CHUNK_OF_WINDOWS):  # 0: it is not packed
            raise WimError(
                f"{self._name} is packed as {info.compression} in a way that Windows does not "
                "start from once it is changed",
                hint="export it with LZX first: wimlib-imagex export boot.wim all new.wim "
                "--compress=LZX --boot",
            )

    def _write_added(self, files: Mapping[str, bytes | Path]) -> None:
        """Have the files in a folder, of one date, for wimlib to add."""
        folder = self._path.with_name(_ADDED_FOLDER)
        for path, data in files.items():
            file = folder / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(data, Path):
                shutil.copyfile(data, file)
            else:
                file.write_bytes(data)
        for file in (folder, *folder.rglob("*")):
            os.utime(file, (_ADDED_AT, _ADDED_AT))

    def _fill_for_integrity(self) -> None:
        """Have all that wimlib hashes anew for the table of integrity, if there is one.

        It has a SHA-1 of each 10 MB from the header to the table of resources. wimlib keeps those
        of whole pieces; the last piece goes on in what is appended.
        """
        header = self._source.read(ByteRange(0, _HEADER_BYTES))
        size, start, _ = _RESOURCE.unpack_from(header, _INTEGRITY)
        if size:
            table = ByteRange(start, start + _size(size))
            piece_bytes = int.from_bytes(self._source.read(table)[8:12], "little")
            table_size, table_start, _ = _RESOURCE.unpack_from(header, _TABLE)
            hashed_bytes = table_start + _size(table_size) - _HEADER_BYTES
            if _PIECES_MIN_BYTES <= piece_bytes <= _PIECES_MAX_BYTES:
                whole_bytes = hashed_bytes // piece_bytes * piece_bytes
            else:
                whole_bytes = 0  # wimlib makes a new table
            self._fill([table, ByteRange(_HEADER_BYTES + whole_bytes, self.size_bytes)])

    def _extracted(self, folder: Path, file: WimFile) -> bytes:
        with open_regular(folder / file.path.lstrip("/")) as extracted:
            data = extracted.read()
        if file.size_bytes and hashlib.sha1(data, usedforsecurity=False).hexdigest() != file.sha1:
            raise WimError(f"{self._name} has another {file.path} than it lists", hint=COPY_AGAIN)
        return data

    def _fill(self, parts: Iterable[ByteRange]) -> None:
        """Have these parts of a sparse file in their places."""
        with self._path.open("r+b") as file:
            stop = 0
            for part in sorted(parts, key=lambda part: part.start):
                for chunk in ByteRange(max(part.start, stop), part.stop).steps(_CHUNK_BYTES):
                    data = self._source.read(chunk)
                    if len(data) < len(chunk):
                        raise WimError(f"{self._name} ends too early", hint=COPY_AGAIN)
                    os.pwrite(file.fileno(), data, chunk.start)
                stop = max(stop, part.stop)

    def _run(self, command: str, *words: str, stdin: str = "") -> str:
        """What wimlib prints."""
        try:
            ended = run_program(
                ("wimlib-imagex", command, str(self._path), *words),
                cancelled=self._cancelled,
                timeout_s=TIMEOUT_S + self.size_bytes / SLOW_BYTES_PER_S,
                folder=self._path.parent,
                stdin=stdin,
                environment={
                    "WIMLIB_IMAGEX_USE_UTF8": "1",
                    "WIMLIB_IMAGEX_IGNORE_CASE": "1" if command == "update" else "0",
                },
                output_limit_bytes=OUTPUT_LIMIT_BYTES,
                memory_limit_bytes=MEMORY_LIMIT_BYTES,
            )
        except FileNotFoundError as err:
            raise WimlibMissingError(
                f"{self._name} cannot be read: wimlib-imagex is missing",
                hint="run: apt-get install wimtools",
            ) from err
        if ended.stopped_because:
            raise WimError(f"{self._name} cannot be read: {ended.stopped_because}")
        if ended.status:
            raise self._error(ended.status, ended.errors)
        return ended.output

    def _error(self, status: int, stderr: str) -> WimError:
        """wimlib ends with its reason in a line of its own."""
        free_bytes = shutil.disk_usage(self._path.parent).free
        is_full = free_bytes < _CHUNK_BYTES or _FULL in stderr  # it may not even be able to say so
        if is_full or status == -signal.SIGXFSZ:
            folder = self._path.parents[1]
            return WimError(
                f"{self._name} cannot be read: there is no room for temporary files",
                hint=f"make room in {folder}, or give this process a larger limit of file sizes",
            )
        lines = stderr.strip().splitlines()
        reason = lines[-1].strip().rstrip(".") if lines else f"wimlib has ended with {status}"
        return WimError(f"{self._name} cannot be read: {reason}", hint=COPY_AGAIN)


@contextmanager
def wim_on_disc(
    content: Content,
    path: str,
    cancelled: threading.Event | None = None,
    folder: Path | None = None,
) -> Iterator[Wim]:
    """The WIM at that path of a disc image, open until the end of the block.

    Temporary files go into `folder`, or else where the system has them. Raises ImageError if the
    disc has none, or a part of one, ImageNotReadyError if the image is another version by now.
    """
    disc_name = Path(content.path).name
    name = f"{Path(path).name} of {disc_name}"
    with open_version(content) as disc:
        try:
            node = open_volume(disc.fd, disc.size_bytes, disc_name).find(path)
        except ImageNotFoundError as err:
            raise WimError(
                f"{disc_name} is no disc of Windows PE: it has no {path}",
                hint="run: bootserver images explain ID",
            ) from err
    try:
        with (
            open_version(content, Layout(node.pieces)) as source,
            tempfile.TemporaryDirectory(prefix="bootserver-wim-", dir=folder) as own_folder,
        ):
            sparse = Path(own_folder, "sparse.wim")
            with sparse.open("wb") as file:
                file.truncate(source.size_bytes)
                for part, data in _tables(source, name):
                    os.pwrite(file.fileno(), data, part.start)
            yield Wim(sparse, name, source, cancelled or threading.Event())
            source.check_unchanged()
    except OSError as err:
        raise WimError(
            f"{name} cannot be read: {err.strerror or err}",
            hint="check the disk that it is on, and the room for temporary files in "
            f"{folder or 'TMPDIR'}",
        ) from err


def _tables(source: OpenFile, name: str) -> Iterator[tuple[ByteRange, bytes]]:
    """The header, the tables and the trees of names of a WIM; WimError for what is none."""
    left_bytes = TABLES_LIMIT_BYTES

    def read(start: int, size_bytes: int) -> bytes:
        nonlocal left_bytes
        left_bytes -= size_bytes
        if left_bytes < 0:
            raise WimError(f"{name} has tables of no size that there is", hint=COPY_AGAIN)
        data = source.read(ByteRange(start, start + size_bytes))
        if len(data) < size_bytes:
            raise WimError(f"{name} ends before its tables do", hint=COPY_AGAIN)
        return data

    header = source.read(ByteRange(0, _HEADER_BYTES))
    if len(header) < _HEADER_BYTES or not header.startswith(b"MSWIM\0\0\0"):
        raise WimError(f"{name} is no WIM", hint=COPY_AGAIN)
    number, of = struct.unpack_from("<HH", header, 40)
    if (number, of) != (1, 1):
        raise WimError(
            f"{name} is part {number} of {of}, and cannot be read by itself",
            hint="join the parts first: wimlib-imagex join boot.wim *.swm",
        )
    yield ByteRange(0, _HEADER_BYTES), header
    for field in (_TABLE, _XML):
        size_and_flags, start, _ = _RESOURCE.unpack_from(header, field)
        table = read(start, _size(size_and_flags))
        yield ByteRange(start, start + len(table)), table
        if field == _TABLE and not size_and_flags >> 56 & _PACKED:
            for entry in range(0, len(table) - _RESOURCE_ENTRY_BYTES + 1, _RESOURCE_ENTRY_BYTES):
                size_and_flags, start, unpacked_bytes = _RESOURCE.unpack_from(table, entry)
                flags = size_and_flags >> 56
                if flags & _METADATA:
                    tree = read(start, _size(size_and_flags))
                    yield ByteRange(start, start + len(tree)), tree
                elif flags & _SOLID and unpacked_bytes == _SOLID_MARK:
                    head = read(start, _SOLID_HEADER_BYTES)
                    yield ByteRange(start, start + len(head)), head


def _size(size_and_flags: int) -> int:
    return size_and_flags & (1 << 56) - 1


def _dated(xml: bytes, image: int) -> bytes:
    """The description of the images with the date of all that is added, at that image."""
    text = xml.decode("utf-16-le")
    text = re.sub(_MODIFIED.format(image), rf"\g<1>{_ADDED}", text, count=1, flags=re.DOTALL)
    return text.encode("utf-16-le")


def _quoted(path: str) -> str:
    """The path as a word of a command of wimlib's, which knows no escapes."""
    mark = "'" if '"' in path else '"'
    if mark in path:
        raise WimError(f"the name {path} has both kinds of quotes", hint="leave that file in")
    return f"{mark}{path}{mark}"
