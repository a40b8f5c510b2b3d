"""The scripts that machines get, from the templates in stub/templates."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from bootserver.model import Image, Way
from bootserver.quoting import ascii_text
from bootserver.stub.render import template

OWN_DISK = "/"  # in the menu; no image's key has a slash
SCREEN_COLUMNS = 79 - len("bootserver: ")
WARNING_S = 10
TITLE_COLUMNS = 60  # of a line in iPXE's menu, which has 78 and cuts off the rest
# Where a make of initramfs sources a script that is not its own, /run being there by then. dracut's
# hooks have moved, and a directory in place of the link that is left would hide them all.
HOOKS = {
    "live-boot": "usr/lib/live/boot/0000-bootserver.sh",
    "dracut": "etc/conf.d/bootserver.conf",
}


@dataclass(frozen=True, slots=True)
class BootScript:
    """What a boot script says, whatever its method; each method has the template of its name.

    `base` is the session's place on the boot plane, `/b/KEY`. Scripts give paths and no addresses:
    the same script works by whichever address, port or protocol the machine reached us. Only
    `arguments` may hold URLs, for a system that has lost iPXE's idea of where it came from.
    """

    image: Image
    way: Way
    base: str
    expected_bytes: int  # what the script fetches of the image
    arguments: str = ""  # as words of an iPXE script
    memdisk: str = ""
    sha256: str = ""  # of the whole image as it is served; "" where that is not known
    warning: str = ""  # shown for a while, before anything is fetched
    variant: str = ""  # shown
    offer: str = ""  # the drivers that a key puts into the disc, by the script at `offer_place`
    offer_place: str = ""

    def render(self) -> str:
        """The script as text."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        fields |= {
            "notes": _on_screen(filter(None, [self.warning, self.variant])),
            "warning_s": WARNING_S,
        }
        return template(f"{self.way.method}.ipxe").render(fields)


@dataclass(frozen=True, slots=True)
class MenuChoice:
    """What the machine can boot: its key as part of a URL, and the line on the screen."""

    key: str
    label: str


def menu_titles(images: Sequence[Image]) -> list[str]:
    """What the menu calls each image: no two the same, none empty, none cut off by the screen.

    Discs of one maker often have one volume id, so a title that is not the only one, or has nothing
    that the screen can show, has the image's id behind it; where that does not help, a number.
    """
    titles = [_elided(ascii_text(image.title)) for image in images]
    counts = Counter(titles)
    for index, image in enumerate(images):
        if not titles[index] or counts[titles[index]] > 1:
            named = f"{ascii_text(image.title)} [{ascii_text(image.id)}]"
            titles[index] = _elided(named.strip())
    counts = Counter(titles)
    return [
        title if counts[title] == 1 else f"{title} #{number}"
        for number, title in enumerate(titles, 1)
    ]


def _elided(title: str) -> str:
    """The title, of a long one the beginning and the end: what tells two apart may be in either."""
    half = (TITLE_COLUMNS - 3) // 2
    return title if len(title) <= TITLE_COLUMNS else f"{title[:half]}...{title[-half:]}"


def render_menu(
    question: str,
    place: str,
    bootable: Sequence[MenuChoice],
    notes: Sequence[str],
    *,
    default: str = "",
    timeout_s: int = 0,
) -> str:
    """A menu of what boots; `notes` say below it what does not, or why the question is asked.

    What is picked is asked for at `place`, where iPXE's ${picked} is the choice's key; `Pick` of
    `bootserver.boot.script` reads that.
    `default` is a choice's key, or "" for the machine's own disk; 0 seconds wait for ever.
    """
    keys = [choice.key for choice in bootable]
    return template("menu.ipxe").render(
        question=question,
        place=place,
        bootable=bootable,
        notes=_on_screen(notes),
        default=default if default in keys else OWN_DISK,
        timeout_s=timeout_s,
    )


def render_hook(make: str, url: str) -> tuple[str, str]:
    """Where a script goes in that make of initramfs, and the script: the system calls `url`."""
    place = urlsplit(url)
    script = template("call-home.sh").render(
        url=url, host=place.hostname, port=place.port or 80, path=place.path
    )
    return HOOKS[make], script


def render_open(token: str, origin: str) -> str:
    """The script for machines without a stub: who they are, and on to the menu over HTTP."""
    return template("open.ipxe").render(token=token, origin=origin)


def render_message(lines: Sequence[str], *, retry_s: int) -> str:
    """A script that shows `lines`, broken to fit the screen, waits and asks again."""
    return template("message.ipxe").render(lines=_on_screen(lines), retry_s=retry_s)


def _on_screen(lines: Iterable[str]) -> list[str]:
    return [short for line in lines for short in textwrap.wrap(ascii_text(line), SCREEN_COLUMNS)]
