"""User consent (IPS_OptInService): a code on the screen, which a person reads out. Pure."""

from __future__ import annotations

from enum import IntEnum

from bootserver.bench.fake_amt.spec import OptInRequired, ProvisioningMode

OK, INTERNAL_ERROR, INVALID_STATE, BLOCKED = 0, 1, 2, 3
_TRIES = 3


class OptInState(IntEnum):
    """How far it has come."""

    NOT_STARTED = 0
    REQUESTED = 1
    DISPLAYED = 2
    RECEIVED = 3
    IN_SESSION = 4


class Consent:
    """Whether the person before the machine has consented."""

    def __init__(self, policy: OptInRequired, mode: ProvisioningMode, code: str) -> None:
        # In client control mode there is no way around the person.
        self.policy = OptInRequired.ALL if mode is ProvisioningMode.CLIENT else policy
        self.mode = mode
        self.state = OptInState.NOT_STARTED
        self._code = code
        self._tries = 0

    @property
    def is_missing(self) -> bool:
        """Whether redirection and boot options are refused for want of it."""
        asked = self.policy is OptInRequired.ALL
        return asked and self.state not in (OptInState.RECEIVED, OptInState.IN_SESSION)

    @property
    def shown_code(self) -> str:
        """What stands on the machine's screen; "" when nothing does."""
        return self._code if self.state is OptInState.DISPLAYED else ""

    def start(self, *, powered_on: bool) -> int:
        """Show the code. A machine that is off has no screen to show it on."""
        if self._tries >= _TRIES:
            return BLOCKED
        if not powered_on or self.state is not OptInState.NOT_STARTED:
            return INVALID_STATE
        self.state = OptInState.DISPLAYED
        return OK

    def send(self, code: str) -> int:
        """Take a code that a person has read out."""
        if self.state is not OptInState.DISPLAYED:
            return INVALID_STATE
        if code == self._code:
            self.state = OptInState.RECEIVED
            self._tries = 0
            return OK
        self._tries += 1
        if self._tries < _TRIES:
            return INTERNAL_ERROR
        self.state = OptInState.NOT_STARTED
        return BLOCKED

    def cancel(self) -> int:
        """Take the code from the screen, or the consent back."""
        if self.state is OptInState.NOT_STARTED:
            return INVALID_STATE
        self.state = OptInState.NOT_STARTED
        return OK

    def session_opened(self) -> None:
        """A redirection session uses the consent."""
        if self.state is OptInState.RECEIVED:
            self.state = OptInState.IN_SESSION
