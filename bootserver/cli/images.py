"""`bootserver images`: the library of recovery images."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bootserver.cli.shared import (
    as_json,
    echo,
    open_library,
    open_state,
    print_json,
    with_config,
)
from bootserver.config import Config
from bootserver.errors import BootServerError, ImageError, ImageNotReadyError
from bootserver.json_values import to_json
from bootserver.model import Image, Machine
from bootserver.quoting import shell_command
from bootserver.selector import Selector
from bootserver.units import megabytes

if TYPE_CHECKING:
    from bootserver.database import DatabaseEngine
    from bootserver.images.explain import Explanation
    from bootserver.images.library import Library


@click.group()
def images() -> None:
    """The library of recovery images."""


@images.command("list")
@as_json
@with_config
async def list_images(config: Config, as_json: bool) -> None:
    """List the images; digests that are not known yet are computed first."""
    async with open_state(config) as engine, open_library(config, engine) as library:
        await wait_for(library)
        found, ignored = library.images(), library.ignored
    if as_json:
        print_json([_summary(image, config) for image in found])
        return
    if not found:
        echo(f"No images yet: put an .iso or .img file into {config.images.path},")
        echo("or run: bootserver images add FILE-OR-URL")
    width = max((len(image.id) for image in found), default=0)
    for image in found:
        state = image.problem or _outlook(image, config)
        echo(f"{image.id:<{width}}  {megabytes(image.size_bytes):>12}  {state}")
    for name, reason in ignored.items():
        echo(f"No image: {name} {reason}")


@images.command("show")
@click.argument("image_id", metavar="ID")
@as_json
@with_config
async def show_image(config: Config, image_id: str, as_json: bool) -> None:
    """Show all that is known of an image."""
    async with open_state(config) as engine, open_library(config, engine) as library:
        image = await whole_image(library, image_id)
    if as_json:
        print_json(_details(image, config))
        return
    for key, value in _details(image, config).items():
        first, *more = (value or [""]) if isinstance(value, list) else [value]
        echo(f"{key.replace('_', ' '):<16}  {first}")
        for line in more:
            echo(f"{'':<16}  {line}")


@images.command("explain")
@click.argument("image_id", metavar="ID")
@click.option("--client", metavar="MAC-OR-UUID", help="Also for this machine, as it was last seen.")
@as_json
@with_config
async def explain_image(config: Config, image_id: str, client: str | None, as_json: bool) -> None:
    """Say what an image is, and why; what happens on BIOS and UEFI; what will not work."""
    from bootserver.images.decide import Site
    from bootserver.images.explain import explain
    from bootserver.images.prepared import NOTHING_LACKING, PreparedDiscs
    from bootserver.images.winpe import is_winpe
    from bootserver.windows.drivers import DriverLibrary
    from bootserver.windows.inspect import WinPeFindings

    async with open_state(config) as engine, open_library(config, engine) as library:
        image = await whole_image(library, image_id)
        machine = await last_seen(engine, client, "--client") if client else None
    if image.problem:
        raise ImageError(f"{image.id} cannot be booted: {image.problem}")
    outlook = NOTHING_LACKING
    if machine and is_winpe(image):
        findings = WinPeFindings()
        discs = PreparedDiscs(DriverLibrary.of(config), findings)
        with suppress(ImageError):  # `images inspect` says why
            await findings.of(image.content)
            outlook = await discs.outlook(image, machine, config.boot.prepare)
    explanation = explain(image, Site.of(config), machine, outlook)
    if as_json:
        print_json(to_json(explanation))
        return
    for line in explanation.lines():
        echo(line)


@images.command("inspect")
@click.argument("image_id", metavar="ID")
@click.option("--drivers", is_flag=True, help="List the network drivers, and what they serve.")
@as_json
@with_config
async def inspect_image(config: Config, image_id: str, drivers: bool, as_json: bool) -> None:
    """Say what is in a disc of Windows PE: which Windows, its network drivers, what is ballast."""
    from bootserver.files.threads import cancellable
    from bootserver.windows.inspect import inspect_winpe

    async with open_state(config) as engine, open_library(config, engine) as library:
        image = await whole_image(library, image_id)
    winpe = await cancellable(inspect_winpe, image.content)
    if as_json:
        print_json(to_json(winpe))
        return
    for line in winpe.lines(with_drivers=drivers):
        echo(line)


@images.command("add")
@click.argument("source", metavar="FILE-OR-URL")
@click.option("--name", help="Another name for the image, without .iso; FOLDER/NAME is one too.")
@click.option("--sha256", help="What its SHA-256 must be, or that of the packed file.")
@as_json
@with_config
async def add(
    config: Config, source: str, name: str | None, sha256: str | None, as_json: bool
) -> None:
    """Copy an image into the library, or download it; a download that was cut goes on.

    What is packed is unpacked: xz, gzip, bzip2, or a zip with one image in it.
    """
    from bootserver.images.add import add_image
    from bootserver.images.directory import image_id_of

    config.images.path.mkdir(parents=True, exist_ok=True)
    with ProgressBar(f"adding {source.rpartition('/')[2]}") as progress:
        path = await add_image(
            source, config.images.path, name=name, sha256=sha256, progress=progress
        )
    async with open_state(config) as engine, open_library(config, engine) as library:
        await wait_for(library)
        image = library.get(image_id_of(path, config.images.path))
    if as_json:
        print_json(_summary(image, config))
    else:
        echo(f"added {image.id} ({image.title}, {megabytes(image.size_bytes)})")
        echo(f"  sha256 {image.sha256}")
        echo(f"  next: {shell_command('bootserver stub build', image.id)}")


@images.command("remove")
@click.argument("image_id", metavar="ID")
@with_config
async def remove(config: Config, image_id: str) -> None:
    """Delete an image's file and its side-car."""
    from bootserver.images.directory import remove_image

    async with open_state(config) as engine, open_library(config, engine) as library:
        path = Path(library.get(image_id).path)
    remove_image(path)
    echo(f"removed {path}")


async def last_seen(engine: DatabaseEngine, text: str, option: str) -> Machine:
    """The machine as it described itself when it last booted from here."""
    from bootserver.sessions.store import SessionStore

    try:
        names = Selector.parse([text])
    except ValueError as err:
        raise click.BadParameter(str(err), param_hint=option) from err
    if not (names.mac or names.uuid):
        raise click.BadParameter("give a MAC address or a UUID", param_hint=option)
    session = await SessionStore(engine).last_of(names.mac or names.uuid)
    if session is None:
        raise BootServerError(
            f"no machine {text} has booted from here", hint="run: bootserver machines list"
        )
    return session.machine


async def whole_image(library: Library, image_id: str) -> Image:
    """The image once it is read, even if it is just being copied; an unknown id fails at once."""
    with suppress(ImageNotReadyError):
        library.get(image_id)
    await wait_for(library)
    return library.get(image_id)


async def wait_for(library: Library) -> None:
    """Wait for digests that are not known yet, with a progress bar when there are any."""
    import asyncio

    waiting = asyncio.ensure_future(library.settled())
    with ProgressBar("reading new images") as progress:
        while not waiting.done():
            steps = [p for image in library.images() if (p := library.progress(image.id))]
            if steps:
                progress(sum(done for done, _ in steps), sum(total for _, total in steps))
            await asyncio.wait({waiting}, timeout=0.2)
    await waiting


class ProgressBar:
    """A bar on standard error, drawn from the first call on; nothing when that is no terminal."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> ProgressBar:
        return self

    def __call__(self, done_bytes: int, total_bytes: int | None) -> None:
        if self._bar is None:
            from rich.progress import (
                BarColumn,
                DownloadColumn,
                Progress,
                TextColumn,
                TransferSpeedColumn,
            )

            from bootserver.cli.terminal import PrintableConsole

            terminal = PrintableConsole(stderr=True)
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                DownloadColumn(),
                TransferSpeedColumn(),
                console=terminal,
                disable=not terminal.is_terminal,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(self._label)
        self._bar.update(self._task, completed=done_bytes, total=total_bytes)

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()


def _summary(image: Image, config: Config) -> dict[str, Any]:
    explanation = _explanation(image, config)
    return {
        "id": image.id,
        "title": image.title,
        "size_bytes": image.size_bytes,
        "sha256": image.sha256,
        "recipe": explanation.recipe if explanation else "",
        "firmware": [firmware.value for firmware in explanation.boots_on] if explanation else [],
        "problem": image.problem,
    }


def _details(image: Image, config: Config) -> dict[str, Any]:
    facts = image.facts
    return _summary(image, config) | {
        "path": image.path,
        "memdisk": image.settings.memdisk,
        "volume_id": facts.volume_id if facts else "",
        "udf": facts.has_udf if facts else False,
        "missing_bytes": facts.missing_bytes if facts else 0,
        "boot_entries": [
            f"platform 0x{e.platform_id:02X}, {'no emulation' if e.media == 0 else 'emulation'}, "
            f"{e.load_sectors} sectors at LBA {e.lba}{'' if e.bootable else ', not bootable'}"
            f"{', EFI/BOOT in it' if e.holds_efi else ''}"
            for e in (facts.el_torito if facts else ())
        ],
        "markers": sorted(facts.markers) if facts else [],
    }


def _explanation(image: Image, config: Config) -> Explanation | None:
    """What is known of an image that can be booted."""
    from bootserver.images.decide import Site
    from bootserver.images.explain import explain

    return explain(image, Site.of(config)) if image.facts and not image.problem else None


def _outlook(image: Image, config: Config) -> str:
    explanation = _explanation(image, config)
    if explanation is None or not explanation.boots_on:
        return "boots nothing: see bootserver images explain"
    firmware = " and ".join(firmware.value.upper() for firmware in explanation.boots_on)
    return f"{explanation.title}: boots on {firmware}"
