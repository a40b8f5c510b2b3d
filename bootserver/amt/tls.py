"""Whether the machine at the other end of a connection is the one that is meant, and speaks TLS.

AMT makes its own certificate unless it is given one, so trust is mostly a pin. WS-MAN and
redirection show the same certificate: what was pinned by the one counts for the other.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import ssl
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bootserver.amt.errors import (
    AmtCertificateError,
    AmtError,
    AmtTlsError,
    AmtWrongTransportError,
)

# All that is sound in TLS 1.2, the best first. AMT 11 and 12 know RSA key exchange or CBC only,
# which Python leaves out (device-management-toolkit/console#445).
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:ECDHE+AES:DHE+AES:kRSA+AESGCM:kRSA+AES"
LOOK_S = 5.0

# A TLS record, and the handshake messages within (RFC 5246 §6.2.1, §7.4):
# | offset | size | meaning            | offset | size | meaning |
# | 0      | 1    | content type       | 0      | 1    | message type |
# | 1      | 2    | version            | 1      | 3    | length, big-endian |
# | 3      | 2    | length, big-endian | 4      | …    | body |
_HANDSHAKE, _CHANGE_CIPHER_SPEC, _CERTIFICATE_REQUEST = 22, 20, 13


@dataclass(frozen=True)
class Tls:
    """How to trust AMT's certificate: by its pin, by a CA, or as it is the first time.

    `legacy` lets OpenSSL speak TLS 1.0 and 1.1 with their ciphers, for AMT that knows no TLS 1.2.
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
        context.set_ciphers(CIPHERS)
    return context


def fingerprint(connection: ssl.SSLObject | ssl.SSLSocket) -> str:
    """The SHA-256 of the certificate that the other side has shown, as in `Tls.pin_sha256`."""
    certificate = connection.getpeercert(binary_form=True)
    return hashlib.sha256(certificate or b"").hexdigest()


def changed_certificate(host: str) -> AmtCertificateError:
    """The error for a certificate that is not the pinned one."""
    return AmtCertificateError(
        f"AMT on {host} shows another certificate than before",
        hint="if AMT was provisioned anew, forget the pin; if not, the connection is spied on",
    )


async def handshake_error(
    host: str, port: int, context: ssl.SSLContext | None, err: Exception
) -> AmtError | None:
    """The error for a TLS handshake that failed by this; None if it was no handshake's failure."""
    match err:
        case ssl.SSLCertVerificationError():
            return AmtCertificateError(
                f"the certificate of AMT on {host} does not stand the test of the CA: "
                f"{err.verify_message}",
                hint="give the CA that signed it and the name that is in it, or pin it",
            )
        case ssl.SSLError() | ConnectionResetError() | ConnectionAbortedError():
            if context and await _asks_for_certificate(host, port, context):
                return mutual_tls(host)
            return AmtTlsError(
                f"AMT on {host} and this machine find no common TLS: {reason(err)}",
                hint="AMT that knows no TLS 1.2 needs amt.legacy_tls = true, or --legacy-tls",
            )
    return None


def mutual_tls(host: str) -> AmtTlsError:
    """The error for AMT that wants a certificate of the console."""
    return AmtTlsError(
        f"AMT on {host} wants a certificate of the console (mutual TLS), and bootserver has none",
        hint="switch mutual authentication off in AMT's TLS settings",
    )


async def _asks_for_certificate(host: str, port: int, context: ssl.SSLContext) -> bool:
    """Whether a handshake of TLS 1.2 there asks for our certificate, which Python does not tell."""
    incoming, outgoing, received = ssl.MemoryBIO(), ssl.MemoryBIO(), bytearray()
    handshake = context.wrap_bio(incoming, outgoing, server_hostname=host)
    is_done = False
    with suppress(OSError):  # it fails as before; TimeoutError and ssl.SSLError are OSErrors
        async with asyncio.timeout(LOOK_S):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                while not is_done:
                    try:
                        handshake.do_handshake()
                        is_done = True
                    except ssl.SSLWantReadError:
                        writer.write(outgoing.read())
                        data = await reader.read(16384)
                        received += data
                        incoming.write(data) if data else incoming.write_eof()
            finally:
                writer.transport.abort()
    return _CERTIFICATE_REQUEST in _handshake_types(received)


def _handshake_types(received: bytes | bytearray) -> set[int]:
    """The types of the handshake messages that came in the clear."""
    messages, at = b"", 0
    while at + 5 <= len(received) and received[at] != _CHANGE_CIPHER_SPEC:
        end = at + 5 + int.from_bytes(received[at + 3 : at + 5])
        if received[at] == _HANDSHAKE:
            messages += received[at + 5 : end]
        at = end
    types, at = set(), 0
    while at + 4 <= len(messages):
        types.add(messages[at])
        at += 4 + int.from_bytes(messages[at + 1 : at + 4])
    return types


async def wrong_transport(
    host: str, other_port: int, *, tls: bool, timeout_s: float
) -> AmtWrongTransportError | None:
    """The error for a closed port, if the one with TLS (or without) listens instead.

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
    """The system's text where there is one."""
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
