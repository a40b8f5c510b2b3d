"""A disc whose own menu starts nothing that we may start: its entries are a machine's choice."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest

from bootserver.boot.script import Pick
from bootserver.config import Config
from bootserver.images.decide import Site
from bootserver.images.explain import explain
from bootserver.selector import Selector
from bootserver.stub.spec import stub_spec
from tests.fixtures.boots import Boots, running_boots
from tests.fixtures.isos import make_iso
from tests.http.test_choice import gaps, items

# The report's F1: the disc's default is harmless, and its second label is not.
ISOLINUX = """\
DEFAULT local
LABEL local
  MENU LABEL Boot from the ^hard disk
  LOCALBOOT -1
LABEL auto
  MENU LABEL ERASES ALL DISKS
  KERNEL /vmlinuz
  INITRD /initrd.gz
  APPEND autonuke
LABEL live
  MENU LABEL Live; ${net0/mac} system
  KERNEL /vmlinuz
  INITRD /initrd.gz
  APPEND quiet live.options=1
"""
FILES = {"isolinux/isolinux.cfg": ISOLINUX.encode(), "vmlinuz": b"kernel", "initrd.gz": b"initrd"}
MAC = "52:54:00:12:34:56"


@pytest.fixture
async def boots(config: Config) -> AsyncIterator[Boots]:
    make_iso(config.images.path / "rescue.iso", FILES, bios=True, volume_id="MAKER")
    async with running_boots(config) as boots:
        yield boots


def boots_live(script: str) -> bool:
    return "quiet live.options=1" in script and "autonuke" not in script


async def test_the_machine_shows_the_disc_s_entries_and_waits(boots: Boots):
    token = await boots.token()
    script = await boots.script(token)

    assert items(script) == {"2": "ERASES ALL DISKS", "3": "Live; $ {net0/mac} system"}
    assert "menu bootserver: MAKER: which entry?" in script
    assert "\nchoose --default / picked" in script  # no time-out, and the machine's own disk
    assert 'boots "Boot from the hard disk" by itself' in gaps(script)
    assert f"chain --replace /b/{token}/entry/${{picked}}/boot.ipxe?${{who}}" in script
    [boot] = await boots.recorded()
    assert boot.error.endswith("choose on its screen")


async def test_the_entry_that_is_chosen_is_booted_and_kept_with_the_boot(boots: Boots):
    script = await boots.script(await boots.token(), entry=3)

    assert boots_live(script)
    key = re.findall(r"/b/(\w+)/tree/vmlinuz", script)[0]
    assert await boots.body(f"/b/{key}/tree/initrd.gz") == b"initrd"
    [boot] = await boots.recorded()
    assert (boot.plan.entry, boot.error, boot.method) == ("#3", "", "kernel")


async def test_the_entry_is_chosen_after_the_image(boots: Boots):
    token = await boots.token("")

    asked = await boots.script(token, picked="rescue")

    assert set(items(asked)) == {"2", "3"}
    assert f"chain --replace /b/{token}/entry/${{picked}}/pick/rescue/boot.ipxe" in asked
    assert boots_live(await boots.script(token, picked="rescue", entry=3))


async def test_the_menu_of_images_offers_a_disc_that_will_ask(boots: Boots):
    assert "rescue" in items(await boots.script(await boots.token("")))


async def test_an_entry_that_there_is_not_is_a_sentence(boots: Boots):
    script = await boots.script(await boots.token(), entry=9)

    assert "has no entry" in script
    assert "boot ||" not in script


async def test_a_side_car_a_profile_and_a_stub_choose_beforehand(boots: Boots):
    side_car = boots.iso.with_suffix(".toml")
    side_car.write_text('entry = "live"\n')
    await boots.look_again()
    assert boots_live(await boots.script(await boots.token()))

    side_car.unlink()
    await boots.look_again()
    await boots.profiles.set(Selector(mac=MAC), entry="live", once=True)
    assert boots_live(await boots.script(await boots.token()))

    stub = await boots.stubs.issue(stub_spec(boots.config, "rescue", "auto"))
    assert "autonuke" in await boots.script(stub.token)
    assert stub.token != await boots.token()


async def test_explain_shows_the_entries_and_that_the_machine_asks(boots: Boots):
    told = explain(boots.library.get("rescue"), Site.of(boots.config))

    assert told.bios.method == "choose"
    assert not told.bios.verified
    [menu] = told.menus
    assert menu.firmware == ("bios", "uefi")
    assert [entry.kind for entry in menu.entries] == ["local-disk", "linux", "linux"]
    assert menu.default == 1
    lines = "\n".join(told.lines())
    assert "-> #1 Boot from the hard disk: local-disk" in lines
    assert "#3 Live; ${net0/mac} system: /vmlinuz quiet live.options=1" in lines


@pytest.mark.parametrize(
    ("path", "picked"),
    [
        ("", Pick()),
        ("pick/rescue", Pick("rescue")),
        ("pick/windows/rescue", Pick("windows/rescue")),
        ("entry/3", Pick("", "#3")),
        ("entry/12/pick/windows/rescue", Pick("windows/rescue", "#12")),
        ("pick/a/entry/3", Pick("a/entry/3")),
        ("entry/12/pick/entry/3", Pick("entry/3", "#12")),
    ],
)
def test_a_choice_is_read_from_the_url(path: str, picked: Pick):
    assert Pick.parse(path) == picked
