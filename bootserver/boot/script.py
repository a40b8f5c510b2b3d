"""Which script a machine gets: one that boots an image, a menu, or a sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote

from bootserver.boot.files import BootFiles
from bootserver.boot.machine_query import parse_machine
from bootserver.boot.render import (
    BootScript,
    MenuChoice,
    menu_titles,
    render_menu,
    render_message,
)
from bootserver.config import Config
from bootserver.errors import BootServerError, ImageError, ImageNotReadyError
from bootserver.images.arguments import fill
from bootserver.images.decide import Decision, Site, chosen, decide
from bootserver.images.library import Library
from bootserver.images.prepared import PreparedDiscs
from bootserver.images.recipes import recipe_of
from bootserver.images.tree import ImageTrees
from bootserver.model import BootPhase, BootPlan, Image, Machine, Method, Prepare
from bootserver.quoting import ipxe_arguments
from bootserver.sessions.ledger import Ledger
from bootserver.sessions.profiles import MachineProfile, ProfileStore, effective
from bootserver.stub.registry import IssuedStub
from bootserver.units import megabytes

RETRY_SOON_S = 5  # what the machine waits for comes by itself
RETRY_LATER_S = 30  # a person has to do something first


@dataclass(frozen=True, slots=True)
class Pick:
    """What was chosen on a machine's screen: an image, an entry of its disc's menu, drivers."""

    image: str = ""
    entry: str = ""
    drivers: bool = False  # the drivers that its Windows PE lacks are to be put in

    @classmethod
    def parse(cls, path: str) -> Pick:
        """The choice in a script's URL: `drivers`, `entry/NUMBER`, `pick/IMAGE`, in that order.

        An image's id comes last, for it may have slashes and any words between them.
        """
        parts = r"(?:(drivers)(?:/|$))?(?:entry/(\d{1,3})(?:/|$))?(?:pick/(.+))?"
        match = re.fullmatch(parts, path)
        drivers, number, image = match.groups() if match else (None, None, path)
        return cls(image or "", f"#{number}" if number else "", bool(drivers))

    @property
    def path(self) -> str:
        """The same as part of a URL, with a `/` before it; "" where nothing was chosen."""
        parts = ["drivers"] if self.drivers else []
        parts += ["entry", self.entry.removeprefix("#")] if self.entry else []
        parts += ["pick", quote(self.image, safe="")] if self.image else []
        return "".join(f"/{part}" for part in parts)


NOTHING_PICKED = Pick()


class BootScripts:
    """Decides how each machine boots that asks for its script, and has the ledger keep that."""

    def __init__(
        self,
        config: Config,
        library: Library,
        trees: ImageTrees,
        ledger: Ledger,
        profiles: ProfileStore,
        prepared: PreparedDiscs,
    ) -> None:
        self._config = config
        self._site = Site.of(config)
        self._library = library
        self._trees = trees
        self._ledger = ledger
        self._profiles = profiles
        self._prepared = prepared

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
        stored = await self._profiles.find(machine)
        profile = effective(machine, self._config, stored)
        image_id = stub.spec.image or picked.image or profile.image
        entry = picked.entry or stub.spec.entry or profile.entry
        session = self._ledger.start(stub.token, image_id, machine, address)
        if not image_id:
            return self._menu(machine)
        try:
            image = chosen(self._library.ready(image_id), entry)
            decision = decide(image, machine, self._site)
            if decision.choice:
                self._ledger.complain(session.key, f"{decision.refusal}: choose on its screen")
                return _entry_menu(image, decision, stub.token, picked)
            if decision.offer is None:
                raise ImageError(decision.refusal)
            base = f"/b/{session.key}"
            prepare = Prepare.AUTO if picked.drivers else self._config.boot.prepare
            outlook = await self._prepared.outlook(image, machine, prepare)
            files = BootFiles(
                self._trees,
                image,
                decision.offer.way,
                f"{origin}{base}",
                is_boot=True,
                prepared=outlook.disc,
            )
            fetched = await files.fetched_by_script()
        except ImageNotReadyError as err:
            return message(err, RETRY_SOON_S)
        except ImageError as err:
            self._ledger.complain(session.key, err.message)
            return message(err, RETRY_LATER_S)
        plan = BootPlan(
            recipe_of(image).recipe.name,
            decision.offer.way,
            image_sha256=image.sha256,
            image_bytes=sum(file.size_bytes for file in fetched),
            root=decision.offer.fetched,
            calls_home=bool(files.hooks),
            entry=entry,
            profile=stored.id if stored and stored.image in ("", image_id) else "",
            warning=outlook.warning,
            variant=outlook.variant,
            variant_etag=outlook.disc.layout.etag(image.content) if outlook.disc else "",
        )
        self._ledger.complain(session.key, "")
        self._ledger.set_plan(session.key, plan)
        self._ledger.advance(session.key, BootPhase.SCRIPT_SERVED)
        is_as_hashed = plan.way.method is Method.RAMDISK and fetched[0].is_whole
        return BootScript(
            image,
            plan.way,
            base,
            expected_bytes=plan.image_bytes,
            arguments=_arguments(files, profile),
            memdisk=profile.memdisk
            or image.settings.memdisk
            or plan.way.memdisk
            or self._config.boot.memdisk,
            sha256=image.sha256 if is_as_hashed else "",
            warning=plan.warning,
            variant=plan.variant,
            offer=outlook.offer,
            offer_place=f"/b/{stub.token}{replace(picked, drivers=True).path}",
        ).render()

    def _menu(self, machine: Machine) -> str:
        """The images of the library that boot on the machine, and why the others do not."""
        bootable, refusals = [], []
        images = sorted(self._library.images(), key=lambda image: image.title.lower())
        for image, title in zip(images, menu_titles(images), strict=True):
            try:
                decision = decide(self._library.ready(image.id), machine, self._site)
            except ImageError as err:
                refusals.append(f"{title}: {err.message}")
                continue
            if decision.offer is None and decision.choice is None:
                refusals.append(f"{title}: {decision.refusal}")
            else:
                label = f"{title}  ({megabytes(image.size_bytes)})"
                bootable.append(MenuChoice(quote(image.id, safe=""), label))
        boot = self._config.boot
        return render_menu(
            "what shall this machine boot?",
            "pick/${picked}",
            bootable,
            ["These cannot boot here:", *refusals] if refusals else [],
            default=quote(boot.menu_default, safe=""),
            timeout_s=boot.menu_timeout_s,
        )


def _entry_menu(image: Image, decision: Decision, token: str, picked: Pick) -> str:
    """The entries of a disc's menu that can be booted; nothing starts by itself."""
    assert decision.choice is not None
    menu = decision.choice.menu
    entries = [
        MenuChoice(f"{number + 1}", " > ".join((*entry.parents, entry.title)))
        for number in decision.choice.numbers
        for entry in [menu.entries[number]]
    ]
    place = f"/b/{token}{replace(picked, entry='${picked}').path}"
    return render_menu(f"{image.title}: which entry?", place, entries, [decision.refusal])


def _arguments(files: BootFiles, profile: MachineProfile) -> str:
    """The kernel's arguments as words of an iPXE script: the way's, the image's, the machine's."""
    assert files.way is not None
    own = fill(files.way.arguments, tree_url=files.tree_url, iso_url=files.whole_url)
    added = map(ipxe_arguments, (files.image.settings.arguments, profile.arguments))
    return " ".join(filter(None, (own, *added)))


def message(err: BootServerError, retry_s: int) -> str:
    """A script that shows the error and asks again."""
    return render_message([line for line in (err.message, err.hint) if line], retry_s=retry_s)
