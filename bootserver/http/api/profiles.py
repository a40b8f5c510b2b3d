"""Profiles over the API: what machines boot, as set at run time."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass

from aiohttp import web
from pydantic import Field, model_validator

from bootserver.errors import DatabaseError, ImageError
from bootserver.fields import (
    Entry,
    ImageId,
    KernelArguments,
    Mac,
    MachineName,
    MemdiskArguments,
    Uuid,
)
from bootserver.http.api.operations import ApiAnswer, Operations
from bootserver.http.api.requests import ENTRY, JsonBody, changed, etag_of, require_match
from bootserver.http.api.services import require_image, services_of
from bootserver.http.errors import (
    ChangedError,
    ConflictError,
    IfMatchMissingError,
    NotFoundError,
)
from bootserver.json_values import Timestamp
from bootserver.selector import Selector
from bootserver.sessions.profiles import SAID, MachineProfile, Profile

operations = Operations()


class ProfileChange(JsonBody):
    """What the machines of a profile boot from now on."""

    image: ImageId = ""
    entry: Entry = Field(default="", description=ENTRY)
    arguments: KernelArguments = ""
    memdisk: MemdiskArguments = ""

    @property
    def boots(self) -> dict[str, str]:
        """What it says, by the names of MachineProfile."""
        return {name: getattr(self, name) for name in SAID}

    @model_validator(mode="after")
    def _says_something(self) -> ProfileChange:
        if not any(self.boots.values()):
            raise ValueError("give image, entry, arguments or memdisk")
        return self


class NewProfile(ProfileChange):
    """What machines of these names boot; all names that are given must match."""

    mac: Mac = ""
    uuid: Uuid = ""
    serial: MachineName = ""
    asset: MachineName = ""
    once: bool = Field(default=False, description="For the next boot only")

    @model_validator(mode="after")
    def _names_a_machine(self) -> NewProfile:
        if not self.selector.names:
            raise ValueError("give a mac, uuid, serial or asset that names the machine")
        return self

    @property
    def selector(self) -> Selector:
        """The machines that it is about."""
        return Selector(self.mac, self.uuid, self.serial, self.asset)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiProfile(MachineProfile):
    """What the machines of these names boot, as set at run time."""

    id: str  # its name in URLs, which stays the same when it is set anew
    etag: str  # for If-Match
    mac: str
    uuid: str
    serial: str
    asset: str
    once: bool
    set_at: Timestamp
    warning: str  # why it may be for more machines than meant, or ""


@dataclass(frozen=True, slots=True)
class ProfileList:
    """Profiles, newest first."""

    profiles: list[ApiProfile]


def profile_for_api(profile: Profile) -> ApiProfile:
    """The profile as the API has it."""
    kind = "once" if profile.once else "standing"
    return ApiProfile(
        id=hashlib.sha256(f"{kind} {profile.selector.key}".encode()).hexdigest()[:12],
        etag=etag_of(profile.id),  # which is that of this version
        **asdict(profile.selector),
        **{name: getattr(profile, name) for name in SAID},
        once=profile.once,
        set_at=profile.set_at,
        warning=profile.selector.warning,
    )


@operations.add("GET", "/profiles", DatabaseError)
async def list_profiles(request: web.Request) -> ProfileList:
    """What machines boot, as set here."""
    profiles = await services_of(request).profiles.list()
    return ProfileList([profile_for_api(profile) for profile in profiles])


@operations.add(
    "POST",
    "/profiles",
    ImageError,
    ConflictError,
    DatabaseError,
    statuses=(201,),
    headers=("ETag", "Location"),
)
async def add_profile(request: web.Request, body: NewProfile) -> ApiAnswer[ApiProfile]:
    """Say what machines boot."""
    services = services_of(request)
    await require_image(services, body.image, body.entry)
    profile = await services.profiles.add(body.selector, once=body.once, **body.boots)
    if profile is None:
        raise ConflictError(
            "there is such a profile for these names already", hint="change that one"
        )
    answer = profile_for_api(profile)
    return ApiAnswer(answer, {"ETag": answer.etag, "Location": f"{request.path}/{answer.id}"})


@operations.add("GET", "/profiles/{id}", NotFoundError, DatabaseError, headers=("ETag",))
async def get_profile(request: web.Request) -> ApiAnswer[ApiProfile]:
    """One profile."""
    answer = profile_for_api(await _profile(request))
    return ApiAnswer(answer, {"ETag": answer.etag})


@operations.add(
    "PUT",
    "/profiles/{id}",
    NotFoundError,
    IfMatchMissingError,
    ChangedError,
    ImageError,
    DatabaseError,
    headers=("ETag",),
)
async def put_profile(request: web.Request, body: ProfileChange) -> ApiAnswer[ApiProfile]:
    """Change what machines boot."""
    services, former = services_of(request), await _profile(request)
    require_match(request, etag_of(former.id))
    await require_image(services, body.image, body.entry)
    profile = await services.profiles.replace(former, **body.boots)
    if profile is None:
        raise changed()
    answer = profile_for_api(profile)
    return ApiAnswer(answer, {"ETag": answer.etag})


@operations.add(
    "DELETE",
    "/profiles/{id}",
    NotFoundError,
    IfMatchMissingError,
    ChangedError,
    DatabaseError,
    statuses=(204,),
)
async def delete_profile(request: web.Request) -> None:
    """Forget a profile."""
    profile = await _profile(request)
    require_match(request, etag_of(profile.id))
    if not await services_of(request).profiles.drop(profile.id):
        raise changed()


async def _profile(request: web.Request) -> Profile:
    wanted = request.match_info["id"]
    for profile in await services_of(request).profiles.list():
        if profile_for_api(profile).id == wanted:
            return profile
    raise NotFoundError(f"there is no profile {wanted[:40]!r}", hint="see /api/v1/profiles")
