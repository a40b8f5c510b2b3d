"""What can go wrong with a machine's AMT: as errors, and as one word for programs."""

from __future__ import annotations

from enum import StrEnum

from bootserver.errors import BootServerError


class AmtError(BootServerError):
    """Intel AMT on a machine cannot be used as asked."""


class AmtAnswerError(AmtError):
    """What came back is not what WS-MAN says should."""


class AmtFaultError(AmtError):
    """AMT understood the envelope and answered with a SOAP fault."""

    def __init__(self, message: str, *, subcode: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.subcode = subcode


class AmtRefusedError(AmtError):
    """AMT did not do what it was asked to; `return_value` is its reason, if it gave one."""

    def __init__(self, message: str, *, return_value: int | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.return_value = return_value


class AmtConsentRequiredError(AmtRefusedError):
    """A user at the machine has to consent first, by the code on its screen."""


class AmtUnreachableError(AmtError):
    """Nothing answers there, or the connection was lost before anything was asked for."""


class AmtWrongTransportError(AmtUnreachableError):
    """AMT listens, but only with TLS where plain was asked for, or the other way round."""


class AmtTlsError(AmtUnreachableError):
    """The TLS handshake failed: too old a version, or no TLS there at all."""


class AmtCertificateError(AmtError):
    """The machine's certificate is not the one that was pinned, or not of the CA."""


class AmtOverloadedError(AmtError):
    """AMT answers that it cannot answer now (HTTP 503 or alike): nothing was done."""


class AmtWrongPasswordError(AmtError):
    """AMT does not take user and password."""


class AmtInDoubtError(AmtError):
    """A change was sent and no answer came: it may have been made, or not."""


class Failure(StrEnum):
    """Why there is no redirection session, or none any more."""

    BUSY = "busy"  # another console holds the device's only session of the kind
    DISABLED = "disabled"  # redirection is switched off, or this device has none
    WRONG_PASSWORD = "wrong_password"  # noqa: S105  (a reason, no secret)
    NO_DIGEST = "no_digest"  # only ways to log in that show the password, or that are not used
    REJECTED = "rejected"  # the device would not open the session or switch its drives
    PROTOCOL = "protocol"  # bytes or an order that the protocol does not have
    ENDED = "ended"  # the device has ended the session
    LOST = "lost"  # the connection ended, or nothing comes any more


class RedirectionError(AmtError):
    """A session failed or was used out of order; `failure` says how, for programs."""

    def __init__(
        self, message: str, *, hint: str = "", failure: Failure = Failure.PROTOCOL
    ) -> None:
        super().__init__(message, hint=hint)
        self.failure = failure


def failure_of(problem: BootServerError) -> str:
    """One word for programs: `busy`, `wrong_password`, `unreachable`, `consent_required`, …"""
    if isinstance(problem, RedirectionError):
        return problem.failure.value
    if isinstance(problem, AmtConsentRequiredError):
        return "consent_required"
    name = type(problem).__name__.removesuffix("Error").removeprefix("Amt")
    words = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
    return words.removeprefix("_") or "refused"
