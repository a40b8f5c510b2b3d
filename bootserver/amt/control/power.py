"""A machine's power: what state it is in, and how AMT is asked to change it.

A power request is sent once. When no answer comes, the state is read again. Where even that does
not tell, the caller gets AmtInDoubtError: after a reset a machine is on, as before.

A redirection session belongs to a machine that is on (S0). One that begins while the machine
sleeps, or is off, may hold the network card at 10 Mb/s (MeshCommander #16).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from bootserver.amt.errors import AmtError, AmtInDoubtError, AmtRefusedError
from bootserver.amt.types import PowerAction, PowerState
from bootserver.amt.wsman.client import WsmanClient
from bootserver.amt.wsman.envelopes import pointer
from bootserver.amt.wsman.values import optional, optional_number, optional_numbers

# After a power-on, AMT itself takes some seconds until it says so.
LOOKS_AGAIN = 5
LOOKS_AGAIN_AFTER_S = 2.0
ON_LOOKS, ON_LOOK_S = 60, 1.0
# AMT wants so long between two power requests, and the network card its link back.
SETTLE_S = 10.0

OnProgress = Callable[[str], None]


@dataclass(frozen=True)
class PowerChange:
    """What was asked for (never `boot`: what it came to) and the state before."""

    before: PowerState
    asked: PowerAction


# CIM_AssociatedPowerManagementService.PowerState (DSP1027).
_STATES = {
    2: PowerState.ON,
    3: PowerState.SLEEPING,
    4: PowerState.SLEEPING,
    6: PowerState.OFF,
    7: PowerState.HIBERNATING,
    8: PowerState.OFF,
    12: PowerState.OFF,
    13: PowerState.OFF,
}
_REQUESTS = {
    PowerAction.ON: 2,
    PowerAction.SLEEP: 4,
    PowerAction.CYCLE: 5,
    PowerAction.HIBERNATE: 7,
    PowerAction.OFF: 8,
    PowerAction.RESET: 10,  # the master bus
    PowerAction.SHUTDOWN: 12,
    PowerAction.RESTART: 14,
}
_WITH_THE_SYSTEM = {
    PowerAction.SHUTDOWN,
    PowerAction.RESTART,
    PowerAction.SLEEP,
    PowerAction.HIBERNATE,
}
_BUSY = 4099
_FULL_POWER, _SAVING_POWER = 2, 3  # IPS_PowerManagementService.OSPowerSavingState
_THE_MACHINE = pointer(
    "CIM_ComputerSystem", CreationClassName="CIM_ComputerSystem", Name="ManagedSystem"
)


@dataclass(frozen=True)
class _Power:
    state: PowerState
    offered: tuple[int, ...]  # what AMT says it would take now; empty when it does not say


async def power_state(client: WsmanClient) -> PowerState:
    """What the machine does now; `unknown` for a number that no standard knows."""
    return (await _power(client)).state


async def request_power(client: WsmanClient, action: PowerAction) -> PowerChange:
    """Ask for a change, once; AmtRefusedError says why it makes no sense or AMT does not want to.

    AMT has begun when this returns, and needs some seconds (10 between two requests are wise).
    `boot` and `on` wake a sleeping machine: it goes on with what it did, and does not boot.
    """
    power = await _power(client)
    asked = _meant(action, power.state)
    _check(asked, power)
    try:
        if asked is PowerAction.ON and power.state is PowerState.STANDBY:
            await _wake(client)
        else:
            await _request(client, asked)
    except AmtInDoubtError as doubt:
        await _settle(client, asked, power.state, doubt)
    return PowerChange(power.state, asked)


async def switch_on(client: WsmanClient, on_progress: OnProgress) -> None:
    """The machine is on when this returns, and AMT takes the next power request.

    `on_progress` gets what goes on, as sentences. Raises AmtError if the machine does not come on.
    """
    before = _known(await power_state(client))
    if before is PowerState.ON:
        return
    on_progress(f"the machine is {before.in_words}, and is switched on first")
    await request_power(client, PowerAction.ON)
    for _ in range(ON_LOOKS):
        if await power_state(client) is PowerState.ON:
            break
        await asyncio.sleep(ON_LOOK_S)
    else:
        if before is not PowerState.STANDBY:  # which is S0, even if its system does not wake
            raise AmtError(
                f"the machine was switched on, and is not on after {ON_LOOKS * ON_LOOK_S:.0f} s",
                hint="look at its power supply and its screen; AMT may need a power cut",
            )
    on_progress("the machine is on, and its network link comes up")
    await asyncio.sleep(SETTLE_S)


async def wake(client: WsmanClient, on_progress: OnProgress) -> PowerState:
    """A machine that sleeps in any way is on when this returns: it would go on, and not boot.

    Returns what it did before.
    """
    before = await power_state(client)
    if before in (PowerState.SLEEPING, PowerState.STANDBY, PowerState.HIBERNATING):
        await switch_on(client, on_progress)
    return before


async def until_on(client: WsmanClient, on_progress: OnProgress) -> None:
    """Returns when the machine is on and its link is up; it is not switched on from here."""
    state = await power_state(client)
    if state in (PowerState.ON, PowerState.STANDBY, PowerState.UNKNOWN):
        return
    on_progress(f"the machine is {state.in_words}: redirection begins when it is on")
    while await power_state(client) is not PowerState.ON:  # noqa: ASYNC110 - AMT sends no events
        await asyncio.sleep(ON_LOOK_S)


async def _power(client: WsmanClient) -> _Power:
    service = await client.get("CIM_AssociatedPowerManagementService")
    state = _STATES.get(service.number("PowerState"), PowerState.UNKNOWN)
    if state is PowerState.ON:
        # AMT before 10 has no such thing, and machines without modern standby never save.
        saving = await optional(client.get("IPS_PowerManagementService"))
        if optional_number(saving, "OSPowerSavingState") == _SAVING_POWER:
            state = PowerState.STANDBY
    return _Power(state, optional_numbers(service, "AvailableRequestedPowerStates"))


def _meant(action: PowerAction, state: PowerState) -> PowerAction:
    if action is not PowerAction.BOOT:
        return action
    running = _known(state) in (PowerState.ON, PowerState.STANDBY)
    return PowerAction.RESET if running else PowerAction.ON


def _known(state: PowerState) -> PowerState:
    if state is PowerState.UNKNOWN:
        raise AmtRefusedError(
            "AMT does not say whether the machine is on or off",
            hint="ask again in some seconds, or say which it is: on or reset",
        )
    return state


def _check(action: PowerAction, power: _Power) -> None:
    """Refuse what could only be ignored: AMT takes a reset of a machine that is off, and sleeps."""
    match action, power.state:
        case PowerAction.ON, PowerState.ON:
            raise AmtRefusedError("the machine is on already", hint="to boot it anew, reset it")
        case PowerAction.ON, _:
            return
        case PowerAction.OFF, PowerState.OFF:
            raise AmtRefusedError("the machine is off already")
        case _, PowerState.OFF | PowerState.HIBERNATING if action is not PowerAction.OFF:
            raise AmtRefusedError(
                f"the machine is {power.state.in_words}: a {action} would do nothing",
                hint="power it on instead",
            )
        case _, PowerState.SLEEPING if action is not PowerAction.OFF:
            raise AmtRefusedError(
                f"the machine is asleep: a {action} would do nothing", hint="wake it first"
            )
    if action in _WITH_THE_SYSTEM and power.offered and _REQUESTS[action] not in power.offered:
        raise AmtRefusedError(
            f"AMT offers no {action} now: it needs a running system with Intel's agent (LMS)",
            hint="use off or reset, which need no agent",
        )


async def _request(client: WsmanClient, action: PowerAction) -> None:
    try:
        await client.invoke(
            "CIM_PowerManagementService",
            "RequestPowerStateChange",
            {"PowerState": _REQUESTS[action], "ManagedElement": _THE_MACHINE},
        )
    except AmtRefusedError as err:
        if err.return_value == _BUSY:
            err.hint = "wait 10 seconds after the last request, then try again"
        elif action in (PowerAction.OFF, PowerAction.CYCLE) and not err.hint:
            err.hint = "AMT refuses that while storage or serial redirection is open: close it"
        raise


async def _wake(client: WsmanClient) -> None:
    await client.invoke(
        "IPS_PowerManagementService",
        "RequestOSPowerSavingStateChange",
        {"OSPowerSavingState": _FULL_POWER, "ManagedElement": _THE_MACHINE},
    )


async def _settle(
    client: WsmanClient, action: PowerAction, before: PowerState, doubt: AmtInDoubtError
) -> None:
    """Return when the machine's state shows that the request was heard; else raise the doubt."""
    now = before
    for _ in range(LOOKS_AGAIN):
        await asyncio.sleep(LOOKS_AGAIN_AFTER_S)
        try:
            now = await power_state(client)
        except AmtError:
            continue
        if now is not before and now is not PowerState.UNKNOWN:
            return
    raise AmtInDoubtError(
        f"a {action} was asked for, and no answer came; the machine is {now} as before",
        hint="watch the machine: if nothing happens within a minute, ask again",
    ) from doubt
