"""Intel AMT over the API: the machines that are known, and booting them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from aiohttp import web
from pydantic import Field, SecretStr

from bootserver.amt.access import NoPasswordError
from bootserver.amt.armed import BeingArmedError
from bootserver.amt.boot.boots import (
    HostIsBusyError,
    NoCodeWantedError,
    NoSuchBootError,
    TooManyBootsError,
)
from bootserver.amt.boot.progress import BootProgress
from bootserver.amt.boot.remote_boot import BootOrder
from bootserver.amt.boot.targets import boot_into
from bootserver.amt.control.facts import AmtFacts
from bootserver.amt.control.kvm import KvmAddress, enable_kvm
from bootserver.amt.control.power import PowerChange, request_power
from bootserver.amt.errors import AmtError, AmtWrongPasswordError
from bootserver.amt.hosts import AmtHost, UnknownMachineError
from bootserver.amt.types import AmtLogin, BootMethod, BootTarget, PowerAction
from bootserver.amt.wsman.client import WsmanClient
from bootserver.errors import DatabaseError
from bootserver.fields import AmtUser, ImageId
from bootserver.http.api.operations import ApiAnswer, Operations
from bootserver.http.api.requests import JsonBody
from bootserver.http.api.services import require_image, services_of

# What a word with a machine's AMT may raise.
AMT_ERRORS = (
    UnknownMachineError,
    NoPasswordError,
    AmtWrongPasswordError,
    AmtError,
    DatabaseError,
)

operations = Operations()


class AmtCredentials(JsonBody):
    """How AMT is spoken to this once, over what is configured; never kept, never shown."""

    user: AmtUser | Literal[""] = ""
    password: SecretStr = Field(default=SecretStr(""), max_length=64)
    tls: bool | None = Field(default=None, description="TLS, or plain")
    legacy_tls: bool = Field(
        default=False, description="TLS 1.0 and 1.1 as well, for AMT that knows no TLS 1.2"
    )

    @property
    def login(self) -> AmtLogin:
        """The same for the AMT client."""
        return AmtLogin(self.user, self.password.get_secret_value(), self.tls, self.legacy_tls)


class AmtPower(AmtCredentials):
    """What AMT is to do with the machine's power."""

    action: PowerAction


class AmtTarget(AmtCredentials):
    """What of its own a machine is to boot, this once."""

    to: BootTarget


class AmtKvmOrder(AmtCredentials):
    """The remote screen, switched on with a password for its viewers."""

    rfb_password: SecretStr = Field(max_length=64, description="8 characters, as AMT wants them")


class AmtBootOrder(AmtCredentials):
    """An image to boot a machine into, through its AMT."""

    image: ImageId = Field(min_length=1)
    method: BootMethod = BootMethod.AUTO
    stay: bool = Field(default=False, description="The drive is not taken away at the hand-off")
    attended: bool = Field(
        default=True, description="False fails where a consent code would have to be told"
    )
    at_once: int | None = Field(
        default=None, ge=1, description="Begin only while fewer boots go on than that"
    )


class ConsentCode(JsonBody):
    """The code that AMT shows on the machine's screen."""

    code: str = Field(pattern=r"^[0-9]{6}$")


@dataclass(frozen=True, slots=True)
class AmtHostList:
    """Those of config.toml first."""

    hosts: list[AmtHost]


@dataclass(frozen=True, slots=True)
class AmtBootList:
    """Newest first."""

    amt_boots: list[BootProgress]


# ---- Boots of an image ----


@operations.add(
    "POST",
    "/machines/{id}/boot",
    UnknownMachineError,
    HostIsBusyError,
    TooManyBootsError,
    DatabaseError,
    statuses=(202,),
    headers=("Location",),
)
async def boot_machine(request: web.Request, body: AmtBootOrder) -> ApiAnswer[BootProgress]:
    """Boot a machine through its AMT; its host will do for an id."""
    services = services_of(request)
    await require_image(services, body.image)
    order = BootOrder(
        await services.amt_hosts.resolve(request.match_info["id"]),
        body.image,
        body.method,
        stays=body.stay,
        attended=body.attended,
        at_once=body.at_once,
        login=body.login,
    )
    progress = services.amt_boots.start(order)
    return ApiAnswer(progress, {"Location": f"/api/v1/amt/boots/{progress.id}"})


# ---- Machines ----


@operations.add("GET", "/amt/hosts", DatabaseError)
async def list_hosts(request: web.Request) -> AmtHostList:
    """AMT as it is known."""
    return AmtHostList(await services_of(request).amt_hosts.list())


@operations.add("DELETE", "/amt/hosts/{host}", UnknownMachineError, DatabaseError, statuses=(204,))
async def forget_host(request: web.Request) -> None:
    """Forget what was met there, its pinned certificate too."""
    hosts = services_of(request).amt_hosts
    await hosts.forget(await hosts.resolve(request.match_info["host"]))


@operations.add("POST", "/amt/hosts/{host}/probe", *AMT_ERRORS)
async def probe_host(request: web.Request, body: AmtCredentials) -> AmtFacts:
    """Ask AMT what it is and what it can do."""
    async with _client(request, body) as client:
        return await services_of(request).amt_hosts.probe(client)


@operations.add("POST", "/amt/hosts/{host}/power", *AMT_ERRORS)
async def change_power(request: web.Request, body: AmtPower) -> PowerChange:
    """Switch a machine on or off, or reset it."""
    async with _client(request, body) as client:
        return await request_power(client, body.action)


@operations.add("POST", "/amt/hosts/{host}/boot", BeingArmedError, *AMT_ERRORS)
async def boot_into_own(request: web.Request, body: AmtTarget) -> PowerChange:
    """Boot a machine into its setup, or from its own disk, CD drive or network, this once."""
    async with _client(request, body) as client:
        return await boot_into(services_of(request).amt_hosts, client, body.to, lambda _: None)


@operations.add("POST", "/amt/hosts/{host}/kvm", *AMT_ERRORS)
async def switch_kvm_on(request: web.Request, body: AmtKvmOrder) -> KvmAddress:
    """Switch the remote screen on, for viewers with that password."""
    async with _client(request, body) as client:
        return await enable_kvm(client, body.rfb_password.get_secret_value())


@asynccontextmanager
async def _client(request: web.Request, body: AmtCredentials) -> AsyncIterator[WsmanClient]:
    """A client of the AMT that the request's path names."""
    hosts = services_of(request).amt_hosts
    host = await hosts.resolve(request.match_info["host"])
    async with hosts.client(host, body.login) as (client, _):
        yield client


# ---- Boots that go on ----


@operations.add("GET", "/amt/boots")
async def list_amt_boots(request: web.Request) -> AmtBootList:
    """Boots over AMT."""
    return AmtBootList(services_of(request).amt_boots.list())


@operations.add("GET", "/amt/boots/{id}", NoSuchBootError)
async def get_amt_boot(request: web.Request) -> BootProgress:
    """One of them."""
    return services_of(request).amt_boots.get(request.match_info["id"])


@operations.add("DELETE", "/amt/boots/{id}", NoSuchBootError)
async def stop_amt_boot(request: web.Request) -> BootProgress:
    """Give it up, or take away a drive that stays."""
    return await services_of(request).amt_boots.stop(request.match_info["id"])


@operations.add(
    "POST", "/amt/boots/{id}/consent", NoSuchBootError, NoCodeWantedError, statuses=(202,)
)
async def give_code(request: web.Request, body: ConsentCode) -> BootProgress:
    """The consent code on the machine's screen."""
    boots, boot_id = services_of(request).amt_boots, request.match_info["id"]
    boots.give_code(boot_id, body.code)
    return boots.get(boot_id)
