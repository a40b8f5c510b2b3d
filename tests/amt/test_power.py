"""Power: the right request for the state, one request at most, and no silence."""

import pytest

from bootserver.amt.control import power
from bootserver.amt.control.power import power_state, request_power
from bootserver.amt.errors import AmtInDoubtError, AmtRefusedError
from bootserver.amt.types import PowerAction, PowerState
from tests.fakes.scripted_amt import LOST, ScriptedAmt, returns, scripted

STATE = "Get CIM_AssociatedPowerManagementService"
SAVING = "Get IPS_PowerManagementService"
REQUEST = "CIM_PowerManagementService.RequestPowerStateChange"
MACHINE = (
    "<r:ManagedElement>"
    "<a:Address>http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous</a:Address>"
    "<a:ReferenceParameters><w:ResourceURI>"
    "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ComputerSystem</w:ResourceURI>"
    '<w:SelectorSet><w:Selector Name="CreationClassName">CIM_ComputerSystem</w:Selector>'
    '<w:Selector Name="Name">ManagedSystem</w:Selector></w:SelectorSet>'
    "</a:ReferenceParameters></r:ManagedElement>"
)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "LOOKS_AGAIN_AFTER_S", 0.0)


def machine(state: int, *offered: int) -> str:
    return (
        "".join(
            f"<g:AvailableRequestedPowerStates>{one}</g:AvailableRequestedPowerStates>"
            for one in offered
        )
        + f"<g:PowerState>{state}</g:PowerState>"
    )


def request_of(number: int) -> tuple[str, str]:
    return (
        REQUEST,
        "<r:RequestPowerStateChange_INPUT>"
        f"<r:PowerState>{number}</r:PowerState>{MACHINE}</r:RequestPowerStateChange_INPUT>",
    )


@pytest.mark.parametrize(
    ("number", "state"),
    [
        (2, PowerState.ON),
        (3, PowerState.SLEEPING),
        (4, PowerState.SLEEPING),
        (6, PowerState.OFF),
        (7, PowerState.HIBERNATING),
        (8, PowerState.OFF),
        (1, PowerState.UNKNOWN),
    ],
)
async def test_the_state_is_told_in_words(number: int, state: PowerState) -> None:
    async with scripted(ScriptedAmt({STATE: machine(number)})) as client:
        assert await power_state(client) is state


@pytest.mark.parametrize(
    ("saving", "state"),
    [("3", PowerState.STANDBY), ("2", PowerState.ON), ("", PowerState.ON), ("x", PowerState.ON)],
)
async def test_modern_standby_is_told_from_on(saving: str, state: PowerState) -> None:
    answers: dict[str, str | list[str]] = {
        STATE: machine(2),
        SAVING: f"<g:OSPowerSavingState>{saving}</g:OSPowerSavingState>",
    }

    async with scripted(ScriptedAmt(answers)) as client:
        assert await power_state(client) is state


@pytest.mark.parametrize(
    ("state", "action", "number"),
    [
        (2, PowerAction.BOOT, 10),
        (8, PowerAction.BOOT, 2),
        (6, PowerAction.BOOT, 2),
        (4, PowerAction.BOOT, 2),
        (7, PowerAction.BOOT, 2),
        (8, PowerAction.ON, 2),
        (4, PowerAction.ON, 2),
        (2, PowerAction.RESET, 10),
        (2, PowerAction.CYCLE, 5),
        (2, PowerAction.OFF, 8),
        (4, PowerAction.OFF, 8),
        (2, PowerAction.SHUTDOWN, 12),
        (2, PowerAction.RESTART, 14),
        (2, PowerAction.SLEEP, 4),
        (2, PowerAction.HIBERNATE, 7),
    ],
)
async def test_an_action_is_the_request_that_fits_the_state(
    state: int, action: PowerAction, number: int
) -> None:
    amt = ScriptedAmt({STATE: machine(state)})

    async with scripted(amt) as client:
        change = await request_power(client, action)

    assert amt.changes == [request_of(number)]
    assert change.asked is not PowerAction.BOOT


async def test_the_change_tells_what_boot_came_to() -> None:
    async with scripted(ScriptedAmt({STATE: machine(2)})) as client:
        change = await request_power(client, PowerAction.BOOT)

    assert change == power.PowerChange(PowerState.ON, PowerAction.RESET)


async def test_a_machine_in_modern_standby_is_woken_by_its_own_request() -> None:
    amt = ScriptedAmt({STATE: machine(2), SAVING: "<g:OSPowerSavingState>3</g:OSPowerSavingState>"})

    async with scripted(amt) as client:
        await request_power(client, PowerAction.ON)

    assert amt.changes == [
        (
            "IPS_PowerManagementService.RequestOSPowerSavingStateChange",
            "<r:RequestOSPowerSavingStateChange_INPUT><r:OSPowerSavingState>2"
            f"</r:OSPowerSavingState>{MACHINE}</r:RequestOSPowerSavingStateChange_INPUT>",
        )
    ]


@pytest.mark.parametrize(
    ("state", "action", "sentence"),
    [
        (8, PowerAction.RESET, "the machine is off: a reset would do nothing"),
        (7, PowerAction.CYCLE, "the machine is asleep, in hibernation: a cycle would do nothing"),
        (6, PowerAction.SHUTDOWN, "the machine is off: a shutdown would do nothing"),
        (4, PowerAction.RESET, "the machine is asleep: a reset would do nothing"),
        (2, PowerAction.ON, "the machine is on already"),
        (8, PowerAction.OFF, "the machine is off already"),
    ],
)
async def test_what_could_only_be_ignored_is_refused_unsent(
    state: int, action: PowerAction, sentence: str
) -> None:
    amt = ScriptedAmt({STATE: machine(state)})

    async with scripted(amt) as client:
        with pytest.raises(AmtRefusedError, match=sentence):
            await request_power(client, action)

    assert amt.changes == []


async def test_a_boot_out_of_an_unknown_state_is_refused_unsent() -> None:
    amt = ScriptedAmt({STATE: machine(5)})

    async with scripted(amt) as client:
        with pytest.raises(AmtRefusedError, match="does not say whether the machine is on"):
            await request_power(client, PowerAction.BOOT)

    assert amt.changes == []


async def test_a_shutdown_that_amt_does_not_offer_is_refused_unsent() -> None:
    amt = ScriptedAmt({STATE: machine(2, 10, 8, 5, 11)})

    async with scripted(amt) as client:
        with pytest.raises(AmtRefusedError, match="offers no shutdown now"):
            await request_power(client, PowerAction.SHUTDOWN)
        await request_power(client, PowerAction.RESET)

    assert amt.changes == [request_of(10)]


async def test_a_refused_power_off_says_that_redirection_may_be_open() -> None:
    amt = ScriptedAmt({STATE: machine(2), REQUEST: returns(4097)})

    async with scripted(amt) as client:
        with pytest.raises(AmtRefusedError, match="invalid state transition") as raised:
            await request_power(client, PowerAction.OFF)

    assert "redirection is open" in raised.value.hint


async def test_a_job_that_has_begun_is_success() -> None:
    async with scripted(ScriptedAmt({STATE: machine(2), REQUEST: returns(4096)})) as client:
        assert (await request_power(client, PowerAction.RESET)).asked is PowerAction.RESET


async def test_a_lost_power_on_is_seen_in_the_state_and_not_sent_again() -> None:
    amt = ScriptedAmt({STATE: [machine(8), machine(8), machine(2)], REQUEST: LOST})

    async with scripted(amt) as client:
        change = await request_power(client, PowerAction.ON)

    assert change.before is PowerState.OFF
    assert amt.changes == [request_of(2)]


async def test_a_lost_reset_stays_in_doubt_and_is_not_sent_again() -> None:
    amt = ScriptedAmt({STATE: machine(2), REQUEST: LOST})

    async with scripted(amt) as client:
        with pytest.raises(AmtInDoubtError, match="the machine is on as before"):
            await request_power(client, PowerAction.RESET)

    assert amt.changes == [request_of(10)]
