"""The library over the API: looking, explaining, changing, deleting."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import structlog
from aiohttp import web
from pydantic import AfterValidator, Field

from bootserver.errors import (
    DatabaseError,
    ImageError,
    ImageNotFoundError,
    ImageNotReadyError,
)
from bootserver.fields import Entry, KernelArguments, MemdiskArguments
from bootserver.http.api.operations import ApiAnswer, Operations
from bootserver.http.api.requests import (
    ENTRY,
    JsonBody,
    MacOrUuid,
    OneLine,
    UrlQuery,
    changed,
    etag_of,
    require_match,
)
from bootserver.http.api.services import AdminServices, seen_machine, services_of
from bootserver.http.errors import ChangedError, ConflictError, IfMatchMissingError
from bootserver.images.decide import Site
from bootserver.images.directory import remove_image
from bootserver.images.explain import Explanation, explain
from bootserver.images.prepared import NOTHING_LACKING
from bootserver.images.recipes import RECIPE_NAMES
from bootserver.images.settings import change_settings, settings_of
from bootserver.json_values import Timestamp
from bootserver.model import BootPhase, Firmware, Image
from bootserver.windows.inspect import WinPe
from bootserver.windows.wim import WimError, WimlibMissingError

# A machine in one of these is fetching, or will be in a moment.
FETCHING = (BootPhase.SCRIPT_SERVED, BootPhase.FETCHING)

operations = Operations()
log = structlog.get_logger(__name__)


# ---- Looking ----


@dataclass(frozen=True, slots=True)
class ReadProgress:
    """How much of a file is read."""

    done_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class ApiImage:
    """An image in the library."""

    id: str
    title: str
    size_bytes: int
    sha256: str  # "" until the file is read
    recipe: str
    firmware: list[Firmware]  # the kinds that boot it
    problem: str
    modified_at: Timestamp
    progress: ReadProgress | None  # while it is read
    stub: bool  # a stub of it boots some machines


@dataclass(frozen=True, slots=True)
class IgnoredFile:
    """A file in the library's directory that may be meant as an image, and is none."""

    file: str  # its path in the library
    reason: str  # why, and what to do with it


@dataclass(frozen=True, slots=True)
class ImageList:
    """The library."""

    images: list[ApiImage]
    ignored: list[IgnoredFile]


def explanation_of(services: AdminServices, image: Image) -> Explanation | None:
    """What the image is and how it boots; None until it is read, and for one that cannot be."""
    if image.problem or image.facts is None:
        return None
    return explain(image, Site.of(services.config))


def image_for_api(services: AdminServices, image: Image) -> ApiImage:
    """The image as the API has it."""
    explanation = explanation_of(services, image)
    firmware = list(explanation.boots_on) if explanation else []
    progress = services.library.progress(image.id)
    return ApiImage(
        id=image.id,
        title=image.title,
        size_bytes=image.size_bytes,
        sha256=image.sha256,
        recipe=explanation.recipe if explanation else "",
        firmware=firmware,
        problem=image.problem,
        modified_at=datetime.fromtimestamp(image.version.mtime_ns / 1e9, UTC),
        progress=ReadProgress(*progress) if progress else None,
        stub=bool(firmware),
    )


def image_list(services: AdminServices) -> ImageList:
    """The library as the API and its event stream have it."""
    return ImageList(
        [image_for_api(services, image) for image in services.library.images()],
        [IgnoredFile(name, reason) for name, reason in services.library.ignored.items()],
    )


@operations.add("GET", "/images")
async def list_images(request: web.Request) -> ImageList:
    """The library."""
    return image_list(services_of(request))


# ---- One image ----


@operations.add("GET", "/images/{id}", ImageNotFoundError, ImageNotReadyError)
async def get_image(request: web.Request) -> ApiImage:
    """One image."""
    return image_for_api(services_of(request), _image(request))


@operations.add(
    "DELETE",
    "/images/{id}",
    ImageNotFoundError,
    ImageNotReadyError,
    ConflictError,
    DatabaseError,
    ImageError,
    statuses=(204,),
)
async def delete_image(request: web.Request) -> None:
    """Delete an image and its side-car."""
    services, image = services_of(request), _image(request)
    store = await services.ledger.written()
    fetching = await store.recent(50, image=image.id, phases=FETCHING)
    moving = [boot for boot in fetching if not boot.stalled]
    if moving:
        raise ConflictError(
            f"{image.id} is being fetched by {', '.join(boot.machine_name for boot in moving)}",
            hint="wait until it has booted",
        )
    await asyncio.to_thread(remove_image, Path(image.path))
    log.info("image.removed", image=image.id)
    await services.library.scan()


class ExplainQuery(UrlQuery):
    """For which machine."""

    machine: MacOrUuid = Field(
        default="", description="The MAC address or UUID of a machine that was here: what it gets"
    )


@operations.add(
    "GET",
    "/images/{id}/explain",
    ImageNotFoundError,
    ImageNotReadyError,
    ImageError,
    DatabaseError,
)
async def explain_image(request: web.Request, query: ExplainQuery) -> Explanation:
    """What it is and how it boots."""
    services, image = services_of(request), _image(request)
    if image.problem:
        raise ImageError(f"{image.id} cannot be explained: {image.problem}")
    if image.facts is None:
        raise ImageNotReadyError(f"{image.id} has just arrived and is being read")
    machine, outlook = None, NOTHING_LACKING
    if query.machine:
        machine = await seen_machine(services, query.machine)
        outlook = await services.prepared.outlook(image, machine, services.config.boot.prepare)
    return explain(image, Site.of(services.config), machine, outlook)


@operations.add(
    "GET",
    "/images/{id}/inspect",
    ImageNotFoundError,
    ImageNotReadyError,
    WimError,
    WimlibMissingError,
)
async def inspect_image(request: web.Request) -> WinPe:
    """What is in its Windows PE."""
    return await services_of(request).winpe.of(_image(request).content)


# ---- What its side-car says ----


def _recipe(text: str) -> str:
    if text and text not in RECIPE_NAMES:
        raise ValueError(f"is no recipe; one of {', '.join(sorted(RECIPE_NAMES))}")
    return text


class SidecarSettings(JsonBody):
    """What the side-car of an image says, "" for nothing; the rest of it stays."""

    title: OneLine = ""
    memdisk: MemdiskArguments = ""
    arguments: KernelArguments = ""
    recipe: Annotated[str, AfterValidator(_recipe)] = ""
    entry: Entry = Field(default="", description=ENTRY)


@operations.add(
    "GET",
    "/images/{id}/settings",
    ImageNotFoundError,
    ImageNotReadyError,
    ImageError,
    headers=("ETag",),
)
async def get_settings(request: web.Request) -> ApiAnswer[SidecarSettings]:
    """What its side-car says."""
    values, version = await asyncio.to_thread(settings_of, Path(_image(request).path))
    # As a person wrote it, checked or not.
    return ApiAnswer(SidecarSettings.model_construct(None, **values), {"ETag": etag_of(version)})


@operations.add(
    "PUT",
    "/images/{id}/settings",
    ImageNotFoundError,
    ImageNotReadyError,
    ImageError,
    IfMatchMissingError,
    ChangedError,
    headers=("ETag",),
)
async def put_settings(request: web.Request, body: SidecarSettings) -> ApiAnswer[SidecarSettings]:
    """Change what its side-car says."""
    path = Path(_image(request).path)
    _, version = await asyncio.to_thread(settings_of, path)
    require_match(request, etag_of(version))
    if not await asyncio.to_thread(change_settings, path, body.model_dump(), version):
        raise changed()
    await services_of(request).library.scan()
    return await get_settings(request)


def _image(request: web.Request) -> Image:
    return services_of(request).library.get(request.match_info["id"])
