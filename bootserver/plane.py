"""What machines may ask for, whatever the protocol: scripts, images, files, loaders, beacons.

HTTP and TFTP are two skins over this. Everything lies behind a token: a stub's, or the key of one
boot session, by which the script's own URLs are told apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from bootserver.config import Config
from bootserver.disc.volume import Node
from bootserver.errors import DatabaseError, LoaderMissingError, UnknownTokenError
from bootserver.images.overlay import Served, served_file, served_image
from bootserver.images.tree import ImageTrees
from bootserver.model import (
    BootPhase,
    BootSession,
    Content,
    FileVersion,
    Image,
    StubFormat,
    TransferEnd,
)
from bootserver.scripts import (
    NOTHING_PICKED,
    RETRY_LATER_S,
    RETRY_SOON_S,
    UNKNOWN_STUB,
    Pick,
    Scripts,
    hooks,
    message,
)
from bootserver.sessions.ledger import Ledger
from bootserver.sessions.live import AskTcp, Fetch
from bootserver.sessions.profiles import ProfileStore
from bootserver.sessions.tracker import is_before
from bootserver.stub.issued import IssuedStub, IssuedStubs
from bootserver.stub.loaders import SERVED, sha256_of
from bootserver.stub.order import own_url
from bootserver.stub.render import render_open
from bootserver.stub.site import plan_for_site, served_loader
from bootserver.stub.write import shelve

log = structlog.get_logger(__name__)

WHOLE_IMAGE = "image.iso"  # below the token; the files in it are below "tree/"
BEACONS = {"handoff": BootPhase.HANDED_OFF, "up": BootPhase.OS_UP}


class BootPlane:
    """Answers machines, and tells the ledger how far each has come."""

    def __init__(
        self,
        config: Config,
        scripts: Scripts,
        trees: ImageTrees,
        stubs: IssuedStubs,
        ledger: Ledger,
        profiles: ProfileStore,
        open_stub: IssuedStub | None = None,
    ) -> None:
        self._config = config
        self._scripts = scripts
        self._trees = trees
        self._stubs = stubs
        self._ledger = ledger
        self._profiles = profiles
        self._open_stub = open_stub

    def http_url(self, local_address: str = "") -> str:
        """The boot plane's URL over HTTP, for a client that reached us at `local_address`."""
        server = self._config.server
        if server.url or not local_address:
            return own_url(self._config)
        host = f"[{local_address}]" if ":" in local_address else local_address
        return f"http://{host}:{server.boot_port}"

    @property
    def stalled_s(self) -> float:
        """How long a client may take nothing of an answer."""
        return self._config.limits.stalled_s

    # ---- Scripts ----

    async def script(
        self,
        token: str,
        query: Mapping[str, str],
        address: str,
        origin: str,
        picked: Pick = NOTHING_PICKED,
    ) -> str:
        """The script for the machine that `query` describes; `picked` is its choice in the menus.

        Whatever is wrong is a script as well: it says so on the machine's screen and asks again.
        """
        try:
            stub = await self._stubs.find(token)
            if stub is None or (picked.image and stub.spec.image):
                log.info("script.refused", client=address, reason="unknown token")
                return message(UNKNOWN_STUB, RETRY_LATER_S)
            return await self._scripts.answer(stub, picked, query, address, origin)
        except DatabaseError as err:
            log.warning("script.refused", client=address, reason=err.message)
            return message(err, RETRY_SOON_S)

    def open_script(self, origin: str) -> str:
        """The script for machines without a stub; UnknownTokenError where they are not served."""
        if self._open_stub is None:
            raise UnknownTokenError(
                "machines without a stub are not served here", hint="set [boot] open_menu = true"
            )
        return render_open(self._open_stub.token, origin)

    # ---- Images and the files in them ----

    async def image(self, token: str, address: str) -> tuple[Served, BootSession | None]:
        """The image that `token` names, ready to be opened, and the boot that it is for, if any.

        Raises UnknownTokenError, ImageNotFoundError, ImageNotReadyError or ImageError.
        """
        image, session = await self._image(token, address)
        return await served_image(self._trees, image), session

    async def file(
        self, token: str, path: str, address: str, origin: str
    ) -> tuple[Served | None, BootSession | None]:
        """A file inside the image that `token` names, None for a directory; raises as `image`."""
        image, session = await self._image(token, address)
        way = self._scripts.way(image, session)
        base_url = f"{origin}/b/{token}"
        served = await served_file(
            self._trees,
            image,
            path,
            way=way,
            tree_url=f"{base_url}/tree/",
            hooks=hooks(way, base_url) if session else {},
        )
        return served, session

    async def listing(self, token: str, path: str, address: str) -> list[Node]:
        """What is in that directory inside the image; raises as `image` does."""
        image, _ = await self._image(token, address)
        return await self._trees.children(image.content, path)

    async def _image(self, token: str, address: str) -> tuple[Image, BootSession | None]:
        session = self._ledger.find(token, address)
        if session is not None:
            return self._scripts.ready_image(session.image), session
        stub = await self._stubs.find(token)
        if stub is None or not stub.spec.image:
            raise UnknownTokenError("no such image here")
        return self._scripts.ready_image(stub.spec.image), None

    def fetch(
        self,
        session: BootSession,
        name: str,
        protocol: str,
        size_bytes: int,
        *,
        by_ipxe: bool = True,
        is_range: bool = False,
        ask_tcp: AskTcp | None = None,
    ) -> Fetch | None:
        """A boot fetches a file of its image: what to tell of each piece that goes out.

        After the hand-off, a client that is not iPXE is the system that was booted, and what it
        fetches was not what the boot waited for. Hand what this returns to `fetched`, whatever
        happens.
        """
        booted = not is_before(session, BootPhase.HANDED_OFF) and not by_ipxe
        if not booted:
            self._ledger.advance(session.key, BootPhase.FETCHING)
        return self._ledger.fetch(
            session.key,
            name,
            protocol,
            size_bytes,
            counts=not booted,
            is_range=is_range,
            ask_tcp=ask_tcp,
        )

    def fetched(
        self, session: BootSession, fetch: Fetch, outcome: TransferEnd, *, in_one_piece: bool
    ) -> None:
        """A file is no longer on its way; `in_one_piece` if the machine asked for all of it.

        A machine whose download broke off may ask again.
        """
        self._ledger.fetched(session.key, fetch, outcome)
        if outcome is TransferEnd.COMPLETE:
            if in_one_piece:
                self._has_fetched(session, fetch)
        elif fetch.counts and fetch.sent_bytes:
            reason = f"the download broke off after {fetch.sent_bytes:,} bytes ({outcome})"
            self._ledger.complain(session.key, reason)

    def _has_fetched(self, session: BootSession, fetch: Fetch) -> None:
        """The machine has a whole file: its image, or the root of the system that it started."""
        if fetch.counts:
            if fetch.name == WHOLE_IMAGE:
                self._ledger.advance(session.key, BootPhase.FETCHED)
            return
        root, calls_home = self._scripts.start_of(session)
        if fetch.name.lower() == (WHOLE_IMAGE if root == "{iso}" else f"tree{root}"):
            detail = "" if calls_home else "this system does not say when it is up"
            self._ledger.advance(session.key, BootPhase.ROOT_FETCHED, detail)

    async def beacon(self, token: str, name: str, address: str) -> None:
        """The machine says how far it is; raises UnknownTokenError for what we do not know."""
        phase = BEACONS.get(name)
        session = self._ledger.find(token, address)
        if phase is None or session is None:
            raise UnknownTokenError("no such beacon here")
        if session.phase is BootPhase.FETCHING:  # it has all that it asked for, or it would not say
            self._ledger.advance(session.key, BootPhase.FETCHED)
        self._ledger.advance(session.key, phase)
        if phase is BootPhase.HANDED_OFF and session.profile:
            # One that was set since this boot got its script has another id: it is for the next.
            await self._profiles.consume(session.profile)

    # ---- Loaders and stubs ----

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
