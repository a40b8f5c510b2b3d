"""What a boot fetches over TFTP is in the ledger, as over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bootserver.config import Config
from bootserver.errors import ImageNotReadyError
from bootserver.model import BootPhase
from bootserver.tftp.content import open_content
from bootserver.tftp.server import TftpRequest
from tests.fixtures.isos import make_iso
from tests.fixtures.plane import Plane, running_plane


@pytest.fixture
async def plane(config: Config) -> AsyncIterator[Plane]:
    make_iso(config.images.path / "rescue.iso", bios=True)
    async with running_plane(config) as plane:
        yield plane


def asking_for(name: str) -> TftpRequest:
    return TftpRequest(name, "127.0.0.1", 2070, "127.0.0.1")


async def begin(plane: Plane) -> str:
    """The place of a boot's files, after its script."""
    text = await open_content(plane.boot, asking_for(f"b/{await plane.token()}/boot.ipxe"))
    script = text.read(0, text.size_bytes).decode()
    [line] = [line for line in script.splitlines() if line.startswith("initrd")]
    return next(word for word in line.split() if word.endswith("/image.iso")).removesuffix(
        "image.iso"
    )


async def transfers(plane: Plane):
    await plane.ledger.flush()
    [session] = await plane.store.recent(10)
    return session, (await plane.store.transfers([session.id]))[session.id]


async def test_a_whole_image_is_a_complete_transfer(plane: Plane):
    file = await open_content(plane.boot, asking_for(await begin(plane) + "image.iso"))
    file.progress(file.size_bytes)
    file.close(True)

    session, [transfer] = await transfers(plane)

    assert session.phase is BootPhase.FETCHED
    assert session.sent_bytes == plane.iso.stat().st_size
    assert (transfer.name, transfer.protocol, transfer.outcome) == ("image.iso", "tftp", "complete")


@pytest.mark.parametrize("name", ["windows/rescue", "windows%2Frescue"])
async def test_an_image_in_a_folder_is_picked_over_tftp(plane: Plane, name: str):
    folder = plane.config.images.path / "windows"
    folder.mkdir()
    make_iso(folder / "rescue.iso", bios=True)
    await plane.look_again()
    token = await plane.token("")

    text = await open_content(plane.boot, asking_for(f"b/{token}/pick/{name}/boot.ipxe"))

    assert b"/image.iso" in text.read(0, text.size_bytes)
    await plane.ledger.flush()
    assert (await plane.store.recent(1))[0].image == "windows/rescue"


async def test_a_transfer_that_ends_early_is_the_clients(plane: Plane):
    file = await open_content(plane.boot, asking_for(await begin(plane) + "image.iso"))
    file.progress(1000)
    file.close(False)

    session, [transfer] = await transfers(plane)

    assert (transfer.sent_bytes, transfer.outcome) == (1000, "client_left")
    assert session.phase is BootPhase.FETCHING
    assert session.error == "the download broke off after 1,000 bytes (client_left)"


async def test_a_client_that_only_asked_for_the_size_has_broken_nothing_off(plane: Plane):
    file = await open_content(plane.boot, asking_for(await begin(plane) + "image.iso"))
    file.close(False)

    session, none = await transfers(plane)

    assert none == []
    assert session.error == ""


async def test_a_file_that_changes_ends_its_transfer_as_changed(plane: Plane):
    file = await open_content(plane.boot, asking_for(await begin(plane) + "image.iso"))
    file.progress(1000)
    plane.iso.write_bytes(bytes(5000))
    with pytest.raises(ImageNotReadyError):
        file.read(1000, 1000)
    file.close(False)

    _, [transfer] = await transfers(plane)

    assert transfer.outcome == "file_changed"


async def test_parts_of_a_name_are_separated_in_any_way(plane: Plane):
    token = await plane.token()
    for name in (
        "b/{}/boot.ipxe", "/b/{}/boot.ipxe", "//b//{}///boot.ipxe", "./b/{}/./boot.ipxe",
        "\\b\\{}\\boot.ipxe", "/b\\{}\\\\boot.ipxe",
    ):  # fmt: skip
        text = await open_content(plane.boot, asking_for(name.format(token)))

        assert text.read(0, 6) == b"#!ipxe"
