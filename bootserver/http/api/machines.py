"""The machines that booted from here, over the API, and what config.toml says of some."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from bootserver.errors import DatabaseError
from bootserver.http.api.operations import ApiAnswer, Operations
from bootserver.http.api.requests import PageQuery, next_link, next_page
from bootserver.http.api.services import AdminServices, services_of
from bootserver.json_values import Timestamp
from bootserver.model import SeenMachine
from bootserver.sessions.profiles import MachineProfile
from bootserver.sessions.shape import MachineJson, machine_json

operations = Operations()


@dataclass(frozen=True, slots=True)
class ApiMachine:
    """A machine that has been here, with its last boot."""

    machine: MachineJson
    name: str
    address: str
    seen_at: Timestamp
    session: str
    image: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredMachine(MachineProfile):
    """A `[[machines]]` table of config.toml, without the way to its AMT."""

    mac: str
    uuid: str
    serial: str
    asset: str


@dataclass(frozen=True, slots=True)
class MachineList:
    """Machines, the last seen first, and what config.toml says of some."""

    machines: list[ApiMachine]
    next: str | None  # the URL of the next page
    configured: list[ConfiguredMachine]


@operations.add("GET", "/machines", DatabaseError, headers=("Link",))
async def list_machines(request: web.Request, query: PageQuery) -> ApiAnswer[MachineList]:
    """Machines that have been here."""
    services = services_of(request)
    store = await services.ledger.written()
    machines = await store.machines(query.limit + 1, before=query.before)
    page, following = machines[: query.limit], None
    if len(machines) > len(page):
        following = next_page(request, query, page[-1].seen_at)
    shown = [machine_for_api(machine) for machine in page]
    return ApiAnswer(
        MachineList(shown, following, configured_machines(services)), next_link(following)
    )


def machine_for_api(seen: SeenMachine) -> ApiMachine:
    """The machine as the API has it."""
    machine = machine_json(seen.name, seen.machine)
    return ApiMachine(machine, seen.name, seen.address, seen.seen_at, seen.session, seen.image)


def configured_machines(services: AdminServices) -> list[ConfiguredMachine]:
    """What config.toml says machines boot."""
    return [
        ConfiguredMachine(**table.model_dump(exclude={"amt"}))
        for table in services.config.machines
        if table.boots_something_special
    ]
