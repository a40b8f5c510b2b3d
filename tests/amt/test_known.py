"""What is remembered of each machine's AMT."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bootserver.amt.known import KnownHosts
from bootserver.database import open_database

UUID = "00112233-4455-6677-8899-aabbccddeeff"


@pytest.fixture
async def known(tmp_path: Path) -> AsyncIterator[KnownHosts]:
    async with open_database(f"sqlite+aiosqlite:///{tmp_path / 'db'}") as engine:
        yield KnownHosts(engine)


async def test_what_is_not_given_stays(known: KnownHosts):
    await known.met("pc7", certificate_sha256="ab" * 32, facts={"amt_version": "16.1.30"})
    await known.met("pc7", uuid=UUID, bytes_per_s=900_000)

    host = await known.get("pc7")

    assert host is not None
    assert (host.pin_sha256, host.facts, host.uuid, host.bytes_per_s) == (
        "ab" * 32,
        {"amt_version": "16.1.30"},
        UUID,
        900_000,
    )


async def test_a_host_is_found_by_its_machines_names(known: KnownHosts):
    await known.met("pc7", uuid=UUID, mac="52:54:00:12:34:56")
    await known.met("pc8")

    for name in (UUID, "52:54:00:12:34:56"):
        host = await known.of_machine(name)
        assert host is not None
        assert host.host == "pc7"
    assert await known.of_machine("pc8") is None


async def test_two_who_meet_a_host_at_once_do_not_get_in_each_others_way(known: KnownHosts):
    await asyncio.gather(*(known.met("pc7", bytes_per_s=rate) for rate in range(1, 9)))

    hosts = await known.list()

    assert [host.host for host in hosts] == ["pc7"]
    assert hosts[0].bytes_per_s in range(1, 9)


async def test_a_forgotten_host_is_met_anew(known: KnownHosts):
    await known.met("pc7", certificate_sha256="ab" * 32)

    assert await known.forget("pc7")
    assert not await known.forget("pc7")
    assert await known.get("pc7") is None
