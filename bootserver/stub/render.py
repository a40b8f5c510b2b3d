"""Scripts and configuration files from the templates in stub/templates.

iPXE has no quoting: a value is split at blanks, `${` expands, `||` and `&&` end a command. Text
for `echo` therefore passes the `ipxe` filter; everything else in a script is a checked value.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from bootserver.config import PROJECT
from bootserver.model import Image, Way
from bootserver.stub.network import NetworkSpec

OWN_DISK = "/"  # in the menu; no image's key has a slash
SCREEN_COLUMNS = 79 - len("bootserver: ")
HOOKS = {"live-boot": "usr/lib/live/boot/0000-bootserver.sh"}
TEMPLATES = PROJECT / "stub" / "templates"


def render_isolinux(serial: str) -> str:
    """isolinux.cfg: start iPXE with the stub's script; `serial` is `PORT BAUD` or ""."""
    return _template("isolinux.cfg").render(serial=serial)


def render_stub(image: str, network: NetworkSpec, script_urls: Sequence[str]) -> str:
    """The script inside the stub: network, server, hand over; for ever."""
    return _template("stub.ipxe").render(image=image, network=network, script_urls=script_urls)


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
    arguments: str = ""
    memdisk: str = ""
    sha256: str = ""  # of the whole image as it is served; "" where that is not known

    def render(self) -> str:
        """The script as text."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return _template(f"{self.way.method}.ipxe").render(fields)


@dataclass(frozen=True, slots=True)
class MenuChoice:
    """An image that the machine can boot: its id as part of a URL, and the line on the screen."""

    key: str
    label: str


def render_menu(
    bootable: Sequence[MenuChoice], refusals: Sequence[str], *, default: str, timeout_s: int
) -> str:
    """A menu of what boots; what does not is there with the reason, and cannot be chosen.

    `default` is a choice's key, or "" for the machine's own disk; 0 seconds wait for ever.
    """
    keys = [choice.key for choice in bootable]
    return _template("menu.ipxe").render(
        bootable=bootable,
        refused=_on_screen(refusals),
        default=default if default in keys else OWN_DISK,
        timeout_s=timeout_s,
    )


def render_hook(make: str, url: str) -> tuple[str, str]:
    """Where a script goes in that make of initramfs, and the script: it has the system call `url`.

    Each make has the template of its name.
    """
    place = urlsplit(url)
    script = _template(f"{make}.sh").render(
        url=url, host=place.hostname, port=place.port or 80, path=place.path
    )
    return HOOKS[make], script


def render_open(token: str, origin: str) -> str:
    """The script for machines without a stub: who they are, and on to the menu over HTTP."""
    return _template("open.ipxe").render(token=token, origin=origin)


def render_message(lines: Sequence[str], *, retry_s: int) -> str:
    """A script that shows `lines`, broken to fit the screen, waits and asks again."""
    return _template("message.ipxe").render(lines=_on_screen(lines), retry_s=retry_s)


def _on_screen(lines: Sequence[str]) -> list[str]:
    return [short for line in lines for short in textwrap.wrap(ipxe_text(line), SCREEN_COLUMNS)]


def ipxe_text(text: str) -> str:
    """Text that iPXE's `echo` shows as it is and that cannot become a command or a setting."""
    printable = re.sub(r"[^\x20-\x7e]+", " ", text)
    return printable.replace("${", "$ {").replace("||", "| |").replace("&&", "& &")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 (these are not HTML)
    )
    environment.filters["ipxe"] = ipxe_text
    environment.filters["basename"] = lambda path: path.rpartition("/")[2]
    return environment


def _template(name: str) -> Template:
    return _environment().get_template(name)
