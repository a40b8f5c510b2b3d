"""What a stub consists of, decided as plain data before a byte is written."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from bootserver.errors import StubError
from bootserver.model import CD_SECTOR_BYTES
from bootserver.stub.render import render_isolinux, render_stub

VOLUME_ID = "BOOTSERVER"
BIOS_PLATFORM = 0x00

# Beside the files, SeaBIOS and isolinux read volume descriptors, boot catalog, path and root
# directory, and the first sectors twice: measured in QEMU, see docs/booting.md.
BIOS_OVERHEAD_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """How the stub gets on the network; all empty means DHCP on every card in turn."""

    address: str = ""
    netmask: str = ""
    gateway: str = ""
    dns: str = ""
    vlan: int | None = None
    mac: str = ""  # only the card with this address

    @classmethod
    def parse(
        cls,
        *,
        static_ip: str = "",
        gateway: str = "",
        dns: str = "",
        vlan: int | None = None,
        mac: str = "",
    ) -> NetworkSpec:
        """Checked values; `static_ip` is an IPv4 address with prefix length, `192.0.2.5/24`.

        Raises StubError with what to write instead.
        """
        if not static_ip and (gateway or dns):
            raise StubError(
                "a gateway or name server goes with a static address",
                hint="add --static-ip ADDRESS/PREFIX, or leave both to DHCP",
            )
        if vlan is not None and not 1 <= vlan <= 4094:
            raise StubError(f"{vlan} is no VLAN", hint="give a number from 1 to 4094")
        try:
            interface = ipaddress.IPv4Interface(static_ip) if static_ip else None
            for other in filter(None, (gateway, dns)):
                ipaddress.IPv4Address(other)
        except ValueError as err:
            raise StubError(
                str(err), hint="write addresses like 192.0.2.5/24 and 192.0.2.1"
            ) from err
        if interface and interface.network.prefixlen == 32 and "/" not in static_ip:
            raise StubError(
                f"{static_ip} lacks its prefix length", hint=f"write {static_ip}/24, say"
            )
        if interface and gateway and ipaddress.IPv4Address(gateway) not in interface.network:
            raise StubError(
                f"the gateway {gateway} is not in {interface.network}",
                hint="check the prefix length and the gateway",
            )
        return cls(
            address=str(interface.ip) if interface else "",
            netmask=str(interface.netmask) if interface else "",
            gateway=gateway,
            dns=dns,
            vlan=vlan,
            mac=mac,
        )


DHCP = NetworkSpec()


@dataclass(frozen=True, slots=True)
class StubSpec:
    """What somebody wants: equal specs and equal loaders give equal bytes."""

    image: str  # the id of the image that it boots
    servers: tuple[str, ...]  # base URLs, tried in this order
    tftp_port: int | None = None  # the last resort, on the first server's host
    network: NetworkSpec = DHCP
    serial: str = ""  # isolinux's console, `PORT BAUD`

    def script_urls(self, token: str) -> tuple[str, ...]:
        """Where the stub asks for its boot script, in order."""
        urls = [f"{server}/b/{token}/boot.ipxe" for server in self.servers]
        if self.tftp_port is not None and self.servers:
            host = urlsplit(self.servers[0]).netloc.rpartition("@")[2]
            host = re.sub(r":\d+$", "", host)
            port = "" if self.tftp_port == 69 else f":{self.tftp_port}"
            urls.append(f"tftp://{host}{port}/b/{token}/boot.ipxe")
        return tuple(urls)


@dataclass(frozen=True, slots=True)
class StubFile:
    """One file on the stub; `path` is an ISO 9660 name from the root, `/NAME.EXT`."""

    path: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class BootEntry:
    """One El Torito entry, no emulation; `load_sectors` in 512 bytes."""

    path: str
    platform_id: int
    load_sectors: int
    boot_info_table: bool


@dataclass(frozen=True, slots=True)
class StubPlan:
    """Everything about a stub; `digest` names it: cache key, ETag and bug-report id."""

    volume_id: str
    files: tuple[StubFile, ...]
    boot_entries: tuple[BootEntry, ...]
    boot_sector: bytes = field(repr=False)  # isohdpfx.bin: starts isolinux.bin from a USB stick
    digest: str

    @property
    def bios_read_bytes(self) -> int:
        """How many bytes a BIOS machine reads from the stub until its script runs."""
        files = sum(_in_sectors(len(file.data)) for file in self.files)
        return files + BIOS_OVERHEAD_BYTES


def plan_stub(spec: StubSpec, token: str, loader: Callable[[str], bytes]) -> StubPlan:
    """The stub for `spec`; `loader` gives a loader's bytes by name."""
    script = render_stub(spec.image, spec.network, spec.script_urls(token))
    files = (
        StubFile("/ISOLINUX.BIN", loader("isolinux.bin")),
        StubFile("/LDLINUX.C32", loader("ldlinux.c32")),
        StubFile("/ISOLINUX.CFG", render_isolinux(spec.serial).encode("ascii")),
        StubFile("/IPXE.KRN", loader("ipxe.lkrn")),
        StubFile("/AUTOEXEC.IPXE", script.encode("ascii")),
    )
    boot_entries = (
        BootEntry("/ISOLINUX.BIN", BIOS_PLATFORM, load_sectors=4, boot_info_table=True),
    )
    boot_sector = loader("isohdpfx.bin")
    return StubPlan(
        VOLUME_ID, files, boot_entries, boot_sector, _digest(files, boot_entries, boot_sector)
    )


def _digest(
    files: tuple[StubFile, ...], boot_entries: tuple[BootEntry, ...], boot_sector: bytes
) -> str:
    """SHA-256 over all that decides the stub's bytes."""
    digest = hashlib.sha256(VOLUME_ID.encode())
    for file in files:
        digest.update(f"{file.path}\0{len(file.data)}\0".encode())
        digest.update(file.data)
    for entry in boot_entries:
        digest.update(repr(entry).encode())
    digest.update(boot_sector)
    return digest.hexdigest()


def _in_sectors(size_bytes: int) -> int:
    return -(-size_bytes // CD_SECTOR_BYTES) * CD_SECTOR_BYTES
