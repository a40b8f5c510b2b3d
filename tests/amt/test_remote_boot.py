"""A boot over AMT, whole, against the fake device: the test plays the machine's stub."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from bootserver.amt.boot.remote_boot import RemoteBoot
from bootserver.amt.errors import AmtRefusedError
from bootserver.bench.fake_amt import (
    BootFrom,
    ConfiguredBoot,
    FakeAmtDevice,
    FakeSpec,
    OptInRequired,
    ProvisioningMode,
    Reach,
    RedirectionManners,
    RedirectionSetting,
    SystemState,
    fake_amt,
)
from bootserver.config import Config
from tests.fixtures.admin import Admin, event_of, running_admin
from tests.fixtures.amt import PASSWORD, STEP_S, boot_until, play_stub, with_amt
from tests.fixtures.isos import make_iso

pytestmark = pytest.mark.slow


@asynccontextmanager
async def site(
    config: Config, spec: FakeSpec, **amt: Any
) -> AsyncIterator[tuple[Admin, FakeAmtDevice]]:
    """A server with one image, and a machine with AMT."""
    make_iso(config.images.path / "rescue.iso", bios=True, pad_bytes=2_000_000)
    async with (
        fake_amt(spec) as device,
        running_admin(with_amt(config, device, **amt)) as admin,
    ):
        yield admin, device


async def start(admin: Admin, device: FakeAmtDevice, **order: Any) -> str:
    """The id of a boot over AMT that has begun."""
    body = {"image": "rescue", "password": PASSWORD} | order
    job = await admin.ask(f"/machines/{device.host}/boot", "POST", json=body, expect=202)
    return str(job["id"])


async def ended(admin: Admin, job_id: str) -> dict[str, Any]:
    return await boot_until(admin, job_id, lambda job: job["ended_at"] is not None)


async def job_of(admin: Admin, job_id: str) -> dict[str, Any]:
    return await boot_until(admin, job_id, lambda job: bool(job["boot"]))


async def boot_of(admin: Admin, job: dict[str, Any]) -> dict[str, Any]:
    """The boot in the ledger."""
    await admin.ledger.flush()
    boot: dict[str, Any] = await admin.ask(f"/boots/{job['boot']}")
    return boot


async def run_stub(admin: Admin, device: FakeAmtDevice) -> None:
    """What the machine does from its power-on to its hand-off."""
    await play_stub(admin.http, admin.boot_url, device)


@pytest.mark.parametrize("tls", [False, True])
async def test_a_machine_boots_in_two_stages(config: Config, tmp_path: Path, tls: bool):
    spec = FakeSpec(tmp_path / "amt", tls=tls, power=SystemState.S0)
    async with site(config, spec) as (admin, device):
        job_id = await start(admin, device, method="two-stage")
        await run_stub(admin, device)
        job = await ended(admin, job_id)
        boot = await boot_of(admin, job)

        assert job["doing"] == "done", job
        assert [boot_.source for boot_ in device.boots] == ["redirected-cd"]
        assert device.violations == []
        assert [phase["phase"] for phase in boot["phases"]] == [
            *("created", "stub_built", "attached", "powered", "stub_started"),
            *("script_served", "fetching", "fetched", "handed_off"),
        ]
        [stub, image] = boot["transfers"]
        assert (stub["name"], stub["protocol"]) == ("stub.iso", "redirection")
        assert stub["sent_bytes"] == job["redirected_bytes"] > 0
        assert image["name"] == "image.iso"
        assert boot["machine"]["uuid"] == device.spec.uuid
        await device.wait_until(lambda: device.ider is None)


@pytest.mark.parametrize("power", list(SystemState))
async def test_the_redirection_of_any_machine_begins_in_s0(
    config: Config, tmp_path: Path, power: SystemState
):
    spec = FakeSpec(tmp_path / "amt", power=power, power_up_s=0.1)
    async with site(config, spec) as (admin, device):
        job_id = await start(admin, device, method="two-stage")
        await run_stub(admin, device)
        job = await ended(admin, job_id)
        boot = await boot_of(admin, job)

        assert job["doing"] == "done", job
        assert device.boots[-1] == ConfiguredBoot(
            BootFrom.REDIRECTED_CD
        )  # and so its link is not slow
        assert "reset" in next(p["detail"] for p in boot["phases"] if p["phase"] == "powered")


async def test_a_machine_without_serial_redirection_boots(config: Config, tmp_path: Path):
    spec = FakeSpec(
        tmp_path / "amt",
        mebx=RedirectionSetting.IDER,
        redirection=RedirectionSetting.NONE,
        listener=False,
    )
    async with site(config, spec) as (admin, device):
        job_id = await start(admin, device, method="two-stage")
        await run_stub(admin, device)
        job = await ended(admin, job_id)

        assert job["doing"] == "done", job


@pytest.mark.parametrize("power", list(SystemState))
async def test_recovery_begins_whatever_the_machine_does(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, power: SystemState
):
    monkeypatch.setattr("bootserver.amt.boot.watching.SILENCE_S", 0.5)
    server = config.server.model_copy(update={"url": "http://127.0.0.1:9", "https_port": 9})
    spec = FakeSpec(tmp_path / "amt", tls=True, version="16.1.30", power=power)
    async with site(config.model_copy(update={"server": server}), spec) as (admin, device):
        await ended(admin, await start(admin, device, method="ocr"))

        assert len(device.fetched) == 1


async def test_the_session_is_gone_as_soon_as_the_stub_has_handed_over(
    config: Config, tmp_path: Path
):
    async with site(config, FakeSpec(tmp_path / "amt")) as (admin, device):
        job_id = await start(admin, device)
        await run_stub(admin, device)
        await ended(admin, job_id)

        await device.wait_until(lambda: device.ider is None)


async def test_a_drive_that_is_to_stay_stays_until_it_is_taken_away(config: Config, tmp_path: Path):
    async with site(config, FakeSpec(tmp_path / "amt")) as (admin, device):
        job_id = await start(admin, device, method="two-stage", stay=True)
        await run_stub(admin, device)
        await boot_until(admin, job_id, lambda job: job["doing"] == "attached")
        still_there = await device.read_blocks(16, 1)
        job = await admin.ask(f"/amt/boots/{job_id}", "DELETE")

        assert still_there[1:6] == b"CD001"
        assert job["doing"] == "done"
        await device.wait_until(lambda: device.ider is None)


async def test_a_small_disc_is_redirected_as_it_is(config: Config, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("bootserver.amt.boot.remote_boot.DIRECT_QUIET_S", 0.2)
    async with site(config, FakeSpec(tmp_path / "amt"), slow_path_kb_s=60_000) as (admin, device):
        job_id = await start(admin, device)
        job = await ended(admin, job_id)
        boot = await boot_of(admin, job)

        assert (job["taken"], job["doing"]) == ("direct", "done")
        assert job["expected"]["direct"]["seconds"] < job["expected"]["two-stage"]["seconds"]
        assert job["redirected_bytes"] == 3 * 2048  # what the fake's firmware reads
        assert boot["phase"] == "handed_off"
        assert [t["name"] for t in boot["transfers"]] == ["image.iso"]


@pytest.mark.parametrize(
    ("manners", "failure", "words"),
    [
        (RedirectionManners(busy=True), "busy", "another console holds"),
        (RedirectionManners(rejects_features=True), "rejected", ""),
    ],
)
async def test_what_redirection_refuses_is_a_sentence_and_takes_the_order_back(
    config: Config, tmp_path: Path, manners: RedirectionManners, failure: str, words: str
):
    spec = FakeSpec(tmp_path / "amt", redirection_manners=manners, power=SystemState.S0)
    async with site(config, spec) as (admin, device):
        job = await ended(admin, await start(admin, device))
        boot = await boot_of(admin, job)

        assert (job["doing"], job["failure"]) == ("failed", failure)
        assert words in job["error"]
        assert job["hint"]
        assert (boot["phase"], boot["error"]) == ("failed", job["error"])
        assert device.boots == []


async def test_a_wrong_password_is_told_before_anything_is_done(config: Config, tmp_path: Path):
    async with site(config, FakeSpec(tmp_path / "amt")) as (admin, device):
        job = await ended(admin, await start(admin, device, password="wrong"))

        assert job["failure"] == "wrong_password"
        assert "does not take the password" in job["error"]
        assert job["boot"] == ""
        assert device.asked == []


async def test_without_a_password_the_boot_says_so(config: Config, tmp_path: Path):
    async with site(config, FakeSpec(tmp_path / "amt")) as (admin, device):
        job = await ended(admin, await start(admin, device, password=""))

        assert job["failure"] == "no_password"


async def test_redirection_that_is_off_is_switched_on(config: Config, tmp_path: Path):
    spec = FakeSpec(tmp_path / "amt", redirection=RedirectionSetting.NONE, listener=False)
    async with site(config, spec) as (admin, device):
        job_id = await start(admin, device, method="two-stage")
        await run_stub(admin, device)
        job = await ended(admin, job_id)

        assert job["doing"] == "done"
        assert device.state.listener


async def test_consent_is_asked_for_and_a_wrong_code_asked_again(config: Config, tmp_path: Path):
    spec = FakeSpec(
        tmp_path / "amt",
        control_mode=ProvisioningMode.CLIENT,
        consent=OptInRequired.ALL,
        consent_code="271828",
    )
    async with site(config, spec) as (admin, device):
        job_id = await start(admin, device, method="two-stage")
        asked = await boot_until(admin, job_id, lambda job: job["doing"] == "consent")
        questions = {asked["sentence"]}
        for _ in range(2):
            wrong = {"code": "111111"}
            await admin.ask(f"/amt/boots/{job_id}/consent", "POST", json=wrong, expect=202)
            asked = await boot_until(admin, job_id, lambda job: job["sentence"] not in questions)
            questions.add(asked["sentence"])
        shown = device.state.consent.shown_code
        await admin.ask(f"/amt/boots/{job_id}/consent", "POST", json={"code": shown}, expect=202)
        await run_stub(admin, device)
        job = await ended(admin, job_id)

        assert "not the code" in asked["sentence"]
        assert job["doing"] == "done", job


async def test_where_the_code_has_timed_out_a_new_one_is_shown(config: Config, tmp_path: Path):
    spec = FakeSpec(
        tmp_path / "amt",
        control_mode=ProvisioningMode.CLIENT,
        consent=OptInRequired.ALL,
        consent_code="271828",
    )
    async with site(config, spec) as (admin, device):
        job_id = await start(admin, device, method="two-stage")
        await boot_until(admin, job_id, lambda job: job["doing"] == "consent")
        device.state.consent.cancel()  # as AMT does after a while
        late = {"code": "271828"}
        await admin.ask(f"/amt/boots/{job_id}/consent", "POST", json=late, expect=202)
        asked = await boot_until(admin, job_id, lambda job: "once more" in job["sentence"])
        shown = device.state.consent.shown_code
        await admin.ask(f"/amt/boots/{job_id}/consent", "POST", json={"code": shown}, expect=202)
        await run_stub(admin, device)
        job = await ended(admin, job_id)

        assert "is void" in asked["sentence"]
        assert shown
        assert job["doing"] == "done", job


async def test_a_code_that_nobody_waits_for_is_refused(config: Config, tmp_path: Path):
    async with site(config, FakeSpec(tmp_path / "amt")) as (admin, device):
        job_id = await start(admin, device, method="two-stage")
        await device.wait_until(lambda: bool(device.boots))

        await admin.ask(f"/amt/boots/{job_id}/consent", "POST", json={"code": "111111"}, expect=409)


async def test_a_machine_that_reads_nothing_is_given_up_with_what_may_be_why(
    config: Config, tmp_path: Path
):
    spec = FakeSpec(tmp_path / "amt", first_lbas=())
    async with site(config, spec, no_reads_s=1) as (admin, device):
        job = await ended(admin, await start(admin, device))
        boot = await boot_of(admin, job)

        assert job["failure"] == "no_reads"
        assert "has read nothing of the redirected CD within 1 s" in job["error"]
        assert "Secure Boot" in job["hint"]
        assert boot["error"] == job["error"]


async def test_a_reset_while_a_read_is_under_way_is_lived_through(config: Config, tmp_path: Path):
    spec = FakeSpec(tmp_path / "amt", redirection_manners=RedirectionManners(reset_in_read=2))
    async with site(config, spec) as (admin, device):
        job_id = await start(admin, device, method="two-stage")
        await run_stub(admin, device)
        job = await ended(admin, job_id)

        assert job["doing"] == "done", job
        assert device.violations == []


async def test_a_cut_connection_is_told_and_the_boot_can_be_run_again(
    config: Config, tmp_path: Path
):
    spec = FakeSpec(tmp_path / "amt", redirection_manners=RedirectionManners(cut_after_reads=2))
    async with site(config, spec) as (admin, device):
        job = await ended(admin, await start(admin, device, method="two-stage"))
        again = await admin.ask(
            f"/machines/{device.host}/boot",
            "POST",
            json={"image": "rescue", "password": PASSWORD},
            expect=202,
        )

        assert job["failure"] == "lost"
        assert "ended the connection" in job["error"]
        assert again["doing"] == "waiting"


async def test_a_boot_that_is_given_up_leaves_nothing_armed(config: Config, tmp_path: Path):
    spec = FakeSpec(tmp_path / "amt", first_lbas=())
    async with site(config, spec) as (admin, device):
        job_id = await start(admin, device)
        await device.wait_until(lambda: bool(device.boots))
        job = await admin.ask(f"/amt/boots/{job_id}", "DELETE")
        boot = await boot_of(admin, job)

        assert job["doing"] == "cancelled"
        assert (boot["phase"], boot["error"]) == ("failed", "the boot was given up")
        assert device.ider is None


async def test_one_machine_is_booted_by_one_at_a_time(config: Config, tmp_path: Path):
    async with site(config, FakeSpec(tmp_path / "amt", first_lbas=())) as (admin, device):
        await start(admin, device)
        problem = await admin.ask(
            f"/machines/{device.host}/boot", "POST", json={"image": "rescue"}, expect=409
        )

        assert "is being booted already" in problem["detail"]


@asynccontextmanager
async def site_of_two(
    config: Config, one: FakeSpec, two: FakeSpec, **amt: Any
) -> AsyncIterator[tuple[Admin, FakeAmtDevice, FakeAmtDevice]]:
    """As `site`, with two machines."""
    make_iso(config.images.path / "rescue.iso", bios=True)
    async with fake_amt(one) as first, fake_amt(two) as second:
        machines = [with_amt(config, device, **amt).machines[0] for device in (first, second)]
        both = with_amt(config, first, **amt).model_copy(update={"machines": tuple(machines)})
        async with running_admin(both) as admin:
            yield admin, first, second


async def test_a_host_that_is_silent_takes_no_turn_of_the_others(config: Config, tmp_path: Path):
    silent = FakeSpec(tmp_path / "silent", host="127.0.0.2", reach=Reach.SILENT)
    lives = FakeSpec(tmp_path / "lives", host="127.0.0.3", power=SystemState.S0)
    async with site_of_two(config, silent, lives, boots_at_once=1) as (admin, dead, device):
        waits = await start(admin, dead)
        await boot_until(admin, waits, lambda job: job["doing"] == "probing")
        job_id = await start(admin, device, method="two-stage")
        await run_stub(admin, device)
        job = await ended(admin, job_id)
        still = await admin.ask(f"/amt/boots/{waits}")
        await admin.ask(f"/amt/boots/{waits}", "DELETE")

        assert job["doing"] == "done"
        assert still["doing"] == "probing"


async def test_no_more_boots_go_on_than_an_order_wants(config: Config, tmp_path: Path):
    specs = [
        FakeSpec(tmp_path / host, host=host, power=SystemState.S0, first_lbas=())
        for host in ("127.0.0.2", "127.0.0.3")
    ]
    async with site_of_two(config, *specs) as (admin, first, second):
        one = await start(admin, first, at_once=1)
        await first.booted()
        two = await start(admin, second, at_once=1)
        waits = await boot_until(admin, two, lambda job: "come first" in job["sentence"])
        before = list(second.boots)
        await admin.ask(f"/amt/boots/{one}", "DELETE")
        await second.booted()
        await admin.ask(f"/amt/boots/{two}", "DELETE")

        assert waits["doing"] == "waiting"
        assert before == []


async def test_the_password_shows_up_nowhere(config: Config, tmp_path: Path):
    with capture_logs() as logs:
        async with site(config, FakeSpec(tmp_path / "amt")) as (admin, device):
            async with admin.events() as events:
                job_id = await start(admin, device, method="two-stage")
                told = await event_of(events, "amt_boot")
                await run_stub(admin, device)
            job = await ended(admin, job_id)
            answers = [
                await admin.ask(path)
                for path in ("/amt/hosts", "/amt/boots", f"/amt/boots/{job_id}", "/boots")
            ]
            kept = (config.state.path / "bootserver.db").read_bytes()

    assert job["doing"] == "done"
    assert PASSWORD not in json.dumps([told, answers, logs], default=str)
    assert PASSWORD.encode() not in kept


async def test_a_server_that_stops_takes_its_drives_away_and_gives_the_boots_up(
    config: Config, tmp_path: Path
):
    async with fake_amt(FakeSpec(tmp_path / "amt", first_lbas=())) as device:
        make_iso(config.images.path / "rescue.iso", bios=True)
        async with running_admin(with_amt(config, device)) as admin:
            job_id = await start(admin, device, method="two-stage")
            await device.booted()
            boots = admin.services.amt_boots

        progress = boots.get(job_id)
        assert progress.step == "cancelled"
        await device.wait_until(lambda: device.ider is None)


async def test_recovery_that_leads_nowhere_tells_what_amts_log_has_of_it(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("bootserver.amt.boot.watching.SILENCE_S", 2.0)
    server = config.server.model_copy(update={"url": "http://127.0.0.1:9", "https_port": 9})
    spec = FakeSpec(tmp_path / "amt", tls=True, version="16.1.30")
    async with site(config.model_copy(update={"server": server}), spec) as (admin, device):
        job = await ended(admin, await start(admin, device, method="ocr"))
        boot = await boot_of(admin, job)

        assert job["failure"] == "no_call"
        assert "AMT's log says last: One-Click Recovery: the server cannot be" in job["error"]
        assert boot["error"] == job["error"]
        assert [fetched.url.split("/")[2] for fetched in device.fetched] == ["127.0.0.1:9"]


async def test_one_click_recovery_without_https_says_how_to_switch_it_on(
    config: Config, tmp_path: Path
):
    spec = FakeSpec(tmp_path / "amt", tls=True, version="16.1.30")
    async with site(config, spec) as (admin, device):
        job = await ended(admin, await start(admin, device, method="ocr"))

        assert "https_port" in job["hint"]
        assert device.boots == []


async def test_the_stub_is_read_to_its_end_once_it_has_called(config: Config, tmp_path: Path):
    async with site(config, FakeSpec(tmp_path / "amt")) as (admin, device):
        job_id = await start(admin, device, method="two-stage")
        handing_over = await play_stub(admin.http, admin.boot_url, device, hand_off=False)
        async with asyncio.timeout(STEP_S):
            while True:
                transfers = (await boot_of(admin, await job_of(admin, job_id)))["transfers"]
                ended_ones = [
                    t for t in transfers if t["protocol"] == "redirection" and t["outcome"]
                ]
                if ended_ones:
                    break
                await asyncio.sleep(0.1)
        [stub] = ended_ones
        await device.read_blocks(16, 32)  # a system that finds the drive
        async with admin.http.get(handing_over) as answer:
            assert answer.status == 200
        job = await ended(admin, job_id)
        boot = await boot_of(admin, job)

        assert (stub["name"], stub["outcome"]) == ("stub.iso", "complete")
        assert boot["transfers"][0]["sent_bytes"] == stub["sent_bytes"]
        assert job["redirected_bytes"] == stub["sent_bytes"] + 32 * 2048


async def test_a_machine_that_does_not_start_is_left_with_an_ordinary_next_boot(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async def refuse(*_: object) -> None:
        raise AmtRefusedError("AMT refused RequestPowerStateChange: busy")

    monkeypatch.setattr("bootserver.amt.boot.remote_boot.request_power", refuse)
    async with site(config, FakeSpec(tmp_path / "amt")) as (admin, device):
        job = await ended(admin, await start(admin, device, method="two-stage"))

        assert (job["doing"], job["failure"]) == ("failed", "refused")
        assert device.state.boot.settings["UseIDER"] == ["false"]


@pytest.mark.parametrize(("signed", "enforced"), [(False, "false"), (True, "true")])
async def test_secure_boot_is_switched_off_for_loaders_that_nobody_has_signed(
    config: Config, tmp_path: Path, signed: bool, enforced: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(RemoteBoot, "_loaders_are_signed", signed)
    put: list[str] = []
    async with site(config, FakeSpec(tmp_path / "amt")) as (admin, device):
        keep = device.state.boot.put

        def note(properties: dict[str, list[str]]) -> None:
            put.extend(properties["EnforceSecureBoot"])
            keep(properties)

        monkeypatch.setattr(device.state.boot, "put", note)
        job_id = await start(admin, device, method="two-stage")
        await run_stub(admin, device)
        await ended(admin, job_id)

    assert put == [enforced]
