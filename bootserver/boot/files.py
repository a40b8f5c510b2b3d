"""The files of an image as one boot gets them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bootserver.boot.render import render_hook
from bootserver.disc.volume import Node
from bootserver.errors import ImageError
from bootserver.images.overlay import Served, served_file, served_image
from bootserver.images.tree import ImageTrees
from bootserver.model import Image, Way
from bootserver.windows.inspect import BOOT_WIM
from bootserver.windows.overlay import PreparedDisc

WHOLE_IMAGE = "image.iso"  # below a boot's URL; the files in it are below "tree/"


@dataclass(frozen=True, slots=True)
class BootFiles:
    """An image and the files in it, with what the way that it boots adds to them.

    `url` is the boot's on this server, as it reached us: `http://HOST/b/KEY`. Only to a boot
    (`is_boot`) goes the script by which its system calls home.

    Of a disc that was `prepared` for the boot, the whole and boot.wim are that disc's.

    Its methods raise ImageNotFoundError, ImageNotReadyError, or ImageError for a damaged disc.
    """

    trees: ImageTrees
    image: Image
    way: Way | None
    url: str
    is_boot: bool = False
    prepared: PreparedDisc | None = None

    @property
    def tree_url(self) -> str:
        """Where the files in the image are."""
        return f"{self.url}/tree/"

    @property
    def whole_url(self) -> str:
        """Where the whole image is."""
        return f"{self.url}/{WHOLE_IMAGE}"

    @property
    def hooks(self) -> Mapping[str, bytes]:
        """What goes into the initramfs so that the system says when it is up; often nothing can."""
        hook = self.way.hook if self.way and self.is_boot else ""
        if not hook or not self.url.startswith("http://"):
            return {}
        path, script = render_hook(hook, f"{self.url}/phase/up")
        return {path: script.encode()}

    async def whole(self) -> Served:
        """The whole image."""
        layout = self.prepared.layout if self.prepared else None
        return await served_image(self.trees, self.image, layout)

    async def file(self, path: str) -> Served | None:
        """A file of the image by its path from `/`; None for a directory."""
        if self.prepared and path.lower() == BOOT_WIM:
            return Served(self.image.content, self.prepared.boot_wim)
        return await served_file(
            self.trees, self.image, path, way=self.way, tree_url=self.tree_url, hooks=self.hooks
        )

    async def listing(self, path: str) -> list[Node]:
        """What is in that directory of the image."""
        return await self.trees.children(self.image.content, path)

    async def fetched_by_script(self) -> list[Served]:
        """All that the boot script fetches of the image."""
        assert self.way is not None
        way, fetched = self.way, []
        for path in (*filter(None, [way.program]), *way.initrds, *(path for _, path in way.files)):
            served = await self.file(path)
            if served is None:
                raise ImageError(f"{self.image.id} cannot be booted: {path} is a directory on it")
            fetched.append(served)
        if not fetched or way.iso_in_initramfs:
            fetched.append(await self.whole())
        return fetched
