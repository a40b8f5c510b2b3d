"""Which script a machine gets: one that boots an image, a menu of images, or a sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from bootserver.config import Config
from bootserver.errors import (
    BootServerError,
    ImageError,
    ImageNotReadyError,
    UnknownTokenError,
)
from bootserver.images.arguments import fill
from bootserver.images.decide import Decision, Site, chosen, decide, ways_of
from bootserver.images.library import Library
from bootserver.images.overlay import Served, served_file, served_image
from bootserver.images.recipes import recipe_of
from bootserver.images.tree import ImageTrees
from bootserver.model import BootPhase, BootSession, Image, Machine, Method, Way
from bootserver.quoting import ipxe_arguments
from bootserver.sessions.ledger import Ledger
from bootserver.sessions.profiles import MachineProfile, ProfileStore, effective
from bootserver.stub.issued import IssuedStub
from bootserver.stub.machine import parse_machine
from bootserver.stub.render import (
    BootScript,
    MenuChoice,
    menu_titles,
    render_hook,
    render_menu,
    render_message,
)

RETRY_SOON_S = 5  # what the machine waits for comes by itself
RETRY_LATER_S = 30  # somebody has to do something first

UNKNOWN_STUB = UnknownTokenError(
    "this stub is not known to this server", hint="build a new one: bootserver stub build IMAGE"
)


@dataclass(frozen=True, slots=True)
class Pick:
    """What was chosen on a machine's screen: an image, and an entry of its disc's menu."""

    image: str = ""
    entry: str = ""

    @classmethod
    def parse(cls, path: str) -> Pick:
        """The choice in a script's URL: `pick/IMAGE`, `entry/NUMBER`, or both in this order."""
        match = re.fullmatch(r"(?:pick/(.+?))?(?:(?:^|/)entry/(\d{1,3}))?", path)
        image, number = match.groups() if match else (path, None)
        return cls(image or "", f"#{number}" if number else "")


NOTHING_PICKED = Pick()


class Scripts:
    """Decides for each machine that asks, and notes in the ledger that it did."""

    def __init__(
        self,
        config: Config,
        library: Library,
        trees: ImageTrees,
        ledger: Ledger,
        profiles: ProfileStore,
    ) -> None:
        self._config = config
        self._library = library
        self._trees = trees
        self._ledger = ledger
        self._profiles = profiles

    async def answer(
        self, stub: IssuedStub, picked: Pick, query: Mapping[str, str], address: str, origin: str
    ) -> str:
        """The script for the machine that `query` describes, whose stub is `stub`.

        The image is the stub's; else the one `picked` from the menu; else what the machine's
        profile says; else the machine gets the menu. The entry of the disc's menu is the one that
        was picked, else the stub's, the profile's, the image's; where it takes a person to choose,
        the machine gets those. `origin` is the server's URL as it reached us.
        """
        machine = parse_machine(query)
        found = await self._profiles.find(machine)
        profile = effective(machine, self._config, found)
        image_id = stub.spec.image or picked.image or profile.image
        entry = picked.entry or stub.spec.entry or profile.entry
        session = self._ledger.start(stub.token, image_id, machine, address)
        if not image_id:
            return self._menu(machine)
        try:
            image = chosen(self.ready_image(image_id), entry)
            decision = decide(image, machine, site_of(self._config))
            if decision.choice:
                self._ledger.complain(session.key, f"{decision.refusal}: choose on its screen")
                return _entry_menu(image, decision)
            script = await self._boot_script(session, image, decision, profile, origin)
        except ImageNotReadyError as err:
            return message(err, RETRY_SOON_S)
        except ImageError as err:
            self._ledger.complain(session.key, err.message)
            return message(err, RETRY_LATER_S)
        self._ledger.complain(session.key, "")
        self._ledger.expect(
            session.key,
            script.expected_bytes,
            recipe=recipe_of(script.image).recipe.name,
            method=script.way.method.value,
            entry=entry,
            profile=found.id if found and found.image in ("", image_id) else "",
        )
        self._ledger.advance(session.key, BootPhase.SCRIPT_SERVED)
        return script.render()

    def ready_image(self, image_id: str) -> Image:
        """The image, if it can be served; else ImageError, or ImageNotReadyError for a while."""
        image = self._library.get(image_id)
        if image.problem:
            raise ImageError(f"{image.id} cannot be booted: {image.problem}")
        if not image.sha256:
            done, total = self._library.progress(image_id) or (0, image.size_bytes)
            percent = 100 * done // max(total, 1)
            raise ImageNotReadyError(f"{image.id} has just arrived; {percent} % of it is checked")
        return image

    def _menu(self, machine: Machine) -> str:
        bootable, refusals = [], []
        images = sorted(self._library.images(), key=lambda image: image.title.lower())
        for image, title in zip(images, menu_titles(images), strict=True):
            try:
                decision = decide(self.ready_image(image.id), machine, site_of(self._config))
            except ImageError as err:
                refusals.append(f"{title}: {err.message}")
                continue
            if decision.way is None and decision.choice is None:
                refusals.append(f"{title}: {decision.refusal}")
            else:
                label = f"{title}  ({image.size_bytes / 1e6:,.0f} MB)"
                bootable.append(MenuChoice(quote(image.id, safe=""), label))
        boot = self._config.boot
        return render_menu(
            "what shall this machine boot?",
            "pick",
            bootable,
            ["These cannot boot here:", *refusals] if refusals else [],
            default=quote(boot.menu_default, safe=""),
            timeout_s=boot.menu_timeout_s,
        )

    async def _boot_script(
        self,
        session: BootSession,
        image: Image,
        decision: Decision,
        profile: MachineProfile,
        origin: str,
    ) -> BootScript:
        if decision.way is None:
            raise ImageError(decision.refusal)
        way, base = decision.way, f"/b/{session.key}"
        tree_url, iso_url = f"{origin}{base}/tree/", f"{origin}{base}/image.iso"
        pieces = await self._fetched(image, way, tree_url, hooks(way, f"{origin}{base}"))
        whole = pieces[0] if way.method is Method.RAMDISK else None
        own = fill(way.arguments, tree_url=tree_url, iso_url=iso_url)
        said = map(ipxe_arguments, (image.settings.arguments, profile.arguments))
        return BootScript(
            image,
            way,
            base,
            expected_bytes=sum(piece.size_bytes for piece in pieces),
            arguments=" ".join(filter(None, (own, *said))),
            memdisk=self._memdisk(image, way, profile),
            sha256=image.sha256 if whole and whole.is_whole else "",
        )

    def way(self, image: Image, session: BootSession | None) -> Way | None:
        """The way this boot takes, or without one the best there is; None if there is none."""
        site = site_of(self._config)
        mine = None
        if session is not None:
            mine = decide(chosen(image, session.entry), session.machine, site).way
        return mine or next(iter(ways_of(image, site)), None)

    def start_of(self, session: BootSession) -> tuple[str, bool]:
        """What the system of this session fetches as its root, and whether it says when it is up.

        The root is a path, {iso} for the whole image, or "".
        """
        try:
            image = self._library.get(session.image)
        except ImageError:  # it was removed meanwhile
            return "", False
        offer = decide(image, session.machine, site_of(self._config)).offer
        return (offer.fetched, bool(offer.way.hook)) if offer else ("", False)

    async def _fetched(
        self, image: Image, way: Way, tree_url: str, hooks: Mapping[str, bytes]
    ) -> list[Served]:
        """What the script fetches of the image."""
        paths = [*filter(None, [way.program]), *way.initrds, *(path for _, path in way.files)]
        pieces = []
        for path in paths:
            served = await served_file(
                self._trees, image, path, way=way, tree_url=tree_url, hooks=hooks
            )
            if served is None:
                raise ImageError(f"{image.id} cannot be booted: {path} is a directory on it")
            pieces.append(served)
        if not paths or way.iso_in_initramfs:
            pieces.append(await served_image(self._trees, image))
        return pieces

    def _memdisk(self, image: Image, way: Way, profile: MachineProfile) -> str:
        site = self._config.boot.memdisk
        return profile.memdisk or image.settings.memdisk or way.memdisk or site


def _entry_menu(image: Image, decision: Decision) -> str:
    """The entries of a disc's menu that can be booted; nothing starts by itself."""
    assert decision.choice is not None
    menu = decision.choice.menu
    entries = [
        MenuChoice(f"{number + 1}", " > ".join((*entry.parents, entry.title)))
        for number in decision.choice.numbers
        for entry in [menu.entries[number]]
    ]
    return render_menu(f"{image.title}: which entry?", "entry", entries, [decision.refusal])


def hooks(way: Way | None, base_url: str) -> dict[str, bytes]:
    """What goes into the initramfs so that the system says when it is up; often nothing can."""
    if way is None or not way.hook or not base_url.startswith("http://"):
        return {}
    path, script = render_hook(way.hook, f"{base_url}/phase/up")
    return {path: script.encode()}


def site_of(config: Config) -> Site:
    """What decides about every image here: the site's limits, and what it supplies."""
    boot = config.boot
    return Site(boot.os_room_mib, boot.bios_limit_mib, wimboot="wimboot" in config.stub.loaders)


def message(err: BootServerError, retry_s: int) -> str:
    """A script that shows the error and asks again."""
    return render_message([line for line in (err.message, err.hint) if line], retry_s=retry_s)
