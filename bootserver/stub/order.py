"""From what a person asks for to a stub that was issued: which servers, which network."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from bootserver.config import Config
from bootserver.errors import StubError
from bootserver.quoting import url_host
from bootserver.stub.network import DHCP, NetworkSpec
from bootserver.stub.plan import StubSpec


def order_stub(
    config: Config,
    image_id: str = "",
    entry: str = "",
    *,
    servers: Sequence[str] = (),
    network: NetworkSpec = DHCP,
) -> StubSpec:
    """The spec of a stub for that image, or for a menu of all; `servers` replace the configured.

    Raises StubError when no address is known by which machines could reach this server, or for an
    entry of no image.
    """
    if entry and not image_id:
        raise StubError(
            "an entry is of one image, and this stub shows a menu of all",
            hint="name the image, or leave the entry out",
        )
    return StubSpec(
        image=image_id,
        entry=entry,
        servers=tuple(servers) or (own_url(config), *config.stub.servers),
        tftp_port=config.tftp.port if config.tftp.enabled else None,
        network=network,
        serial=config.stub.serial,
        architectures=config.stub.architectures,
        pack=config.stub.pack,
        shim_loads=config.stub.shim_loads if config.stub.shim else "",
    )


def own_url(config: Config) -> str:
    """The URL by which machines reach this server's boot plane."""
    server = config.server
    if server.url:
        return server.url
    host = _default_address() if server.address == "*" else server.address
    return f"http://{url_host(host)}:{server.boot_port}"


def _default_address() -> str:
    """The address of the interface with the default route; connecting UDP sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # RFC 5737: nobody's
        except OSError as err:
            raise StubError(
                "this machine has no default route, so its own address is unknown",
                hint="set [server] url in config.toml, or give --server URL",
            ) from err
        return str(probe.getsockname()[0])
