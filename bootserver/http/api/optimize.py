"""New images made of discs, over the API: looked at beforehand, and made as a job."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from aiohttp import web
from pydantic import AfterValidator, Field

from bootserver.errors import (
    DatabaseError,
    ImageError,
    ImageNotFoundError,
    ImageNotReadyError,
    ServerFullError,
    StubError,
)
from bootserver.fields import KernelArguments
from bootserver.http.api.jobs import JOBS, ImageJob, JobKind
from bootserver.http.api.operations import ApiAnswer, Operations
from bootserver.http.api.requests import JsonBody, MacOrUuid, OneLine
from bootserver.http.api.services import seen_machine, services_of
from bootserver.http.errors import ConflictError, MistakeError
from bootserver.images.optimize.wishes import (
    OptimizeReport,
    OptimizeWishes,
    addition,
    dropped_path,
    image_path,
)
from bootserver.images.optimize.write import optimize, preview, result_id
from bootserver.images.part import Progress
from bootserver.images.winpe import cards_of
from bootserver.model import Image
from bootserver.pci import PciId
from bootserver.stub.spec import stub_spec
from bootserver.windows.drivers import DriverLibrary, NoDriverError
from bootserver.windows.unpack import DriverError
from bootserver.windows.wim import WimError, WimlibMissingError

LIST_MAX = 100
LINE_MAX = 1000

operations = Operations()


def _valid(parse: Callable[[str], object]) -> AfterValidator:
    """Keeps a text that `parse` takes."""

    def check(text: str) -> str:
        parse(text)
        return text

    return AfterValidator(check)


class NewFile(JsonBody):
    """A file or folder that is put in."""

    source: OneLine = Field(min_length=1, description="Its path in the library of images")
    path: Annotated[OneLine, _valid(image_path)] = Field(description="X:\\tools\\vnc")


class OptimizeOrder(JsonBody):
    """What is to be different in the new image."""

    name: OneLine = Field(default="", description="The new image's; ID-optimized if there is none")
    nics: list[Annotated[str, _valid(PciId.parse)]] = Field(
        default=[], max_length=LIST_MAX, description="Cards that get their drivers: 8086:15bc"
    )
    machine: MacOrUuid = Field(
        default="", description="The MAC address or UUID of a machine whose cards get drivers"
    )
    vpro: bool = False
    drop_foreign_nics: bool = False
    drop_wifi: bool = False
    drop_unused_images: bool = False
    drop_paths: list[Annotated[str, _valid(dropped_path)]] = Field(default=[], max_length=LIST_MAX)
    add: list[NewFile] = Field(default=[], max_length=LIST_MAX)
    run: list[Annotated[str, Field(max_length=LINE_MAX)]] = Field(default=[], max_length=LIST_MAX)
    arguments: KernelArguments = Field(default="", description="For the kernels of a Linux disc")
    call_home: bool = False


ERRORS = (
    ImageNotFoundError,
    ImageNotReadyError,
    MistakeError,
    DatabaseError,
    StubError,
    ImageError,
    WimError,
    WimlibMissingError,
    DriverError,
    NoDriverError,
)


@operations.add("POST", "/images/{id}/optimize/preview", *ERRORS)
async def preview_optimized(request: web.Request, body: OptimizeOrder) -> OptimizeReport:
    """What a new image of it would have and lack."""
    image, wishes = await _asked(request, body)
    drivers = DriverLibrary.of(services_of(request).config)
    return await preview(image, wishes, drivers, name=body.name)


@operations.add(
    "POST",
    "/images/{id}/optimize",
    *ERRORS,
    ConflictError,
    ServerFullError,
    statuses=(202,),
    headers=("Location",),
)
async def add_optimized(request: web.Request, body: OptimizeOrder) -> ApiAnswer[ImageJob]:
    """Make a new image of it, with drivers put in and ballast left out."""
    # What can be known beforehand is answered, and no job.
    if not (await preview_optimized(request, body)).result:
        raise ConflictError(
            f"{request.match_info['id']} has all of that already", hint="ask for something else"
        )
    image, wishes = await _asked(request, body)
    services = services_of(request)
    config = services.config

    async def work(progress: Progress) -> OptimizeReport:
        report = await optimize(
            image,
            wishes,
            DriverLibrary.of(config),
            directory=config.images.path,
            state=config.state.path,
            name=body.name,
            progress=progress,
        )
        await services.library.scan()
        return report

    job = request.config_dict[JOBS].start(JobKind.OPTIMIZE, image.id, work)
    return ApiAnswer(job, {"Location": f"/api/v1/jobs/{job.id}"})


async def _asked(request: web.Request, order: OptimizeOrder) -> tuple[Image, OptimizeWishes]:
    """The image, and what is wanted of the new one."""
    services = services_of(request)
    image = services.library.ready(request.match_info["id"])
    wishes = OptimizeWishes(
        nics=tuple(map(PciId.parse, order.nics)),
        vpro=order.vpro,
        drop_foreign_nics=order.drop_foreign_nics,
        drop_wifi=order.drop_wifi,
        drop_unused_images=order.drop_unused_images,
        drop_paths=tuple(order.drop_paths),
        added=await asyncio.to_thread(_added, services.config.images.path, order.add),
        lines=tuple(order.run),
        arguments=order.arguments,
    )
    if order.machine:
        wishes = replace(wishes, machine=cards_of(await seen_machine(services, order.machine)))
    result = result_id(image, order.name)
    if order.call_home:
        stub = await services.stubs.issue(stub_spec(services.config, result))
        wishes = replace(wishes, up_url=stub.up_url)
    if wishes == OptimizeWishes():
        message = "say what is to be different"
        raise MistakeError(message, hint="give nics, drop_wifi, or another member")
    return image, wishes


def _added(library: Path, files: list[NewFile]) -> tuple[tuple[Path, str], ...]:
    """The files with their places on disk: in the library's directory, as what is served is."""
    home = Path(os.path.realpath(library))
    added = []
    for file in files:
        path = Path(os.path.realpath(home / file.source))
        if not path.is_relative_to(home) or path == home:
            message = f"{file.source} is not in the library's directory"
            raise MistakeError(f"add: {message}", mistakes=[("add", message)])
        added.append(addition(path, file.path))
    return tuple(added)
