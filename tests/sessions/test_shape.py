"""A boot as JSON: the one shape, with rates that are right and no secret in it."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from bootserver.model import (
    REDIRECTION,
    BootEvent,
    BootPhase,
    BootPlan,
    BootSession,
    Firmware,
    Machine,
    Method,
    Transfer,
    Way,
)
from bootserver.sessions.shape import boot_json, fetch_bytes_per_s, progress

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SESSION = BootSession(
    id="0badcafe",
    key="SECRETKEY",
    token="SECRETTOKEN",
    image="rescue",
    created_at=NOW - timedelta(seconds=30),
    machine=Machine(mac="52:54:00:00:00:01", firmware=Firmware.UEFI),
    address="192.0.2.9",
    phase=BootPhase.FETCHING,
    phase_at=NOW - timedelta(seconds=20),
    plan=BootPlan("debian-live", Way(Method.KERNEL), image_bytes=300_000_000),
    sent_bytes=200_000_000,
)
EVENTS = [
    BootEvent("0badcafe", BootPhase.CREATED, NOW - timedelta(seconds=30)),
    BootEvent("0badcafe", BootPhase.FETCHING, NOW - timedelta(seconds=20), "of the image"),
]
MOVING = Transfer(
    "0badcafe",
    1,
    "image.iso",
    "http",
    NOW - timedelta(seconds=20),
    300_000_000,
    progress_at=NOW,
    sent_bytes=200_000_000,
    retransmits=3,
    requests=2,
    first_byte=0,
    last_byte=199_999_999,
)


def test_the_shape_has_the_fields_that_others_build_on():
    boot = boot_json(SESSION, EVENTS, [MOVING], now=NOW)

    assert list(boot) == [
        *("id", "image", "recipe", "method", "machine", "address", "created_at", "phase"),
        *("phase_at", "image_bytes", "sent_bytes", "bytes_per_s", "seconds_left", "error"),
        *("stalled", "warning", "variant", "phases", "transfers", "total_seconds"),
    ]
    assert boot["machine"]["name"] == "52:54:00:00:00:01"
    assert boot["phases"][1] == {
        "phase": "fetching",
        "at": "2026-01-01T11:59:40+00:00",
        "seconds": 10.0,
        "detail": "of the image",
    }
    assert boot["transfers"] == [
        {
            "name": "image.iso",
            "protocol": "http",
            "started_at": "2026-01-01T11:59:40+00:00",
            "seconds": 20.0,
            "size_bytes": 300_000_000,
            "sent_bytes": 200_000_000,
            "bytes_per_s": 10_000_000,
            "outcome": "",
            "stalled_s": 0.0,
            "retransmits": 3,
            "link": "",
            "requests": 2,
            "first_byte": 0,
            "last_byte": 199_999_999,
            "holes": 0,
        }
    ]
    assert boot["total_seconds"] == 10.0


def test_no_secret_is_in_it():
    assert "SECRET" not in json.dumps(boot_json(SESSION, EVENTS, [MOVING]))


def test_the_time_left_is_what_is_left_at_the_rate_it_flows():
    boot = boot_json(SESSION, EVENTS, [MOVING], now=NOW)

    assert (boot["bytes_per_s"], boot["seconds_left"]) == (10_000_000, 10.0)


def test_what_flows_now_is_the_speed_whatever_it_was_before():
    slower = replace(MOVING, recent_bytes_per_s=1_000_000.0)

    boot = boot_json(SESSION, EVENTS, [slower], now=NOW)

    assert (boot["bytes_per_s"], boot["seconds_left"]) == (1_000_000, 100.0)
    assert boot["transfers"][0]["bytes_per_s"] == 10_000_000


def test_what_stands_still_has_no_speed_and_nobody_knows_the_time_left():
    boot = boot_json(SESSION, EVENTS, [MOVING], now=NOW + timedelta(seconds=6))

    assert (boot["bytes_per_s"], boot["seconds_left"]) == (0, None)


def test_after_the_hand_off_what_counts_is_what_the_system_fetches():
    loaded = replace(MOVING, ended_at=NOW, outcome="complete", sent_bytes=200_000_000)
    root = replace(MOVING, number=2, name="tree/root.squashfs", sent_bytes=100_000_000)
    plan = BootPlan("debian-live", Way(Method.KERNEL), image_bytes=200_000_000)
    started = replace(SESSION, phase=BootPhase.HANDED_OFF, plan=plan)

    fetching = boot_json(started, EVENTS, [loaded, root], now=NOW)
    quiet = boot_json(started, EVENTS, [loaded], now=NOW)

    assert progress(fetching) == (100_000_000, 300_000_000)
    assert (fetching["bytes_per_s"], fetching["seconds_left"]) == (5_000_000, 40.0)
    assert progress(quiet) == (200_000_000, 200_000_000)
    assert quiet["seconds_left"] is None


def test_more_bytes_than_the_image_has_leave_no_time():
    twice = replace(SESSION, sent_bytes=600_000_000)

    assert boot_json(twice, EVENTS, [MOVING], now=NOW)["seconds_left"] == 0.0


def test_the_rate_of_a_boot_that_is_over_is_that_up_to_its_hand_off():
    done = replace(MOVING, ended_at=NOW, outcome="complete")
    handed_off = BootEvent("0badcafe", BootPhase.HANDED_OFF, NOW)
    later = replace(done, number=2, started_at=NOW + timedelta(seconds=30), ended_at=NOW)

    assert fetch_bytes_per_s([*EVENTS, handed_off], [done, later]) == 10_000_000
    assert fetch_bytes_per_s(EVENTS, []) == 0.0


def test_what_a_machine_reads_over_redirection_is_no_part_of_the_speed():
    stub = replace(
        MOVING, number=2, name="stub.iso", protocol=REDIRECTION, size_bytes=10, sent_bytes=10
    )
    done = replace(MOVING, ended_at=NOW, outcome="complete")
    earlier = replace(stub, started_at=NOW - timedelta(seconds=60), ended_at=NOW)

    with_stub = boot_json(SESSION, EVENTS, [MOVING, stub], now=NOW)

    assert with_stub["bytes_per_s"] == 10_000_000
    assert progress({**with_stub, "phase": BootPhase.HANDED_OFF, "transfers": []}) == (
        SESSION.sent_bytes,
        SESSION.image_bytes,
    )
    assert fetch_bytes_per_s(EVENTS, [earlier, done]) == 10_000_000


def test_a_redirected_disc_is_not_what_a_boot_waits_for_after_its_hand_off():
    disc = replace(MOVING, protocol=REDIRECTION)
    after = boot_json(replace(SESSION, phase=BootPhase.HANDED_OFF), EVENTS, [disc], now=NOW)

    assert progress(after) == (SESSION.sent_bytes, SESSION.image_bytes)


def test_a_boot_without_events_is_a_boot():
    assert boot_json(SESSION, [])["total_seconds"] == 0
