"""The ledger's rows: pages of boots, what is searched, the machines seen, what is forgotten."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bootserver.database import open_database
from bootserver.model import BootEvent, BootPhase, BootSession, Machine, Nic, Transfer
from bootserver.pci import PciId
from bootserver.sessions.store import PRUNED_AT_ONCE, SessionStore

NOW = datetime.now(UTC)
ONE = Machine(mac="52:54:00:00:00:01", uuid="00112233-4455-6677-8899-aabbccddeeff", asset="PC 7")
TWO = Machine(mac="52:54:00:00:00:02", serial="S_2", product="OptiPlex 7010")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SessionStore]:
    async with open_database(f"sqlite+aiosqlite:///{tmp_path}/ledger.db") as engine:
        yield SessionStore(engine)


def boot(number: int, machine: Machine = ONE, image: str = "rescue", **values: Any):
    """A boot that began `number` minutes before now."""
    begun = NOW - timedelta(minutes=number)
    session = BootSession(f"{number:012x}", f"k{number}", "t", image, begun, machine, "192.0.2.9")
    return replace(session, **values)


def numbers(sessions: list[BootSession]) -> list[int]:
    return [int(session.id, 16) for session in sessions]


async def test_pages_follow_each_other_without_a_gap(store: SessionStore):
    await store.save([boot(number) for number in range(10)], [], [])

    pages, before = [], None
    while page := await store.recent(4, before=before):
        pages.append(numbers(page))
        before = page[-1].created_at

    assert pages == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


async def test_boots_are_found_by_image_machine_and_phase(store: SessionStore):
    await store.save(
        [
            boot(0),
            boot(1, TWO),
            boot(2, image="other", phase=BootPhase.FAILED),
            boot(3, TWO, phase=BootPhase.FETCHING),
            boot(4, TWO, image="other", phase=BootPhase.FETCHING),
        ],
        [],
        [],
    )
    failed, fetching = BootPhase.FAILED, BootPhase.FETCHING

    assert numbers(await store.recent(9, image="other")) == [2, 4]
    assert numbers(await store.recent(9, machine=TWO.mac)) == [1, 3, 4]
    assert numbers(await store.recent(9, machine=ONE.uuid)) == [0, 2]
    assert numbers(await store.recent(9, machine="nobody")) == []
    assert numbers(await store.recent(9, phases=[failed, fetching])) == [2, 3, 4]
    assert numbers(await store.recent(9, phases=[failed], machine=TWO.mac)) == []
    assert numbers(await store.recent(9, image="other", phases=[fetching])) == [4]
    assert numbers(await store.recent(9, image="other", machine=ONE.mac)) == [2]
    assert numbers(await store.recent(1, image="other", before=boot(2).created_at)) == [4]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("52:54:00:00:00:02", [1, 3]),
        ("52-54-00-00-00-02", [1, 3]),
        ("optiplex", [1, 3]),
        ("PC 7", [0, 2]),
        ("aabbccdd", [0, 2]),
        ("S_2", [1, 3]),
        ("s-2", []),
        ("RESC", [0, 1]),
        ("e", [0, 1, 2, 3]),
        (" other ", [2, 3]),
        ("52:54", [0, 1, 2, 3]),
        ("%", []),
        ("serial", []),  # the name of a field is none of its values
    ],
)
async def test_a_search_looks_at_all_that_a_machine_told_and_at_images(
    store: SessionStore, search: str, found: list[int]
):
    sessions = [boot(0), boot(1, TWO), boot(2, image="other"), boot(3, TWO, image="other")]
    await store.save(sessions, [], [])

    assert numbers(await store.recent(9, search=search)) == found
    assert numbers(await store.recent(2, search=search)) == found[:2]
    assert numbers(await store.recent(9, search=search, image="rescue")) == [
        number for number in found if number < 2
    ]


async def test_a_search_that_finds_many_machines_pages_through_all_their_boots(
    store: SessionStore,
):
    machines = [Machine(mac=f"52:54:00:00:{n >> 8:02x}:{n & 255:02x}") for n in range(300)]
    await store.save(
        [boot(number, machines[number * 7 % 300]) for number in range(900)]
        + [boot(number, Machine(mac="aa:00:00:00:00:01")) for number in range(900, 1000)],
        [],
        [],
    )

    seen: list[int] = []
    before = None
    while page := await store.recent(35, search="52:54", before=before):
        seen += numbers(page)
        before = page[-1].created_at

    assert seen == list(range(900))
    assert numbers(await store.recent(3, search="aa:00")) == [900, 901, 902]


async def test_a_search_finds_old_boots_of_a_phase_behind_newer_machines(store: SessionStore):
    machines = [Machine(mac=f"52:54:00:00:00:{n:02x}") for n in range(9)]
    failed = boot(100, machines[8], phase=BootPhase.FAILED)
    await store.save([*(boot(n, machine) for n, machine in enumerate(machines)), failed], [], [])

    found = await store.recent(1, search="52:54", phases=[BootPhase.FAILED])

    assert numbers(found) == [100]


async def test_a_machine_is_seen_as_it_was_at_its_newest_boot(store: SessionStore):
    renamed = replace(ONE, asset="PC 8")
    await store.save([boot(5), boot(3, TWO)], [], [])
    await store.save([boot(1, renamed, image="other")], [boot(5, phase=BootPhase.FAILED)], [])

    [first, second] = await store.machines(10)

    assert (first.machine, first.name, first.image) == (renamed, ONE.mac, "other")
    assert (first.seen_at, first.session) == (boot(1).created_at, boot(1).id)
    assert second.machine == TWO
    assert await store.machines(1) == [first]
    assert await store.last_of(ONE.uuid) == await store.last_of(ONE.mac) == first
    assert await store.last_of("nobody") is None


async def test_the_network_cards_of_boots_and_machines_are_kept_and_found(store: SessionStore):
    nics = (
        Nic("52:54:00:00:00:01", PciId(0x8086, 0x15BC, (0x1028, 0x869), 0x10)),
        Nic("52:54:00:00:00:09"),
    )
    machine = replace(ONE, nics=nics)
    await store.save([boot(1, machine), boot(2, TWO)], [], [])

    [found] = await store.recent(10, search="8086:15bc")

    assert found.machine == machine
    assert [seen.machine.nics for seen in await store.machines()] == [nics, ()]


async def test_a_machine_without_a_name_goes_by_its_address(store: SessionStore):
    await store.save([boot(1, Machine())], [], [])

    [seen] = await store.machines(10)

    assert (seen.name, seen.machine) == ("192.0.2.9", Machine())


async def test_transfers_are_read_back_as_they_were_last_written(store: SessionStore):
    first = Transfer("000000000000", 1, "tree/vmlinuz", "http", NOW, 100, sent_bytes=50)
    second = replace(first, number=2, name="tree/initrd", protocol="tftp", link="words")
    done = replace(
        first, progress_at=NOW, ended_at=NOW, sent_bytes=100, outcome="complete", retransmits=2
    )
    await store.save([boot(0), boot(1)], [], [], [first, second])
    await store.save([], [], [], [replace(done, stalled_s=1.5)])

    found = await store.transfers([boot(0).id, boot(1).id])

    assert found == {boot(0).id: [replace(done, stalled_s=1.5), second], boot(1).id: []}


async def test_an_id_is_completed_if_only_one_begins_so(store: SessionStore):
    sessions = [replace(boot(n), id=i) for n, i in enumerate(["abc0", "abcf", "abd0"])]
    await store.save(sessions, [], [])

    assert (await store.by_id("abd")) == sessions[2]
    assert (await store.by_id("abcf")) == sessions[1]
    assert await store.by_id("abc") is None
    assert await store.by_id("abcg") is None


async def test_all_but_the_newest_boots_are_forgotten_with_all_that_was_theirs(
    store: SessionStore,
):
    many = PRUNED_AT_ONCE + 10
    old = Machine(mac="52:54:00:00:00:0f")
    events = [BootEvent(boot(n).id, BootPhase.CREATED, NOW) for n in range(many)]
    transfers = [Transfer(boot(n).id, 1, "image.iso", "http", NOW, 1) for n in range(many)]
    boots = [boot(n, ONE if n < 5 else old, "new" if n < 5 else "old") for n in range(many)]
    await store.save(boots, [], events, transfers)

    gone = await store.prune(5, 0)

    assert gone == many - 5
    assert numbers(await store.recent(None)) == [0, 1, 2, 3, 4]
    assert await store.count() == 5
    forgotten, kept = boot(5).id, boot(4).id
    assert [len(v) for v in (await store.events([forgotten, kept])).values()] == [0, 1]
    assert [len(v) for v in (await store.transfers([forgotten, kept])).values()] == [0, 1]
    assert [seen.name for seen in await store.machines()] == [ONE.mac]
    assert await store.recent(9, search="old") == []
    assert await store.prune(5, 0) == 0


async def test_boots_older_than_so_many_days_are_forgotten(store: SessionStore):
    day = 24 * 60
    await store.save([boot(day // 2), boot(2 * day), boot(3 * day)], [], [])

    assert await store.prune(0, 0) == 0
    assert await store.prune(100, 1) == 2
    assert numbers(await store.recent(None)) == [day // 2]


async def test_a_boot_that_goes_on_is_not_forgotten(store: SessionStore):
    await store.save([boot(number) for number in range(4)], [], [])

    assert await store.prune(1, 0, spare=[boot(3).id]) == 2
    assert numbers(await store.recent(None)) == [0, 3]
