"""Switch storage and serial redirection on, and the port that they listen on."""

from __future__ import annotations

from bootserver.amt.control.facts import Redirection
from bootserver.amt.control.probe import redirection_of
from bootserver.amt.errors import (
    AmtAnswerError,
    AmtError,
    AmtFaultError,
    AmtInDoubtError,
    AmtRefusedError,
)
from bootserver.amt.wsman.client import WsmanClient
from bootserver.amt.wsman.values import Instance

_ALL_OFF, _IDER, _SERIAL = 32768, 1, 2
_IN_MEBX = "switch it on in MEBx at the machine (Ctrl-P at power-on); it cannot be done from afar"


async def enable_redirection(
    client: WsmanClient, *, ider: bool = False, sol: bool = False
) -> Redirection:
    """What is switched on now: at least what was asked for. Nothing is switched off.

    Ask for no more than you use: MEBx may have either switched off for good.

    Raises AmtRefusedError, with a sentence, when AMT leaves something off.
    """
    service = await client.get("AMT_RedirectionService")
    now = _judged(service)
    if _enough(now, ider=ider, sol=sol):
        return now
    state = _ALL_OFF
    state |= _IDER if ider or now.ider_enabled else 0
    state |= _SERIAL if sol or now.sol_enabled else 0
    refusal = await _request_state(client, state)
    service = await client.get("AMT_RedirectionService")
    if _judged(service).listener_enabled is False:
        # The request alone has the port open on CSME 16.1, which then refuses this Put. On older
        # ones only the Put opens it. So the answer decides nothing: what is read next does.
        try:
            await client.put(service.changed({"EnabledState": state, "ListenerEnabled": True}))
        except (AmtFaultError, AmtAnswerError, AmtRefusedError, AmtInDoubtError) as err:
            refusal = err
        service = await client.get("AMT_RedirectionService")
    now = _judged(service)
    if not _enough(now, ider=ider, sol=sol):
        raise _stays_off(now, ider=ider) from refusal
    return now


def _judged(service: Instance) -> Redirection:
    redirection = redirection_of(service)
    if redirection is None:
        raise AmtAnswerError("AMT does not say whether its redirection is switched on")
    return redirection


def _enough(now: Redirection, *, ider: bool, sol: bool) -> bool:
    # A listener of which AMT says nothing is found out by connecting.
    listens = now.listener_enabled is not False
    return listens and (now.ider_enabled or not ider) and (now.sol_enabled or not sol)


async def _request_state(client: WsmanClient, state: int) -> AmtError | None:
    try:
        await client.invoke(
            "AMT_RedirectionService", "RequestStateChange", {"RequestedState": state}
        )
    except AmtRefusedError as err:
        if not err.hint:
            err.hint = _IN_MEBX
        raise
    except AmtInDoubtError as err:
        return err
    return None


def _stays_off(now: Redirection, *, ider: bool) -> AmtRefusedError:
    if now.listener_enabled is False:
        return AmtRefusedError(
            "AMT leaves its redirection port closed",
            hint="another redirection session may be open; else switch redirection on in MEBx",
        )
    what = "storage redirection" if ider and not now.ider_enabled else "serial redirection"
    return AmtRefusedError(f"AMT leaves its {what} switched off", hint=_IN_MEBX)
