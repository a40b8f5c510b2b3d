"""`bootserver images optimize`: a new image of a disc of Windows PE, or of Linux."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from bootserver.cli.images import ProgressBar, last_seen, wait_for, whole_image
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
from bootserver.fields import parse_kernel_arguments
from bootserver.json_values import to_json
from bootserver.pci import PciId
from bootserver.quoting import shell_command

if TYPE_CHECKING:
    from bootserver.images.optimize.wishes import OptimizeReport


@click.command("optimize")
@click.argument("image_id", metavar="ID")
@click.option(
    "--nic",
    "nics",
    multiple=True,
    metavar="PCI-ID",
    help="Put in the driver of this card: 8086:15bc.",
)
@click.option(
    "--machine", metavar="MAC-OR-UUID", help="Put in the drivers of this machine's cards."
)
@click.option("--vpro", is_flag=True, help="Put in the drivers of all Intel wired cards.")
@click.option(
    "--drop-foreign-nics", is_flag=True, help="Leave out drivers of other makers' network cards."
)
@click.option("--drop-wifi", is_flag=True, help="Leave out drivers of Wi-Fi cards.")
@click.option(
    "--drop-unused-images", is_flag=True, help="Leave out what is in boot.wim and not booted."
)
@click.option(
    "--drop-path",
    "drop_paths",
    multiple=True,
    metavar="PATH",
    help="Leave out a file or folder of the Windows image, else of the disc (disc:PATH).",
)
@click.option(
    "--add",
    "additions",
    multiple=True,
    metavar="SRC:DST",
    help="Put in a file or folder: vnc:X:\\tools\\vnc.",
)
@click.option(
    "--run", "lines", multiple=True, metavar="LINE", help="Run this when the network is up."
)
@click.option(
    "--arguments", default="", help="Give the kernels of a Linux disc these arguments too."
)
@click.option("--call-home", is_flag=True, help="Tell this server when Windows PE is up.")
@click.option("--name", default="", help="The new image's name; else ID-optimized.")
@click.option("--dry-run", is_flag=True, help="Only say what would be different.")
@as_json
@with_config
async def optimize_image(
    config: Config,
    image_id: str,
    nics: tuple[str, ...],
    machine: str | None,
    vpro: bool,
    drop_foreign_nics: bool,
    drop_wifi: bool,
    drop_unused_images: bool,
    drop_paths: tuple[str, ...],
    additions: tuple[str, ...],
    lines: tuple[str, ...],
    arguments: str,
    call_home: bool,
    name: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Write a new image: a disc of Windows PE with drivers put in, and ballast left out.

    The image itself is not changed. The drivers come from the library of drivers. They are loaded
    before Windows PE starts its network. Of a Linux disc, paths can be left out; --add puts files
    into its initramfs, and --arguments is for its kernels.
    """
    from bootserver.images.optimize.wishes import OptimizeWishes, dropped_path, parse_addition
    from bootserver.images.optimize.write import optimize, preview, result_id
    from bootserver.images.winpe import cards_of
    from bootserver.stub.registry import StubRegistry
    from bootserver.stub.spec import stub_spec
    from bootserver.windows.drivers import DriverLibrary

    wishes = OptimizeWishes(
        nics=tuple(checked(PciId.parse, nic, "--nic") for nic in nics),
        vpro=vpro,
        drop_foreign_nics=drop_foreign_nics,
        drop_wifi=drop_wifi,
        drop_unused_images=drop_unused_images,
        drop_paths=tuple(checked(dropped_path, path, "--drop-path") for path in drop_paths),
        added=tuple(checked(parse_addition, text, "--add") for text in additions),
        lines=lines,
        arguments=checked(parse_kernel_arguments, arguments, "--arguments"),
    )
    if wishes == OptimizeWishes() and not (machine or call_home):
        raise click.UsageError("say what is to be different: see --help")
    async with open_state(config) as engine, open_library(config, engine) as library:
        image = await whole_image(library, image_id)
        if machine:
            cards = cards_of(await last_seen(engine, machine, "--machine"))
            wishes = replace(wishes, machine=cards)
        if call_home:
            stubs = StubRegistry(engine, config.state.path)
            stub = await stubs.issue(stub_spec(config, result_id(image, name)))
            wishes = replace(wishes, up_url=stub.up_url)
        drivers = DriverLibrary.of(config)
        if dry_run:
            report = await preview(image, wishes, drivers, name=name)
        else:
            with ProgressBar(f"writing {result_id(image, name)}") as progress:
                report = await optimize(
                    image,
                    wishes,
                    drivers,
                    directory=config.images.path,
                    state=config.state.path,
                    name=name,
                    progress=progress,
                )
            await library.scan()
            await wait_for(library)
    if as_json:
        print_json(to_json(report))
        return
    _print(report, dry_run=dry_run)


def _print(report: OptimizeReport, *, dry_run: bool) -> None:
    for line in report.lines():
        echo(line)
    if report.result and not dry_run:
        echo(f"added {report.result}")
        echo(f"  next: {shell_command('bootserver stub build', report.result)}")
