"""Whether the machine at the other end of a connection is the one that is meant, and speaks TLS.

AMT makes its own certificate unless somebody gives it one, so trust is mostly a pin. WS-MAN and
redirection show the same certificate: what was pinned by the one counts for the other.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import ssl
from dataclasses import dataclass
from pathlib import Path

from bootserver.amt.errors import (
    AmtCertificateError,
    AmtError,
    AmtTlsError,
    AmtWrongTransportError,
)


@dataclass(frozen=True)
class Tls:
    """How to trust AMT's certificate: by its pin, by a CA, or as it is the first time.

    `legacy` lets OpenSSL speak TLS 1.0 and its ciphers, for AMT before 12.
    """

    pin_sha256: str | None = None
    ca_file: Path | None = None
    legacy: bool = False

    def __post_init__(self) -> None:
        if self.pin_sha256 is not None and self.ca_file is not None:
            raise ValueError("a pin or a CA, not both")
        if self.pin_sha256 is not None and not re.fullmatch("[0-9a-f]{64}", self.pin_sha256):
            raise ValueError("pin_sha256 is 64 lower-case hex digits")


def client_context(tls: Tls) -> ssl.SSLContext:
    """What the ssl module is to check; a pin is for the caller to compare, after the handshake.

    Reads the CA's file: call it in a thread. Raises AmtError if that cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if tls.ca_file is not None:
        try:
            context.load_verify_locations(tls.ca_file)
        except OSError as err:  # ssl.SSLError is one
            raise AmtError(
                f"the CA certificate {tls.ca_file} cannot be read: {reason(err)}",
                hint="it is to be a PEM file",
            ) from err
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # the fingerprint decides
    if tls.legacy:
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.options |= 0x4  # SSL_OP_LEGACY_SERVER_CONNECT, unnamed before Python 3.12
    else:
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def fingerprint(connection: ssl.SSLObject | ssl.SSLSocket) -> str:
    """The SHA-256 of the certificate that the other side has shown, as in `Tls.pin_sha256`."""
    certificate = connection.getpeercert(binary_form=True)
    return hashlib.sha256(certificate or b"").hexdigest()


def changed_certificate(host: str) -> AmtCertificateError:
    """The error for a certificate that is not the pinned one."""
    return AmtCertificateError(
        f"AMT on {host} shows another certificate than before",
        hint="if AMT was provisioned anew, forget the pin; if not, somebody listens in",
    )


def handshake_error(host: str, err: Exception) -> AmtError | None:
    """The error for a TLS handshake that failed by this; None if it was no handshake's failure."""
    match err:
        case ssl.SSLCertVerificationError():
            return AmtCertificateError(
                f"the certificate of AMT on {host} does not stand the test of the CA: "
                f"{err.verify_message}",
                hint="give the CA that signed it and the name it bears, or pin it",
            )
        case ssl.SSLError() | ConnectionResetError() | ConnectionAbortedError():
            return AmtTlsError(
                f"AMT on {host} and this machine find no common TLS: {reason(err)}",
                hint="AMT before 12 may need legacy TLS, an option of the machine",
            )
    return None


async def wrong_transport(
    host: str, other_port: int, *, tls: bool, timeout_s: float
) -> AmtWrongTransportError | None:
    """The error for a port where nobody is, if the one with TLS (or without) listens instead.

    `tls` is what was asked for. We never change over by ourselves.
    """
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(host, other_port)
    except (OSError, TimeoutError):
        return None
    writer.transport.abort()
    if tls:
        return AmtWrongTransportError(
            f"AMT on {host} speaks no TLS",
            hint="switch TLS on in AMT, or ask for plain, where everybody may listen in",
        )
    return AmtWrongTransportError(
        f"AMT on {host} speaks TLS only", hint="ask for TLS; AMT from 16.1 insists"
    )


def reason(err: Exception) -> str:
    """The system's words where there are some."""
    match err:
        case TimeoutError():
            return "it took too long"
        case ssl.SSLError(reason=str(said)):
            return said.replace("_", " ").lower()
        case OSError(errno=int(number)) if number > 0:
            return os.strerror(number)
        case OSError(strerror=str(said)):
            return said
        case _:
            return type(err).__name__
