"""What went wrong with a machine's AMT, as one word for programs."""

from __future__ import annotations

from bootserver.amt.errors import AmtConsentRequiredError
from bootserver.amt.redirection.protocol import RedirectionError
from bootserver.errors import BootServerError


def failure_of(problem: BootServerError) -> str:
    """One word for programs: `busy`, `wrong_password`, `unreachable`, `consent_required`, …"""
    if isinstance(problem, RedirectionError):
        return problem.failure.value
    if isinstance(problem, AmtConsentRequiredError):
        return "consent_required"
    name = type(problem).__name__.removesuffix("Error").removeprefix("Amt")
    words = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
    return words.removeprefix("_") or "refused"
