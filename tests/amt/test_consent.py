"""User consent: with a person at the screen, without one, and with the wrong code."""

import pytest

from bootserver.amt.control.consent import cancel_consent, request_consent, send_consent_code
from bootserver.amt.control.facts import ConsentState
from bootserver.amt.errors import AmtInDoubtError, AmtRefusedError
from tests.fakes.scripted_amt import LOST, ScriptedAmt, returns, scripted

SERVICE = "Get IPS_OptInService"
POWER = "Get CIM_AssociatedPowerManagementService"
START, SEND, CANCEL = (
    f"IPS_OptInService.{method}" for method in ("StartOptIn", "SendOptInCode", "CancelOptIn")
)
ON = "<g:PowerState>2</g:PowerState>"
OFF = "<g:PowerState>8</g:PowerState>"


def service(state: int, required: int = 0xFFFFFFFF) -> str:
    return f"<g:OptInRequired>{required}</g:OptInRequired><g:OptInState>{state}</g:OptInState>"


async def test_the_code_is_asked_for() -> None:
    amt = ScriptedAmt({SERVICE: [service(0), service(2)], POWER: ON})

    async with scripted(amt) as client:
        assert await request_consent(client) is ConsentState.DISPLAYED

    assert amt.changes == [(START, "<r:StartOptIn_INPUT></r:StartOptIn_INPUT>")]


@pytest.mark.parametrize("state", [1, 2, 3, 4])
async def test_a_code_that_is_shown_or_was_given_is_not_asked_for_again(state: int) -> None:
    amt = ScriptedAmt({SERVICE: service(state), POWER: ON})

    async with scripted(amt) as client:
        await request_consent(client)

    assert amt.changes == []


async def test_a_machine_that_is_off_cannot_show_a_code() -> None:
    amt = ScriptedAmt({SERVICE: service(0), POWER: OFF})

    async with scripted(amt) as client:
        with pytest.raises(AmtRefusedError, match="the machine is off: its screen") as raised:
            await request_consent(client)

    assert "power it on" in raised.value.hint
    assert amt.changes == []


async def test_a_machine_that_asks_nobody_says_so() -> None:
    async with scripted(ScriptedAmt({SERVICE: service(0, required=0), POWER: ON})) as client:
        with pytest.raises(AmtRefusedError, match="asks for no consent"):
            await request_consent(client)


async def test_a_screen_that_cannot_show_the_code_is_told() -> None:
    amt = ScriptedAmt({SERVICE: service(0), POWER: ON, START: returns(4)})

    async with scripted(amt) as client:
        with pytest.raises(AmtRefusedError, match="the screen could not show the code"):
            await request_consent(client)


async def test_a_lost_request_is_seen_in_the_state() -> None:
    amt = ScriptedAmt({SERVICE: [service(0), service(1)], POWER: ON, START: LOST})

    async with scripted(amt) as client:
        assert await request_consent(client) is ConsentState.REQUESTED

    assert amt.asked.count(START) == 1


async def test_a_request_that_nothing_came_of_is_in_doubt() -> None:
    amt = ScriptedAmt({SERVICE: service(0), POWER: ON, START: LOST})

    async with scripted(amt) as client:
        with pytest.raises(AmtInDoubtError):
            await request_consent(client)


async def test_the_code_is_sent_with_its_leading_zero() -> None:
    amt = ScriptedAmt({SERVICE: service(3)})

    async with scripted(amt) as client:
        assert await send_consent_code(client, "012345") is ConsentState.RECEIVED

    assert amt.changes == [
        (SEND, "<r:SendOptInCode_INPUT><r:OptInCode>012345</r:OptInCode></r:SendOptInCode_INPUT>")
    ]


@pytest.mark.parametrize("code", ["", "12345", "1234567", "12345x", "١٢٣٤٥٦"])
async def test_what_is_no_code_is_not_sent(code: str) -> None:
    amt = ScriptedAmt()

    async with scripted(amt) as client:
        with pytest.raises(AmtRefusedError, match="has 6 digits"):
            await send_consent_code(client, code)

    assert amt.heard == []


@pytest.mark.parametrize("number", [2, 0x812])
async def test_a_wrong_code_is_told(number: int) -> None:
    amt = ScriptedAmt({SERVICE: service(2), SEND: returns(number)})

    async with scripted(amt) as client:
        with pytest.raises(AmtRefusedError, match="not the code on the machine's") as raised:
            await send_consent_code(client, "123456")

    assert raised.value.return_value == number


async def test_a_code_that_came_too_late_is_told() -> None:
    amt = ScriptedAmt({SERVICE: service(0), SEND: returns(2)})

    async with scripted(amt) as client:
        with pytest.raises(AmtRefusedError, match="has timed out") as raised:
            await send_consent_code(client, "123456")

    assert "new code" in raised.value.hint


async def test_a_code_whose_answer_was_lost_is_seen_in_the_state() -> None:
    amt = ScriptedAmt({SERVICE: service(3), SEND: LOST})

    async with scripted(amt) as client:
        assert await send_consent_code(client, "123456") is ConsentState.RECEIVED


async def test_a_lost_code_that_did_nothing_is_in_doubt() -> None:
    async with scripted(ScriptedAmt({SERVICE: service(2), SEND: LOST})) as client:
        with pytest.raises(AmtInDoubtError):
            await send_consent_code(client, "123456")


@pytest.mark.parametrize("state", [1, 2, 3, 4])
async def test_a_consent_is_taken_back(state: int) -> None:
    amt = ScriptedAmt({SERVICE: service(state)})

    async with scripted(amt) as client:
        await cancel_consent(client)

    assert amt.changes == [(CANCEL, "<r:CancelOptIn_INPUT></r:CancelOptIn_INPUT>")]


@pytest.mark.parametrize("required", [0xFFFFFFFF, 0])
async def test_where_there_is_no_consent_none_is_taken_back(required: int) -> None:
    amt = ScriptedAmt({SERVICE: service(0, required)})

    async with scripted(amt) as client:
        await cancel_consent(client)

    assert amt.changes == []
