"""The dashboard's pages about AMT, on real parts and the fake device."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bootserver.bench.fake_amt import (
    FakeAmtDevice,
    FakeSpec,
    SystemState,
    fake_amt,
)
from bootserver.config import Config
from bootserver.model import Machine
from tests.fixtures.admin import Admin, running_admin
from tests.fixtures.amt import PASSWORD, attended_spec, boot_until, with_amt
from tests.fixtures.isos import make_iso

HOSTILE = "<img src=x onerror=alert(1)>"
LOGIN = {"password": PASSWORD}


@pytest.fixture
async def device(tmp_path: Path) -> AsyncIterator[FakeAmtDevice]:
    async with fake_amt(attended_spec(tmp_path / "amt", host_name=HOSTILE)) as device:
        yield device


@pytest.fixture
async def admin(config: Config, device: FakeAmtDevice) -> AsyncIterator[Admin]:
    make_iso(config.images.path / "rescue.iso", bios=True, pad_bytes=2_000_000)
    async with running_admin(with_amt(config, device)) as admin:
        yield admin


async def page(admin: Admin, path: str, expect: int = 200) -> str:
    status, _, body = await admin.raw(f"{admin.url}{path}")
    assert status == expect, body
    return body.decode()


async def test_a_machine_of_the_configuration_is_shown_before_it_was_met(
    admin: Admin, device: FakeAmtDevice
):
    text = await page(admin, "/amt")

    assert f'id="host-{device.host}"' in text
    assert "Not asked yet" in text
    assert "None" not in text


async def test_what_amt_says_is_shown(admin: Admin, device: FakeAmtDevice):
    await admin.ask(f"/amt/hosts/{device.host}/probe", "POST", json=LOGIN)

    text = await page(admin, "/amt")

    for words in ("AMT 15.0.47", "client control", "asks for consent", device.spec.uuid):
        assert words in text
    assert '<span class="sr">Power: </span>On<' in text


async def test_what_a_machine_calls_itself_is_text(admin: Admin, device: FakeAmtDevice):
    await admin.ask(f"/amt/hosts/{device.host}/probe", "POST", json=LOGIN)

    for path in ("/amt", f"/amt/{device.host}/console"):
        text = await page(admin, path)
        assert "&lt;img src=x" in text
        assert "<img" not in text


async def test_a_boot_that_wants_consent_has_a_place_for_the_code(
    admin: Admin, device: FakeAmtDevice
):
    order = LOGIN | {"image": "rescue", "method": "two-stage"}
    boot = await admin.ask(f"/machines/{device.host}/boot", "POST", json=order, expect=202)
    await boot_until(admin, boot["id"], lambda boot: boot["doing"] == "consent")

    text = await page(admin, "/amt")

    assert f'data-consent="{boot["id"]}"' in text
    assert "Consent needed" in text
    assert "about" in text.partition('class="expected"')[2]  # both ways, before anything is done


async def test_a_boot_of_the_machines_own_without_consent_changes_nothing(
    admin: Admin, device: FakeAmtDevice
):
    path = f"/amt/hosts/{device.host}/boot"
    problem = await admin.ask(path, "POST", json=LOGIN | {"to": "bios-setup"}, expect=502)

    assert "wants a user's consent" in problem["detail"]
    assert all(asked.startswith(("Get ", "Enumerate", "Pull")) for asked in device.asked)


async def test_a_machine_boots_into_something_of_its_own(config: Config, tmp_path: Path):
    spec = FakeSpec(tmp_path / "amt", power=SystemState.S0)
    async with fake_amt(spec) as device, running_admin(with_amt(config, device)) as admin:
        path = f"/amt/hosts/{device.host}"
        change = await admin.ask(f"{path}/boot", "POST", json=LOGIN | {"to": "cd"})
        await device.booted()
        text = await page(admin, "/amt")

    assert change == {"before": "on", "asked": "reset"}
    assert [boot.source for boot in device.boots] == ["local-cd"]
    assert 'value="bios-setup" required data-label="Boot into its setup"' in text


async def test_a_boot_that_failed_says_why_and_what_to_do(admin: Admin, device: FakeAmtDevice):
    order = {"image": "rescue"}
    boot = await admin.ask(f"/machines/{device.host}/boot", "POST", json=order, expect=202)
    await boot_until(admin, boot["id"], lambda boot: boot["ended_at"])

    text = await page(admin, "/amt")

    assert "no password is kept" in text
    assert "set BOOTSERVER_AMT_PASSWORD" in text
    assert f'data-stop="{boot["id"]}"' not in text


async def test_only_the_last_boot_of_a_machine_is_shown(admin: Admin, device: FakeAmtDevice):
    ids = []
    for _ in range(2):
        order = {"image": "rescue"}
        boot = await admin.ask(f"/machines/{device.host}/boot", "POST", json=order, expect=202)
        await boot_until(admin, boot["id"], lambda boot: boot["ended_at"])
        ids.append(boot["id"])

    text = await page(admin, "/amt")

    assert f"amt-boot-{ids[0]}" not in text
    assert f"amt-boot-{ids[1]}" in text


async def test_a_machine_that_was_here_can_be_booted_if_its_amt_is_known(
    admin: Admin, device: FakeAmtDevice
):
    await admin.boot(Machine(uuid=device.spec.uuid, product="Known"))
    await admin.boot(Machine(mac="52:54:00:99:99:99", product="Another"))
    before = await page(admin, "/machines")
    await admin.ask(f"/amt/hosts/{device.host}/probe", "POST", json=LOGIN)
    after = await page(admin, "/machines")

    assert "data-boot-host" not in before
    assert after.count(f'data-boot-host="{device.host}"') == 1
    known = after.partition("Known")[2].partition("</tr>")[0]
    assert "data-boot-host" in known


async def test_a_console_of_no_machine_is_a_page_with_a_way_back(admin: Admin):
    text = await page(admin, "/amt/-/console", 404)

    assert "No such machine" in text


async def test_how_amt_is_reached_is_not_told_of_machines(admin: Admin):
    machines = await admin.ask("/machines")

    assert machines["configured"] == []
