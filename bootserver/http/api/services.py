"""What the admin plane works on, handed over by the service in one piece."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from bootserver.amt.boot.boots import AmtBoots
from bootserver.amt.hosts import AmtHosts
from bootserver.config import Config
from bootserver.errors import ImageNotFoundError, ImageNotReadyError
from bootserver.http.errors import MistakeError
from bootserver.images.library import Library
from bootserver.images.prepared import PreparedDiscs
from bootserver.limits import ServerLimits
from bootserver.model import Machine
from bootserver.sessions.bus import Bus
from bootserver.sessions.ledger import Ledger
from bootserver.sessions.profiles import ProfileStore
from bootserver.stub.registry import StubRegistry
from bootserver.windows.inspect import WinPeFindings


@dataclass(frozen=True, slots=True)
class AdminServices:
    """The services of a running server that its admin plane shows and changes."""

    config: Config
    library: Library
    ledger: Ledger
    bus: Bus
    profiles: ProfileStore
    stubs: StubRegistry
    amt_hosts: AmtHosts
    amt_boots: AmtBoots
    limits: ServerLimits
    winpe: WinPeFindings
    prepared: PreparedDiscs


SERVICES = web.AppKey("services", AdminServices)


def services_of(request: web.Request) -> AdminServices:
    """The services of the server that this request came to."""
    return request.config_dict[SERVICES]


async def require_image(services: AdminServices, image_id: str, entry: str = "") -> None:
    """Refuses a body that names an image that there is not; a half-copied one is there.

    Raises ImageError for an entry of its disc's menu that no machine boots.
    """
    if not image_id:
        return
    try:
        await services.library.check_entry(image_id, entry)
    except ImageNotReadyError:
        pass
    except ImageNotFoundError as err:
        message = f"{err.message}; {err.hint}"
        raise MistakeError(f"image: {message}", mistakes=[("image", message)]) from err


async def seen_machine(services: AdminServices, name: str) -> Machine:
    """The machine of that MAC address or UUID, as it was here the last time."""
    seen = await (await services.ledger.written()).last_of(name)
    if seen is None:
        message = f"no machine {name} has booted from here"
        raise MistakeError(f"machine: {message}", mistakes=[("machine", message)])
    return seen.machine
