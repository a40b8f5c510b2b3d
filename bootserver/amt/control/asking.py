"""A user's consent, asked for here: whoever at the machine reads its screen tells the code."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from bootserver.amt.control.consent import cancel_consent, request_consent, send_consent_code
from bootserver.amt.errors import AmtConsentRequiredError, AmtRefusedError
from bootserver.amt.wsman.client import WsmanClient
from bootserver.errors import BootServerError

CONSENT_S = 300.0  # AMT shows its code for so long at most
TRIES = 3
ASKING = "AMT shows a code on the machine's screen: have somebody there read it out"


class ConsentQuestion:
    """A question for the code on a machine's screen; `asked` gets it as a sentence."""

    def __init__(self, asked: Callable[[str], None]) -> None:
        self._asked = asked
        self._code: asyncio.Future[str] | None = None

    @property
    def is_open(self) -> bool:
        """True while somebody is to tell the code."""
        return self._code is not None and not self._code.done()

    def answer(self, code: str) -> None:
        """The code; nothing happens if nobody waits for one."""
        if self._code is not None and not self._code.done():
            self._code.set_result(code)

    async def ask(self, client: WsmanClient) -> None:
        """Returns when the user has consented; raises BootServerError if that comes to nothing.

        The code is taken off the screen again then.
        """
        await request_consent(client)
        asking = ASKING
        try:
            for left in reversed(range(TRIES)):
                try:
                    await send_consent_code(client, await self._next_code(asking))
                    return
                except AmtRefusedError as err:
                    if not left:
                        raise
                    asking = f"{err.message}; the code on the machine's screen, once more"
        except (BootServerError, asyncio.CancelledError):
            with suppress(BootServerError):
                await cancel_consent(client)
            raise

    async def _next_code(self, asking: str) -> str:
        self._code = asyncio.get_running_loop().create_future()
        self._asked(asking)
        try:
            async with asyncio.timeout(CONSENT_S):
                return await self._code
        except TimeoutError:
            raise AmtConsentRequiredError(
                f"nobody has told the code within {CONSENT_S:.0f} s",
                hint="try again, with somebody at the machine",
            ) from None
