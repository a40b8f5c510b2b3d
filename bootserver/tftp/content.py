"""The boot plane's names over TFTP: the same as over HTTP, with or without the leading slash."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from bootserver.errors import BootServerError, ImageNotReadyError
from bootserver.openfile import ByteRange, OpenFile, open_file
from bootserver.plane import BootPlane
from bootserver.tftp.packets import ErrorCode
from bootserver.tftp.server import TftpRequest
from bootserver.tftp.transfer import TftpFile, TftpRefusal


async def open_on_plane(plane: BootPlane, request: TftpRequest) -> TftpFile:
    """The content of that name; raises TftpRefusal with the reason in a sentence."""
    try:
        return await _open(plane, request)
    except BootServerError as err:
        raise TftpRefusal(ErrorCode.FILE_NOT_FOUND, err.message[:100]) from err


async def _open(plane: BootPlane, request: TftpRequest) -> TftpFile:
    match request.name.lstrip("/").split("/"):
        case ["b", token, "boot.ipxe"]:
            # TFTP has no query: the machine's memory and names stay unknown.
            return _Text((await plane.script(token, {}, request.client)).encode())
        case ["b", token, "phase", phase]:
            plane.beacon(token, phase, request.client)
            return _Text(b"noted\n")
        case ["b", token, "image.iso"]:
            image, session = await plane.image(token, request.client)
            file = await open_file(image)
            if session is None:
                return _Disk(file)
            plane.fetching(session, image.version.size_bytes)
            return _Disk(
                file,
                partial(plane.sent, session),
                partial(plane.fetched, session),
                partial(plane.fetch_broken, session),
            )
        case ["b", token, "stub.iso"]:
            return _Disk(await open_file(await plane.stub(token)))
        case ["nbp", name]:
            return _Disk(await open_file(await plane.loader(name)))
        case _:
            raise TftpRefusal(ErrorCode.FILE_NOT_FOUND, "no such file")
