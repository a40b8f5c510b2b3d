"""What machines may ask for, whatever the protocol: scripts, images, files, loaders, beacons.

HTTP and TFTP both answer by this. A URL names a stub by its token, or one boot by its session's
key, which the script's own URLs have. Both are unguessable. Where either will do, the parameter is
called `token_or_key`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from bootserver.boot.files import WHOLE_IMAGE, BootFiles
from bootserver.boot.render import render_open
from bootserver.boot.script import (
    NOTHING_PICKED,
    RETRY_LATER_S,
    RETRY_SOON_S,
    BootScripts,
    Pick,
    message,
)
from bootserver.config import Config
from bootserver.errors import (
    DatabaseError,
    ImageNotReadyError,
    LoaderMissingError,
    UnknownTokenError,
)
from bootserver.images.decide import Site, ways_of
from bootserver.images.library import Library
from bootserver.images.prepared import PreparedDiscs
from bootserver.images.tree import ImageTrees
from bootserver.model import (
    BootPhase,
    BootSession,
    ByteRange,
    Content,
    FileVersion,
    Image,
    StubFormat,
    TransferEnd,
)
from bootserver.quoting import url_host
from bootserver.sessions.ledger import Ledger
from bootserver.sessions.live import AskTcp, Fetch
from bootserver.sessions.profiles import ProfileStore
from bootserver.sessions.tracker import is_before
from bootserver.stub.loaders import SERVED, sha256_of
from bootserver.stub.registry import IssuedStub, StubRegistry
from bootserver.stub.site import plan_for_site, served_loader
from bootserver.stub.spec import own_url
from bootserver.stub.write import shelve

log = structlog.get_logger(__name__)

BEACONS = {"handoff": BootPhase.HANDED_OFF, "up": BootPhase.OS_UP}
UNKNOWN_STUB = UnknownTokenError(
    "this stub is not known to this server", hint="build a new one: bootserver stub build IMAGE"
)


@dataclass(slots=True)
class Delivery:
    """How a file goes out: its sender calls `sent` with the bytes, and says how it ended."""

    fetch: Fetch | None = None  # in the ledger, if it is a boot's
    end: TransferEnd = TransferEnd.SERVER_LEFT
    start: int | None = None  # where in the file the bytes begin, if they follow one another
    sent_bytes: int = 0

    def sent(self, sent_bytes: int) -> None:
        """So many more bytes of the file went out."""
        self.sent_bytes += sent_bytes
        if self.fetch:
            self.fetch.sent(sent_bytes)


class BootService:
    """Answers machines, and tells the ledger how far each has come."""

    def __init__(
        self,
        config: Config,
        library: Library,
        trees: ImageTrees,
        stubs: StubRegistry,
        ledger: Ledger,
        profiles: ProfileStore,
        prepared: PreparedDiscs,
        open_stub: IssuedStub | None = None,
    ) -> None:
        self._config = config
        self._site = Site.of(config)
        self._library = library
        self._trees = trees
        self._stubs = stubs
        self._ledger = ledger
        self._profiles = profiles
        self._prepared = prepared
        self._scripts = BootScripts(config, library, trees, ledger, profiles, prepared)
        self._open_stub = open_stub

    def http_url(self, local_address: str = "") -> str:
        """The boot plane's URL over HTTP, for a client that reached us at `local_address`."""
        server = self._config.server
        if server.url or not local_address:
            return own_url(self._config)
        return f"http://{url_host(local_address)}:{server.boot_port}"

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

        An error is a script as well: it shows the reason on the machine's screen and asks again.
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

    async def files(
        self, token_or_key: str, address: str, origin: str = ""
    ) -> tuple[BootFiles, BootSession | None]:
        """The image of that stub or boot and its files, and the boot that they are for, if any.

        Raises UnknownTokenError, ImageNotFoundError, ImageNotReadyError or ImageError.
        """
        session = self._ledger.find(token_or_key, address)
        if session:
            image_id = session.image
        else:
            stub = await self._stubs.find(token_or_key)
            if stub is None or not stub.spec.image:
                raise UnknownTokenError("no such image here")
            image_id = stub.spec.image
        image = self._library.ready(image_id)
        plan = session.plan if session else None
        if plan and plan.image_sha256 not in ("", image.sha256):  # "": an older server's
            raise ImageNotReadyError(
                f"{image.id} was replaced since this boot's script", hint="start the machine again"
            )
        way = plan.way if plan else next(iter(ways_of(image, self._site)), None)
        prepared = None
        if session and plan:
            prepared = await self._prepared.planned(image, session.machine, plan)
        url = f"{origin}/b/{token_or_key}"
        is_boot = session is not None
        return BootFiles(self._trees, image, way, url, is_boot, prepared), session

    @contextmanager
    def delivery(
        self,
        session: BootSession | None,
        name: str,
        protocol: str,
        size_bytes: int,
        *,
        by_ipxe: bool = True,
        is_range: bool = False,
        ask_tcp: AskTcp | None = None,
    ) -> Iterator[Delivery]:
        """A file goes out, to a boot if there is a session; the ledger follows how it goes.

        After the hand-off, a client that is not iPXE is the system that was booted, and what it
        fetches was not what the boot waited for.
        """
        if session is None:
            yield Delivery()
            return
        counts = _counts(session, by_ipxe)
        if counts:
            self._ledger.advance(session.key, BootPhase.FETCHING)
        fetch = self._ledger.fetch(
            session.key,
            name,
            protocol,
            size_bytes,
            counts=counts,
            is_range=is_range,
            ask_tcp=ask_tcp,
        )
        delivery = Delivery(fetch)
        try:
            yield delivery
        finally:
            if fetch:
                self._delivered(session, fetch, delivery)

    def range_recorder(
        self, session: BootSession, name: str, protocol: str, size_bytes: int
    ) -> Callable[[ByteRange, bool, AskTcp], None]:
        """As `delivery`, for ranges that go out at once, thousands in a second.

        To be called with each range, whether it went to iPXE, and a look at its connection; as long
        as the boot stays in its phase.
        """
        ledger, key = self._ledger, session.key
        counts = {by_ipxe: _counts(session, by_ipxe) for by_ipxe in (False, True)}

        def record(part: ByteRange, by_ipxe: bool, ask_tcp: AskTcp) -> None:
            fetch = ledger.run_of(key, name, protocol, counts[by_ipxe])
            if fetch is None:  # the first range begins it
                with self.delivery(
                    session,
                    name,
                    protocol,
                    size_bytes,
                    by_ipxe=by_ipxe,
                    is_range=True,
                    ask_tcp=ask_tcp,
                ) as delivery:
                    delivery.sent(len(part))
                    delivery.start, delivery.end = part.start, TransferEnd.COMPLETE
            elif fetch.range_went(part, ask_tcp):
                self.fetched(session, fetch)

        return record

    def stands(
        self, token_or_key: str, address: str, image: Image, session: BootSession | None
    ) -> bool:
        """True as long as `files` says the same: the same boot, in the same phase, the same image.

        It is asked thousands of times in a second.
        """
        now = self._ledger.peek(token_or_key, address)
        if now is None or session is None:
            return now is session and self._library.has(image)
        return (
            now.key == session.key
            and now.phase is session.phase
            and now.plan is session.plan
            and now.image == image.id
            and self._library.has(image)
        )

    def session(self, token_or_key: str, address: str) -> BootSession | None:
        """The boot that goes on by that name; its bytes may be a second old."""
        return self._ledger.peek(token_or_key, address)

    def _delivered(self, session: BootSession, fetch: Fetch, delivery: Delivery) -> None:
        """A file is no longer on its way; a machine whose download broke off may ask again."""
        if delivery.start is not None:
            fetch.note_part(delivery.start, delivery.start + delivery.sent_bytes)
        self._ledger.fetched(session.key, fetch, delivery.end)
        if delivery.end is TransferEnd.COMPLETE:
            if fetch.has_all:
                self.fetched(session, fetch)
        elif fetch.counts and delivery.sent_bytes:
            reason = f"the download broke off after {delivery.sent_bytes:,} bytes ({delivery.end})"
            self._ledger.complain(session.key, reason)

    def fetched(self, session: BootSession, fetch: Fetch) -> None:
        """The machine has all of a file."""
        phase, detail = _phase_after(session, fetch)
        if phase:
            self._ledger.advance(session.key, phase, detail)

    async def beacon(self, token_or_key: str, name: str, address: str) -> None:
        """The machine says how far it is; raises UnknownTokenError for what we do not know."""
        phase = BEACONS.get(name)
        session = self._ledger.find(token_or_key, address)
        if session is None and phase is BootPhase.OS_UP:
            # What an image has in it is the URL of one of its stubs, whichever has booted it.
            stub = await self._stubs.find(token_or_key)
            if stub and stub.spec.image:
                session = self._ledger.find_by_image(stub.spec.image, address)
        if phase is None or session is None:
            raise UnknownTokenError("no such beacon here")
        if session.phase is BootPhase.FETCHING:  # it has all that it asked for, or it would not say
            self._ledger.advance(session.key, BootPhase.FETCHED)
        self._ledger.advance(session.key, phase)
        if phase is BootPhase.HANDED_OFF and session.plan and session.plan.profile:
            # One that was set since this boot got its script has another id: it is for the next.
            await self._profiles.consume(session.plan.profile)

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


def _counts(session: BootSession, by_ipxe: bool) -> bool:
    """True if what is fetched is what the boot waits for, and not what its system fetches."""
    return by_ipxe or is_before(session, BootPhase.HANDED_OFF)


def _phase_after(session: BootSession, fetch: Fetch) -> tuple[BootPhase | None, str]:
    """The phase that a boot comes to with the whole of this file, and its detail.

    The file is the boot's image, or the root of the system that it has started.
    """
    if fetch.counts:
        return BootPhase.FETCHED if fetch.name == WHOLE_IMAGE else None, ""
    plan = session.plan
    if plan is None or not plan.root:
        return None, ""
    if fetch.name.lower() != (WHOLE_IMAGE if plan.root == "{iso}" else f"tree{plan.root}"):
        return None, ""
    return BootPhase.ROOT_FETCHED, (
        "" if plan.calls_home else "this system does not say when it is up"
    )
