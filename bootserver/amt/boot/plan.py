"""How a machine is going to be booted: decided as data from what AMT says of it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace

from bootserver.amt.boot.forecast import BootForecasts
from bootserver.amt.control.facts import AmtFacts, WiredNetwork
from bootserver.amt.errors import AmtError, AmtRefusedError
from bootserver.amt.types import BootMethod
from bootserver.config import Config
from bootserver.model import Image
from bootserver.stub.network import DHCP, NetworkSpec
from bootserver.stub.plan import StubPlan
from bootserver.stub.registry import IssuedStub
from bootserver.stub.spec import StubSpec, stub_spec


@dataclass(frozen=True, slots=True)
class RemoteBootPlan:
    """All that is decided before anything at the machine is changed."""

    image: Image
    method: BootMethod  # never AUTO
    forecasts: BootForecasts
    stub: IssuedStub
    stub_plan: StubPlan


def order_for_machine(config: Config, image_id: str, host: str, facts: AmtFacts) -> StubSpec:
    """The stub for this very machine: its token is its own, and it knows the machine's address.

    Its name is the host: there are makers that give all their machines one UUID.
    """
    spec = stub_spec(config, image_id, network=known_network(facts.network))
    return replace(spec, machine=host)


def known_network(network: WiredNetwork | None) -> NetworkSpec:
    """The address that AMT has, tried before DHCP; just DHCP where AMT tells none that can be used.

    AMT shares the host's address. It is free while the host's system does not run, and that system
    does not run while the stub does.
    """
    if network is None or not network.address or not network.netmask or not network.mac:
        return DHCP
    try:
        interface = ipaddress.IPv4Interface(f"{network.address}/{network.netmask}")
        gateway = ipaddress.IPv4Address(network.gateway) if network.gateway else None
        servers = [str(ipaddress.IPv4Address(server)) for server in network.dns]
    except ValueError:
        return DHCP
    if interface.ip.is_unspecified or interface.ip.is_loopback or interface.ip.is_link_local:
        return DHCP
    in_reach = gateway is not None and gateway in interface.network
    return NetworkSpec(
        address=str(interface.ip),
        netmask=str(interface.netmask),
        gateway=str(gateway) if in_reach else "",
        dns=servers[0] if servers else "",
        mac=network.mac,
        then_dhcp=True,
    )


def choose_method(
    asked: BootMethod, facts: AmtFacts, forecasts: BootForecasts, *, prefers_recovery: bool
) -> BootMethod:
    """The way to take; what cannot be done as asked is an AmtError."""
    match asked:
        case BootMethod.ONE_CLICK_RECOVERY if not facts.recovery.ready:
            raise AmtRefusedError(
                f"One-Click Recovery is not ready: {'; '.join(facts.recovery.obstacles)}",
                hint="boot over redirection: --method two-stage",
            )
        case BootMethod.DIRECT if forecasts.direct is None:
            raise AmtError(
                "the image starts no machine from a CD drive", hint="boot it by --method two-stage"
            )
        case BootMethod.AUTO if prefers_recovery and facts.recovery.ready:
            return BootMethod.ONE_CLICK_RECOVERY
        case BootMethod.AUTO if forecasts.direct_is_faster and forecasts.reads_once:
            return BootMethod.DIRECT
        case BootMethod.AUTO:
            return BootMethod.TWO_STAGE
    return asked
