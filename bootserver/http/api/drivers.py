"""The library of drivers for Windows PE over the API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import structlog
from aiohttp import web
from pydantic import AfterValidator, Field, model_validator

from bootserver.http.api.operations import Operations
from bootserver.http.api.requests import (
    UPLOAD_TYPE,
    OneLine,
    UrlQuery,
    read_query,
    require_type,
    upload_of,
)
from bootserver.http.api.services import services_of
from bootserver.http.errors import BodyTooLargeError
from bootserver.pci import PciId
from bootserver.units import megabytes
from bootserver.windows.drivers import (
    ARCHIVE_SUFFIXES,
    DriverLibrary,
    DriverPackage,
    FoundDriver,
    NoDriverError,
)
from bootserver.windows.target import DEFAULT_VERSION, WindowsArch, WindowsTarget
from bootserver.windows.unpack import LIMIT_BYTES, DriverError

operations = Operations()
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DriverList:
    """INF files of the library, by name and path."""

    drivers: list[DriverPackage]


def _library(request: web.Request) -> DriverLibrary:
    return DriverLibrary.of(services_of(request).config)


@operations.add("GET", "/drivers", DriverError)
async def list_drivers(request: web.Request) -> DriverList:
    """The library of drivers for Windows PE."""
    return DriverList(await asyncio.to_thread(_library(request).packages))


def _archive_name(text: str) -> str:
    if "/" in text or text.startswith(".") or not text.lower().endswith(ARCHIVE_SUFFIXES):
        raise ValueError("is not a file name that ends in .zip or .cab")
    return text


class ArchiveQuery(UrlQuery):
    """What the uploaded bytes are."""

    name: Annotated[OneLine, AfterValidator(_archive_name)] = Field(
        description="The archive's file name; .zip or .cab ends it"
    )


@operations.add(
    "POST", "/drivers", DriverError, BodyTooLargeError, statuses=(201,), upload=(ArchiveQuery, None)
)
async def add_drivers(request: web.Request) -> DriverList:
    """Add an archive of drivers; the answer has what is in it."""
    require_type(request, UPLOAD_TYPE)
    name = read_query(request, ArchiveQuery).name
    with TemporaryDirectory(dir=services_of(request).config.state.path, prefix="upload-") as folder:
        archive = Path(folder, name)
        await _save(upload_of(request), archive)
        await asyncio.to_thread(_library(request).add, archive)
    log.info("drivers.added", name=name)
    there = await list_drivers(request)
    return DriverList([driver for driver in there.drivers if driver.name == name])


async def _save(body: AsyncIterator[bytes], path: Path) -> None:
    saved_bytes = 0
    try:
        with path.open("xb") as file:
            async for data in body:
                saved_bytes += len(data)
                if saved_bytes > LIMIT_BYTES:
                    raise BodyTooLargeError(
                        f"an archive has at most {megabytes(LIMIT_BYTES)}",
                        hint="unpack it, and add the folder that you need with the command line",
                    )
                await asyncio.to_thread(file.write, data)
    except OSError as err:
        raise DriverError(
            f"the archive cannot be written: {err.strerror}", hint="check the disk"
        ) from err


def _device(text: str) -> str:
    PciId.parse(text)
    return text


class DeviceQuery(UrlQuery):
    """A device, and the Windows that it runs under."""

    device: Annotated[str, AfterValidator(_device)] = Field(
        description="8086:15bc, or Windows' PCI\\VEN_8086&DEV_15BC"
    )
    windows: str = Field(default=DEFAULT_VERSION, description="The version of Windows")
    arch: WindowsArch = WindowsArch.AMD64

    @model_validator(mode="after")
    def _names_a_windows(self) -> DeviceQuery:
        WindowsTarget.parse(self.windows, self.arch)
        return self


@operations.add("GET", "/drivers/find", DriverError, NoDriverError)
async def find_driver(request: web.Request, query: DeviceQuery) -> FoundDriver:
    """The driver that a device gets."""
    target = WindowsTarget.parse(query.windows, query.arch)
    device = PciId.parse(query.device)
    return await asyncio.to_thread(_library(request).find, device, target)


@operations.add("DELETE", "/drivers/{name}", DriverError, NoDriverError, statuses=(204,))
async def delete_drivers(request: web.Request) -> None:
    """Delete an archive or folder of drivers."""
    name = request.match_info["name"]
    await asyncio.to_thread(_library(request).remove, name)
    log.info("drivers.removed", name=name)
