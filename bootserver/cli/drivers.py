"""`bootserver drivers`: the library of drivers for Windows PE."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bootserver.cli.shared import as_json, checked, echo, print_json, with_config
from bootserver.config import Config
from bootserver.json_values import to_json
from bootserver.pci import PciId
from bootserver.windows.target import DEFAULT_VERSION, WindowsTarget

if TYPE_CHECKING:
    from bootserver.windows.drivers import DriverLibrary, DriverPackage


@click.group()
def drivers() -> None:
    """The library of drivers for Windows PE."""


@drivers.command("add")
@click.argument("source", metavar="PATH", type=click.Path(exists=True, path_type=Path))
@as_json
@with_config
def add_drivers(config: Config, source: Path, as_json: bool) -> None:
    """Copy a folder with drivers, or a .zip or .cab file, into the library."""
    library = _library(config)
    name = library.add(source)
    _print([package for package in library.packages() if package.name == name], as_json)


@drivers.command("list")
@as_json
@with_config
def list_drivers(config: Config, as_json: bool) -> None:
    """List the drivers, with the name by which each can be removed."""
    packages = _library(config).packages()
    if not packages and not as_json:
        echo("No drivers yet. Run: bootserver drivers add PATH")
        return
    _print(packages, as_json)


@drivers.command("find")
@click.argument("device", metavar="PCI-ID")
@click.option(
    "--windows", default=DEFAULT_VERSION, show_default=True, help="The version of Windows."
)
@click.option("--arch", default="amd64", show_default=True, help="x86, amd64 or arm64.")
@as_json
@with_config
def find_driver(config: Config, device: str, windows: str, arch: str, as_json: bool) -> None:
    """Show the driver that a device gets, and its files: 8086:15bc, or Windows' PCI\\VEN_... id."""
    pci = checked(PciId.parse, device, "PCI-ID")
    target = checked(lambda text: WindowsTarget.parse(text, arch), windows, "--windows, --arch")
    found = _library(config).find(pci, target)
    if as_json:
        print_json(to_json(found))
        return
    _print([found], as_json=False)
    for path in found.files:
        echo(f"  {path}")


@drivers.command("remove")
@click.argument("name", metavar="NAME")
@with_config
def remove_drivers(config: Config, name: str) -> None:
    """Delete a folder or archive of the library, by its name."""
    _library(config).remove(name)
    echo(f"removed {name}")


def _library(config: Config) -> DriverLibrary:
    from bootserver.state import make_state
    from bootserver.windows.drivers import DriverLibrary

    make_state(config.state.path)
    return DriverLibrary.of(config)


def _print(packages: list[DriverPackage], as_json: bool) -> None:
    if as_json:
        print_json([to_json(package) for package in packages])
        return
    width = max(len(package.name) for package in packages)
    for package in packages:
        what = package.problem or (
            f"{package.provider} {package.driver_version} of {package.driver_date or 'no date'}, "
            f"{len(package.pci_ids)} PCI devices, {', '.join(package.architectures)}"
        )
        echo(f"{package.name:<{width}}  {Path(package.path).name:<16}  {what}")
