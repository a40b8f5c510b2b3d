"""A disc with some of its files replaced or removed, in its own shape: ISO 9660, Joliet, UDF.

Sectors with contents that go are cut out of the disc, and new contents are put in their places. All
other sectors stay as they are and in their order. So what this module does not know is kept, dates
included. Then each number that points to a sector is corrected: in descriptors, path tables,
directories, file entries, boot catalog.

Equal discs and changes give equal bytes.
"""

from __future__ import annotations

import re
import struct
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter

from bootserver.disc.descriptors import (
    FIRST_SECTOR,
    all_descriptors,
    catalog_of,
    kind_of,
    read_boot_entries,
)
from bootserver.disc.edits import (
    Cut,
    DiscFile,
    Edits,
    FileSystem,
    Moved,
    NewContent,
    Order,
    sectors_of,
)
from bootserver.disc.iso9660_edits import IsoEdits
from bootserver.disc.source import Damage, Source
from bootserver.disc.udf import UdfTree
from bootserver.disc.udf_edits import UdfEdits
from bootserver.errors import ImageError, ImageNotFoundError
from bootserver.model import CD_SECTOR_BYTES, ByteRange, Piece

_FILE_LIMIT_BYTES = 4 * 1024**3  # ISO 9660 and FAT have a size in 32 bits

Index = dict[str, dict[str, DiscFile]]  # by path, and there by the name to the letter
Run = tuple[int, int]  # sectors, from the first one to before the last one


def has_partition_table(source: Source) -> bool:
    """True for a disc that is a disk too: its first sectors have an MBR, a GPT or Apple's map.

    Such a table counts sectors of the disc, so a disc of another size needs another table.
    """
    head = source.sector(0)
    has_mbr = head[510:512] == b"\x55\xaa" and any(head[446:510])
    return has_mbr or head[512:520] == b"EFI PART" or head[512:514] == b"PM"


def rewritten(source: Source, changes: Mapping[str, Sequence[Piece] | None]) -> tuple[Piece, ...]:
    """What the new disc consists of. `changes` has the new content of a path, None to remove it.

    A file keeps its dates. Of a directory that is removed all files go, and it stays empty. A boot
    image whose name is removed stays. Raises Damage, ImageError for what cannot be done, and
    ImageNotFoundError for a path that is not on the disc.
    """
    if has_partition_table(source):
        raise ImageError(
            "the disc has a partition table, which is not kept right here",
            hint="rewrite it with xorriso",
        )
    edits = Edits(source)
    systems, boot_records = _file_systems(edits)
    boot_entries = {
        at: entry.lba
        for lba in boot_records
        for at, entry in read_boot_entries(source, source.sector(lba)).items()
    }
    catalogs = {catalog_of(source.sector(lba)) for lba in boot_records}
    contents, dropped = _matched(systems, changes)
    order = Order(_cuts(systems, contents, dropped, catalogs | set(boot_entries.values())))
    placed = {
        file: ByteRange(lba * CD_SECTOR_BYTES, lba * CD_SECTOR_BYTES + content.size_bytes)
        for content, lba in order.new_contents()
        for file in content.files
    }
    for system, names in zip(systems, dropped, strict=True):
        system.change(order.moved, placed, names)
    for lba in boot_records:
        _move_pointer(edits, lba * CD_SECTOR_BYTES + 71, order.moved)
    for at, lba in boot_entries.items():
        _move_pointer(edits, at + 8, order.moved)
        _move_boot_info(edits, lba, order.moved)
    return tuple(filter(len, order.parts(edits)))


def _file_systems(edits: Edits) -> tuple[list[FileSystem], list[int]]:
    """What is on the disc, and the sectors of its boot records."""
    systems: list[FileSystem] = []
    boot_records = []
    walked: set[int] = set()
    has_udf = False
    for lba, descriptor in all_descriptors(edits.source):
        kind = kind_of(descriptor)
        has_udf = has_udf or descriptor[1:4] == b"NSR"
        if kind == "boot_record":
            boot_records.append(lba)
        elif kind:
            systems.append(IsoEdits(edits, lba, is_joliet=kind == "joliet", walked=walked))
    if has_udf:
        systems.append(UdfEdits(edits, UdfTree(edits.source)))
    for file in (file for system in systems for file in system.files):
        if any(extent.stop > edits.source.size_bytes for extent in file.extents):
            raise Damage(f"{file.paths[0]} ends past the end of the image")
    return systems, boot_records


def _matched(
    systems: Sequence[FileSystem], changes: Mapping[str, Sequence[Piece] | None]
) -> tuple[list[NewContent], list[set[str]]]:
    """New contents with their files, and the names that each file system is to lose."""
    contents = []
    dropped: list[set[str]] = [set() for _ in systems]
    indexes = list(map(_index, systems))
    for path, parts in sorted(changes.items()):
        found = _named(indexes, path, below=parts is None)
        if parts is None:
            for names, names_here in zip(dropped, found, strict=True):
                names.update(names_here)
            continue
        content = NewContent(tuple(parts), [file for here in found for file in here.values()])
        if content.size_bytes >= _FILE_LIMIT_BYTES:
            raise ImageError(
                f"{path} would have {content.size_bytes:,} bytes, which is too much for a disc",
                hint="a file on a disc has less than 4 GiB: add less to it",
            )
        contents.append(content)
    return contents, dropped


def _index(system: FileSystem) -> Index:
    """The files at each path in lower case, and below each directory, with a `/` at its end."""
    index: Index = defaultdict(dict)
    for file in system.files:
        for name in file.paths:
            path = name.lower()
            index[path][name] = file
            for slash in re.finditer("/", path):
                index[path[: slash.end()]][name] = file
    return index


def _named(indexes: Sequence[Index], path: str, *, below: bool) -> list[dict[str, DiscFile]]:
    """The files at that path, or `below` it, by their names in each of the file systems.

    A name that fits to the letter comes before those that fit but for their case. ISO 9660 may have
    another name for a file than Joliet and UDF. Then it is the file with the same content.
    """
    wanted = f"/{path.strip('/')}"
    keys = (wanted.lower(), f"{wanted.rstrip('/')}/".lower()) if below else (wanted.lower(),)
    found = []
    for index in indexes:
        here = {name: file for key in keys for name, file in index.get(key, {}).items()}
        exact = {name: file for name, file in here.items() if name.startswith(wanted)}
        found.append(exact or here)
    if not any(found):
        raise ImageNotFoundError(f"the disc has no {path}", hint="look at the paths on the disc")
    contents = {_content(file) for here in found for file in here.values()} - {None}
    others = [index for here, index in zip(found, indexes, strict=True) if here]
    for here, index in zip(found, indexes, strict=True):
        if here:
            continue
        for name, file in index.get("/", {}).items():
            if _content(file) in contents and not any(name.lower() in other for other in others):
                here[name] = file
        if len({_content(file) for file in here.values()}) < len(here):
            raise ImageError(
                f"{path} cannot be told from another file with the same content",
                hint="that file has the same place on the disc, and a short name like it",
            )
    return found


def _content(file: DiscFile) -> tuple[int, int] | None:
    """What two file systems say alike of one file: where it begins, and its size."""
    return (file.extents[0].start, sum(map(len, file.extents))) if file.extents else None


def _cuts(
    systems: Sequence[FileSystem],
    contents: Iterable[NewContent],
    dropped: Sequence[set[str]],
    boot_sectors: set[int],
) -> list[Cut]:
    """Where sectors go, and where new contents come: in the place of the old, or else behind them.

    No file's extent is torn apart, and nothing goes that something else on the disc has too.
    """
    replaced = {file for content in contents for file in content.files}
    leaving: list[ByteRange] = []
    staying: list[ByteRange] = []
    for system, names in zip(systems, dropped, strict=True):
        staying += system.structures
        for file in system.files:
            is_booted = any(_has(extent, boot_sectors) for extent in file.extents)
            if file in replaced and is_booted:
                raise ImageError(
                    f"{file.paths[0]} is what firmware boots from, and cannot be replaced",
                    hint="make the disc again with the other boot image",
                )
            goes = file in replaced or names.issuperset(file.paths)
            (leaving if goes and not is_booted else staying).extend(file.extents)
    kept = _merged(staying)
    gone = list(_without(_merged(leaving), kept))
    cuts = {start: Cut(start, stop) for start, stop in gone}
    end = max(stop for _, stop in (*kept, *gone)) if kept or gone else FIRST_SECTOR
    for content in contents:
        starts = [extent.start // CD_SECTOR_BYTES for f in content.files for extent in f.extents]
        start = min(starts, default=end)
        for run_start, run_stop in (*kept, *gone):
            if run_start <= start < run_stop:
                start = run_start if run_start in cuts else run_stop
                break
        cuts.setdefault(start, Cut(start, start)).contents.append(content)
    return sorted(cuts.values(), key=attrgetter("start"))


def _has(extent: ByteRange, sectors: set[int]) -> bool:
    return any(extent.start <= lba * CD_SECTOR_BYTES < extent.stop for lba in sectors)


def _merged(extents: Iterable[ByteRange]) -> list[Run]:
    """The runs of sectors that the extents are in, in order; those that overlap are one."""
    runs: list[Run] = []
    for extent in sorted(extents, key=attrgetter("start")):
        start, stop = extent.start // CD_SECTOR_BYTES, sectors_of(extent.stop)
        if runs and start < runs[-1][1]:
            runs[-1] = (runs[-1][0], max(runs[-1][1], stop))
        elif start < stop:
            runs.append((start, stop))
    return runs


def _without(runs: Iterable[Run], kept: Iterable[Run]) -> Iterator[Run]:
    """What is left of the runs outside of the kept ones; both are in order."""
    ahead = deque(kept)
    for start, stop in runs:
        while ahead and ahead[0][1] <= start:
            ahead.popleft()
        for kept_start, kept_stop in ahead:
            if kept_start >= stop:
                break
            if start < kept_start:
                yield start, kept_start
            start = max(start, kept_stop)
        if start < stop:
            yield start, stop


def _move_pointer(edits: Edits, at: int, moved: Moved) -> None:
    (lba,) = struct.unpack("<L", edits.source.read(at, 4))
    edits.write(at, struct.pack("<L", moved(lba)))


def _move_boot_info(edits: Edits, lba: int, moved: Moved) -> None:
    """What a boot image in that sector says of its own place, if it does (xorrisofs(1)).

    offset  size  meaning
         8     8  boot info table of isolinux and GRUB: the primary descriptor's sector, the image's
      2548     8  of GRUB: four times the image's sector, and 5
    """
    start = lba * CD_SECTOR_BYTES
    for offset, form, old, new in (
        (8, "<LL", (FIRST_SECTOR, lba), (FIRST_SECTOR, moved(lba))),
        (2548, "<Q", (4 * lba + 5,), (4 * moved(lba) + 5,)),
    ):
        if edits.read(start + offset, 8) == struct.pack(form, *old):
            edits.write(start + offset, struct.pack(form, *new))
