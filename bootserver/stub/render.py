"""Scripts and configuration files from the templates in stub/templates.

iPXE has no quoting: a value is split at blanks, `${` expands, `||` and `&&` end a command. Text
for `echo` therefore passes the `ipxe` filter; everything else in a script is a checked value.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from functools import cache

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from bootserver.config import PROJECT
from bootserver.model import Image
from bootserver.stub.network import NetworkSpec

SCREEN_COLUMNS = 79 - len("bootserver: ")
TEMPLATES = PROJECT / "stub" / "templates"


def render_isolinux(serial: str) -> str:
    """isolinux.cfg: start iPXE with the stub's script; `serial` is `PORT BAUD` or ""."""
    return _template("isolinux.cfg").render(serial=serial)


def render_stub(image: str, network: NetworkSpec, script_urls: Sequence[str]) -> str:
    """The script inside the stub: network, server, hand over; for ever."""
    return _template("stub.ipxe").render(image=image, network=network, script_urls=script_urls)


def render_boot(method: str, image: Image, base: str, memdisk: str) -> str:
    """The script that boots `image` by `method`, from the template of that name.

    `base` is the session's place on the boot plane, `/b/KEY`. Scripts give paths and no addresses:
    the same script works by whichever address, port or protocol the machine reached us.
    """
    return _template(f"{method}.ipxe").render(image=image, base=base, memdisk=memdisk)


def render_message(lines: Sequence[str], *, retry_s: int) -> str:
    """A script that shows `lines`, broken to fit the screen, waits and asks again."""
    screen = [short for line in lines for short in textwrap.wrap(ipxe_text(line), SCREEN_COLUMNS)]
    return _template("message.ipxe").render(lines=screen, retry_s=retry_s)


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
    return environment


def _template(name: str) -> Template:
    return _environment().get_template(name)
