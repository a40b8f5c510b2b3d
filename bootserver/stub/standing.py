"""A stub for every image, always there: var/stubs/IMAGE.iso, ready to be redirected."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from bootserver.config import Config
from bootserver.errors import BootServerError
from bootserver.model import Image
from bootserver.stub.issued import IssuedStubs
from bootserver.stub.order import order_stub
from bootserver.stub.site import plan_for_site
from bootserver.stub.write import is_stub_of, write_stub

log = structlog.get_logger(__name__)


class StandingStubs:
    """Keeps one stub per bootable image on disk, in step with the library and the loaders."""

    def __init__(self, config: Config, issued: IssuedStubs) -> None:
        self._config = config
        self._issued = issued
        self._shelf = config.state.path / "stubs"
        self._changed = asyncio.Event()
        self._complaint = ""
        self.files: dict[str, Path] = {}  # by image id

    def look_again(self) -> None:
        """The library has changed."""
        self._changed.set()

    async def keep(self, images: Callable[[], Sequence[Image]]) -> None:
        """Write and delete stubs as images come and go, for ever."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self.update(images())

    async def update(self, images: Sequence[Image]) -> None:
        """Bring the stubs in step with `images`; one that cannot be built is one log line."""
        for gone in self.files.keys() - {image.id for image in images}:
            self.files.pop(gone).unlink(missing_ok=True)
        for image in images:
            try:
                self.files[image.id] = await self._write(image)
            except (BootServerError, OSError) as err:
                self._complain(str(err))
                return
        self._complaint = ""

    async def _write(self, image: Image) -> Path:
        stub = await self._issued.issue(order_stub(self._config, image.id))
        path = self._shelf / f"{image.id}.iso"

        def write() -> None:
            path.parent.mkdir(0o700, parents=True, exist_ok=True)
            plan = plan_for_site(self._config, stub)
            if not is_stub_of(plan, path):
                write_stub(plan, path)
                log.info("stub.written", image=image.id, path=str(path))

        await asyncio.to_thread(write)
        return path

    def _complain(self, reason: str) -> None:
        if reason != self._complaint:
            log.warning("stubs.not_built", reason=reason)
        self._complaint = reason
