"""Tokens: unguessable, stable, known after a restart."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import event

from bootserver import database
from bootserver.database import DatabaseEngine, open_database
from bootserver.errors import StubError
from bootserver.model import Architecture
from bootserver.schema import STUBS
from bootserver.stub.network import NetworkSpec
from bootserver.stub.registry import StubRegistry
from bootserver.stub.spec import StubSpec

SPEC = StubSpec("memtest", ("http://192.0.2.1:8080",), 69, NetworkSpec(vlan=7), "0 9600")


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[DatabaseEngine]:
    async with open_database(f"sqlite+aiosqlite:///{tmp_path}/stubs.db") as engine:
        yield engine


async def test_a_stub_is_found_by_its_token_as_it_was_ordered(
    engine: DatabaseEngine, tmp_path: Path
):
    stub = await StubRegistry(engine, tmp_path).issue(SPEC)

    found = await StubRegistry(engine, tmp_path).find(stub.token)

    assert found == stub
    assert found.spec == SPEC


OLD_SPEC = (
    '{"architectures": ["bios", "x64"], "image": "memtest", "network": {"address": "192.0.2.5", '
    '"dns": "", "gateway": "", "mac": "", "netmask": "255.255.255.0", "vlan": 7}, "pack": true, '
    '"serial": "0 9600", "servers": ["http://192.0.2.1:8080"], "shim_loads": "", "tftp_port": 69}'
)
OLD_NETWORK = NetworkSpec(address="192.0.2.5", netmask="255.255.255.0", vlan=7)
OLD_ORDER = StubSpec(
    *("memtest", SPEC.servers, 69, OLD_NETWORK, "0 9600"), tuple(Architecture)[:2], pack=True
)


async def test_what_was_ordered_before_there_was_then_dhcp_keeps_its_token(
    engine: DatabaseEngine, tmp_path: Path
):
    (tmp_path / "secret").write_bytes(b"s" * 32)
    # hmac.digest(b"s" * 32, OLD_SPEC.encode(), "sha256")[:16].hex()
    token = "447f4429019d3aa932d6a706ab9094ab"
    row = {"token": token, "image": "memtest", "spec": OLD_SPEC, "issued_at": 1.0}
    async with engine.begin() as connection:
        await connection.execute(STUBS.insert(), row)

    found = await StubRegistry(engine, tmp_path).find(token)
    again = await StubRegistry(engine, tmp_path).issue(OLD_ORDER)

    assert found == again
    assert again.token == token


async def test_an_address_that_is_tried_before_dhcp_is_another_order(
    engine: DatabaseEngine, tmp_path: Path
):
    stubs = StubRegistry(engine, tmp_path)
    guess = replace(OLD_ORDER, network=replace(OLD_NETWORK, then_dhcp=True))

    one, two = await stubs.issue(OLD_ORDER), await stubs.issue(guess)

    assert one.token != two.token
    assert await stubs.find(two.token) == two


async def test_equal_orders_have_one_token(engine: DatabaseEngine, tmp_path: Path):
    stubs = StubRegistry(engine, tmp_path)
    other = StubSpec("grub", SPEC.servers, 69)

    tokens = [(await stubs.issue(spec)).token for spec in (SPEC, SPEC, other)]

    assert tokens[0] == tokens[1] != tokens[2]
    assert all(len(token) == 32 for token in tokens)


async def test_another_server_has_other_tokens(engine: DatabaseEngine, tmp_path: Path):
    (tmp_path / "other").mkdir()

    one = await StubRegistry(engine, tmp_path).issue(SPEC)
    two = await StubRegistry(engine, tmp_path / "other").issue(SPEC)

    assert one.token != two.token


async def test_the_secret_is_its_owners_only(engine: DatabaseEngine, tmp_path: Path):
    await StubRegistry(engine, tmp_path).issue(SPEC)

    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


async def test_two_that_start_at_once_use_one_secret(engine: DatabaseEngine, tmp_path: Path):
    books = [StubRegistry(engine, tmp_path) for _ in range(5)]

    stubs = await asyncio.gather(*(book.issue(SPEC) for book in books))

    assert len({stub.token for stub in stubs}) == 1


async def test_a_stub_that_has_called_is_found_without_the_database(
    engine: DatabaseEngine, tmp_path: Path
):
    stub = await StubRegistry(engine, tmp_path).issue(SPEC)
    stubs = StubRegistry(engine, tmp_path)
    first = await stubs.find(stub.token)
    async with engine.begin() as connection:
        await connection.execute(STUBS.delete())

    assert await stubs.find(stub.token) == first == stub


async def test_unknown_tokens_are_unknown(engine: DatabaseEngine, tmp_path: Path):
    assert await StubRegistry(engine, tmp_path).find("0" * 32) is None


async def test_a_token_is_looked_up_once_until_the_database_changes(
    engine: DatabaseEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(database, "TICK_S", 0.0)  # no two writes within one here
    elsewhere = StubRegistry(engine, tmp_path)
    await elsewhere.issue(SPEC)
    statements: list[str] = []
    event.listen(
        engine.engine.sync_engine,
        "before_cursor_execute",
        lambda *arguments: statements.append(arguments[2]),
    )
    stubs = StubRegistry(engine, tmp_path)
    for token in ("no token", "0" * 32, "0" * 32):
        assert await stubs.find(token) is None
    looked_up = len(statements)

    issued = await elsewhere.issue(replace(SPEC, image="other"))  # as the command line does

    assert looked_up == 1
    assert await stubs.find(issued.token) == issued


async def test_a_token_that_is_issued_within_a_tick_of_the_clock_is_found(
    engine: DatabaseEngine, tmp_path: Path
):
    stubs, elsewhere = StubRegistry(engine, tmp_path), StubRegistry(engine, tmp_path)
    await elsewhere.issue(SPEC)
    later = replace(SPEC, image="other")
    token = (await StubRegistry(engine, tmp_path).issue(later)).token
    async with engine.begin() as connection:
        await connection.execute(STUBS.delete().where(STUBS.c.token == token))

    before = await stubs.find(token)
    await elsewhere.issue(later)

    assert before is None
    assert await stubs.find(token) is not None


async def test_a_cut_secret_is_one_sentence(engine: DatabaseEngine, tmp_path: Path):
    (tmp_path / "secret").write_bytes(b"short")

    with pytest.raises(StubError, match="is cut short"):
        await StubRegistry(engine, tmp_path).issue(SPEC)


async def test_stubs_of_this_run_are_written_down_again(engine: DatabaseEngine, tmp_path: Path):
    stubs = StubRegistry(engine, tmp_path)
    one, two = await stubs.issue(SPEC), await stubs.issue(replace(SPEC, image="other"))
    async with engine.begin() as connection:
        await connection.execute(STUBS.delete().where(STUBS.c.token == one.token))

    await stubs.write_anew()

    assert await StubRegistry(engine, tmp_path).find(one.token) == one
    assert await StubRegistry(engine, tmp_path).find(two.token) == two
