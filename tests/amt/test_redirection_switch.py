"""Switching redirection on, on old firmware and new: what is read last decides."""

import pytest

from bootserver.amt.control.facts import Redirection
from bootserver.amt.control.redirection_switch import enable_redirection
from bootserver.amt.errors import AmtAnswerError, AmtRefusedError
from tests.fakes.scripted_amt import LOST, ScriptedAmt, fault, returns, scripted

SERVICE = "Get AMT_RedirectionService"
REQUEST = "AMT_RedirectionService.RequestStateChange"
PUT = "Put AMT_RedirectionService"
ALL_ON = Redirection(ider_enabled=True, sol_enabled=True, listener_enabled=True)


def service(state: int, listener: str) -> str:
    return (
        "<g:CreationClassName>AMT_RedirectionService</g:CreationClassName>"
        f"<g:EnabledState>{state}</g:EnabledState><g:ListenerEnabled>{listener}"
        "</g:ListenerEnabled><g:Name>Intel(r) AMT Redirection Service</g:Name>"
    )


async def test_what_is_on_already_is_left_alone() -> None:
    amt = ScriptedAmt({SERVICE: service(32771, "true")})

    async with scripted(amt) as client:
        assert await enable_redirection(client, ider=True, sol=True) == ALL_ON

    assert amt.asked == [SERVICE]


async def test_new_firmware_opens_the_port_with_the_request_alone() -> None:
    amt = ScriptedAmt({SERVICE: [service(32768, "false"), service(32771, "true")]})

    async with scripted(amt) as client:
        assert await enable_redirection(client, ider=True, sol=True) == ALL_ON

    assert amt.heard == [
        (SERVICE, ""),
        (
            REQUEST,
            "<r:RequestStateChange_INPUT><r:RequestedState>32771</r:RequestedState>"
            "</r:RequestStateChange_INPUT>",
        ),
        (SERVICE, ""),
    ]


async def test_old_firmware_opens_the_port_with_the_whole_instance() -> None:
    amt = ScriptedAmt(
        {
            SERVICE: [
                service(32768, "false"),
                service(32771, "false"),
                service(32771, "true"),
            ]
        }
    )

    async with scripted(amt) as client:
        assert await enable_redirection(client, ider=True, sol=True) == ALL_ON

    assert amt.asked == [SERVICE, REQUEST, SERVICE, PUT, SERVICE]
    assert amt.body(PUT) == (
        "<r:AMT_RedirectionService>"
        "<r:CreationClassName>AMT_RedirectionService</r:CreationClassName>"
        "<r:EnabledState>32771</r:EnabledState><r:ListenerEnabled>true</r:ListenerEnabled>"
        "<r:Name>Intel(r) AMT Redirection Service</r:Name></r:AMT_RedirectionService>"
    )


@pytest.mark.parametrize("mishap", [fault("SchemaValidationError"), LOST])
async def test_a_put_that_fails_is_no_matter_when_the_port_is_open_after_it(mishap: str) -> None:
    amt = ScriptedAmt(
        {
            SERVICE: [service(32768, "false"), service(32771, "false"), service(32771, "true")],
            PUT: mishap,
        }
    )

    async with scripted(amt) as client:
        assert await enable_redirection(client, ider=True, sol=True) == ALL_ON


async def test_a_port_that_stays_closed_is_told() -> None:
    amt = ScriptedAmt({SERVICE: service(32771, "false"), PUT: fault("SchemaValidationError")})

    async with scripted(amt) as client:
        with pytest.raises(AmtRefusedError, match="leaves its redirection port closed"):
            await enable_redirection(client, ider=True, sol=True)


async def test_storage_that_stays_off_is_told_with_where_the_switch_is() -> None:
    amt = ScriptedAmt({SERVICE: service(32770, "true")})

    async with scripted(amt) as client:
        with pytest.raises(AmtRefusedError, match="leaves its storage redirection") as raised:
            await enable_redirection(client, ider=True, sol=True)

    assert "MEBx" in raised.value.hint


async def test_a_refused_request_is_told_with_where_the_switch_is() -> None:
    amt = ScriptedAmt({SERVICE: service(32768, "false"), REQUEST: returns(1)})

    async with scripted(amt) as client:
        with pytest.raises(AmtRefusedError, match="RequestStateChange: not supported") as raised:
            await enable_redirection(client, ider=True, sol=True)

    assert "MEBx" in raised.value.hint


async def test_a_lost_request_is_seen_in_what_is_read_next() -> None:
    amt = ScriptedAmt({SERVICE: [service(32768, "true"), service(32771, "true")], REQUEST: LOST})

    async with scripted(amt) as client:
        assert await enable_redirection(client, ider=True, sol=True) == ALL_ON

    assert amt.asked == [SERVICE, REQUEST, SERVICE]


async def test_serial_redirection_that_is_on_is_not_switched_off() -> None:
    amt = ScriptedAmt({SERVICE: [service(32770, "true"), service(32771, "true")]})

    async with scripted(amt) as client:
        await enable_redirection(client, ider=True)

    assert "<r:RequestedState>32771</r:RequestedState>" in amt.body(REQUEST)


async def test_only_what_is_asked_for_is_switched_on() -> None:
    amt = ScriptedAmt({SERVICE: [service(32768, "false"), service(32769, "true")]})

    async with scripted(amt) as client:
        now = await enable_redirection(client, ider=True)

    assert "<r:RequestedState>32769</r:RequestedState>" in amt.body(REQUEST)
    assert now == Redirection(ider_enabled=True, sol_enabled=False, listener_enabled=True)


async def test_a_service_that_tells_no_state_is_told() -> None:
    async with scripted(ScriptedAmt({SERVICE: "<g:Name>x</g:Name>"})) as client:
        with pytest.raises(AmtAnswerError, match="does not say"):
            await enable_redirection(client, ider=True, sol=True)
