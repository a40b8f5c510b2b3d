"""The library over the API: looking, explaining, adding, changing, deleting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from aiohttp import ClientError, web

from bootserver.errors import ImageError, ImageNotReadyError
from bootserver.http.api.etags import changed, etag_of, require_match
from bootserver.http.api.jobs import JOBS, ImageJob
from bootserver.http.api.problems import ProblemError
from bootserver.http.api.requests import (
    JSON_TYPE,
    UPLOAD_TYPE,
    NewImage,
    NewSettings,
    UploadQuery,
    read_body,
    read_query,
    require_type,
)
from bootserver.http.api.services import AdminServices, services_of
from bootserver.http.api.shapes import JobKind, JobState
from bootserver.images.add import add_image, add_upload
from bootserver.images.decide import Site
from bootserver.images.directory import image_id_of, remove_image
from bootserver.images.download import shown_url
from bootserver.images.explain import explain
from bootserver.images.part import Progress
from bootserver.images.settings import change_settings, settings_of
from bootserver.model import BootPhase, Image

log = structlog.get_logger(__name__)

# A machine in one of these is fetching, or will be in a moment.
FETCHING = (BootPhase.SCRIPT_SERVED, BootPhase.FETCHING)


def image_json(services: AdminServices, image: Image) -> dict[str, Any]:
    """An image for the API and its event stream."""
    known = explain(image, Site.of(services.config)) if image.facts and not image.problem else None
    progress = services.library.progress(image.id)
    return {
        "id": image.id,
        "title": image.title,
        "size_bytes": image.size_bytes,
        "sha256": image.sha256,
        "recipe": known.recipe if known else "",
        "firmware": [firmware.value for firmware in known.boots_on] if known else [],
        "problem": image.problem,
        "modified_at": datetime.fromtimestamp(image.version.mtime_ns / 1e9, UTC).isoformat(),
        "progress": {"done_bytes": progress[0], "total_bytes": progress[1]} if progress else None,
        "stub": known is not None and bool(known.boots_on),
    }


def images_json(services: AdminServices) -> dict[str, Any]:
    """The library for the API and its event stream."""
    return {
        "images": [image_json(services, image) for image in services.library.images()],
        "ignored": ignored_json(services),
    }


def ignored_json(services: AdminServices) -> list[dict[str, str]]:
    """What lies in the library and is no image, for the API and the pages."""
    ignored = services.library.ignored
    return [{"file": name, "reason": reason} for name, reason in ignored.items()]


async def list_images(request: web.Request) -> web.Response:
    """GET /images"""
    return web.json_response(images_json(services_of(request)))


async def get_image(request: web.Request) -> web.Response:
    """GET /images/{id}"""
    return web.json_response(image_json(services_of(request), _image(request)))


async def explain_image(request: web.Request) -> web.Response:
    """GET /images/{id}/explain"""
    image = _image(request)
    if image.problem:
        raise ImageError(f"{image.id} cannot be explained: {image.problem}")
    if image.facts is None:
        raise ImageNotReadyError(f"{image.id} has just arrived and is being read")
    return web.json_response(explain(image, Site.of(services_of(request).config)).as_json())


# ---- Adding ----


async def add(request: web.Request) -> web.Response:
    """POST /images: a download is answered at once, an upload when all is there."""
    require_type(request, JSON_TYPE, UPLOAD_TYPE)
    if request.content_type == UPLOAD_TYPE:
        return await _upload(request)
    return await _download(request)


async def _download(request: web.Request) -> web.Response:
    services, wanted = services_of(request), await read_body(request, NewImage)

    async def work(progress: Progress) -> str:
        path = await add_image(
            wanted.url,
            services.config.images.path,
            name=wanted.name or None,
            sha256=wanted.sha256 or None,
            progress=progress,
        )
        await services.library.scan()
        return image_id_of(path, services.config.images.path)

    job = request.config_dict[JOBS].start(JobKind.DOWNLOAD, shown_url(wanted.url), work)
    return _job_response(job, 202)


async def _upload(request: web.Request) -> web.Response:
    services, wanted = services_of(request), read_query(request, UploadQuery)

    async def work(progress: Progress) -> str:
        path = await add_upload(
            _body(request),
            services.config.images.path,
            name=wanted.name,
            size_bytes=request.content_length,
            sha256=wanted.sha256 or None,
            progress=progress,
        )
        await services.library.scan()
        return image_id_of(path, services.config.images.path)

    jobs = request.config_dict[JOBS]
    job = jobs.start(JobKind.UPLOAD, wanted.name, work)
    try:
        job = await jobs.ended(job.id)
    except asyncio.CancelledError:
        await jobs.cancel(job.id)
        raise
    if job.problem:
        raise job.problem
    if job.state is JobState.CANCELLED:
        raise ProblemError(409, "the upload was cancelled", hint="send it again if it is wanted")
    return _job_response(job, 201)


async def _body(request: web.Request) -> AsyncIterator[bytes]:
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


def _job_response(job: ImageJob, status: int) -> web.Response:
    headers = {"Location": f"/api/v1/jobs/{job.id}"}
    return web.json_response(job.as_json(), status=status, headers=headers)


# ---- Changing and deleting ----


async def get_settings(request: web.Request) -> web.Response:
    """GET /images/{id}/settings"""
    values, version = await asyncio.to_thread(settings_of, Path(_image(request).path))
    return web.json_response(values, headers={"ETag": etag_of(version)})


async def put_settings(request: web.Request) -> web.Response:
    """PUT /images/{id}/settings"""
    path = Path(_image(request).path)
    wanted = await read_body(request, NewSettings)
    _, version = await asyncio.to_thread(settings_of, path)
    require_match(request, etag_of(version))
    if not await asyncio.to_thread(change_settings, path, wanted.model_dump(), version):
        raise changed()
    await services_of(request).library.scan()
    return await get_settings(request)


async def delete_image(request: web.Request) -> web.Response:
    """DELETE /images/{id}: the file and its side-car; refused while a machine is fetching it."""
    services, image = services_of(request), _image(request)
    store = await services.ledger.written()
    fetching = await store.recent(50, image=image.id, phases=FETCHING)
    moving = [boot for boot in fetching if not boot.stalled]
    if moving:
        raise ProblemError(
            409,
            f"{image.id} is being fetched by {', '.join(boot.machine_name for boot in moving)}",
            hint="wait until it has booted",
        )
    await asyncio.to_thread(remove_image, Path(image.path))
    log.info("image.removed", image=image.id)
    await services.library.scan()
    return web.Response(status=204)


def _image(request: web.Request) -> Image:
    return services_of(request).library.get(request.match_info["id"])
