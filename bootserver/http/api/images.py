"""The library over the API: looking, explaining, adding, changing, deleting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import structlog
from aiohttp import ClientError, web
from pydantic import AfterValidator, Field

from bootserver.errors import (
    DatabaseError,
    ImageError,
    ImageNotFoundError,
    ImageNotReadyError,
    ServerFullError,
)
from bootserver.fields import Entry, KernelArguments, MemdiskArguments
from bootserver.http.api.jobs import JOBS, ImageJob, JobKind, JobState
from bootserver.http.api.operations import ApiAnswer, Operations
from bootserver.http.api.requests import (
    ENTRY,
    JSON_TYPE,
    UPLOAD_TYPE,
    JsonBody,
    OneLine,
    UrlQuery,
    changed,
    etag_of,
    read_body,
    read_query,
    require_match,
    require_type,
)
from bootserver.http.api.services import AdminServices, services_of
from bootserver.http.errors import ChangedError, ConflictError, IfMatchMissingError
from bootserver.images.add import add_image, add_upload
from bootserver.images.decide import Site
from bootserver.images.directory import image_id_of, remove_image
from bootserver.images.download import shown_url
from bootserver.images.explain import Explanation, explain
from bootserver.images.part import Progress
from bootserver.images.recipes import RECIPE_NAMES
from bootserver.images.settings import change_settings, settings_of
from bootserver.json_values import Timestamp
from bootserver.model import BootPhase, Firmware, Image

# A machine in one of these is fetching, or will be in a moment.
FETCHING = (BootPhase.SCRIPT_SERVED, BootPhase.FETCHING)
URL_MAX = 4096

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


# ---- Adding ----


def _web_url(text: str) -> str:
    url = urlsplit(text)
    if url.scheme.lower() not in ("http", "https") or not url.hostname:
        raise ValueError("is not a URL such as https://example.org/rescue.iso")
    return text


Sha256 = Annotated[str, Field(pattern=r"^(|[0-9a-fA-F]{64})$"), AfterValidator(str.lower)]


class UploadQuery(UrlQuery):
    """What the uploaded bytes are."""

    name: OneLine = Field(min_length=1, description="The image's name; .iso or .img may end it")
    sha256: Sha256 = ""


class NewImage(JsonBody):
    """An image to download."""

    url: Annotated[str, Field(max_length=URL_MAX), AfterValidator(_web_url)]
    sha256: Sha256 = ""
    name: OneLine = ""


@operations.add(
    "POST",
    "/images",
    ImageError,
    ConflictError,
    ServerFullError,
    statuses=(201, 202),
    headers=("Location",),
    upload=(UploadQuery, NewImage),
)
async def add_image_job(request: web.Request) -> ApiAnswer[ImageJob]:
    """Add an image: from a URL, or the bytes themselves."""
    # A download is answered at once, an upload when all is there.
    require_type(request, JSON_TYPE, UPLOAD_TYPE)
    if request.content_type == UPLOAD_TYPE:
        job, status = await _upload(request), 201
    else:
        job, status = await _download(request), 202
    return ApiAnswer(job, {"Location": f"/api/v1/jobs/{job.id}"}, status)


async def _download(request: web.Request) -> ImageJob:
    services, body = services_of(request), await read_body(request, NewImage)
    path = services.config.images.path

    async def work(progress: Progress) -> str:
        added = await add_image(
            body.url, path, name=body.name or None, sha256=body.sha256 or None, progress=progress
        )
        await services.library.scan()
        return image_id_of(added, path)

    return request.config_dict[JOBS].start(JobKind.DOWNLOAD, shown_url(body.url), work)


async def _upload(request: web.Request) -> ImageJob:
    services, query = services_of(request), read_query(request, UploadQuery)
    path = services.config.images.path

    async def work(progress: Progress) -> str:
        added = await add_upload(
            _uploaded(request),
            path,
            name=query.name,
            size_bytes=request.content_length,
            sha256=query.sha256 or None,
            progress=progress,
        )
        await services.library.scan()
        return image_id_of(added, path)

    jobs = request.config_dict[JOBS]
    job = jobs.start(JobKind.UPLOAD, query.name, work)
    try:
        job = await jobs.ended(job.id)
    except asyncio.CancelledError:
        await jobs.cancel(job.id)
        raise
    if job.problem:
        raise job.problem
    if job.state is JobState.CANCELLED:
        raise ConflictError("the upload was cancelled", hint="send it again if it is wanted")
    return job


async def _uploaded(request: web.Request) -> AsyncIterator[bytes]:
    """The body as it comes, never whole in memory."""
    got_bytes, data = 0, b" "
    try:
        while data:
            async with asyncio.timeout(services_of(request).limits.config.body_s):
                data = await request.content.readany()
            got_bytes += len(data)
            if data:
                yield data
    except (ClientError, web.RequestPayloadError, OSError) as err:
        raise ImageError(
            f"the upload broke off after {got_bytes:,} bytes", hint="send it again"
        ) from err


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


@operations.add("GET", "/images/{id}/explain", ImageNotFoundError, ImageNotReadyError, ImageError)
async def explain_image(request: web.Request) -> Explanation:
    """What it is and how it boots."""
    image = _image(request)
    if image.problem:
        raise ImageError(f"{image.id} cannot be explained: {image.problem}")
    if image.facts is None:
        raise ImageNotReadyError(f"{image.id} has just arrived and is being read")
    return explain(image, Site.of(services_of(request).config))


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
