"""How a stub gets on the network: DHCP, an address given at build time, or that one first."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from bootserver.errors import StubError
from bootserver.fields import is_no_machine

WRITE_ADDRESSES = "write addresses like 192.0.2.5/24 and 192.0.2.1"


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """How the stub gets on the network; all empty means DHCP on every card in turn.

    An address is the only one that is tried, on every card or on that of `mac`. With `then_dhcp` it
    is a guess for the card of `mac`. In any case, DHCP on every card goes after it.
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
            router, resolver = (
                ipaddress.IPv4Address(text) if text else None for text in (gateway, dns)
            )
        except ValueError as err:
            raise StubError(str(err), hint=WRITE_ADDRESSES) from err
        if interface:
            _check_interface(interface, static_ip, router)
        for address in filter(None, (router, resolver)):
            if _is_nowhere(address):
                raise StubError(f"{address} is no machine's address", hint=WRITE_ADDRESSES)
        return cls(
            address=str(interface.ip) if interface else "",
            netmask=str(interface.netmask) if interface else "",
            gateway=gateway,
            dns=dns,
            vlan=vlan,
            mac=mac,
            then_dhcp=then_dhcp,
        )


def _check_interface(
    interface: ipaddress.IPv4Interface, text: str, router: ipaddress.IPv4Address | None
) -> None:
    """Raises StubError for an address that no machine can have there, or a gateway out of reach."""
    network = interface.network
    if network.prefixlen == 32 and "/" not in text:
        raise StubError(f"{text} lacks its prefix length", hint=f"write {text}/24, say")
    for address in filter(None, (interface.ip, router)):
        if address not in network:
            raise StubError(
                f"the gateway {address} is not in {network}",
                hint="check the prefix length and the gateway",
            )
        is_end = address in (network.network_address, network.broadcast_address)
        if _is_nowhere(address) or network.prefixlen == 0 or (is_end and network.prefixlen < 31):
            raise StubError(f"{address} is no machine's address in {network}", hint=WRITE_ADDRESSES)
    if router == interface.ip:
        raise StubError(
            f"{router} is both the machine's address and its gateway's", hint=WRITE_ADDRESSES
        )


def _is_nowhere(address: ipaddress.IPv4Address) -> bool:
    """True for an address that no machine has on a network (RFC 1122 §3.2.1.3)."""
    this_network = ipaddress.IPv4Network("0.0.0.0/8")
    return is_no_machine(address) or address.is_loopback or address in this_network


DHCP = NetworkSpec()
