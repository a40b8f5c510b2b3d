"""The texts inside a stub, and the environment for all templates in stub/templates.

Text from outside passes a filter of `bootserver.quoting`; everything else is a checked value.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from functools import cache

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from bootserver.config import PROJECT
from bootserver.quoting import ipxe_arguments, ipxe_text
from bootserver.stub.network import NetworkSpec

TEMPLATES = PROJECT / "stub" / "templates"


def template(name: str) -> Template:
    """The template of that name in stub/templates."""
    return _environment().get_template(name)


def render_isolinux(serial: str) -> str:
    """isolinux.cfg: start iPXE with the stub's script; `serial` is `PORT BAUD` or ""."""
    return template("isolinux.cfg").render(serial=serial)


def render_stub(image: str, network: NetworkSpec, script_urls: Sequence[str]) -> str:
    """The script inside the stub: network, server, hand over; for ever."""
    return template("stub.ipxe").render(image=image, network=network, script_urls=script_urls)


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
    environment.filters |= {
        "ipxe_text": ipxe_text,
        "ipxe_arguments": ipxe_arguments,
        "sh": shlex.quote,
    }
    environment.filters["name"] = _name
    return environment


def _name(path: str) -> str:
    """A word by which iPXE and the kernel's command line call a file of the disc."""
    return re.sub(r"[^\w.+~-]", "_", path.rpartition("/")[2], flags=re.ASCII)
