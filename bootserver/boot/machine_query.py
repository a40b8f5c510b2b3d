"""The machine as iPXE describes it in the query of its script request.

The names are those of iPXE's settings and are sent by stub/templates/stub.ipxe. Whatever makes no
sense is left out: the boot goes on without it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from bootserver.fields import NAME_LIMIT, parse_mac, parse_uuid
from bootserver.model import Firmware, Machine

PLATFORMS = {"pcbios": Firmware.BIOS, "efi": Firmware.UEFI}

KIB_UNITS = 0x8000  # SMBIOS 3.7, 7.18: bit 15 of a memory device's size
SIZE_UNKNOWN = 0xFFFF


def parse_machine(query: Mapping[str, str]) -> Machine:
    """The machine that `query` describes."""
    return Machine(
        mac=_or_nothing(parse_mac, query.get("mac", "")),
        uuid=_or_nothing(parse_uuid, query.get("uuid", "")),
        serial=_told(query, "serial"),
        asset=_told(query, "asset"),
        manufacturer=_told(query, "manufacturer"),
        product=_told(query, "product"),
        firmware=PLATFORMS.get(query.get("platform", "")),
        architecture=_text(query.get("buildarch", "")),
        memory_mib=_number(query.get("memsize", "")) or _installed_mib(query.get("dimms", "")),
    )


def _installed_mib(dimms: str) -> int | None:
    """The sum of the memory devices' sizes: 16-bit little-endian hex words with dots between."""
    total_kib = 0
    for word in dimms.split("."):
        if not re.fullmatch(r"[0-9a-fA-F]{4}", word):
            continue
        size = int.from_bytes(bytes.fromhex(word), "little")
        if size == SIZE_UNKNOWN:
            return None
        if size & KIB_UNITS:
            total_kib += size & ~KIB_UNITS
        else:
            total_kib += size * 1024
    return total_kib // 1024 or None


def _or_nothing(parse: Callable[[str], str], text: str) -> str:
    try:
        return parse(text)
    except ValueError:
        return ""


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) and int(text) else None


def _told(query: Mapping[str, str], name: str) -> str:
    """What a maker or a site wrote into the machine: in hex, or plain from the stubs of before."""
    in_hex = query.get(f"{name}.hex", "")
    if re.fullmatch(r"([0-9a-fA-F]{2})+", in_hex):
        return _text(bytes.fromhex(in_hex).decode("utf-8", "replace"))
    return _text(query.get(name, ""))


def _text(text: str) -> str:
    """Printable and short; vendors pad their strings with blanks."""
    return "".join(c for c in text if c.isprintable()).strip()[:NAME_LIMIT]
