"""`bootserver demo`: one boot on an emulated machine, to see what this is all about."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bootserver.cli.shared import with_config
from bootserver.config import Config
from bootserver.errors import ServiceError
from bootserver.model import BootPhase, Firmware
from bootserver.units import megabytes

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bootserver.bench.demo import View

MEMTEST = "memtest86+x64.iso"
BAR_COLUMNS = 36


@click.command()
@click.argument("image_id", metavar="[IMAGE]", default="")
@click.option(
    "--firmware",
    type=click.Choice([f.value for f in Firmware]),
    default=Firmware.BIOS.value,
    show_default=True,
)
@click.option(
    "--rate",
    "rate_kb_s",
    type=click.IntRange(0),
    default=600,
    show_default=True,
    help="kB/s of the machine's CD, as over AMT; 0 is as fast as it goes.",
)
@click.option(
    "--amt",
    "by_amt",
    is_flag=True,
    help="Boot it through Intel AMT: a fake device redirects the CD.",
)
@click.option("--stay", is_flag=True, help="Leave the server running afterwards, until Ctrl-C.")
@with_config
async def demo(
    config: Config, image_id: str, firmware: str, rate_kb_s: int, by_amt: bool, stay: bool
) -> None:
    """Boot an emulated machine from a stub, and watch where its time goes.

    The server of the demonstration is one of its own, with nothing but IMAGE, or Memtest86+.
    """
    from rich.live import Live

    from bootserver.bench.demo import demonstration
    from bootserver.bench.qemu import require_qemu
    from bootserver.cli.terminal import PrintableConsole

    require_qemu()
    image = await asyncio.to_thread(_image, config, image_id)
    console = PrintableConsole()
    with tempfile.TemporaryDirectory(prefix="bootserver-demo-") as directory:
        async with demonstration(
            image, Firmware(firmware), rate_kb_s, Path(directory), config, by_amt=by_amt
        ) as views:
            view = None
            with Live(console=console, auto_refresh=False, transient=True) as live:
                async for view in views:
                    live.update(_picture(view), refresh=console.is_terminal)
            if view is not None:
                console.print(_picture(view))
                if view.error:
                    raise ServiceError(f"the boot failed: {view.error}")
                console.print(_summary(view))
                if stay:
                    console.print(f"\nThe dashboard is at {view.dashboard}; Ctrl-C ends it.")
                    await asyncio.Event().wait()


def _image(config: Config, image_id: str) -> Path:
    """The image's file; for "" Memtest86+, out of the distribution's package."""
    from bootserver.bench.cases import find_image
    from bootserver.stub.collect import collect_isos

    if image_id:
        return find_image(image_id, config.images.path)
    directory = config.state.path / "demo"
    collect_isos([MEMTEST], directory)
    return directory / MEMTEST


def _picture(view: View) -> RenderableType:
    """The boot as bars on one axis, and the machine's screen below."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    bars = view.bars
    scale = BAR_COLUMNS / max(bars[-1][2], 5.0)
    table = Table.grid(padding=(0, 1))
    for name, start, end in bars:
        left, width = round(start * scale), max(1, round((end - start) * scale))
        bar = Text(" " * left + "━" * width, style="cyan")
        table.add_row(Text(name, no_wrap=True), f"{end - start:6.1f} s", bar)
    session = view.session
    got = f"over the slow CD {megabytes(view.stub_bytes)}"
    if session:
        got += f", over HTTP {megabytes(session.sent_bytes)} of {megabytes(session.image_bytes)}"
    screen = Text("\n".join(view.screen) or "(nothing yet)", no_wrap=True, overflow="ellipsis")
    return Group(
        Text(f"dashboard: {view.dashboard}"),
        table,
        Text(got),
        Panel(screen, title="the machine's screen", title_align="left"),
    )


def _summary(view: View) -> str:
    """What the demonstration of a boot has shown, in a sentence."""
    assert view.session is not None
    [handed_off_at] = [event.at for event in view.events if event.phase is BootPhase.HANDED_OFF]
    seconds = (handed_off_at - view.power_on_at).total_seconds()
    return (
        f"{seconds:.1f} s from power-on to the hand-off: {megabytes(view.stub_bytes)} came over "
        f"the slow CD, {megabytes(view.session.sent_bytes)} over HTTP."
    )
