"""An X.509 certificate out of a PEM file: its bytes, and until when it is good."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from bootserver.errors import StubError

PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

SEQUENCE, VERSION, UTC_TIME, GENERALIZED_TIME = 0x30, 0xA0, 0x17, 0x18  # DER tags


@dataclass(frozen=True, slots=True)
class Certificate:
    """The first certificate of a file."""

    der: bytes = field(repr=False)
    not_after: datetime


def read_certificate(path: Path) -> Certificate:
    """The first certificate in a PEM file; raises StubError when there is none."""
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError as err:
        raise StubError(
            f"the certificate {path} cannot be read: {err.strerror}",
            hint="check [stub.signing] certificate",
        ) from err
    try:
        found = PEM.search(text)
        der = ssl.PEM_cert_to_DER_cert(found[0] if found else "")
        return Certificate(der, _not_after(der))
    except (ValueError, IndexError) as err:
        raise StubError(
            f"{path} holds no certificate in PEM",
            hint="one in DER becomes one with: openssl x509 -inform der -in CERT.der -out CERT.pem",
        ) from err


def _not_after(der: bytes) -> datetime:
    """When the certificate expires (RFC 5280 §4.1).

    | part of TBSCertificate    | tag                                        |
    |---------------------------|--------------------------------------------|
    | version                   | 0xA0; missing in certificates of version 1 |
    | serial, algorithm, issuer | one each                                   |
    | validity                  | 0x30, of two times: not before, not after  |
    """
    _, certificate, _ = _element(der)
    _, fields, _ = _element(certificate)
    tag, _, rest = _element(fields)
    for _ in range(3 if tag == VERSION else 2):
        _, _, rest = _element(rest)
    tag, validity, _ = _element(rest)
    if tag != SEQUENCE:
        raise ValueError("no validity where it should be")
    _, _, rest = _element(validity)
    tag, time, _ = _element(rest)
    return _time(tag, time.decode("ascii"))


def _element(der: bytes) -> tuple[int, bytes, bytes]:
    """The first element's tag and content, and what follows it (X.690 §8.1)."""
    tag, size, start = der[0], der[1], 2
    if size & 0x80:  # so many bytes of size follow
        start += size & 0x7F
        size = int.from_bytes(der[2:start], "big")
    if start + size > len(der):
        raise ValueError("cut off")
    return tag, der[start : start + size], der[start + size :]


def _time(tag: int, text: str) -> datetime:
    """RFC 5280 §4.1.2.5: YYMMDDHHMMSSZ until 2049, years with four digits from then on."""
    if tag == UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != GENERALIZED_TIME:
        raise ValueError("no time where it should be")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
