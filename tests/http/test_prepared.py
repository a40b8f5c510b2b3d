"""A machine whose network a Windows PE has no driver for gets the disc with the driver in it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bootserver.boot.machine_query import parse_machine
from bootserver.config import Config
from bootserver.images import prepared
from bootserver.images.decide import Site
from bootserver.images.explain import explain
from bootserver.images.prepared import PreparedDiscs
from bootserver.model import BootSession, Machine, Prepare
from bootserver.tftp.content import open_content
from bootserver.tftp.server import TftpRequest
from bootserver.windows.drivers import DriverLibrary
from bootserver.windows.overlay import PreparedDisc, with_drivers
from tests.fixtures.admin import running_admin
from tests.fixtures.boots import QUERY, Boots, running_boots
from tests.fixtures.winpe import (
    INTEL,
    FakeDriver,
    WinPeSpec,
    in_wim,
    make_winpe,
    solid_wim,
    wim_from_disc,
    wimlib,
    winpe_disc,
)

REALTEK = FakeDriver("rt25cx21x64", "Realtek", ("PCI\\VEN_10EC&DEV_8125",))
BROADCOM = FakeDriver("b57nd60a", "Broadcom", ("PCI\\VEN_14E4&DEV_1677",))
SPEC = WinPeSpec(drivers=(INTEL,), extra_disc_bytes=5000)
NICS = "525400000002.0110ec8125.."
LACK = "its Windows PE has no driver for this machine's network (Realtek 10ec:8125)"
PUT_IN = f"rt25cx21x64.inf 12.15.31.4 is put into the disc: {LACK}"
IN_WIM = f"/bootserver/drivers/1/{REALTEK.name}.sys"


def put_into_library(config: Config, driver: FakeDriver, folder: str = "") -> Path:
    """The folder of the driver in the library."""
    path = config.drivers.path / (folder or driver.name)
    path.mkdir(parents=True)
    for name, data in driver.files("amd64").items():
        (path / name).write_bytes(data)
    return path


@asynccontextmanager
async def booting(config: Config) -> AsyncIterator[Boots]:
    """A server with a disc `pe`."""
    disc = config.images.path / "pe.iso"
    if not disc.exists():
        shutil.copyfile(winpe_disc(SPEC), disc)
    async with running_boots(config) as boots:
        yield boots


@pytest.fixture
async def boots(config: Config) -> AsyncIterator[Boots]:
    put_into_library(config, REALTEK)
    async with booting(config) as boots:
        yield boots


def asked(config: Config, prepare: Prepare) -> Config:
    """The same, with that `[boot] prepare`."""
    return config.model_copy(update={"boot": config.boot.model_copy(update={"prepare": prepare})})


async def begun(boots: Boots, *, nics: str = NICS, **query: Any) -> tuple[str, BootSession, str]:
    """The script of a new boot, its session, and the path of its image."""
    script = await boots.script(await boots.token("pe"), nics=nics, **query)
    [session, *_] = await boots.recorded()
    return script, session, f"/b/{session.key}/image.iso"


def counted(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What is prepared from now on, one after the other."""
    made: list[object] = []

    def counting(content: Any, *rest: Any, **options: Any) -> PreparedDisc:
        made.append(content)
        return with_drivers(content, *rest, **options)

    monkeypatch.setattr(prepared, "with_drivers", counting)
    return made


@pytest.mark.interop
async def test_the_machine_gets_the_disc_with_the_driver_in_it(boots: Boots, tmp_path: Path):
    script, session, path = await begun(boots)

    disc = await boots.body(path)

    assert (session.variant, session.warning) == (PUT_IN, "")
    before, _, after = script.partition(":fetch\n")
    assert "echo bootserver: rt25cx21x64.inf 12.15.31.4 is put into the disc:" in before
    assert "prompt" not in before
    assert "image.iso" in after
    assert session.image_bytes == len(disc) > boots.library.get("pe").size_bytes
    (tmp_path / "got.iso").write_bytes(disc)
    wim = wim_from_disc(tmp_path / "got.iso", tmp_path)
    wimlib("verify", wim)
    assert in_wim(wim, IN_WIM) == REALTEK.files("amd64")[f"{REALTEK.name}.sys"]


async def test_ranges_at_the_seams_are_parts_of_the_whole_also_over_tftp(boots: Boots):
    _, _, path = await begun(boots)
    whole = await boots.body(path)
    plain = (boots.config.images.path / "pe.iso").read_bytes()
    seams = [at for at in range(1, len(whole)) if at < len(plain) and whole[at] != plain[at]]
    places = {0, len(whole) - 1, *seams[:3], *seams[-3:], len(plain), whole.index(b"MSWIM")}
    file = await open_content(boots.boot, TftpRequest(path, "127.0.0.1", "127.0.0.1"))

    for place in sorted(places):
        start, stop = max(place - 3000, 0), min(place + 3000, len(whole))
        part = await boots.body(path, Range=f"bytes={start}-{stop - 1}")
        assert part == whole[start:stop] == file.read(start, stop - start)

    assert len(seams) > 100
    assert file.size_bytes == len(whole)
    file.close(True)


async def test_the_digest_is_the_prepared_discs_own(boots: Boots):
    script, session, path = await begun(boots, platform="efi", buildarch="x86_64")
    image = boots.library.get("pe")
    async with boots.http.head(boots.url + path) as answer:
        tag, size = answer.headers["ETag"], int(answer.headers["Content-Length"])
    stub = await boots.token("pe")
    async with boots.http.head(f"{boots.url}/b/{stub}/image.iso") as answer:
        assert answer.headers["ETag"] == tag  # the machine at that address is in this boot
    for key in (image.sha256, "sha256="):
        assert key not in script + tag
    assert f" size={size} " in script
    assert session.plan is not None
    assert session.plan.variant_etag == tag
    assert session.plan.image_sha256 == image.sha256


async def test_boot_wim_alone_has_the_driver_too(boots: Boots, tmp_path: Path):
    """As wimboot fetches it."""
    _, _, path = await begun(boots)

    wim = tmp_path / "boot.wim"
    wim.write_bytes(await boots.body(path.replace("image.iso", "tree/sources/boot.wim")))

    wimlib("verify", wim)
    assert in_wim(wim, IN_WIM) == REALTEK.files("amd64")[f"{REALTEK.name}.sys"]


async def test_the_screen_offers_the_driver_and_a_key_puts_it_in(config: Config):
    put_into_library(config, REALTEK)
    async with booting(asked(config, Prepare.ASK)) as boots:
        token = await boots.token("pe")
        script, session, _ = await begun(boots)
        assert (session.warning, session.variant) == (LACK, "")
        assert session.image_bytes == boots.library.get("pe").size_bytes
        before, _, after = script.partition(":fetch\n")
        assert "the library of drivers has rt25cx21x64.inf 12.15.31.4" in before
        assert "prompt --key d --timeout 10000 bootserver: d puts it in; going on" in before
        place = f"/b/{token}/drivers/boot.ipxe"
        assert f"\nchain --replace {place} || goto fetch\n" in after

        async with boots.http.get(boots.url + place, params={"nics": NICS}) as answer:
            script = await answer.text()
        [session, *_] = await boots.recorded()

        assert session.variant == PUT_IN
        assert "prompt --key d" not in script


@pytest.mark.parametrize("prepare", [Prepare.OFF, Prepare.AUTO], ids=["off", "no driver"])
async def test_without_a_driver_to_put_in_the_machine_is_warned(config: Config, prepare: Prepare):
    put_into_library(config, REALTEK if prepare is Prepare.OFF else BROADCOM)
    async with booting(asked(config, prepare)) as boots:
        script, session, path = await begun(boots)

        assert (session.warning, session.variant) == (LACK, "")
        assert "prompt --timeout 10000" in script.partition(":fetch\n")[0]
        assert await boots.body(path) == (config.images.path / "pe.iso").read_bytes()


async def test_what_cannot_be_put_in_is_said_and_the_disc_boots_as_it_is(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    made = counted(monkeypatch)
    monkeypatch.setattr(prepared, "FOUND_S", 600)
    put_into_library(config, REALTEK)
    make_winpe(config.images.path / "pe.iso", SPEC, solid_wim(tmp_path / "solid.wim"))
    nics = NICS.replace("8125", "9999")
    write_inf = config.drivers.path / "odd"
    shutil.copytree(config.drivers.path / REALTEK.name, write_inf)
    inf = write_inf / f"{REALTEK.name}.inf"
    inf.write_bytes(inf.read_bytes().replace(b"DEV_8125", b"DEV_9999"))
    (write_inf / f"{REALTEK.name}.sys").unlink()
    async with booting(config) as boots:
        await asyncio.gather(*(begun(boots) for _ in range(5)))
        _, packed, _ = await begun(boots)
        _, lost, _ = await begun(boots, nics=nics, mac="52-54-00-00-00-02")

        assert len(made) == 1
        assert packed.variant == lost.variant == ""
        assert packed.warning.startswith(
            f"{LACK}; rt25cx21x64.inf 12.15.31.4 cannot be put in: boot.wim of pe.iso is packed as"
        )
        assert (
            "; a driver in the library cannot be used: rt25cx21x64.sys is missing" in lost.warning
        )


async def test_a_disc_is_prepared_once_for_many_machines(
    boots: Boots, monkeypatch: pytest.MonkeyPatch
):
    made = counted(monkeypatch)
    token = await boots.token("pe")

    scripts = await asyncio.gather(
        *(boots.script(token, nics=NICS, mac=f"52-54-00-00-00-{n:02}") for n in range(20))
    )

    assert len(made) == 1
    assert all("is put into the disc" in script for script in scripts)


async def test_what_is_kept_is_bounded_and_made_again_with_the_same_bytes(
    boots: Boots, monkeypatch: pytest.MonkeyPatch
):
    put_into_library(boots.config, BROADCOM)
    monkeypatch.setattr(prepared, "KEPT_BYTES", 200_000)  # one of these has more by itself
    made = counted(monkeypatch)
    _, _, path = await begun(boots)
    whole = await boots.body(path)
    assert len(made) == 1

    _, other, _ = await begun(boots, nics=NICS.replace("10ec8125", "14e41677"), mac=f"{0:012x}")

    assert other.variant.startswith("b57nd60a.inf")
    assert len(made) == 2
    assert await boots.body(path) == whole
    assert len(made) == 3


async def test_a_boot_goes_on_after_a_restart_unless_its_driver_is_another(config: Config):
    driver = put_into_library(config, REALTEK)
    async with booting(config) as boots:
        _, _, path = await begun(boots)
        whole = await boots.body(path)
    async with running_boots(config) as boots:
        await boots.ledger.load()
        assert await boots.body(path) == whole
    (driver / f"{REALTEK.name}.sys").write_bytes(b"a newer one")
    async with running_boots(config) as boots:
        await boots.ledger.load()
        async with boots.http.get(boots.url + path) as answer:
            assert answer.status == 503
            assert "the drivers for pe were changed" in await answer.text()


@pytest.mark.parametrize("replacement", [b"", b"another image"], ids=["deleted", "replaced"])
async def test_an_image_that_goes_while_it_is_prepared_is_asked_for_again(
    boots: Boots, monkeypatch: pytest.MonkeyPatch, replacement: bytes
):
    iso = boots.config.images.path / "pe.iso"

    def late(*arguments: Any, **options: Any) -> PreparedDisc:
        iso.unlink()
        if replacement:
            iso.write_bytes(replacement)
        return with_drivers(*arguments, **options)

    monkeypatch.setattr(prepared, "with_drivers", late)

    script, session, path = await begun(boots)

    assert "prompt --key s" in script
    assert "image.iso" not in script
    assert session.plan is None
    assert await boots.status(path) in (404, 503) if not replacement else True


async def test_a_sites_own_files_are_in_the_prepared_disc_too(config: Config, tmp_path: Path):
    put_into_library(config, REALTEK)
    (config.images.path / "tools").write_bytes(b"tools of the site")
    path = "support/tools.bin"  # lies behind boot.wim, which is longer now
    (config.images.path / "pe.toml").write_text(f'[replace]\n"/{path}" = "tools"\n')
    async with booting(config) as boots:
        _, session, place = await begun(boots)
        (tmp_path / "got.iso").write_bytes(await boots.body(place))

    assert session.variant == PUT_IN
    own = wim_from_disc(tmp_path / "got.iso", tmp_path, path).read_bytes()
    assert own.rstrip(b"\n") == b"tools of the site"
    assert in_wim(wim_from_disc(tmp_path / "got.iso", tmp_path), IN_WIM)


async def test_hostile_names_of_drivers_do_no_harm(config: Config, tmp_path: Path):
    names = ["${evil} && shell.inf", 'a"b%PATH%.inf', "li\nne.inf", "gr\u00fc\u00df.inf"]
    for number, name in enumerate(names):
        driver = FakeDriver(f"nic{number}", "Realtek", (f"PCI\\VEN_10EC&DEV_900{number}",))
        put_into_library(config, driver)
        folder = config.drivers.path / driver.name
        (folder / f"{driver.name}.inf").rename(folder / name)
    nics = "_".join(f"52540000000{n}.0110ec900{n}.." for n in range(len(names)))
    async with booting(config) as boots:
        script, session, path = await begun(boots, nics=nics)
        (tmp_path / "got.iso").write_bytes(await boots.body(path))

    assert "${evil}" not in script
    assert not any(line.startswith("ne.inf") for line in script.splitlines())
    assert session.variant.startswith("${evil} && shell.inf 12.15.31.4 and ")
    assert "line.inf" in session.variant
    wim = wim_from_disc(tmp_path / "got.iso", tmp_path)
    wimlib("verify", wim)
    assert all(in_wim(wim, f"/bootserver/drivers/{n + 1}/nic{n}.sys") for n in range(len(names)))


@pytest.mark.parametrize("prepare", [Prepare.AUTO, Prepare.ASK])
async def test_what_the_machine_gets_is_said_beforehand(boots: Boots, prepare: Prepare):
    image = boots.library.get("pe")
    discs = PreparedDiscs(DriverLibrary.of(boots.config), boots.winpe)
    outlook = await discs.outlook(image, parse_machine({"nics": NICS}), prepare)

    lines = explain(image, Site.of(boots.config), Machine(), outlook).lines()

    if prepare is Prepare.AUTO:
        assert f"Prepared: {PUT_IN}." in lines
        assert not any(line.startswith("Beware") for line in lines)
    else:
        assert f"Beware: {LACK}." in lines
        offer = "a key on its screen puts rt25cx21x64.inf 12.15.31.4 into the disc"
        assert f"Prepared: {offer}." in lines


async def test_what_was_put_in_is_on_the_pages_of_the_boot(config: Config):
    put_into_library(config, REALTEK)
    shutil.copyfile(winpe_disc(SPEC), config.images.path / "pe.iso")
    async with running_admin(config) as admin:
        stub = await admin.ask("/stubs", "POST", expect=201, json={"image": "pe"})
        url = f"{admin.boot_url}/b/{stub['token']}/boot.ipxe"
        await admin.raw(url, params=QUERY | {"nics": NICS})
        await admin.ledger.flush()
        [boot] = (await admin.ask("/boots"))["boots"]
        next_time = await admin.ask(f"/images/pe/explain?machine={boot['machine']['mac']}")
        await admin.ask("/images/pe/explain?machine=52-54-00-00-00-99", expect=422)
        pages = [await admin.raw(f"{admin.url}{path}") for path in ("/", f"/boots/{boot['id']}")]

    assert (boot["variant"], boot["warning"]) == (PUT_IN, "")
    assert (next_time["variant"], next_time["warning"]) == (PUT_IN, "")
    assert all(b"<b>Prepared:</b> rt25cx21x64.inf" in page for _, _, page in pages)
