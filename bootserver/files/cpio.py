"""Files for a Linux initramfs, as an archive that is appended to an initrd.

The kernel unpacks one archive after the other over the same tree ("initramfs buffer format" in its
documentation, driver-api/early-userspace). So what is appended adds files and replaces them.

An entry is a header, a name and data; name and data end at multiples of 4. The header:

| offset | size | meaning, in ASCII; all numbers are eight hexadecimal digits              |
|--------|------|--------------------------------------------------------------------------|
| 0      | 6    | `070701`: "newc", without checksums                                       |
| 6      | 5x8  | inode, mode, user, group, links                                           |
| 46     | 2x8  | modification time, size of the data                                       |
| 62     | 4x8  | device (major, minor), device that the entry is (major, minor)            |
| 94     | 2x8  | size of the name with its NUL, checksum (0)                               |
"""

from __future__ import annotations

import stat
from collections.abc import Mapping

ALIGNMENT_BYTES = 4

_TRAILER = "TRAILER!!!"
_NAME_MAX_BYTES = 4095  # PATH_MAX without the NUL; the kernel skips what has a longer name
_PROGRAM_MAGICS = (b"#!", b"\x7fELF")

# Directories that every initramfs has, on many as symbolic links into /usr. The kernel replaces a
# link by a directory of the same name. What lies behind the link is not found any more.
_LINKED_DIRECTORIES = {("bin",), ("sbin",), ("lib",), ("lib64",)}


def newc_archive(files: Mapping[str, bytes]) -> bytes:
    """The archive of `files`, by path in the initramfs, with the directories above them.

    Scripts and programs are executable. Equal files make equal archives. Raises ValueError for a
    path that is no file's place, or is given twice.
    """
    by_path: dict[tuple[str, ...], bytes] = {}
    for path, data in files.items():
        parts = _parts(path)
        if parts in by_path:
            raise ValueError(f"{path!r} is given twice")
        by_path[parts] = data
    directories = {parts[:n] for parts in by_path for n in range(1, len(parts))}
    if both := directories & by_path.keys():
        raise ValueError(f"{'/'.join(min(both))!r} is a file and a directory")

    archive = []
    for inode, parts in enumerate(sorted(directories - _LINKED_DIRECTORIES | by_path.keys()), 1):
        if parts in by_path:
            data = by_path[parts]
            executable = data.startswith(_PROGRAM_MAGICS)
            mode, links = stat.S_IFREG | (0o755 if executable else 0o644), 1
        else:
            data, mode, links = b"", stat.S_IFDIR | 0o755, 2
        archive.append(_entry("/".join(parts), data, inode=inode, mode=mode, links=links))
    archive.append(_entry(_TRAILER, b"", inode=0, mode=0, links=1))
    return b"".join(archive)


def appendix(size_bytes: int, archive: bytes) -> bytes:
    """What to append to an initrd of `size_bytes` so that the kernel finds `archive` in it.

    The kernel looks for archives at multiples of 4, and skips NULs between them.
    """
    return bytes(-size_bytes % ALIGNMENT_BYTES) + archive


def _parts(path: str) -> tuple[str, ...]:
    """The names on the way to a file; a leading slash, `//` and `.` mean nothing."""
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if not parts or path.endswith(("/", "/.")):
        raise ValueError(f"{path!r} names no file")
    if ".." in parts or "\0" in path or parts == (_TRAILER,):
        raise ValueError(f"{path!r} cannot be a path in an initramfs")
    if len("/".join(parts).encode()) > _NAME_MAX_BYTES:
        raise ValueError(f"the path {path[:40]!r}... is longer than {_NAME_MAX_BYTES} bytes")
    return parts


def _entry(name: str, data: bytes, *, inode: int, mode: int, links: int) -> bytes:
    """One entry, a multiple of 4 bytes long."""
    path = name.encode() + b"\0"
    numbers = (inode, mode, 0, 0, links, 0, len(data), 0, 0, 0, 0, len(path), 0)
    header = b"070701" + b"".join(b"%08x" % number for number in numbers)
    return _padded(header + path) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % ALIGNMENT_BYTES)
