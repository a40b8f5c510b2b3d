"""The boot plane's names over TFTP: the same as over HTTP, whatever separates their parts."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, ExitStack
from urllib.parse import unquote

from bootserver.boot.files import WHOLE_IMAGE
from bootserver.boot.script import Pick
from bootserver.boot.service import BootService, Delivery
from bootserver.errors import BootServerError, ImageNotReadyError
from bootserver.files.open_version import OpenFile, open_file
from bootserver.images.overlay import Served
from bootserver.model import BootSession, ByteRange, StubFormat, TransferEnd
from bootserver.tftp.packets import ErrorCode
from bootserver.tftp.server import TftpFile, TftpRefusal, TftpRequest


async def open_content(service: BootService, request: TftpRequest) -> TftpFile:
    """The content of that name; raises TftpRefusal with the reason in a sentence."""
    try:
        return await _open(service, request)
    except TftpRefusal:
        raise
    except ImageNotReadyError as err:
        raise TftpRefusal(ErrorCode.UNDEFINED, err.message[:100]) from err
    except BootServerError as err:
        raise TftpRefusal(ErrorCode.FILE_NOT_FOUND, err.message[:100]) from err


async def _open(service: BootService, request: TftpRequest) -> TftpFile:
    def origin() -> str:
        return service.http_url(request.local_address)

    match [part for part in re.split(r"[/\\]", request.name) if part not in ("", ".")]:
        case ["b", token, *picked, "boot.ipxe"] if picked[:1] in ([], ["pick"], ["entry"]):
            # TFTP has no query: the machine's memory and names stay unknown.
            pick = Pick.parse(unquote("/".join(picked)))
            script = await service.script(token, {}, request.client, origin(), pick)
            return _Text(script.encode())
        case ["boot.ipxe" | "autoexec.ipxe"] | ["nbp", "autoexec.ipxe"]:
            return _Text(service.open_script(origin()).encode())
        case ["b", token_or_key, "phase", phase]:
            await service.beacon(token_or_key, phase, request.client)
            return _Text(b"noted\n")
        case ["b", token_or_key, "image.iso"]:
            files, session = await service.files(token_or_key, request.client)
            return await _opened(service, WHOLE_IMAGE, await files.whole(), session)
        case ["b", token_or_key, "tree", *path]:
            files, session = await service.files(token_or_key, request.client, origin())
            found = await files.file("/" + "/".join(path))
            if found is None:
                raise TftpRefusal(ErrorCode.FILE_NOT_FOUND, "this is a directory")
            return await _opened(service, "/".join(("tree", *path)), found, session)
        case ["b", token, "stub.iso" | "stub.efi" as name]:
            format = StubFormat(name.removeprefix("stub."))
            return _Disk(await open_file(await service.stub(token, format)))
        case ["nbp", name] | [name]:
            return _Disk(await open_file(await service.loader(name)))
        case _:
            raise TftpRefusal(ErrorCode.FILE_NOT_FOUND, "no such file")


async def _opened(
    service: BootService, name: str, served: Served, session: BootSession | None
) -> TftpFile:
    """What a boot fetches; the ledger follows how it goes."""
    file = await open_file(served.content, served.layout)
    return _Disk(file, service.delivery(session, name, "tftp", served.size_bytes))


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

    def __init__(
        self, file: OpenFile, delivery: AbstractContextManager[Delivery] | None = None
    ) -> None:
        self._file = file
        self._ending = ExitStack()
        self._ending.callback(file.close)
        self._delivery = self._ending.enter_context(delivery) if delivery else Delivery()
        self._delivery.end = TransferEnd.CLIENT_LEFT
        self.size_bytes = file.size_bytes

    def read(self, offset: int, length: int) -> bytes:
        try:
            data = self._file.read(ByteRange(offset, offset + length))
            self._file.check_unchanged()  # after reading, not before
        except ImageNotReadyError:
            self._delivery.end = TransferEnd.FILE_CHANGED
            raise
        return data

    def progress(self, sent_bytes: int) -> None:
        self._delivery.sent(sent_bytes)

    def close(self, complete: bool) -> None:
        if complete:
            self._delivery.end = TransferEnd.COMPLETE
        self._delivery.start = 0
        self._ending.close()
