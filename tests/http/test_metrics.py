"""/metrics: what is counted, once, under bounded labels; and that the Grafana file asks for it."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from bootserver.config import PROJECT, Config
from bootserver.model import (
    BootPhase,
    BootPlan,
    Firmware,
    Machine,
    Method,
    Way,
)
from tests.fixtures.admin import PC, Admin, running_admin
from tests.fixtures.isos import make_iso

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@pytest.fixture
async def admin(config: Config) -> AsyncIterator[Admin]:
    make_iso(config.images.path / "rescue.iso", bios=True)
    async with running_admin(config) as admin:
        yield admin


async def samples(admin: Admin, name: str, **labels: str) -> dict[tuple[str, ...], float]:
    """The values of a sample by its labels' values, of those that have these labels."""
    _, _, body = await admin.raw(f"{admin.url}/metrics")
    return {
        tuple(sample.labels.values()): sample.value
        for family in parse_text(body.decode())
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    }


async def total(admin: Admin, name: str, **labels: str) -> float:
    return sum((await samples(admin, name, **labels)).values())


async def test_before_the_first_boot_everything_is_there_and_zero(admin: Admin):
    for outcome in ("handed_off", "failed", "expired"):
        for firmware in Firmware:
            found = await samples(
                admin, "boots_total", outcome=outcome, firmware=firmware, image="rescue"
            )
            assert list(found.values()) == [0.0]
    assert set((await samples(admin, "boot_phase_seconds_count", image="rescue")).values()) == {0}
    assert await total(admin, "image_bytes_total") == 0
    assert await total(admin, "library_images", state="ready") == 1


async def test_a_boot_is_counted_once_in_each_of_its_phases(admin: Admin):
    session = admin.ledger.start("token", "rescue", PC, "192.0.2.9")
    admin.ledger.set_plan(session.key, BootPlan("disc", Way(Method.MEMDISK), image_bytes=1000))
    in_progress = await total(admin, "boots_in_progress")
    for phase in (BootPhase.SCRIPT_SERVED, BootPhase.FETCHING, BootPhase.HANDED_OFF):
        admin.ledger.advance(session.key, phase)
    admin.ledger.advance(session.key, BootPhase.OS_UP)
    await admin.ledger.flush()

    what = {"image": "rescue", "firmware": "bios"}
    assert in_progress == 1
    assert await total(admin, "boots_in_progress") == 0
    assert await total(admin, "boots_total", outcome="handed_off", **what) == 1
    assert await total(admin, "boots_total") == 1
    for name in ("stub_started", "script_served", "fetching", "handed_off", "os_up"):
        assert await total(admin, "boot_phase_seconds_count", phase=name, **what) == 1
    assert await total(admin, "boot_phase_seconds_count", phase="created") == 0
    assert await total(admin, "ledger_boots") == 1


async def test_image_bytes_are_those_that_were_fetched(admin: Admin):
    stub = await admin.ask("/stubs", "POST", expect=201, json={"image": "rescue"})
    query = "mac=52-54-00-00-00-01&platform=pcbios&dimms=0004......."
    await admin.raw(f"{admin.boot_url}/b/{stub['token']}/boot.ipxe?{query}")
    _, _, image = await admin.raw(f"{admin.boot_url}/b/{stub['token']}/image.iso")
    _, _, _ = await admin.raw(f"{admin.boot_url}/b/{stub['token']}/phase/handoff")

    counted = await samples(admin, "image_bytes_total", image="rescue", firmware="bios")
    assert set(counted.values()) == {len(image)}
    assert await total(admin, "boots_total", recipe="disc", outcome="handed_off") == 1


async def test_a_restart_counts_nothing_twice(config: Config):
    make_iso(config.images.path / "rescue.iso", bios=True)
    async with running_admin(config) as admin:
        session = admin.ledger.start("token", "rescue", PC, "192.0.2.9")
        admin.ledger.set_plan(session.key, BootPlan("disc", Way(Method.MEMDISK), image_bytes=1000))
        admin.ledger.advance(session.key, BootPhase.FETCHING)
        await admin.ledger.flush()
        await admin.boot(Machine(mac="52:54:00:00:00:02"))
        before = await total(admin, "boot_phase_seconds_count")
    async with running_admin(config) as admin:
        resumed = await total(admin, "boot_phase_seconds_count")
        under_way = await total(admin, "boots_in_progress")
        admin.ledger.advance(session.key, BootPhase.HANDED_OFF)
        await admin.ledger.flush()

        assert before == 6
        assert resumed == 0
        assert under_way == 1
        assert await total(admin, "boot_phase_seconds_count") == 1
        assert await total(admin, "boots_total") == 1
        assert await total(admin, "ledger_boots") == 2


async def test_labels_are_bounded_whatever_machines_and_stubs_say(admin: Admin):
    for number in range(20):
        await admin.boot(Machine(mac=f"52:54:00:00:01:{number:02x}"), image=f"gone-{number}")

    found = await samples(admin, "boots_total", firmware="unknown")
    assert list(found.values()) == [20]
    assert {image for image, *_ in _labels(await _families(admin), "image")} == {"rescue", "other"}


async def test_each_limit_of_the_configuration_is_there(admin: Admin):
    config = admin.services.config.limits.model_dump()

    numbers, times = await samples(admin, "limit_max"), await samples(admin, "limit_seconds")

    shown = {limit: value for (limit,), value in (numbers | times).items()}
    assert shown == config | {"transfers": shown["transfers"]}  # which is [tftp] max_transfers


async def test_openmetrics_is_for_those_who_accept_it(admin: Admin):
    await admin.boot()

    _, plain, _ = await admin.raw(f"{admin.url}/metrics")
    _, headers, body = await admin.raw(f"{admin.url}/metrics", headers={"Accept": OPENMETRICS})

    assert plain["Content-Type"].startswith("text/plain; version=0.0.4")
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
    assert "boots" in {family.name for family in parse_openmetrics(body.decode())}


async def test_the_grafana_file_asks_for_metrics_that_there_are(admin: Admin):
    dashboard = json.loads((PROJECT / "docs" / "grafana.json").read_text())
    queries = list(_queries(dashboard))
    families = await _families(admin)
    there = {sample.name for family in families for sample in family.samples}

    assert len(queries) >= 8
    for query in queries:
        bare = re.sub(r"{.*?}|\[.*?\]|\bby \(.*?\)|, \w+\)", " ", query)  # labels and times
        used = set(re.findall(r"[a-z]+_[a-z_]+", bare)) - FUNCTIONS
        assert used, query
        assert used <= there, query


async def test_the_guide_has_every_metric(admin: Admin):
    guide = (PROJECT / "docs" / "api.md").read_text().partition("## Metrics")[2]
    _, _, body = await admin.raw(f"{admin.url}/metrics", headers={"Accept": OPENMETRICS})
    families = parse_openmetrics(body.decode())

    suffixes = {"counter": "_total", "info": "_info"}
    there = {family.name + suffixes.get(family.type, "") for family in families}
    assert set(re.findall(r"^\| `(\w+)` \|", guide, re.MULTILINE)) == there


FUNCTIONS = {"histogram_quantile", "label_values"}


def _queries(node: Any):
    if isinstance(node, dict):
        for key in ("expr", "definition"):
            if isinstance(node.get(key), str):
                yield node[key]
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from _queries(item)


async def _families(admin: Admin) -> list[Any]:
    _, _, body = await admin.raw(f"{admin.url}/metrics")
    return list(parse_text(body.decode()))


def _labels(families: list[Any], *names: str) -> set[tuple[str, ...]]:
    return {
        tuple(sample.labels[name] for name in names)
        for family in families
        for sample in family.samples
        if all(name in sample.labels for name in names)
    }
