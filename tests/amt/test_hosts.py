"""What is remembered of each machine's AMT."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bootserver.amt.hosts import HostStore
from bootserver.database import open_database

UUID = "00112233-4455-6677-8899-aabbccddeeff"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[HostStore]:
    async with open_database(f"sqlite+aiosqlite:///{tmp_path / 'db'}") as engine:
        yield HostStore(engine)


async def test_what_is_not_given_stays(store: HostStore):
    await store.remember("pc7", certificate_sha256="ab" * 32, facts={"amt_version": "16.1.30"})
    await store.remember("pc7", uuid=UUID, bytes_per_s=900_000)

    host = await store.get("pc7")

    assert host is not None
    assert (host.certificate_sha256, host.facts, host.uuid, host.bytes_per_s) == (
        "ab" * 32,
        {"amt_version": "16.1.30"},
        UUID,
        900_000,
    )


async def test_a_host_is_found_by_its_machines_names(store: HostStore):
    await store.remember("pc7", uuid=UUID, mac="52:54:00:12:34:56")
    await store.remember("pc8")

    for name in (UUID, "52:54:00:12:34:56"):
        host = await store.find(name)
        assert host is not None
        assert host.host == "pc7"
    assert await store.find("pc8") is None


async def test_two_writers_of_one_host_do_not_get_in_each_others_way(store: HostStore):
    await asyncio.gather(*(store.remember("pc7", bytes_per_s=rate) for rate in range(1, 9)))

    hosts = await store.list()

    assert [host.host for host in hosts] == ["pc7"]
    assert hosts[0].bytes_per_s in range(1, 9)


async def test_a_forgotten_host_is_gone(store: HostStore):
    await store.remember("pc7", certificate_sha256="ab" * 32)

    assert await store.forget("pc7")
    assert not await store.forget("pc7")
    assert await store.get("pc7") is None
