"""How a stub gets on the network: DHCP, an address given at build time, or that one first."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from bootserver.errors import StubError


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """How the stub gets on the network; all empty means DHCP on every card in turn.

    An address is the only one that is tried, on every card or on that of `mac`. With `then_dhcp` it
    is a guess for the card of `mac`: whatever comes of it, DHCP on every card goes after it.
    """

    address: str = ""
    netmask: str = ""
    gateway: str = ""
    dns: str = ""
    vlan: int | None = None
    mac: str = ""  # only the card with this address
    then_dhcp: bool = False

    @classmethod
    def parse(
        cls,
        *,
        static_ip: str = "",
        gateway: str = "",
        dns: str = "",
        vlan: int | None = None,
        mac: str = "",
        then_dhcp: bool = False,
    ) -> NetworkSpec:
        """Checked values; `static_ip` is an IPv4 address with prefix length, `192.0.2.5/24`.

        Raises StubError with what to write instead.
        """
        if not static_ip and (gateway or dns):
            raise StubError(
                "a gateway or name server goes with a static address",
                hint="add --static-ip ADDRESS/PREFIX, or leave both to DHCP",
            )
        if then_dhcp and not (static_ip and mac):
            raise StubError(
                "an address that is tried before DHCP takes a network card to try it on",
                hint="give --static-ip ADDRESS/PREFIX and --mac MAC with --then-dhcp",
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
            then_dhcp=then_dhcp,
        )


DHCP = NetworkSpec()
