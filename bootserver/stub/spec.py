"""What a stub is to be: its image, the servers that it asks, its network."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from bootserver.config import Config
from bootserver.errors import StubError
from bootserver.model import Architecture, StubFormat
from bootserver.quoting import url_host
from bootserver.stub.network import DHCP, NetworkSpec


@dataclass(frozen=True, slots=True)
class StubSpec:
    """What a stub is to be: equal specs and equal loaders give equal bytes."""

    image: str  # the id of the image that it boots; "" = the server offers a menu
    servers: tuple[str, ...]  # base URLs, tried in this order
    tftp_port: int | None = None  # the last resort, on the first server's host
    network: NetworkSpec = DHCP
    serial: str = ""  # isolinux's console, `PORT BAUD`
    architectures: tuple[Architecture, ...] = (Architecture.BIOS,)
    pack: bool = False  # iPXE packed behind our own UEFI loader: half the bytes
    shim_loads: str = ""  # what the site's shim starts; "" is a stub without shim
    machine: str = ""  # for which it is made: gives it a token of its own; "" = for any
    entry: str = ""  # of the menu of the image's disc; "" = as the image, or the machine, says

    def file_name(self, stub_format: StubFormat) -> str:
        """What its file is called where no other name is given."""
        return f"{self.image.rpartition('/')[2] or 'menu'}.stub.{stub_format}"

    def script_urls(self, token: str) -> tuple[str, ...]:
        """Where the stub asks for its boot script, in order."""
        urls = [f"{server}/b/{token}/boot.ipxe" for server in self.servers]
        if self.tftp_port is not None and self.servers:
            host = urlsplit(self.servers[0]).netloc.rpartition("@")[2]
            host = re.sub(r":\d+$", "", host)
            port = "" if self.tftp_port == 69 else f":{self.tftp_port}"
            urls.append(f"tftp://{host}{port}/b/{token}/boot.ipxe")
        return tuple(urls)


def stub_spec(
    config: Config,
    image_id: str = "",
    entry: str = "",
    *,
    servers: Sequence[str] = (),
    network: NetworkSpec = DHCP,
) -> StubSpec:
    """The spec of a stub for that image, or for a menu of all; `servers` replace the configured.

    Raises StubError if no address is known by which machines reach this server, or for an entry
    without an image.
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
            probe.connect(("192.0.2.1", 9))  # RFC 5737: an address of no machine
        except OSError as err:
            raise StubError(
                "this machine has no default route, so its own address is unknown",
                hint="set [server] url in config.toml, or give --server URL",
            ) from err
        return str(probe.getsockname()[0])
