"""By which names a person picks a machine: in config.toml, and on the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Self

from bootserver.fields import parse_mac, parse_name, parse_uuid
from bootserver.model import Machine

# What makers write where a name belongs, in letters and digits alone: many machines have it.
_LEFT_BY_MAKERS = """
    0123456789 123456789 1234567890 assettag asset1234567890 atn12345678901234567
    baseboardserialnumber chassisassettag chassisserialnumber default defaultstring empty
    filledbyoem invalid na noassetinformation noassettag none noserialnumber notapplicable
    notavailable notdefined notspecified null oem serial serialnumber ssn12345678901234567
    sys1234567890 systemassettag systemserialnumber tobefilled tobefilledbyoem undefined unknown
    unspecified

    03000200040005000006000700080009 00020003000400050006000700080009
    123456781234567890abcddeefaabbcc 4c4c454400002010802080c04f202020

    888888888788 001122334455 123456789abc
"""
_NO_NAMES = frozenset(_LEFT_BY_MAKERS.split())

_PARSERS = {"mac": parse_mac, "uuid": parse_uuid, "serial": parse_name, "asset": parse_name}


@dataclass(frozen=True, slots=True)
class Selector:
    """The names that a machine must have, all of them; "" where any will do."""

    mac: str = ""
    uuid: str = ""
    serial: str = ""
    asset: str = ""

    @classmethod
    def parse(cls, words: Iterable[str]) -> Self:
        """A selector from words such as `52:54:00:12:34:56`, `serial=S1` or `asset=PC 7`.

        A MAC address and a UUID need no `mac=` and `uuid=` before them. Raises ValueError.
        """
        names: dict[str, str] = {}
        for word in words:
            kind, name = _named(word)
            if kind in names:
                raise ValueError(f"a machine has one {kind}: {names[kind]} or {name}?")
            names[kind] = name
        if not names:
            raise ValueError("give a mac, uuid, serial or asset that names the machine")
        return cls(**names)

    @property
    def names(self) -> dict[str, str]:
        """The names that are given, by their kind."""
        return {kind: name for kind, name in asdict(self).items() if name}

    @property
    def key(self) -> str:
        """The same text for selectors that match the same machines."""
        return json.dumps(self.names).lower()

    @property
    def warning(self) -> str:
        """A sentence if nothing that is given tells one machine from others, else ""."""
        names = self.names
        if not names or not all(map(_is_no_name, names.values())):
            return ""
        shared = ", ".join(f"{kind} {name}" for kind, name in names.items())
        return f"many machines have the {shared}: give the MAC address as well"

    def matches(self, machine: Machine) -> bool:
        """True if every name given here is the machine's, in capitals or not."""
        return all(
            name.lower() == getattr(machine, kind).lower() for kind, name in self.names.items()
        )


def _is_no_name(name: str) -> bool:
    """True for what a maker has left in the place of a name."""
    plain = re.sub(r"[^0-9a-z]", "", name.lower())
    pairs = {plain[at : at + 2] for at in range(0, len(plain), 2)}
    is_one_byte = len(pairs) == 1 and (len(plain) >= 4 or not plain.strip("0"))
    return not plain or plain in _NO_NAMES or is_one_byte


def _named(word: str) -> tuple[str, str]:
    """The kind and the name that a word gives."""
    kind, equals, name = word.partition("=")
    if equals and kind in _PARSERS:
        if not (parsed := _PARSERS[kind](name)):
            raise ValueError(f"{word!r} gives no {kind}")
        return kind, parsed
    for kind in ("mac", "uuid"):
        try:
            if parsed := _PARSERS[kind](word):
                return kind, parsed
        except ValueError:
            continue
    raise ValueError(f"{word!r} is no MAC address, no UUID, no serial=... and no asset=...")
