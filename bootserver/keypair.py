"""A site's own certificate and private key, read from its two PEM files.

`table` is the table of config.toml that names the files, for those who have to correct it.
"""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import NoReturn

from cryptography import x509

from bootserver.errors import CertificateError

# A file may say more than its certificates: `openssl x509 -text` puts words around them.
PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def read_certificates(path: Path, table: str) -> list[x509.Certificate]:
    """The certificates in a PEM file, at least one; raises CertificateError when there is none."""
    try:
        data = path.read_bytes()
    except OSError as err:
        raise CertificateError(
            f"the certificate {path} cannot be read: {err.strerror}",
            hint=f"check [{table}] certificate",
        ) from err
    try:
        certificates = [x509.load_pem_x509_certificate(found) for found in PEM.findall(data)]
    except ValueError as err:
        raise _no_certificate(path) from err
    if not certificates:
        raise _no_certificate(path)
    return certificates


def load_pair(context: ssl.SSLContext, certificate: Path, key: Path, table: str) -> None:
    """Put certificate and key into `context`, which proves that they belong together.

    Raises CertificateError unless the key is readable, has no passphrase and is the certificate's.
    """
    try:
        context.load_cert_chain(certificate, key, password=lambda: _refuse_passphrase(key))
    except ssl.SSLError as err:
        if err.reason == "KEY_VALUES_MISMATCH":
            raise CertificateError(
                f"the key {key} does not belong to the certificate {certificate}",
                hint=f"name the pair that was made together in [{table}]",
            ) from None
        raise CertificateError(
            f"{key} is not a private key that can be used",
            hint="give an RSA key in PEM, beginning with -----BEGIN PRIVATE KEY-----",
        ) from None
    except OSError as err:
        raise CertificateError(
            f"the key {key} cannot be read: {err.strerror}",
            hint=f"check [{table}] key, and that the server's user may read it",
        ) from err


def _no_certificate(path: Path) -> CertificateError:
    return CertificateError(
        f"{path} holds no certificate in PEM",
        hint="one in DER becomes one with: openssl x509 -inform der -in CERT.der -out CERT.pem",
    )


def _refuse_passphrase(key: Path) -> NoReturn:
    raise CertificateError(
        f"the key {key} has a passphrase, and the server has no person to ask for it",
        hint="take it off (openssl pkey -in KEY -out NEW), and let only the server read the file",
    )
