"""The boot plane's names over TFTP: the same as over HTTP, whatever separates their parts."""

from __future__ import annotations

import re
from urllib.parse import unquote

from bootserver.errors import BootServerError, ImageNotReadyError
from bootserver.images.overlay import Served
from bootserver.model import BootSession, ByteRange, StubFormat, TransferEnd
from bootserver.openfile import OpenFile, open_file
from bootserver.plane import WHOLE_IMAGE, BootPlane
from bootserver.scripts import Pick
from bootserver.sessions.live import Fetch
from bootserver.tftp.packets import ErrorCode
from bootserver.tftp.server import TftpFile, TftpRefusal, TftpRequest


async def open_on_plane(plane: BootPlane, request: TftpRequest) -> TftpFile:
    """The content of that name; raises TftpRefusal with the reason in a sentence."""
    try:
        return await _open(plane, request)
    except TftpRefusal:
        raise
    except ImageNotReadyError as err:
        raise TftpRefusal(ErrorCode.UNDEFINED, err.message[:100]) from err
    except BootServerError as err:
        raise TftpRefusal(ErrorCode.FILE_NOT_FOUND, err.message[:100]) from err


async def _open(plane: BootPlane, request: TftpRequest) -> TftpFile:
    def origin() -> str:
        return plane.http_url(request.local_address)

    match [part for part in re.split(r"[/\\]", request.name) if part not in ("", ".")]:
        case ["b", token, *picked, "boot.ipxe"] if picked[:1] in ([], ["pick"], ["entry"]):
            # TFTP has no query: the machine's memory and names stay unknown.
            pick = Pick.parse(unquote("/".join(picked)))
            script = await plane.script(token, {}, request.client, origin(), pick)
            return _Text(script.encode())
        case ["boot.ipxe" | "autoexec.ipxe"] | ["nbp", "autoexec.ipxe"]:
            return _Text(plane.open_script(origin()).encode())
        case ["b", token, "phase", phase]:
            await plane.beacon(token, phase, request.client)
            return _Text(b"noted\n")
        case ["b", token, "image.iso"]:
            served, session = await plane.image(token, request.client)
            return await _opened(plane, WHOLE_IMAGE, served, session)
        case ["b", token, "tree", *path]:
            found, session = await plane.file(token, "/" + "/".join(path), request.client, origin())
            if found is None:
                raise TftpRefusal(ErrorCode.FILE_NOT_FOUND, "this is a directory")
            return await _opened(plane, "/".join(("tree", *path)), found, session)
        case ["b", token, "stub.iso" | "stub.efi" as name]:
            format = StubFormat(name.removeprefix("stub."))
            return _Disk(await open_file(await plane.stub(token, format)))
        case ["nbp", name] | [name]:
            return _Disk(await open_file(await plane.loader(name)))
        case _:
            raise TftpRefusal(ErrorCode.FILE_NOT_FOUND, "no such file")


async def _opened(
    plane: BootPlane, name: str, served: Served, session: BootSession | None
) -> TftpFile:
    """What a boot fetches, whose way the ledger follows; else just the file."""
    file = await open_file(served.content, served.layout)
    fetch = plane.fetch(session, name, "tftp", served.size_bytes) if session else None
    if session is None or fetch is None:
        return _Disk(file)
    return _Fetched(file, plane, session, fetch)


class _Text:
    """A few lines of ours."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size_bytes = len(data)

    def read(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]

    def progress(self, sent_bytes: int) -> None:
        pass

    def close(self, complete: bool) -> None:
        pass


class _Disk:
    """A file, of which a transfer never gets two versions: a change ends it."""

    def __init__(self, file: OpenFile) -> None:
        self._file = file
        self.size_bytes = file.size_bytes

    def read(self, offset: int, length: int) -> bytes:
        data = self._file.read(ByteRange(offset, offset + length))
        self._file.check_unchanged()  # after reading, not before
        return data

    def progress(self, sent_bytes: int) -> None:
        pass

    def close(self, complete: bool) -> None:
        self._file.close()


class _Fetched(_Disk):
    """What a boot fetches, whose way into the machine's memory the ledger follows."""

    def __init__(
        self, file: OpenFile, plane: BootPlane, session: BootSession, fetch: Fetch
    ) -> None:
        super().__init__(file)
        self._plane = plane
        self._session = session
        self._fetch = fetch
        self._failure = TransferEnd.CLIENT_LEFT

    def read(self, offset: int, length: int) -> bytes:
        try:
            return super().read(offset, length)
        except ImageNotReadyError:
            self._failure = TransferEnd.FILE_CHANGED
            raise

    def progress(self, sent_bytes: int) -> None:
        self._fetch.sent(sent_bytes)

    def close(self, complete: bool) -> None:
        super().close(complete)
        outcome = TransferEnd.COMPLETE if complete else self._failure
        self._plane.fetched(self._session, self._fetch, outcome, in_one_piece=True)
