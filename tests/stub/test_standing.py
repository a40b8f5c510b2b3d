"""A stub for every image that boots at all."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from bootserver.config import Config
from bootserver.database import open_database
from bootserver.model import FileVersion, Image
from bootserver.stub.issued import IssuedStubs
from bootserver.stub.standing import StandingStubs


def image(name: str) -> Image:
    return Image(name, f"/{name}.iso", FileVersion(1, 1, 1))


@pytest.fixture
async def standing(config: Config) -> AsyncIterator[StandingStubs]:
    config.state.path.mkdir()
    async with open_database(config.state.database_url) as engine:
        yield StandingStubs(config, IssuedStubs(engine, config.state.path))


async def test_every_image_has_a_stub(standing: StandingStubs):
    await standing.update([image("one"), image("two")])

    assert sorted(standing.files) == ["one", "two"]
    assert all(path.exists() for path in standing.files.values())


async def test_a_stub_goes_with_its_image(standing: StandingStubs):
    await standing.update([image("one"), image("two")])
    gone = standing.files["one"]

    await standing.update([image("two")])

    assert not gone.exists()
    assert list(standing.files) == ["two"]


async def test_a_stub_that_is_up_to_date_is_not_written_again(standing: StandingStubs):
    await standing.update([image("one")])
    before = standing.files["one"].stat().st_ino

    await standing.update([image("one")])

    assert standing.files["one"].stat().st_ino == before


async def test_missing_loaders_are_said_once(standing: StandingStubs, config: Config):
    (config.stub.build / "ipxe.lkrn").unlink()
    with capture_logs() as logs:
        await standing.update([image("one")])
        await standing.update([image("one"), image("two")])

    assert [line["event"] for line in logs] == ["stubs.not_built"]
    assert "ipxe.lkrn is missing" in logs[0]["reason"]
