"""A machine booted into something of its own: its setup, its disk, its CD drive, its network."""

from __future__ import annotations

from bootserver.amt.control.boot_options import boot_target
from bootserver.amt.control.consent import consent_is_missing
from bootserver.amt.control.power import OnProgress, PowerChange, request_power, wake
from bootserver.amt.errors import AmtConsentRequiredError
from bootserver.amt.hosts import AmtHosts
from bootserver.amt.types import BootTarget, PowerAction
from bootserver.amt.wsman.client import WsmanClient


async def boot_into(
    hosts: AmtHosts, client: WsmanClient, target: BootTarget, on_progress: OnProgress
) -> PowerChange:
    """Boot the machine into that, once; returns what it did before, and what was asked for.

    `on_progress` gets what goes on in words.
    Raises AmtError; the next boot is an ordinary one then. Where a user has to consent first,
    nothing is changed.
    """
    if await consent_is_missing(client):
        raise AmtConsentRequiredError(
            f"AMT on {client.host} wants a user's consent to boot options",
            hint="run bootserver amt boot --to in a terminal, with a person at the machine",
        )
    before = await wake(client, on_progress)
    async with hosts.arming(client, lambda: boot_target(client, target)):
        change = await request_power(client, PowerAction.BOOT)
    return PowerChange(before, change.asked)
