"""Profiles: what was set for a machine at run time, and what of it is in force."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bootserver.config import Config
from bootserver.database import open_database
from bootserver.model import Machine
from bootserver.selector import Selector
from bootserver.sessions.profiles import (
    MachineProfile,
    Profile,
    ProfileStore,
    choose,
    effective,
)

MACHINE = Machine(
    mac="52:54:00:00:00:01",
    uuid="00112233-4455-6677-8899-aabbccddeeff",
    serial="S 1",
    asset="PC 7",
)
BY_MAC = Selector(mac=MACHINE.mac)
BY_SERIAL = Selector(serial="s 1")
BY_BOTH = Selector(mac=MACHINE.mac, serial="S 1")
ELSE = Selector(mac="52:54:00:00:00:02")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ProfileStore]:
    async with open_database(f"sqlite+aiosqlite:///{tmp_path}/test.db") as engine:
        yield ProfileStore(engine)


def profile(name: str, selector: Selector, *, day: int = 1, once: bool = False) -> Profile:
    set_at = datetime(2025, 11, day, tzinfo=UTC)
    return Profile(id=name, selector=selector, set_at=set_at, once=once)


def chosen(*profiles: Profile) -> str:
    found = choose(profiles, MACHINE)
    return found.id if found else ""


def test_a_profile_holds_for_machines_that_have_all_its_names():
    assert chosen(profile("else", ELSE)) == ""
    assert chosen(profile("both", Selector(mac=MACHINE.mac, serial="S 2"))) == ""
    assert chosen(profile("asset", Selector(asset="pc 7"))) == "asset"


def test_more_names_go_before_newer_ones():
    assert (
        chosen(
            profile("old", BY_MAC, day=1),
            profile("named", BY_BOTH, day=2),
            profile("new", BY_SERIAL, day=3),
        )
        == "named"
    )


def test_of_as_many_names_the_newest_profile_holds():
    assert (
        chosen(
            profile("old", BY_MAC, day=1),
            profile("new", BY_SERIAL, day=3),
            profile("middle", Selector(asset="PC 7"), day=2),
        )
        == "new"
    )


def test_one_boot_goes_before_everything_that_stands():
    assert (
        chosen(profile("named", BY_BOTH, day=2), profile("once", BY_MAC, day=1, once=True))
        == "once"
    )


async def test_a_profile_is_read_back_as_it_was_set(store: ProfileStore):
    made = await store.set(
        BY_BOTH, image="rescue", arguments="quiet", memdisk="iso safeint", once=True
    )

    assert await store.list() == [made]
    assert (made.selector, made.image, made.arguments, made.memdisk, made.once) == (
        BY_BOTH,
        "rescue",
        "quiet",
        "iso safeint",
        True,
    )
    assert await store.find(MACHINE) == made
    assert await store.find(Machine(mac=ELSE.mac)) is None


async def test_setting_again_replaces_the_profile_of_the_same_names(store: ProfileStore):
    await store.set(Selector(serial="S 1"), image="old", memdisk="iso")
    await store.set(ELSE, image="other")
    new = await store.set(Selector(serial="s 1"), image="new")

    assert [(p.image, p.memdisk) for p in await store.list()] == [("new", ""), ("other", "")]
    assert await store.find(MACHINE) == new


async def test_a_standing_profile_is_there_again_after_the_one_boot(store: ProfileStore):
    standing = await store.set(BY_MAC, image="daily")
    once = await store.set(BY_MAC, image="rescue", once=True)
    assert await store.find(MACHINE) == once

    await store.consume(once.id)

    assert await store.list() == [standing]


async def test_a_standing_profile_is_not_used_up(store: ProfileStore):
    standing = await store.set(BY_MAC, image="daily")

    await store.consume(standing.id)

    assert await store.find(MACHINE) == standing


async def test_a_boot_does_not_use_up_what_was_set_meanwhile(store: ProfileStore):
    used = await store.set(BY_MAC, image="rescue", once=True)
    anew = await store.set(BY_MAC, image="rescue", once=True)

    await store.consume(used.id)

    assert await store.find(MACHINE) == anew


async def test_removing_forgets_exactly_that_selector(store: ProfileStore):
    await store.set(BY_MAC, image="daily")
    await store.set(BY_MAC, image="rescue", once=True)
    kept = await store.set(BY_BOTH, image="kept")

    assert await store.remove(BY_MAC) == 2
    assert await store.remove(BY_MAC) == 0
    assert await store.list() == [kept]


def test_a_profile_wins_field_by_field_over_the_file():
    machines = [
        {"serial": "S 1", "image": "file", "arguments": "quiet", "memdisk": "iso"},
        {"mac": MACHINE.mac, "image": "second"},
    ]
    config = Config.model_validate({"machines": machines})
    now = datetime.now(UTC)

    set_here = Profile(id="7", selector=BY_MAC, set_at=now, image="set")
    assert effective(MACHINE, config, set_here) == MachineProfile(
        image="set", arguments="quiet", memdisk="iso"
    )
    assert effective(MACHINE, config, None) == MachineProfile(
        image="file", arguments="quiet", memdisk="iso"
    )
    assert effective(Machine(), config, None) == MachineProfile()
