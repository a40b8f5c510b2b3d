"""When a watched boot is over, and what is told of one that does not come."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from bootserver.amt.boot.progress import BootFailedError, NoCallError, NoReadsError
from bootserver.amt.boot.watching import (
    BootSigns,
    has_handed_over,
    judge,
    what_goes_on,
)
from bootserver.amt.errors import Failure, RedirectionError, failure_of
from bootserver.model import BootPhase, BootSession


def seen(phase: BootPhase = BootPhase.POWERED, **values: Any) -> BootSigns:
    session = BootSession(
        "id",
        "key",
        "token",
        "rescue",
        datetime.now(UTC),
        phase=phase,
        error=values.pop("error", ""),
        stalled=values.pop("stalled", ""),
    )
    known = {"reads": 0, "resets": 1, "since_power_s": 20.0, "silent_s": 5.0}
    return BootSigns(session, **known | values)


def judged(looked: BootSigns, *, enforces_secure_boot: bool = False) -> None:
    judge(looked, no_reads_s=90, enforces_secure_boot=enforces_secure_boot)


@pytest.mark.parametrize(
    "looked",
    [
        seen(),
        seen(reads=20, since_power_s=200, silent_s=250),
        seen(BootPhase.FETCHING, since_power_s=1000),
        seen(BootPhase.STUB_STARTED, since_power_s=95),  # its stub came by another way
        seen(since_power_s=200, redirected=False),
    ],
)
def test_there_is_hope(looked: BootSigns):
    judged(looked)
    assert not has_handed_over(looked)


@pytest.mark.parametrize("phase", [BootPhase.HANDED_OFF, BootPhase.OS_UP])
def test_the_machine_needs_us_no_more_after_the_hand_off(phase: BootPhase):
    assert has_handed_over(seen(phase))


@pytest.mark.parametrize("phase", [BootPhase.FAILED, BootPhase.EXPIRED])
def test_a_boot_that_has_failed_is_no_hand_off(phase: BootPhase):
    assert not has_handed_over(seen(phase))
    with pytest.raises(BootFailedError, match="the machine started over"):
        judged(seen(phase, error="the machine started over"))


@pytest.mark.parametrize(
    ("looked", "enforced", "words", "hint"),
    [
        (seen(since_power_s=90), False, "was started, but has read nothing", "Secure Boot refuses"),
        (seen(since_power_s=90), True, "Secure Boot is enforced", "sign the loaders"),
        (seen(since_power_s=90, resets=0), False, "AMT tells of no reset", "setup screen"),
    ],
)
def test_no_reads_in_time_says_what_may_be_why(
    looked: BootSigns, enforced: bool, words: str, hint: str
):
    with pytest.raises(NoReadsError) as told:
        judged(looked, enforces_secure_boot=enforced)

    assert words in told.value.message
    assert hint in told.value.hint
    assert "within 90 s" in told.value.message


def test_a_stub_that_was_read_and_does_not_call_is_told():
    with pytest.raises(NoCallError, match=r"has read 20 times .* has not called for 300 s"):
        judged(seen(reads=20, silent_s=300))


def test_recovery_that_leads_to_no_call_points_to_the_event_log():
    with pytest.raises(NoCallError) as told:
        judged(seen(silent_s=300, redirected=False))

    assert "amt events" in told.value.hint


def test_recovery_under_secure_boot_that_leads_to_no_call_says_so():
    with pytest.raises(NoCallError, match="Secure Boot is enforced") as told:
        judged(seen(silent_s=300, redirected=False), enforces_secure_boot=True)

    assert "sign the loaders" in told.value.hint


def test_a_boot_that_stands_still_for_good_says_what_the_ledger_knows():
    slow = "about 1.1 MB/s: the link is at 10 Mb/s"
    with pytest.raises(BootFailedError, match="the link is at 10 Mb/s"):
        judged(seen(BootPhase.FETCHING, reads=20, silent_s=300, stalled=slow))


@pytest.mark.parametrize(
    ("looked", "words"),
    [
        (seen(since_power_s=3, resets=0), "the machine starts"),
        (seen(since_power_s=30, resets=0), "no reads yet"),
        (seen(reads=3), "the firmware reads the stub"),
        (seen(redirected=False), "the firmware fetches the stub by HTTPS"),
        (seen(BootPhase.SCRIPT_SERVED), "the stub runs and has its script"),
        (seen(BootPhase.FETCHING), "the image comes over HTTP"),
        (seen(BootPhase.FETCHING, stalled="the link is dead"), "the link is dead"),
    ],
)
def test_what_goes_on_is_a_sentence(looked: BootSigns, words: str):
    assert what_goes_on(looked) == words


def test_every_failure_has_one_word_for_programs():
    assert failure_of(NoReadsError("x")) == "no_reads"
    assert failure_of(RedirectionError("x", failure=Failure.BUSY)) == "busy"
