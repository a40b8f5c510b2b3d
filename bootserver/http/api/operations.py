"""All operations of the API, in one table: the routes and openapi.json are both made of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from aiohttp import web
from pydantic import BaseModel

from bootserver.http.api import (
    amt,
    amt_console,
    boots,
    events,
    images,
    jobs,
    machines,
    shapes,
    status,
    stubs,
)
from bootserver.http.api.requests import (
    AmtBootOrder,
    AmtCredentials,
    AmtKvmOrder,
    AmtPower,
    AmtTarget,
    BootQuery,
    ConsentCode,
    ExportQuery,
    MachineQuery,
    NewImage,
    NewProfile,
    NewSettings,
    ProfileChange,
    StubOrder,
    UploadQuery,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Operation:
    """What one method does at one path; `answers` has a model or media types by status."""

    method: str
    path: str
    handler: Handler
    summary: str
    answers: Mapping[int, type[BaseModel] | tuple[str, ...] | None]
    problems: tuple[int, ...] = ()  # beside those that any operation may answer with
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    takes_upload: bool = False
    is_conditional: bool = False  # takes If-Match
    headers: tuple[str, ...] = field(default=())  # of a good answer


OPERATIONS = (
    Operation(
        "GET",
        "/status",
        status.get_status,
        "Version, uptime, counts, problems",
        {200: shapes.Status},
    ),
    Operation(
        "GET",
        "/boots",
        boots.list_boots,
        "A page of boots, newest first",
        {200: shapes.BootPage},
        (400,),
        query=BootQuery,
        headers=("Link",),
    ),
    Operation(
        "GET",
        "/boots/export",
        boots.export_boots,
        "All boots as CSV, JSON or OpenMetrics",
        {200: ("text/csv", "application/json", "application/openmetrics-text")},
        (400,),
        query=ExportQuery,
        headers=("Content-Disposition",),
    ),
    Operation(
        "GET",
        "/boots/{id}",
        boots.get_boot,
        "One boot; the beginning of its id will do",
        {200: shapes.Boot},
        (404,),
    ),
    Operation(
        "GET",
        "/events",
        events.watch,
        "What happens, as server-sent events",
        {200: ("text/event-stream",)},
        (503,),
    ),
    Operation("GET", "/images", images.list_images, "The library", {200: shapes.ImageList}),
    Operation(
        "POST",
        "/images",
        images.add,
        "Add an image: from a URL, or the bytes themselves",
        {201: shapes.Job, 202: shapes.Job},
        (400, 403, 409, 413, 415, 422, 503),
        query=UploadQuery,
        body=NewImage,
        takes_upload=True,
        headers=("Location",),
    ),
    Operation(
        "GET",
        "/images/{id}",
        images.get_image,
        "One image",
        {200: shapes.Image},
        (404, 503),
    ),
    Operation(
        "DELETE",
        "/images/{id}",
        images.delete_image,
        "Delete an image and its side-car",
        {204: None},
        (403, 404, 409, 422, 503),
    ),
    Operation(
        "GET",
        "/images/{id}/explain",
        images.explain_image,
        "What it is and how it boots",
        {200: shapes.Explanation},
        (404, 422, 503),
    ),
    Operation(
        "GET",
        "/images/{id}/settings",
        images.get_settings,
        "What its side-car says",
        {200: shapes.ImageSettings},
        (404, 422, 503),
        headers=("ETag",),
    ),
    Operation(
        "PUT",
        "/images/{id}/settings",
        images.put_settings,
        "Change what its side-car says",
        {200: shapes.ImageSettings},
        (400, 403, 404, 412, 413, 415, 422, 428, 503),
        body=NewSettings,
        is_conditional=True,
        headers=("ETag",),
    ),
    Operation("GET", "/jobs", jobs.list_jobs, "Downloads and uploads", {200: shapes.JobList}),
    Operation("GET", "/jobs/{id}", jobs.get_job, "One job", {200: shapes.Job}, (404,)),
    Operation(
        "DELETE",
        "/jobs/{id}",
        jobs.cancel_job,
        "Cancel a job",
        {200: shapes.Job},
        (403, 404),
    ),
    Operation(
        "POST",
        "/stubs",
        stubs.build_stub,
        "Build a stub",
        {201: shapes.Stub},
        (400, 403, 413, 415, 422, 503),
        body=StubOrder,
        headers=("Location",),
    ),
    Operation(
        "GET",
        "/stubs/{token}.{format}",
        stubs.download_stub,
        "The file of a stub",
        {200: tuple(stubs.CONTENT_TYPES.values())},
        (404, 422, 503),
        headers=("Content-Disposition",),
    ),
    Operation(
        "GET",
        "/machines",
        machines.list_machines,
        "Machines that have been here",
        {200: shapes.MachineList},
        (400,),
        query=MachineQuery,
        headers=("Link",),
    ),
    Operation(
        "POST",
        "/machines/{id}/boot",
        amt.boot_machine,
        "Boot a machine through its AMT; its host will do for an id",
        {202: shapes.AmtBoot},
        (400, 403, 404, 409, 413, 415, 422, 503),
        body=AmtBootOrder,
        headers=("Location",),
    ),
    Operation("GET", "/amt/hosts", amt.list_hosts, "AMT as it is known", {200: shapes.AmtHostList}),
    Operation(
        "DELETE",
        "/amt/hosts/{host}",
        amt.forget_host,
        "Forget what was met there, its pinned certificate too",
        {204: None},
        (403, 404),
    ),
    Operation(
        "POST",
        "/amt/hosts/{host}/probe",
        amt.probe_host,
        "Ask AMT what it is and what it can do",
        {200: shapes.AmtFacts},
        (400, 403, 404, 413, 415, 422, 502),
        body=AmtCredentials,
    ),
    Operation(
        "POST",
        "/amt/hosts/{host}/power",
        amt.change_power,
        "Switch a machine on or off, or reset it",
        {200: shapes.AmtPowerChange},
        (400, 403, 404, 413, 415, 422, 502),
        body=AmtPower,
    ),
    Operation(
        "POST",
        "/amt/hosts/{host}/boot",
        amt.boot_into_own,
        "Boot a machine into its setup, or from its own disk, CD drive or network, this once",
        {200: shapes.AmtPowerChange},
        (400, 403, 404, 409, 413, 415, 422, 502),
        body=AmtTarget,
    ),
    Operation(
        "POST",
        "/amt/hosts/{host}/kvm",
        amt.switch_kvm_on,
        "Switch the remote screen on, for viewers with that password",
        {200: shapes.AmtScreen},
        (400, 403, 404, 413, 415, 422, 502),
        body=AmtKvmOrder,
    ),
    Operation(
        "GET",
        "/amt/hosts/{host}/console",
        amt_console.watch_console,
        "The machine's serial line and its keys, over a WebSocket",
        {101: None},
        (403, 404, 426, 503),
    ),
    Operation("GET", "/amt/boots", amt.list_amt_boots, "Boots over AMT", {200: shapes.AmtBootList}),
    Operation(
        "GET", "/amt/boots/{id}", amt.get_amt_boot, "One of them", {200: shapes.AmtBoot}, (404,)
    ),
    Operation(
        "DELETE",
        "/amt/boots/{id}",
        amt.stop_amt_boot,
        "Give it up, or take away a drive that stays",
        {200: shapes.AmtBoot},
        (403, 404),
    ),
    Operation(
        "POST",
        "/amt/boots/{id}/consent",
        amt.give_code,
        "The consent code on the machine's screen",
        {202: shapes.AmtBoot},
        (400, 403, 404, 409, 413, 415, 422),
        body=ConsentCode,
    ),
    Operation(
        "GET",
        "/profiles",
        machines.list_profiles,
        "What machines boot, as set here",
        {200: shapes.ProfileList},
    ),
    Operation(
        "POST",
        "/profiles",
        machines.add_profile,
        "Say what machines boot",
        {201: shapes.Profile},
        (400, 403, 409, 413, 415, 422),
        body=NewProfile,
        headers=("ETag", "Location"),
    ),
    Operation(
        "GET",
        "/profiles/{id}",
        machines.get_profile,
        "One profile",
        {200: shapes.Profile},
        (404,),
        headers=("ETag",),
    ),
    Operation(
        "PUT",
        "/profiles/{id}",
        machines.put_profile,
        "Change what machines boot",
        {200: shapes.Profile},
        (400, 403, 404, 412, 413, 415, 422, 428),
        body=ProfileChange,
        is_conditional=True,
        headers=("ETag",),
    ),
    Operation(
        "DELETE",
        "/profiles/{id}",
        machines.delete_profile,
        "Forget a profile",
        {204: None},
        (403, 404, 412, 428),
        is_conditional=True,
    ),
)
