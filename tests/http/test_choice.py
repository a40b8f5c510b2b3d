"""Which image a machine boots: its stub's, its choice in the menu, its profile's, the default."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from urllib.parse import unquote

import pytest

from bootserver.config import Config
from bootserver.configfile import load_config
from bootserver.model import BootPhase
from bootserver.selector import Selector
from tests.fixtures.boots import Boots, running_boots
from tests.fixtures.isos import make_iso


@pytest.fixture
async def boots(config: Config) -> AsyncIterator[Boots]:
    images = config.images.path
    make_iso(images / "rescue.iso", bios=True, volume_id="RESCUE")
    make_iso(images / "both & more.iso", bios=True, uefi=True, volume_id="BOTH")
    make_iso(images / "uefi.iso", uefi=True, volume_id="UEFIONLY")
    async with running_boots(config) as boots:
        yield boots


def items(script: str) -> dict[str, str]:
    """The menu's items that can be chosen: key -> label."""
    return dict(re.findall(r"^item -- (\S+) (.+)$", script, re.MULTILINE))


def gaps(script: str) -> str:
    return "\n".join(line for line in script.splitlines() if line.startswith("item --gap -- "))


def key_of(script: str) -> str:
    """The session's key in a script that boots a whole image."""
    return next(word for word in script.split() if word.endswith("/image.iso")).split("/")[2]


async def test_a_stub_without_an_image_gets_a_menu_of_what_boots_here(boots: Boots):
    script = await boots.script(await boots.token(""))

    assert set(items(script)) == {"both%20%26%20more", "rescue"}
    assert items(script)["rescue"].startswith("RESCUE")
    assert "UEFIONLY" in gaps(script)
    assert "BIOS" in gaps(script)


async def test_the_menu_of_a_uefi_machine_is_another(boots: Boots):
    script = await boots.script(await boots.token(""), platform="efi", buildarch="x86_64")

    assert set(items(script)) == {"both%20%26%20more", "uefi"}
    assert "RESCUE" in gaps(script)


async def test_discs_with_one_volume_id_or_letters_beyond_ascii_are_told_apart(
    boots: Boots, config: Config
):
    # A blank, an ampersand and Chinese in a name: Ventoy's issues 159 and 632, usbode-circle's 70.
    for name in ("one", "two", "系统 & 恢复"):
        make_iso(config.images.path / f"{name}.iso", bios=True, volume_id="DVD_ROM")
    await boots.look_again()
    shown = items(await boots.script(await boots.token("")))

    assert shown["one"].startswith("DVD_ROM [one] (")
    assert shown["two"].startswith("DVD_ROM [two] (")
    [chinese] = [key for key in shown if unquote(key) == "系统 & 恢复"]
    assert shown[chinese].startswith("DVD_ROM [XiTong & HuiFu] (")
    assert "/nbp/memdisk" in await boots.script(await boots.token(""), picked=unquote(chinese))


async def test_what_does_not_fit_into_memory_is_not_offered(boots: Boots):
    script = await boots.script(await boots.token(""), dimms="1000.......")  # 16 MiB

    assert items(script) == {}
    assert "needs" in gaps(script)
    assert "No image of the library boots" in script


async def test_what_was_chosen_is_booted(boots: Boots):
    token = await boots.token("")
    await boots.script(token)
    script = await boots.script(token, picked="both & more")

    assert "/nbp/memdisk" in script
    await boots.ledger.flush()
    [session] = await boots.store.recent(10)
    assert session.image == "both & more"
    assert await boots.phases() == [
        BootPhase.CREATED,
        BootPhase.STUB_STARTED,
        BootPhase.SCRIPT_SERVED,
    ]


async def test_an_image_in_a_folder_is_offered_and_booted(boots: Boots):
    folder = boots.config.images.path / "windows"
    folder.mkdir()
    make_iso(folder / "rescue.iso", bios=True, volume_id="WINDOWS")
    await boots.look_again()
    token = await boots.token("")

    menu = await boots.script(token)
    encoded = await boots.script(token, picked="windows/rescue")
    # iPXE before 2021 decodes what it was given in a path.
    decoded = (await boots.body(f"/b/{token}/pick/windows/rescue/boot.ipxe")).decode()

    assert items(menu)["windows%2Frescue"].startswith("WINDOWS")
    await boots.ledger.flush()
    assert (await boots.store.recent(1))[0].image == "windows/rescue"
    assert "/nbp/memdisk" in encoded
    assert "/nbp/memdisk" in decoded


async def test_a_stub_for_one_image_opens_no_other(boots: Boots):
    script = await boots.script(await boots.token("rescue"), picked="both & more")

    assert "not known to this server" in script


async def test_a_choice_that_is_gone_is_said_on_the_screen(boots: Boots):
    script = await boots.script(await boots.token(""), picked="nothing")

    assert "there is no image" in script
    assert "chain" in script


async def test_the_machines_own_disk_is_the_default(boots: Boots):
    script = await boots.script(await boots.token(""))

    assert "\nchoose --timeout 60000 --default / picked" in script


async def test_the_site_says_what_is_the_default_and_when(config: Config):
    make_iso(config.images.path / "rescue.iso", bios=True)
    boot = config.boot.model_copy(update={"menu_default": "rescue", "menu_timeout_s": 0})
    async with running_boots(config.model_copy(update={"boot": boot})) as boots:
        assert "\nchoose --default rescue picked" in await boots.script(await boots.token(""))
        refused = await boots.script(await boots.token(""), platform="efi", buildarch="x86_64")
        assert "\nchoose --default / picked" in refused


async def test_machines_without_a_stub_are_served_only_where_the_site_says_so(config: Config):
    make_iso(config.images.path / "rescue.iso", bios=True)
    async with running_boots(config) as boots:
        assert await boots.status("/boot.ipxe") == 404
        assert await boots.status("/nbp/autoexec.ipxe") == 404
    boot = config.boot.model_copy(update={"open_menu": True})
    async with running_boots(config.model_copy(update={"boot": boot})) as boots:
        script = (await boots.body("/boot.ipxe")).decode()
        assert await boots.body("/nbp/autoexec.ipxe") == script.encode()
        [path] = {word for word in script.split() if word.startswith("/b/")}
        assert f"{boots.url}{path}?${{who}}" in script
        menu = await boots.script(path.split("/")[2])
        assert set(items(menu)) == {"rescue"}


async def test_a_profile_chooses_where_the_stub_leaves_the_choice(config: Config):
    make_iso(config.images.path / "rescue.iso", bios=True)
    make_iso(config.images.path / "other.iso", bios=True)
    path = config.images.path.parent / "config.toml"
    path.write_text(
        path.read_text()
        + '[[machines]]\nmac = "52:54:00:12:34:56"\nimage = "rescue"\nmemdisk = "iso safeint"\n'
    )
    async with running_boots(load_config(path)) as boots:
        script = await boots.script(await boots.token(""))
        assert "kernel /nbp/memdisk iso safeint" in script
        other = await boots.script(await boots.token("other"))
        assert "other" in other.splitlines()[1]
        menu = await boots.script(await boots.token(""), mac="52-54-00-00-00-01")
        assert "choose" in menu


async def test_a_profile_for_one_boot_is_gone_after_its_hand_off(boots: Boots):
    await boots.profiles.set(Selector(mac="52:54:00:12:34:56"), image="rescue", once=True)
    token = await boots.token("")
    for _ in range(2):  # a machine that did not get there may ask again
        script = await boots.script(token)
        assert "/nbp/memdisk" in script
    assert await boots.status(f"/b/{key_of(script)}/phase/handoff") == 200

    assert "choose" in await boots.script(token)


async def test_a_standing_profile_stays(boots: Boots):
    await boots.profiles.set(Selector(mac="52:54:00:12:34:56"), image="rescue")
    token = await boots.token("")
    for _ in range(2):
        script = await boots.script(token)
        assert await boots.status(f"/b/{key_of(script)}/phase/handoff") == 200


async def test_a_profile_that_is_set_while_a_boot_goes_on_is_for_the_next(boots: Boots):
    me = Selector(mac="52:54:00:12:34:56")
    await boots.profiles.set(me, image="rescue", once=True)
    token = await boots.token("")
    script = await boots.script(token)
    await boots.profiles.set(me, image="rescue", once=True)
    assert await boots.status(f"/b/{key_of(script)}/phase/handoff") == 200

    assert "/nbp/memdisk" in await boots.script(token)


async def test_a_profile_set_while_the_machine_waits_in_the_menu_is_used_up_by_that_boot(
    boots: Boots,
):
    token = await boots.token("")
    assert "choose" in await boots.script(token)
    await boots.profiles.set(Selector(mac="52:54:00:12:34:56"), image="rescue", once=True)
    script = await boots.script(token)
    assert await boots.status(f"/b/{key_of(script)}/phase/handoff") == 200

    assert "choose" in await boots.script(token)


async def test_a_boot_of_another_image_leaves_the_profile_for_one_boot(boots: Boots):
    await boots.profiles.set(Selector(mac="52:54:00:12:34:56"), image="rescue", once=True)
    script = await boots.script(await boots.token("both & more"))
    assert await boots.status(f"/b/{key_of(script)}/phase/handoff") == 200

    assert "# rescue:" in await boots.script(await boots.token(""))


async def test_arguments_for_one_boot_are_used_up_by_whatever_is_booted(boots: Boots):
    me = Selector(mac="52:54:00:12:34:56")
    await boots.profiles.set(me, memdisk="iso safeint", once=True)
    token = await boots.token("rescue")
    script = await boots.script(token)
    assert "memdisk iso safeint" in script
    assert await boots.status(f"/b/{key_of(script)}/phase/handoff") == 200

    assert "memdisk iso raw" in await boots.script(token)


async def test_a_machines_memdisk_arguments_go_before_the_images_and_the_sites(boots: Boots):
    token = await boots.token("rescue")
    assert "memdisk iso raw ||" in await boots.script(token)
    (boots.iso.parent / "rescue.toml").write_text('memdisk = "iso bigraw"\n')
    await boots.look_again()
    assert "memdisk iso bigraw ||" in await boots.script(token)
    await boots.profiles.set(Selector(mac="52:54:00:12:34:56"), memdisk="iso safeint")

    assert "memdisk iso safeint ||" in await boots.script(token)


async def test_a_machines_kernel_arguments_follow_the_recipes_and_the_images(
    boots: Boots, config: Config
):
    live = {"live/vmlinuz": b"k", "live/initrd.img": b"i", "live/filesystem.squashfs": b"hsqs"}
    make_iso(config.images.path / "live.iso", live, bios=True)
    (config.images.path / "live.toml").write_text('arguments = "of.image"\n')
    await boots.look_again()
    await boots.profiles.set(Selector(mac="52:54:00:12:34:56"), arguments="of.machine")

    script = await boots.script(await boots.token("live"))

    [kernel] = [line for line in script.splitlines() if line.startswith("kernel ")]
    assert " components boot=live " in kernel
    assert kernel.endswith(" of.image of.machine || goto retry")
