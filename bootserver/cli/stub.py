"""`bootserver stub`: build a stub, or look into one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import click

from bootserver.cli.shared import (
    as_json,
    checked,
    echo,
    open_library,
    open_state,
    print_json,
    with_config,
)
from bootserver.config import Config
from bootserver.fields import parse_entry, parse_mac
from bootserver.model import StubFormat
from bootserver.units import megabytes

UEFI_WORDS = {
    "packed": "iPXE packed behind our own loader",
    "plain": "the plain iPXE",
    "none": "nothing",
}
SLOW_PATHS = {"150 kB/s": 150e3, "1.5 MB/s": 1.5e6}  # what AMT redirection is in the field


@click.group()
def stub() -> None:
    """The tiny ISO that starts a machine."""


@stub.command()
@click.argument("image_id", metavar="[IMAGE]", default="")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Else ./IMAGE.stub.FORMAT.")
@click.option(
    "--server",
    "servers",
    multiple=True,
    metavar="URL",
    help="Where the stub calls; more than one is tried in turn.",
)
@click.option(
    "--static-ip", default="", metavar="ADDRESS/PREFIX", help="Instead of DHCP: 192.0.2.5/24."
)
@click.option("--gateway", default="", metavar="ADDRESS", help="The gateway beside --static-ip.")
@click.option("--dns", default="", metavar="ADDRESS", help="The name server beside --static-ip.")
@click.option(
    "--format",
    "stub_format",
    type=click.Choice([f.value for f in StubFormat]),
    default=StubFormat.ISO.value,
    show_default=True,
    help="iso: for a CD drive, or a stick. img: a stick, with a GPT. efi: for UEFI HTTP boot.",
)
@click.option("--vlan", type=int, metavar="ID", help="The VLAN to tag, 1 to 4094.")
@click.option("--entry", default="", help="The entry of the disc's own menu to boot.")
@click.option("--mac", default="", metavar="MAC", help="Only the network card with this address.")
@click.option(
    "--then-dhcp",
    is_flag=True,
    help="--static-ip first, on the card of --mac; where it leads nowhere, DHCP on every card.",
)
@as_json
@with_config
async def build(
    config: Config,
    image_id: str,
    entry: str,
    output: Path | None,
    servers: tuple[str, ...],
    static_ip: str,
    gateway: str,
    dns: str,
    vlan: int | None,
    mac: str,
    then_dhcp: bool,
    stub_format: str,
    as_json: bool,
) -> None:
    """Write the stub that boots IMAGE, or without one a stub that shows a menu of all images.

    Equal requests give equal bytes.
    """
    from bootserver.stub.network import NetworkSpec
    from bootserver.stub.registry import StubRegistry
    from bootserver.stub.site import plan_for_site
    from bootserver.stub.spec import stub_spec
    from bootserver.stub.write import write_stub

    entry = checked(parse_entry, entry, "--entry")
    network = NetworkSpec.parse(
        static_ip=static_ip,
        gateway=gateway,
        dns=dns,
        vlan=vlan,
        mac=checked(parse_mac, mac, "--mac"),
        then_dhcp=then_dhcp,
    )
    async with open_state(config) as engine:
        problem = ""
        if image_id:
            # A stub needs no more of its image than the name: one that is being copied will do.
            async with open_library(config, engine, half_copied=True) as library:
                problem = library.get(image_id).problem
                await library.check_entry(image_id, entry)
        spec = stub_spec(config, image_id, entry, servers=_urls(servers), network=network)
        issued = await StubRegistry(engine, config.state.path).issue(spec)
    plan = plan_for_site(config, issued, StubFormat(stub_format))
    path = output or Path(spec.file_name(StubFormat(stub_format)))
    data = write_stub(plan, path, shared=True)

    base = f"{spec.servers[0]}/b/{issued.token}"
    sha256 = hashlib.sha256(data).hexdigest()
    if as_json:
        print_json(
            {
                "file": str(path),
                "size_bytes": len(data),
                "sha256": sha256,
                "digest": plan.digest,
                "token": issued.token,
                "image": image_id,
                "read_bytes": plan.read_bytes,
                "urls": {
                    "script": f"{base}/boot.ipxe",
                    "image": f"{base}/image.iso" if image_id else "",
                    "tree": f"{base}/tree/" if image_id else "",
                    "stub": f"{base}/stub.{'efi' if stub_format == 'efi' else 'iso'}",
                },
            }
        )
        return
    what = f"boots {image_id}" if image_id else "shows a menu of all images"
    echo(f"{path}: {what} from {', '.join(spec.servers)}")
    if problem:
        echo(f"  beware: {problem}", fg="yellow", err=True)
    echo(f"  size    {len(data):,} bytes")
    echo(f"  digest  {plan.digest}")
    for firmware, count in plan.read_bytes.items():
        times = ", ".join(f"{count / rate:.1f} s at {name}" for name, rate in SLOW_PATHS.items())
        echo(f"  over redirection {firmware.upper()} reads {count:,} bytes: {times}")


@stub.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@as_json
@with_config
def show(config: Config, file: Path, as_json: bool) -> None:
    """Say what is in a stub: its files, its servers, and whether it is one of this project's."""
    from bootserver.stub.read import read_stub

    facts = read_stub(file)
    if as_json:
        print_json(facts)
        return
    echo(f"{file}: {megabytes(facts['size_bytes'])}, boots {facts['image']}")
    for url in facts["servers"]:
        echo(f"  calls {url}")
    echo(f"  starts {'BIOS machines' if facts['bios'] else 'no BIOS machines'}")
    echo(f"  on UEFI machines: {UEFI_WORDS[facts['uefi']]}")
    for name, size_bytes in facts["files"].items():
        echo(f"  {size_bytes:>9,}  {name}")


def _urls(texts: tuple[str, ...]) -> list[str]:
    from bootserver.fields import parse_server_url

    try:
        return [parse_server_url(text) for text in texts]
    except ValueError as err:
        raise click.BadParameter(str(err), param_hint="--server") from err
