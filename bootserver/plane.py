"""What machines may ask for, whatever the protocol: scripts, images, loaders, stubs, beacons.

HTTP and TFTP are two skins over this. Everything lies behind a token: a stub's, or the key of one
boot session, by which the script's own URLs are told apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from bootserver.config import Config
from bootserver.errors import (
    BootServerError,
    ImageError,
    ImageNotReadyError,
    LoaderMissingError,
    UnknownTokenError,
)
from bootserver.images.library import Library
from bootserver.images.recipes import Limits, decide
from bootserver.model import (
    BootPhase,
    BootSession,
    Content,
    FileVersion,
    Image,
    Machine,
    StubFormat,
)
from bootserver.sessions.ledger import Ledger
from bootserver.stub.issued import IssuedStub, IssuedStubs
from bootserver.stub.loaders import SERVED, sha256_of
from bootserver.stub.machine import parse_machine
from bootserver.stub.render import render_boot, render_message
from bootserver.stub.site import plan_for_site, served_loader
from bootserver.stub.write import shelve

log = structlog.get_logger(__name__)

RETRY_SOON_S = 5  # what the machine waits for comes by itself
RETRY_LATER_S = 30  # somebody has to do something first

UNKNOWN_STUB = UnknownTokenError(
    "this stub is not known to this server", hint="build a new one: bootserver stub build IMAGE"
)
BEACONS = {"handoff": BootPhase.HANDED_OFF, "up": BootPhase.OS_UP}


class BootPlane:
    """Answers machines, and tells the ledger how far each has come."""

    def __init__(
        self, config: Config, library: Library, stubs: IssuedStubs, ledger: Ledger
    ) -> None:
        self._config = config
        self._library = library
        self._stubs = stubs
        self._ledger = ledger

    async def script(self, token: str, query: Mapping[str, str], address: str) -> str:
        """The boot script for the machine that `query` describes.

        Whatever is wrong is a script as well: it says so on the machine's screen and asks again.
        """
        stub = await self._stubs.find(token)
        if stub is None:
            log.info("script.refused", client=address, reason="unknown token")
            return _message(UNKNOWN_STUB, RETRY_LATER_S)
        machine = parse_machine(query)
        session = self._ledger.start(token, stub.spec.image, machine, address)
        return self._boot_script(session, machine)

    async def image(self, token: str, address: str) -> tuple[Content, BootSession | None]:
        """The image that `token` names, ready to be opened, and the boot that it is for, if any.

        Raises UnknownTokenError, ImageNotFoundError, ImageNotReadyError or ImageError.
        """
        session = self._ledger.find(token, address)
        if session is None:
            stub = await self._stubs.find(token)
            if stub is None:
                raise UnknownTokenError("no such image here")
            return self._ready_image(stub.spec.image).content, None
        return self._ready_image(session.image).content, session

    def fetching(self, session: BootSession, image: Content) -> None:
        """A boot has begun to fetch its image."""
        self._ledger.expect(session.key, image.version.size_bytes)
        self._ledger.advance(session.key, BootPhase.FETCHING)

    def sent(self, session: BootSession, sent_bytes: int) -> None:
        """So many more bytes of the image went out."""
        self._ledger.count(session.key, sent_bytes)

    def fetched(self, session: BootSession) -> None:
        """All of the image went out in one piece."""
        self._ledger.advance(session.key, BootPhase.FETCHED)

    def fetch_broken(self, session: BootSession, end: str, sent_bytes: int) -> None:
        """An answer with the image ended early: `end` says why; the machine may ask again."""
        reason = f"the download broke off after {sent_bytes:,} bytes ({end})"
        self._ledger.complain(session.key, reason)

    def beacon(self, token: str, name: str, address: str) -> None:
        """The machine says how far it is; raises UnknownTokenError for what we do not know."""
        phase = BEACONS.get(name)
        session = self._ledger.find(token, address)
        if phase is None or session is None:
            raise UnknownTokenError("no such beacon here")
        self._ledger.advance(session.key, phase)

    async def loader(self, name: str) -> Content:
        """A public boot loader; raises LoaderMissingError."""
        if name not in SERVED:
            raise LoaderMissingError(f"no loader {name[:40]} is served here")
        return await asyncio.to_thread(served_loader, self._config, name)

    async def stub(self, token: str, format: StubFormat) -> Content:
        """The stub of that token, made again if need be; raises UnknownTokenError."""
        stub = await self._stubs.find(token)
        if stub is None:
            raise UnknownTokenError("no such stub here")
        return await asyncio.to_thread(self._shelve, stub, format)

    def _shelve(self, stub: IssuedStub, format: StubFormat) -> Content:
        plan = plan_for_site(self._config, stub, format)
        path = shelve(plan, self._config.state.path / "shelf")
        return Content(str(path), FileVersion.of(path.stat()), sha256_of(path))

    def _boot_script(self, session: BootSession, machine: Machine) -> str:
        boot = self._config.boot
        try:
            image = self._ready_image(session.image)
            limits = Limits(boot.os_room_mib, boot.bios_limit_mib)
            decision = decide(image, machine, limits)
            if decision.method is None:
                raise ImageError(decision.refusal)
        except ImageNotReadyError as err:
            return _message(err, RETRY_SOON_S)
        except ImageError as err:
            self._ledger.complain(session.key, err.message)
            return _message(err, RETRY_LATER_S)
        self._ledger.complain(session.key, "")
        self._ledger.advance(session.key, BootPhase.SCRIPT_SERVED)
        special = self._config.machine(machine)
        memdisk = (special and special.memdisk) or image.memdisk or boot.memdisk
        return render_boot(decision.method, image, f"/b/{session.key}", memdisk)

    def _ready_image(self, image_id: str) -> Image:
        image = self._library.get(image_id)
        if image.problem:
            raise ImageError(f"{image.id} cannot be booted: {image.problem}")
        if not image.sha256:
            done, total = self._library.progress(image_id) or (0, image.size_bytes)
            percent = 100 * done // max(total, 1)
            raise ImageNotReadyError(f"{image.id} has just arrived; {percent} % of it is checked")
        return image


def _message(err: BootServerError, retry_s: int) -> str:
    return render_message([line for line in (err.message, err.hint) if line], retry_s=retry_s)
