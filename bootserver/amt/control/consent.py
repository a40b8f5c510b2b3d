"""User consent: have AMT show a code on the machine's screen, and tell AMT what it was.

AMT shows the code for 300 s at most. The consent is valid while a redirection session is open, and
some two minutes more. All of it needs a person who looks at the screen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from bootserver.amt.control.facts import CONSENTED, ConsentPolicy, ConsentState
from bootserver.amt.control.power import power_state
from bootserver.amt.control.probe import consent_policy_of, consent_state_of
from bootserver.amt.errors import (
    AmtAnswerError,
    AmtConsentRequiredError,
    AmtInDoubtError,
    AmtRefusedError,
)
from bootserver.amt.types import PowerState
from bootserver.amt.wsman.client import WsmanClient
from bootserver.amt.wsman.values import Instance, optional
from bootserver.errors import BootServerError

CODE_DIGITS = 6
CONSENT_S = 300.0  # AMT shows its code for so long at most
TRIES = 3
PROMPT = "AMT shows a code on the machine's screen: have a person there read it out"
_WAITING = (ConsentState.REQUESTED, ConsentState.DISPLAYED)


async def consent_is_missing(client: WsmanClient) -> bool:
    """True if all redirection takes a user's consent, and it is not there."""
    service = await optional(client.get("IPS_OptInService"))
    demanded = consent_policy_of(service) is ConsentPolicy.ALL
    return demanded and consent_state_of(service) not in CONSENTED


async def request_consent(client: WsmanClient) -> ConsentState:
    """Have the code shown, unless it is already, or the consent there: the state tells.

    Raises AmtRefusedError where no consent is called for, or the screen shows no code.
    """
    service = await client.get("IPS_OptInService")
    state = _judged(service)
    if state in CONSENTED or state in _WAITING:
        return state
    if consent_policy_of(service) is ConsentPolicy.NONE:
        raise AmtRefusedError("AMT asks for no consent on this machine")
    power = await power_state(client)
    if power not in (PowerState.ON, PowerState.UNKNOWN):
        raise AmtRefusedError(
            f"the machine is {power}: its screen can show no code",
            hint="power it on, then ask for the code",
        )
    try:
        await client.invoke("IPS_OptInService", "StartOptIn")
    except AmtInDoubtError:
        if await _state(client) not in _WAITING:
            raise
    return await _state(client)


async def send_consent_code(client: WsmanClient, code: str) -> ConsentState:
    """Tell AMT the code that is on the screen. Raises AmtRefusedError with a sentence."""
    if not (code.isascii() and code.isdecimal() and len(code) == CODE_DIGITS):
        raise AmtRefusedError(f"the code on the screen has {CODE_DIGITS} digits")
    try:
        await client.invoke("IPS_OptInService", "SendOptInCode", {"OptInCode": code})
    except (AmtRefusedError, AmtInDoubtError) as err:
        # The numbers differ from version to version; the state that is left says what it was.
        state = await _state(client)
        if state in CONSENTED:
            return state
        if isinstance(err, AmtInDoubtError):
            raise
        raise _refusal(state, err) from err
    return await _state(client)


async def cancel_consent(client: WsmanClient) -> None:
    """Take the code off the screen, and the consent back. Nothing, when there is neither."""
    if await _state(client) is not ConsentState.NOT_STARTED:
        await client.invoke("IPS_OptInService", "CancelOptIn")


async def _state(client: WsmanClient) -> ConsentState:
    return _judged(await client.get("IPS_OptInService"))


def _judged(service: Instance) -> ConsentState:
    state = consent_state_of(service)
    if state is None:
        raise AmtAnswerError("AMT does not say how far the consent is")
    return state


def _refusal(state: ConsentState, err: AmtRefusedError) -> AmtRefusedError:
    if state in _WAITING:
        return AmtRefusedError(
            "that is not the code on the machine's screen",
            return_value=err.return_value,
            hint="have it read out again; after some wrong ones AMT wants a new code",
        )
    return AmtRefusedError(
        "the code on the screen is void: it has timed out, or was given wrong too often",
        return_value=err.return_value,
        hint="ask for a new code",
    )


class ConsentPrompt:
    """Asks for the code on a machine's screen; `show` gets each question as a sentence."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._code: asyncio.Future[str] | None = None

    @property
    def is_open(self) -> bool:
        """True while a code is awaited."""
        return self._code is not None and not self._code.done()

    def answer(self, code: str) -> None:
        """The code; nothing happens if none is awaited."""
        if self._code is not None and not self._code.done():
            self._code.set_result(code)

    async def ask(self, client: WsmanClient) -> None:
        """Returns when the user has consented. Raises BootServerError if the user does not.

        The code is taken off the screen again then.
        """
        prompt = PROMPT
        try:
            for left in reversed(range(TRIES)):
                await request_consent(client)  # a new code, where the last one is void
                try:
                    await send_consent_code(client, await self._next_code(prompt))
                    return
                except AmtRefusedError as err:
                    if not left:
                        raise
                    # Each question is another sentence: by that its readers know it for a new one.
                    prompt = (
                        f"{err.message}; the code on the machine's screen, once more "
                        f"(tries left: {left})"
                    )
        except (BootServerError, asyncio.CancelledError):
            with suppress(BootServerError):
                await cancel_consent(client)
            raise

    async def _next_code(self, prompt: str) -> str:
        self._code = asyncio.get_running_loop().create_future()
        self._show(prompt)
        try:
            async with asyncio.timeout(CONSENT_S):
                return await self._code
        except TimeoutError:
            raise AmtConsentRequiredError(
                f"no code was given within {CONSENT_S:.0f} s",
                hint="try again, with a person at the machine",
            ) from None
