"""Images on their way into the library, some at once, each with progress."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated
from urllib.parse import urlsplit

import structlog
from aiohttp import web
from pydantic import AfterValidator, Field, InstanceOf

from bootserver import clock
from bootserver.errors import BootServerError, ImageError, ServerFullError
from bootserver.http.api.operations import ApiAnswer, Operations
from bootserver.http.api.requests import (
    JSON_TYPE,
    UPLOAD_TYPE,
    JsonBody,
    OneLine,
    UrlQuery,
    read_body,
    read_query,
    require_type,
    upload_of,
)
from bootserver.http.api.services import services_of
from bootserver.http.errors import ConflictError, NotFoundError
from bootserver.images.add import add_image, add_upload
from bootserver.images.directory import image_id_of
from bootserver.images.download import shown_url
from bootserver.images.optimize.wishes import OptimizeReport
from bootserver.images.part import Progress
from bootserver.json_values import MayFail, Timestamp, to_json
from bootserver.limits import Limit
from bootserver.sessions.bus import Bus

RUNNING_MAX = 4  # more would only share the disk and the line
ENDED_KEPT = 50
URL_MAX = 4096
PROGRESS_INTERVAL_S = 0.5

log = structlog.get_logger(__name__)

# Adds the image and returns its id, or what is different in it.
Work = Callable[[Progress], Awaitable[str | OptimizeReport]]


class JobKind(StrEnum):
    """How an image comes into the library."""

    DOWNLOAD = "download"
    UPLOAD = "upload"
    OPTIMIZE = "optimize"  # it is made of another one


class JobState(StrEnum):
    """How far a job is; the last three are ends."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class ImageJob(MayFail):
    """An image that is being added."""

    id: str
    kind: JobKind
    source: str  # the URL without its secrets, the uploaded file's name, or the original's id
    created_at: Timestamp
    image: str = ""  # its id; "" until it is done, but for an upload
    state: JobState = JobState.WAITING
    done_bytes: int = 0
    total_bytes: int | None = None
    bytes_per_s: float | None = None
    problem: Annotated[InstanceOf[BootServerError] | None, Field(exclude=True)] = None
    ended_at: Timestamp | None = None
    report: OptimizeReport | None = None  # of one that was made of another one

    @property
    def is_active(self) -> bool:
        """True until its end."""
        return self.ended_at is None


class ImageJobs:
    """The jobs of this run of the server; ended ones are kept for a while."""

    def __init__(self, bus: Bus, limit: Limit) -> None:
        self._bus = bus
        self._limit = limit
        self._jobs: dict[str, ImageJob] = {}  # in the order they came
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._turns = asyncio.Semaphore(RUNNING_MAX)

    def list(self) -> list[ImageJob]:
        """All that are known, newest first."""
        return list(self._jobs.values())[::-1]

    def get(self, job_id: str) -> ImageJob:
        """The job; NotFoundError if there is none."""
        if job_id not in self._jobs:
            raise NotFoundError(f"there is no job {job_id[:40]!r}", hint="see /api/v1/jobs")
        return self._jobs[job_id]

    @property
    def active(self) -> int:
        """How many have not ended."""
        return len(self._tasks)

    def start(self, kind: JobKind, source: str, work: Work, *, image: str = "") -> ImageJob:
        """A new job that does `work` when its turn comes; ServerFullError if too many wait."""
        self._limit.take()
        job = ImageJob(secrets.token_hex(6), kind, source, clock.now(), image)
        self._update(job)
        self._forget_old()
        self._tasks[job.id] = asyncio.create_task(self._run(job.id, work), name=f"job-{job.id}")
        return job

    async def ended(self, job_id: str) -> ImageJob:
        """The job, at its end."""
        if task := self._tasks.get(job_id):
            await asyncio.wait({task})
        return self._jobs[job_id]

    async def cancel(self, job_id: str) -> ImageJob:
        """The job, which is to end now; what it has brought of a download stays for the next."""
        self.get(job_id)
        if task := self._tasks.get(job_id):
            await asyncio.sleep(0)  # a task that has not begun could not note its own end
            task.cancel()
        return await self.ended(job_id)

    async def close(self) -> None:
        """Cancels all."""
        for job_id in list(self._tasks):
            await self.cancel(job_id)

    async def _run(self, job_id: str, work: Work) -> None:
        state, image, problem, report = JobState.FAILED, self._jobs[job_id].image, None, None
        try:
            async with self._turns:
                self._update(replace(self._jobs[job_id], state=JobState.RUNNING))
                added = await work(self._meter(job_id))
            report = added if isinstance(added, OptimizeReport) else None
            image = report.result if report else str(added)
            state = JobState.DONE
        except asyncio.CancelledError:
            state = JobState.CANCELLED
        except BootServerError as err:
            problem = err
        except Exception:
            log.exception("job.failed", job=job_id)
            problem = BootServerError("the server failed", hint="its log says how")
        del self._tasks[job_id]
        self._limit.give_back()
        log.info("job.ended", job=job_id, state=state, image=image)
        ended = replace(self._jobs[job_id], state=state, image=image, problem=problem)
        self._update(replace(ended, ended_at=clock.now(), report=report))

    def _meter(self, job_id: str) -> Progress:
        """Notes how far the job is; publishes it twice a second."""
        began_s = time.monotonic()
        begun_at_bytes: int | None = None
        published_s = began_s

        def progress(done_bytes: int, total_bytes: int | None) -> None:
            nonlocal begun_at_bytes, published_s
            if begun_at_bytes is None or done_bytes < begun_at_bytes:
                begun_at_bytes = done_bytes  # a download that goes on had these already
            now_s = time.monotonic()
            rate = (done_bytes - begun_at_bytes) / max(now_s - began_s, 0.001)
            self._jobs[job_id] = job = replace(
                self._jobs[job_id],
                done_bytes=done_bytes,
                total_bytes=total_bytes,
                bytes_per_s=round(rate),
            )
            if now_s - published_s >= PROGRESS_INTERVAL_S:
                published_s = now_s
                self._update(job)

        return progress

    def _update(self, job: ImageJob) -> None:
        self._jobs[job.id] = job
        self._bus.publish({"type": "job", "job": to_json(job)})

    def _forget_old(self) -> None:
        ended = [job.id for job in self._jobs.values() if not job.is_active]
        for job_id in ended[:-ENDED_KEPT]:
            del self._jobs[job_id]


JOBS = web.AppKey("jobs", ImageJobs)


operations = Operations()


@dataclass(frozen=True, slots=True)
class JobList:
    """Jobs, newest first."""

    jobs: list[ImageJob]


@operations.add("GET", "/jobs")
async def list_jobs(request: web.Request) -> JobList:
    """Images on their way into the library."""
    return JobList(request.config_dict[JOBS].list())


@operations.add("GET", "/jobs/{id}", NotFoundError)
async def get_job(request: web.Request) -> ImageJob:
    """One job."""
    return request.config_dict[JOBS].get(request.match_info["id"])


@operations.add("DELETE", "/jobs/{id}", NotFoundError)
async def cancel_job(request: web.Request) -> ImageJob:
    """Cancel a job."""
    return await request.config_dict[JOBS].cancel(request.match_info["id"])


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
            upload_of(request),
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
