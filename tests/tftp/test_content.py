"""What a boot fetches over TFTP is in the ledger, as over HTTP."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest

from bootserver.config import Config
from bootserver.errors import ImageNotReadyError
from bootserver.model import BootPhase
from bootserver.tftp.content import open_content
from bootserver.tftp.server import TftpRequest
from tests.fixtures.boots import Boots, running_boots
from tests.fixtures.isos import make_iso


@pytest.fixture
async def boots(config: Config) -> AsyncIterator[Boots]:
    make_iso(config.images.path / "rescue.iso", bios=True)
    async with running_boots(config) as boots:
        yield boots


def asking_for(name: str) -> TftpRequest:
    return TftpRequest(name, "127.0.0.1", "127.0.0.1")


async def begin(boots: Boots, image: str = "rescue") -> str:
    """The place of a boot's files, after its script."""
    text = await open_content(boots.boot, asking_for(f"b/{await boots.token(image)}/boot.ipxe"))
    script = text.read(0, text.size_bytes).decode()
    place = re.search(r"^initrd .*?(/b/\w+/)", script, re.M)
    assert place is not None
    return place[1]


async def transfers(boots: Boots):
    await boots.ledger.flush()
    [session] = await boots.store.recent(10)
    return session, (await boots.store.transfers([session.id]))[session.id]


async def test_a_whole_image_is_a_complete_transfer(boots: Boots):
    file = await open_content(boots.boot, asking_for(await begin(boots) + "image.iso"))
    file.progress(file.size_bytes)
    file.close(True)

    session, [transfer] = await transfers(boots)

    assert session.phase is BootPhase.FETCHED
    assert session.sent_bytes == boots.iso.stat().st_size
    assert (transfer.name, transfer.protocol, transfer.outcome) == ("image.iso", "tftp", "complete")


@pytest.mark.parametrize("name", ["windows/rescue", "windows%2Frescue"])
async def test_an_image_in_a_folder_is_picked_over_tftp(boots: Boots, name: str):
    folder = boots.config.images.path / "windows"
    folder.mkdir()
    make_iso(folder / "rescue.iso", bios=True)
    await boots.look_again()
    token = await boots.token("")

    text = await open_content(boots.boot, asking_for(f"b/{token}/pick/{name}/boot.ipxe"))

    assert b"/image.iso" in text.read(0, text.size_bytes)
    await boots.ledger.flush()
    assert (await boots.store.recent(1))[0].image == "windows/rescue"


async def test_an_initramfs_over_tftp_has_the_sites_files_and_calls_home_over_http(boots: Boots):
    live = {"live/vmlinuz": b"kernel", "live/initrd.img": b"initrd", "live/x.squashfs": b"hsqs"}
    images = boots.config.images.path
    make_iso(images / "live.iso", live, bios=True)
    (images / "own.txt").write_text("the site's own")
    (images / "live.toml").write_text('[inject]\n"etc/own" = "own.txt"\n')
    await boots.look_again()
    place = await begin(boots, "live")

    file = await open_content(boots.boot, asking_for(f"{place}tree/live/initrd.img"))

    initrd = file.read(0, file.size_bytes)
    assert initrd.startswith(b"initrd")
    assert b"the site's own" in initrd
    assert f"{boots.config.server.url}{place}phase/up".encode() in initrd


async def test_a_transfer_that_ends_early_is_the_clients(boots: Boots):
    file = await open_content(boots.boot, asking_for(await begin(boots) + "image.iso"))
    file.progress(1000)
    file.close(False)

    session, [transfer] = await transfers(boots)

    assert (transfer.sent_bytes, transfer.outcome) == (1000, "client_left")
    assert session.phase is BootPhase.FETCHING
    assert session.error == "the download broke off after 1,000 bytes (client_left)"


async def test_a_client_that_only_asked_for_the_size_has_broken_nothing_off(boots: Boots):
    file = await open_content(boots.boot, asking_for(await begin(boots) + "image.iso"))
    file.close(False)

    session, none = await transfers(boots)

    assert none == []
    assert session.error == ""


async def test_a_file_that_changes_ends_its_transfer_as_changed(boots: Boots):
    file = await open_content(boots.boot, asking_for(await begin(boots) + "image.iso"))
    file.progress(1000)
    boots.iso.write_bytes(bytes(5000))
    with pytest.raises(ImageNotReadyError):
        file.read(1000, 1000)
    file.close(False)

    _, [transfer] = await transfers(boots)

    assert transfer.outcome == "file_changed"


async def test_parts_of_a_name_are_separated_in_any_way(boots: Boots):
    token = await boots.token()
    for name in (
        "b/{}/boot.ipxe", "/b/{}/boot.ipxe", "//b//{}///boot.ipxe", "./b/{}/./boot.ipxe",
        "\\b\\{}\\boot.ipxe", "/b\\{}\\\\boot.ipxe",
    ):  # fmt: skip
        text = await open_content(boots.boot, asking_for(name.format(token)))

        assert text.read(0, 6) == b"#!ipxe"
