"""AMT's event log: records in words, page after page."""

import base64
from datetime import UTC, datetime

import pytest

from bootserver.amt.control.event_log import (
    AmtEvent,
    RecoveryEvent,
    Severity,
    decode_record,
    read_event_log,
)
from bootserver.amt.errors import AmtAnswerError, AmtRefusedError
from tests.fakes.scripted_amt import ScriptedAmt, returns, scripted

POSITION = "AMT_MessageLog.PositionToFirstRecord"
GET = "AMT_MessageLog.GetRecords"

# 2026-05-23 14:25:52 UTC is 6a11b8f0h. time, address, sensor, type, offset, seen by, severity,
# sensor number, entity, instance, data
AT = datetime(2026, 5, 23, 14, 25, 52, tzinfo=UTC)
HEAD = "f0b8116a ff"


def record(middle: str, data: str) -> bytes:
    return bytes.fromhex(f"{HEAD} {middle} {data}")


def test_a_record_is_taken_apart() -> None:
    # firmware progress, 19: the operating system is being started; information; BIOS
    event = decode_record(record("0f 6f 02 68 02 ff 22 00", "4013000000000000"))

    assert event == AmtEvent(
        AT, Severity.INFORMATION, "BIOS", "firmware: the operating system is being started"
    )


@pytest.mark.parametrize(
    ("code", "step"),
    [
        (0, RecoveryEvent.PARAMETERS_RECEIVED),
        (1, RecoveryEvent.OPTION_ADDED),
        (2, RecoveryEvent.NAME_RESOLVED),
        (3, RecoveryEvent.CONNECTED),
        (4, RecoveryEvent.DOWNLOADED),
        (5, RecoveryEvent.BOOT_ATTEMPTED),
        (6, RecoveryEvent.HANDED_OVER),
    ],
)
def test_the_progress_of_one_click_recovery_is_told(code: int, step: RecoveryEvent) -> None:
    event = decode_record(record("0f 6f 05 68 02 ff 22 00", f"aa30{code:02x}0200000000"))

    assert event.recovery is step
    assert event.text.startswith("One-Click Recovery: ")


@pytest.mark.parametrize(
    ("code", "step"),
    [
        (1, RecoveryEvent.NO_NETWORK),
        (2, RecoveryEvent.NAME_UNKNOWN),
        (3, RecoveryEvent.CONNECT_FAILED),
        (4, RecoveryEvent.APP_MISSING),
        (5, RecoveryEvent.TLS_FAILED),
        (6, RecoveryEvent.LOGIN_FAILED),
        (7, RecoveryEvent.IMAGE_REJECTED),
        (8, RecoveryEvent.FILE_MISSING),
    ],
)
def test_what_one_click_recovery_failed_at_is_told(code: int, step: RecoveryEvent) -> None:
    event = decode_record(record("0f 6f 03 68 10 ff 22 00", f"aa30{code:02x}0000000000"))

    assert event.recovery is step
    assert event.severity is Severity.CRITICAL


@pytest.mark.parametrize(
    ("middle", "data", "text"),
    [
        ("0f 6f 00 68 10 ff 22 00", "4001000000000000", "firmware error: no memory is installed"),
        ("0f 6f 01 68 10 ff 22 00", "4007000000000000", "the firmware hangs: PCI"),
        ("0f 6f 02 68 02 ff 22 00", "40fe000000000000", "firmware: code 254"),
        ("0f 6f 05 68 02 ff 22 00", "aa30090000000000", "own event 5, data aa30090000000000"),
        ("05 6f 00 68 08 ff 17 00", "0000000000000000", "the case was opened"),
        ("06 6f 01 68 08 ff 26 00", "aa05010000000000", "261 logins failed"),
        ("12 6f 00 68 08 ff 21 00", "aa00000000000008", "watchdog is expired"),
        ("1e 6f 00 68 10 ff 22 00", "0000000000000000", "no bootable medium"),
        ("23 6f 00 68 10 ff 22 00", "40020000000000ff", "self-test at power-on took too long"),
        ("23 6f 00 68 10 ff 22 00", "0000000000000000", "the boot failed"),
        ("c0 6f 00 68 02 ff 26 00", "aa30020000000000", "storage redirection session was opened"),
        ("c0 6f 00 68 02 ff 26 00", "aa30090000000000", "security policy"),
        ("01 01 09 68 10 ff 07 00", "0102000000000000", "temperature: event 9, data 0102"),
        ("77 6f 0a 68 02 ff 07 00", "0100000000000000", "sensor type 119: event 10, data 01"),
    ],
)
def test_common_events_have_words(middle: str, data: str, text: str) -> None:
    assert text in decode_record(record(middle, data)).text


def test_a_record_without_time_has_none() -> None:
    event = decode_record(bytes.fromhex("ffffffff ff 25 6f 00 68 40 ff ff 00 0000000000000000"))

    assert event == AmtEvent(None, Severity.UNSPECIFIED, "part 255", "the firmware has started")


@pytest.mark.parametrize("length", [0, 20, 22])
def test_a_record_of_another_length_says_so(length: int) -> None:
    assert decode_record(bytes(length)).text == f"unreadable record: {'00' * length}"


def page(iteration: int, *records: bytes, last: bool) -> str:
    return returns(
        0,
        f"<g:IterationIdentifier>{iteration}</g:IterationIdentifier>"
        f"<g:NoMoreRecords>{'true' if last else 'false'}</g:NoMoreRecords>"
        + "".join(
            f"<g:RecordArray>{base64.b64encode(one).decode()}</g:RecordArray>" for one in records
        ),
    )


def at(seconds: int) -> bytes:
    return seconds.to_bytes(4, "little") + bytes.fromhex("ff256f006802ff220000" + "00" * 7)


BEGUN = returns(0, "<g:IterationIdentifier>1</g:IterationIdentifier>")


async def test_the_log_is_read_page_after_page_and_told_newest_first() -> None:
    amt = ScriptedAmt(
        {
            POSITION: BEGUN,
            GET: [page(5, at(7), at(0xFFFFFFFF), last=False), page(9, at(8), last=True)],
        }
    )

    async with scripted(amt) as client:
        events = await read_event_log(client)

    assert [event.at and event.at.timestamp() for event in events] == [8, 7, None]
    assert amt.heard == [
        (POSITION, "<r:PositionToFirstRecord_INPUT></r:PositionToFirstRecord_INPUT>"),
        (
            GET,
            "<r:GetRecords_INPUT><r:IterationIdentifier>1</r:IterationIdentifier>"
            "<r:MaxReadRecords>390</r:MaxReadRecords></r:GetRecords_INPUT>",
        ),
        (
            GET,
            "<r:GetRecords_INPUT><r:IterationIdentifier>5</r:IterationIdentifier>"
            "<r:MaxReadRecords>390</r:MaxReadRecords></r:GetRecords_INPUT>",
        ),
    ]


@pytest.mark.parametrize("answers", [{POSITION: returns(2)}, {POSITION: BEGUN, GET: returns(3)}])
async def test_an_empty_log_has_no_events(answers: dict[str, str | list[str]]) -> None:
    async with scripted(ScriptedAmt(answers)) as client:
        assert await read_event_log(client) == []


async def test_a_log_without_end_is_read_to_a_bound() -> None:
    amt = ScriptedAmt({POSITION: BEGUN, GET: page(5, at(7), last=False)})

    async with scripted(amt) as client:
        events = await read_event_log(client)

    assert len(events) == len(amt.heard) - 1 == 20


async def test_a_page_without_records_is_the_last() -> None:
    amt = ScriptedAmt({POSITION: BEGUN, GET: page(5, last=False)})

    async with scripted(amt) as client:
        assert await read_event_log(client) == []

    assert amt.asked == [POSITION, GET]


async def test_a_log_that_is_refused_is_told() -> None:
    async with scripted(ScriptedAmt({POSITION: returns(1)})) as client:
        with pytest.raises(AmtRefusedError, match="PositionToFirstRecord: not supported"):
            await read_event_log(client)


async def test_a_record_that_is_no_base64_is_told() -> None:
    broken = returns(
        0,
        "<g:IterationIdentifier>1</g:IterationIdentifier><g:RecordArray>A</g:RecordArray>",
    )

    async with scripted(ScriptedAmt({POSITION: BEGUN, GET: broken})) as client:
        with pytest.raises(AmtAnswerError, match="not base64"):
            await read_event_log(client)
