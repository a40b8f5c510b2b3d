"""One boot, one decision: what its script was made by holds for all that serves the boot."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from bootserver.boot import script, service
from bootserver.config import Config
from bootserver.images.menus import choice
from bootserver.model import BootPhase, BootPlan, Method, Way
from bootserver.sessions.ledger import Ledger
from bootserver.sessions.rows import session_of, session_row
from tests.fixtures.boots import Boots, running_boots
from tests.fixtures.isos import make_iso

INITRD = b"an initrd, of whatever make"
SQUASHFS = b"a root" * 1000
LIVE = {
    "live/vmlinuz": b"a kernel",
    "live/initrd.img": INITRD,
    "live/filesystem.squashfs": SQUASHFS,
}


@pytest.fixture
async def boots(config: Config) -> AsyncIterator[Boots]:
    make_iso(config.images.path / "live.iso", LIVE, bios=True)
    async with running_boots(config) as boots:
        yield boots


async def base_of_boot(boots: Boots) -> str:
    """Where the files of a new boot are, as its script says."""
    [kernel] = [
        line
        for line in (await boots.script(await boots.token("live"))).splitlines()
        if line.startswith("kernel ")
    ]
    return kernel.split()[1].partition("/tree/")[0]


async def test_nothing_is_decided_after_the_script(boots: Boots, monkeypatch: pytest.MonkeyPatch):
    base = await base_of_boot(boots)

    def decided(*_: object, **__: object) -> None:
        raise AssertionError("decided again")

    for module, name in ((script, "decide"), (service, "ways_of"), (choice, "entry_for")):
        monkeypatch.setattr(module, name, decided)
    initrd = await boots.body(f"{base}/tree/live/initrd.img", **{"User-Agent": "iPXE/1.21"})
    await boots.body(f"{base}/phase/handoff")
    await boots.body(f"{base}/tree/live/filesystem.squashfs")
    await boots.body(f"{base}/phase/up")

    assert initrd.startswith(INITRD)
    assert b"usr/lib/live/boot/0000-bootserver.sh\0" in initrd
    assert (await boots.phases())[-2:] == [BootPhase.ROOT_FETCHED, BootPhase.OS_UP]


async def test_a_server_that_starts_again_goes_on_by_the_same_decision(boots: Boots):
    base = await base_of_boot(boots)
    await boots.ledger.flush()
    key = base.rpartition("/")[2]
    before = boots.ledger.find(key, "")

    again = Ledger(boots.store, expire_after=timedelta(days=1))
    await again.load()

    after = again.find(key, "")
    assert before is not None
    assert after is not None
    assert after.plan == before.plan
    assert after.plan is not None
    assert after.plan.way.initrds == ("/live/initrd.img",)
    assert after.plan.root == "/live/filesystem.squashfs"


async def test_a_boot_gets_no_file_of_another_version_and_its_next_script_is_for_that(
    boots: Boots, config: Config
):
    base = await base_of_boot(boots)
    make_iso(config.images.path / "live.iso", LIVE | {"live/vmlinuz": b"newer"}, bios=True)
    await boots.look_again()

    assert await boots.status(f"{base}/tree/live/vmlinuz") == 503
    assert await boots.status(f"{base}/image.iso") == 503
    assert await base_of_boot(boots) == base  # the machine asks again, as its script has it do
    assert await boots.body(f"{base}/tree/live/vmlinuz") == b"newer"


async def test_a_boot_that_an_older_bootserver_began_goes_on(boots: Boots):
    base = await base_of_boot(boots)
    older = BootPlan("debian-live", Way(Method.KERNEL), image_bytes=1000)
    boots.ledger.set_plan(base.rpartition("/")[2], older)

    assert (await boots.body(f"{base}/tree/live/initrd.img")).startswith(INITRD)
    assert await boots.body(f"{base}/tree/live/filesystem.squashfs") == SQUASHFS


async def test_what_an_older_bootserver_wrote_of_a_boot_is_read(boots: Boots):
    await base_of_boot(boots)
    [session] = await boots.recorded()
    assert session.plan is not None
    older = session_row(session) | {"plan": ""}

    class Row:
        def __getattr__(self, name: str) -> object:
            return older[name]

        def _asdict(self) -> dict[str, object]:
            return dict(older)

    assert session_of(Row()).plan == BootPlan(  # type: ignore[arg-type]
        "debian-live", Way(Method.KERNEL), image_bytes=session.plan.image_bytes
    )
