"""What Rock Ridge adds to an ISO 9660 directory record: names, symbolic links, deep directories.

A system use entry (SUSP 1.12 §4.1, RRIP 1.12 §4.1):

offset  size  meaning
     0     2  signature
     2     1  length of the entry
     3     1  version, 1
     4     -  data
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bootserver.disc.source import Damage
from bootserver.model import CD_SECTOR_BYTES

# Of one directory record. A name of 255 and a link of 1,024 bytes fill two areas.
_CONTINUATION_LIMIT = 16
_NAME_LIMIT_BYTES = 1024  # four times what Linux takes
_TARGET_LIMIT_BYTES = 4096
_AREA_LIMIT_BYTES = 8 * CD_SECTOR_BYTES
_SIGNATURES = (b"RR", b"PX", b"NM", b"TF", b"ER")  # of which the first in an area is one

ReadArea = Callable[[int, int, int], bytes]  # first block, offset in it, count


@dataclass(frozen=True, slots=True)
class RockRidge:
    """What the entries of one record say; "" and None where they say nothing."""

    name: bytes = b""
    target: bytes = b""  # of a symbolic link
    child_block: int | None = None  # where the directory that belongs here really is
    is_relocated: bool = False  # this one really belongs elsewhere
    is_compressed: bool = False  # by zisofs, which Linux undoes


def susp_skip(area: bytes) -> int | None:
    """Bytes to skip in each record but this one, the root's; None without Rock Ridge.

    Programs are about that forget the entry SP which says so: then the others tell, as for Linux.
    """
    for start in (0, 14):  # behind the 14 bytes of a CD-ROM XA record
        entry = area[start : start + 7]
        if len(entry) == 7 and entry[:2] == b"SP" and entry[4:6] == b"\xbe\xef":
            return entry[6]
    return 0 if area[:2] in _SIGNATURES and area[3:4] == b"\1" else None


def read_rock_ridge(area: bytes, read_area: ReadArea) -> RockRidge:
    """What a record's system use area says, and the areas that continue it."""
    name = b""
    links: list[bytes] = []
    child_block = None
    is_relocated = is_compressed = False
    for _, signature, data in susp_entries(area, read_area):
        # The flags "this is ." and ".." are on real names too, as VirtualBox writes them; the
        # directory's own two records never come here.
        if signature == b"NM":
            name += data[1:]
        elif signature == b"SL":
            links.append(data[1:])
        elif signature == b"CL" and len(data) >= 4:
            child_block = int.from_bytes(data[:4], "little")
        elif signature == b"RE":
            is_relocated = True
        elif signature == b"ZF":
            is_compressed = True
    target = _target(b"".join(links))
    if len(name) > _NAME_LIMIT_BYTES or len(target) > _TARGET_LIMIT_BYTES:
        raise Damage("a Rock Ridge name is too long")
    return RockRidge(name, target, child_block, is_relocated, is_compressed)


def susp_entries(
    area: bytes, read_area: ReadArea, start: int = 0
) -> Iterator[tuple[int, bytes, bytes]]:
    """Each entry of this area, which begins at `start` in the image, and of those that continue it.

    That is where the entry's data is in the image, its signature, and the data.

    offset  size  data of CE: where the next area is (SUSP §5.1)
         0     4  block, little-endian
         8     4  offset in the block, little-endian
        16     4  length, little-endian
    """
    for _ in range(_CONTINUATION_LIMIT):
        following = b""
        at = 0
        while at + 4 <= len(area):
            signature, length = area[at : at + 2], area[at + 2]
            if length < 4 or signature == b"ST":  # padding, or the end
                break
            data = area[at + 4 : at + length]
            yield start + at + 4, signature, data
            if signature == b"CE" and len(data) >= 24:
                following = data
            at += length
        if not following:
            return
        block, offset, count = (
            int.from_bytes(following[at : at + 4], "little") for at in (0, 8, 16)
        )
        if count > _AREA_LIMIT_BYTES:
            raise Damage("a Rock Ridge entry is too long")
        area, start = read_area(block, offset, count), block * CD_SECTOR_BYTES + offset
    raise Damage("a Rock Ridge entry has no end")


def _target(components: bytes) -> bytes:
    """The path that a symbolic link's components are (RRIP §4.1.3).

    offset  size  meaning
         0     1  flags: 1 = continued in the next, 2 = ".", 4 = "..", 8 = root
         1     1  length of the text
         2     -  text
    """
    path = b""
    at = 0
    while at + 2 <= len(components):
        flags, length = components[at], components[at + 1]
        text = components[at + 2 : at + 2 + length]
        at += 2 + length
        if flags & 0x08:
            path = b"/"
            continue
        path += b"." if flags & 0x02 else b".." if flags & 0x04 else text
        path += b"" if flags & 0x01 else b"/"
    return path.rstrip(b"/") or path
