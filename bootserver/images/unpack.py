"""Unpacks what arrives packed while it arrives: xz, gzip, bzip2, and a zip with one image in it.

The first bytes tell, whatever the name is. What can never be an image is refused by them too.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Protocol

from bootserver.errors import ImageError
from bootserver.images.directory import is_image

HEAD_BYTES = 16  # enough to tell all kinds from each other
PIECE_BYTES = 1024**2  # of what is unpacked, in memory at a time
XZ_MEMORY_BYTES = 256 * 1024**2  # what `xz -9` packs takes 65 MiB to unpack
CHECK_SOURCE = "check the file at its source, or unpack it and add what is in it"

_NOT_UNPACKED = "unpack it, and add the .iso or .img file that is in it"
_REFUSED = {
    b"\x28\xb5\x2f\xfd": ("packed with zstd", _NOT_UNPACKED),
    b"7z\xbc\xaf\x27\x1c": ("a 7-Zip archive", _NOT_UNPACKED),
    b"Rar!\x1a\x07": ("a RAR archive", _NOT_UNPACKED),
    b"\x04\x22\x4d\x18": ("packed with lz4", _NOT_UNPACKED),
    b"MSCF": ("a cabinet archive", _NOT_UNPACKED),
    b"PK\x05\x06": ("an empty zip archive", CHECK_SOURCE),
    b"MSWIM\0\0\0": ("a Windows image", "add the disc that it belongs to"),
    b"QFI\xfb": ("a virtual disk", "make a plain one of it: qemu-img convert -O raw"),
    b"vhdxfile": ("a virtual disk", "make a plain one of it: qemu-img convert -O raw"),
    b"KDMV": ("a virtual disk", "make a plain one of it: qemu-img convert -O raw"),
    b"<!doctype html": ("a web page", "give the address of the file itself"),
    b"<html": ("a web page", "give the address of the file itself"),
}


class Unpacker(Protocol):
    """Something packed, as its bytes come in."""

    @property
    def is_whole(self) -> bool:
        """True once its end has come."""

    def unpack(self, data: bytes) -> Iterator[bytes]:
        """What these bytes bring, in pieces of some PIECE_BYTES; raises ImageError."""


def unpacker_of(head: bytes) -> Unpacker | None:
    """What unpacks a file that begins so, None for one that is not packed.

    Raises ImageError for what is no image, in whatever it is packed.
    """
    start = head.lstrip().lower() if head.lstrip()[:1] == b"<" else head
    for magic, (kind, hint) in _REFUSED.items():
        if start.startswith(magic):
            raise ImageError(f"it is {kind}, not an image of a disc or disk", hint=hint)
    if head.startswith(b"\xfd7zXZ\0"):
        return _Streams(lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, XZ_MEMORY_BYTES))
    if head.startswith(b"\x1f\x8b\x08"):
        return _Streams(lambda: _Deflate(16 + zlib.MAX_WBITS))
    if head.startswith(b"BZh"):
        return _Streams(bz2.BZ2Decompressor)
    return _Zip() if head.startswith(_LOCAL) else None


class _Stream(Protocol):
    """lzma's and bz2's decompressors; what is unpacked of one stream."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Deflate:
    """zlib's decompressor with the manners of the others."""

    def __init__(self, window_bits: int) -> None:
        self._inflate = zlib.decompressobj(window_bits)
        self._is_full = False

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def needs_input(self) -> bool:
        return not (self._is_full or self._inflate.unconsumed_tail)

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        found = self._inflate.decompress(self._inflate.unconsumed_tail + data, max_length)
        self._is_full = len(found) == max_length
        return found


class _Stored:
    """So many bytes as they are."""

    def __init__(self, left_bytes: int) -> None:
        self._left_bytes = left_bytes
        self.unused_data = b""

    @property
    def eof(self) -> bool:
        return not self._left_bytes

    @property
    def needs_input(self) -> bool:
        return True

    def decompress(self, data: bytes, max_length: int) -> bytes:
        found, self.unused_data = data[: self._left_bytes], data[self._left_bytes :]
        self._left_bytes -= len(found)
        return found


class _Streams:
    """One stream after the other, as programs write them that pack in parallel."""

    def __init__(self, new: Callable[[], _Stream]) -> None:
        self._new = new
        self._stream: _Stream | None = new()

    @property
    def is_whole(self) -> bool:
        return self._stream is None

    def unpack(self, data: bytes) -> Iterator[bytes]:
        while True:
            if self._stream is None:
                data = data.lstrip(b"\0")  # padding, between streams and behind them
                if not data:
                    return
                self._stream = self._new()
            found = _decompress(self._stream, data)
            data = b""
            if found:
                yield found
            if self._stream.eof:
                data, self._stream = self._stream.unused_data, None
            elif self._stream.needs_input:
                return


_LOCAL, _CENTRAL, _DESCRIPTOR = b"PK\3\4", b"PK\1\2", b"PK\7\x08"
_DESCRIPTOR_BYTES = 24  # which may stand behind a file: its mark if any, CRC and sizes
_ENCRYPTED, _SIZES_FOLLOW, _UTF8 = 0x0001, 0x0008, 0x0800
_STORED, _DEFLATED = 0, 8


ZIP_END_BYTES = 64 * 1024  # has the directory of some hundred files


def check_zip_end(end: bytes) -> None:
    """Raises ImageError where the end of a zip archive tells that it has not just one image in it.

    offset  size  meaning of a record of the central directory (APPNOTE 4.3.12)
         0     4  "PK\\1\\2"
        28     2  bytes of the name, 2 of the extra field, 2 of a comment; they begin at 46

    A directory that is not all here tells nothing: then it comes out while the image comes.
    """
    at, names = end.find(_CENTRAL), []
    while at >= 0 and end[at : at + 4] == _CENTRAL and len(end) >= at + 46:
        name_bytes, extra_bytes, comment_bytes = struct.unpack_from("<28xHHH", end, at)
        names.append(end[at + 46 : at + 46 + name_bytes].decode("utf-8", "replace"))
        at += 46 + name_bytes + extra_bytes + comment_bytes
    last = end.rfind(b"PK\5\6")
    if last >= 0 and end[last + 10 : last + 12] == len(names).to_bytes(2, "little"):
        _require_one([name for name in names if _is_image_in_zip(name)])


def _is_image_in_zip(name: str) -> bool:
    return is_image(PurePosixPath(name)) and not name.startswith("__MACOSX/")


def _require_one(images: list[str]) -> None:
    if not images:
        raise ImageError("the zip archive has no .iso or .img file", hint=CHECK_SOURCE)
    if len(images) > 1:
        raise ImageError(
            f"the zip archive has more than one image: {' and '.join(images[:3])}",
            hint=_NOT_UNPACKED,
        )


class _Zip:
    """A zip archive (APPNOTE 6.3): the image in it is unpacked, other files are passed over.

    offset  size  meaning in the header before each file
         0     4  "PK\\3\\4"; the central directory, behind the last file, has "PK\\1\\2"
         6     2  flags: 1 = encrypted, 8 = CRC and sizes follow the content, 0x800 = UTF-8
         8     2  method: 0 = stored, 8 = deflated
        14     4  CRC
        18     4  packed size, 4 size; 0xFFFFFFFF where the extra field has them
        26     2  bytes of the name, 2 of the extra field; both follow
    """

    def __init__(self) -> None:
        self._unread = b""
        self._content: _Stream | None = None
        self._is_image = False  # the content is the image's
        self._images: list[str] = []
        self._crc = self._expected_crc = 0
        self._crc_follows = False
        self.is_whole = False

    def unpack(self, data: bytes) -> Iterator[bytes]:
        if self.is_whole:
            return
        self._unread += data
        while self._content is not None or self._begin():
            assert self._content is not None
            found = _decompress(self._content, self._unread)
            self._unread = b""
            if found and self._is_image:
                self._crc = zlib.crc32(found, self._crc)
                yield found
            if self._content.eof:
                self._unread, self._content = self._content.unused_data, None
                if self._is_image and not self._crc_follows:
                    self._check_crc(self._expected_crc)
            elif self._content.needs_input:
                return

    def _begin(self) -> bool:
        """Goes to the content of the next file; False if that is not here, or there is none."""
        at = self._next_header()
        if at < 0:
            return False
        fixed = self._unread[at : at + 30]
        if len(fixed) < 30:
            return False
        flags, method, crc, packed, size, name_bytes, extra_bytes = struct.unpack(
            "<6xHH4xLLLHH", fixed
        )
        rest = self._unread[at + 30 :]
        if len(rest) < name_bytes + extra_bytes:
            return False
        name = rest[:name_bytes].decode("utf-8" if flags & _UTF8 else "cp437", "replace")
        extra = rest[name_bytes : name_bytes + extra_bytes]
        self._unread = rest[name_bytes + extra_bytes :]
        self._is_image = _is_image_in_zip(name)
        if self._is_image:
            self._images.append(name)
            _require_one(self._images)
            self._expected_crc, self._crc_follows = crc, bool(flags & _SIZES_FOLLOW)
        if flags & _ENCRYPTED:
            raise ImageError(f"{name} in it is encrypted", hint=_NOT_UNPACKED)
        if flags & _SIZES_FOLLOW and method != _DEFLATED:
            raise ImageError(f"{name} in it has an end that cannot be told", hint=_NOT_UNPACKED)
        if self._is_image and method not in (_STORED, _DEFLATED):
            raise ImageError(f"{name} in it is packed by method {method}", hint=_NOT_UNPACKED)
        if method == _DEFLATED and (self._is_image or flags & _SIZES_FOLLOW):
            self._content = _Deflate(-zlib.MAX_WBITS)
        else:
            self._content = _Stored(_packed_size(packed, size, extra))
        return True

    def _next_header(self) -> int:
        """Where the next file's header is in what is unread, -1 if it is not here."""
        head = self._unread[: _DESCRIPTOR_BYTES + 4]
        found = [(head.find(magic), magic) for magic in (_LOCAL, _CENTRAL) if magic in head]
        if not found and len(head) == _DESCRIPTOR_BYTES + 4:
            raise ImageError("it is a damaged zip archive", hint=CHECK_SOURCE)
        at, magic = min(found, default=(-1, b""))
        if found and self._crc_follows:
            self._check_crc(int.from_bytes(head.removeprefix(_DESCRIPTOR)[:4], "little"))
            self._crc_follows = False
        if magic == _CENTRAL:
            self.is_whole = True
            _require_one(self._images)
            return -1
        return at

    def _check_crc(self, expected: int) -> None:
        if self._crc != expected:
            raise ImageError("what is packed is damaged", hint=CHECK_SOURCE)


def _packed_size(packed: int, size: int, extra: bytes) -> int:
    """The packed size; field 1 of the extra ones has those that need 64 bits, the size first."""
    while packed == 0xFFFFFFFF and len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == 1:
            wide = extra[4 : 4 + length][8 if size == 0xFFFFFFFF else 0 :]
            return int.from_bytes(wide[:8], "little")
        extra = extra[4 + length :]
    return packed


def _decompress(stream: _Stream, data: bytes) -> bytes:
    try:
        return stream.decompress(data, PIECE_BYTES)
    except lzma.LZMAError as err:
        if "limit" in str(err):
            raise ImageError(
                f"unpacking it takes more than {XZ_MEMORY_BYTES >> 20} MiB of memory",
                hint=_NOT_UNPACKED,
            ) from err
        raise ImageError("what is packed is damaged", hint=CHECK_SOURCE) from err
    except (zlib.error, OSError, EOFError) as err:
        raise ImageError("what is packed is damaged", hint=CHECK_SOURCE) from err
