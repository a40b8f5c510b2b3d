"""The machine as iPXE describes it in the query of its script request.

The names are those of iPXE's settings and are sent by stub/templates/stub.ipxe. Whatever makes no
sense is left out: the boot goes on without it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from bootserver.fields import NAME_LIMIT, parse_mac, parse_uuid
from bootserver.model import Firmware, Machine, Nic
from bootserver.pci import PciId

PLATFORMS = {"pcbios": Firmware.BIOS, "efi": Firmware.UEFI}

KIB_UNITS = 0x8000  # SMBIOS 3.7, 7.18: bit 15 of a memory device's size
SIZE_UNKNOWN = 0xFFFF

NICS_MAX = 16
# What who.ipxe says of a card. iPXE's busid is the bus's type, 1 for PCI, vendor and device; its
# `pci/` gives the bytes of little-endian fields the other way round, so the device comes first.
_NIC = re.compile(
    r"(?P<mac>[0-9a-f]{12})\.(?P<bus>[0-9a-f]{2})(?P<vendor>[0-9a-f]{4})(?P<device>[0-9a-f]{4})"
    r"\.(?:(?P<board>[0-9a-f]{4})(?P<maker>[0-9a-f]{4}))?\.(?P<revision>[0-9a-f]{2})?"
)
_ON_PCI = "01"
_NO_VENDOR = ("0000", "ffff")  # PCI Local Bus 3.0, 6.2.1: nothing is there


def parse_machine(query: Mapping[str, str]) -> Machine:
    """The machine that `query` describes."""
    return Machine(
        mac=_or_nothing(parse_mac, query.get("mac", "")),
        uuid=_or_nothing(parse_uuid, query.get("uuid", "")),
        serial=_value(query, "serial"),
        asset=_value(query, "asset"),
        manufacturer=_value(query, "manufacturer"),
        product=_value(query, "product"),
        firmware=PLATFORMS.get(query.get("platform", "")),
        architecture=_text(query.get("buildarch", "")),
        memory_mib=_number(query.get("memsize", "")) or _installed_mib(query.get("dimms", "")),
        nics=tuple(filter(None, map(_nic, query.get("nics", "").split("_")[:NICS_MAX]))),
    )


def _nic(text: str) -> Nic | None:
    """A network card; None for what is none, such as the place of a card that is not there."""
    match = _NIC.fullmatch(text)
    if match is None:
        return None
    mac = parse_mac(match["mac"])
    if match["bus"] != _ON_PCI or match["vendor"] in _NO_VENDOR:
        return Nic(mac)
    revision = int(match["revision"], 16) if match["revision"] else None
    subsystem = None
    if match["maker"] not in (None, *_NO_VENDOR):
        subsystem = int(match["maker"], 16), int(match["board"], 16)
    pci = PciId(int(match["vendor"], 16), int(match["device"], 16), subsystem, revision)
    return Nic(mac, pci)


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


def _value(query: Mapping[str, str], name: str) -> str:
    """What a maker or a site wrote into the machine: in hex, or plain from the stubs of before."""
    in_hex = query.get(f"{name}.hex", "")
    if re.fullmatch(r"([0-9a-fA-F]{2})+", in_hex):
        return _text(bytes.fromhex(in_hex).decode("utf-8", "replace"))
    return _text(query.get(name, ""))


def _text(text: str) -> str:
    """Printable and short; vendors pad their strings with blanks."""
    return "".join(c for c in text if c.isprintable()).strip()[:NAME_LIMIT]
