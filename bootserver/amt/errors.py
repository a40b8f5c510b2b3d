"""What can go wrong with a machine's AMT."""

from __future__ import annotations

from bootserver.errors import BootServerError


class AmtError(BootServerError):
    """Intel AMT on some machine cannot be used as asked."""


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
    """Somebody at the machine has to consent first, by the code on its screen."""


class AmtUnreachableError(AmtError):
    """Nobody answers there, or the connection was lost before anything was asked for."""


class AmtWrongTransportError(AmtUnreachableError):
    """AMT listens, but only with TLS where plain was asked for, or the other way round."""


class AmtTlsError(AmtUnreachableError):
    """The TLS handshake failed: too old a version, or no TLS there at all."""


class AmtCertificateError(AmtError):
    """The machine's certificate is not the one that was pinned, or not of the CA."""


class AmtOverloadedError(AmtError):
    """AMT answers that it cannot answer now (HTTP 503 and its kin): nothing was done."""


class AmtWrongPasswordError(AmtError):
    """AMT does not take user and password."""


class AmtInDoubtError(AmtError):
    """A change was sent and no answer came: it may have been made, or not."""
