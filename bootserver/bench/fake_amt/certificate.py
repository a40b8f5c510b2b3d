"""The certificate that AMT makes for itself if it is given none, and TLS with it."""

from __future__ import annotations

import hashlib
import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from bootserver.bench.fake_amt.spec import FakeSpec, TlsSuites

CLIENT_FILE = "client.pem"
# Intel's key usage of a remote console's certificate.
_REMOTE_CONSOLE = ObjectIdentifier("2.16.840.1.113741.1.2.1")


@dataclass(frozen=True, slots=True)
class Certificate:
    """A self-signed certificate, and the TLS server that has it."""

    pem: str
    sha256: str  # of the DER, 64 lower-case hex digits
    context: ssl.SSLContext


class _AlertingObject(ssl.SSLObject):
    """The TLS of a connection; a client that it turns away hears why.

    asyncio cuts the connection before the alert has gone out. Told to wait for more, it sends.
    """

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except ssl.SSLWantReadError:
            raise
        except ssl.SSLError as err:
            raise ssl.SSLWantReadError from err


def make_certificate(spec: FakeSpec) -> Certificate:
    """A new self-signed certificate for the device's address; its files are left in its workdir.

    For mutual TLS a certificate for a console is issued with it.
    """
    key, name = _key(), _named("Intel(R) AMT")
    address = x509.IPAddress(ipaddress.ip_address(spec.host))
    certificate = (
        _valid(name, name, key)
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    der = certificate.public_bytes(serialization.Encoding.DER)
    spec.workdir.mkdir(parents=True, exist_ok=True)
    certificate_file, key_file = spec.workdir / "amt.pem", spec.workdir / "amt.key"
    certificate_file.write_bytes(pem)
    _write_secret(key_file, _private_pem(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslobject_class = _AlertingObject
    context.load_cert_chain(certificate_file, key_file)
    if spec.tls_suites is not TlsSuites.MODERN:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(f"{spec.tls_suites.value}:@SECLEVEL=0")
    if spec.mutual_tls:
        clients_key = _key()
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, _REMOTE_CONSOLE])
        clients = (
            _valid(_named("console"), name, clients_key)
            .add_extension(usage, critical=False)
            .sign(key, hashes.SHA256())
        )
        clients_pem = clients.public_bytes(serialization.Encoding.PEM)
        _write_secret(spec.workdir / CLIENT_FILE, clients_pem + _private_pem(clients_key))
        context.load_verify_locations(certificate_file)
        context.verify_mode = ssl.CERT_REQUIRED
    return Certificate(pem.decode(), hashlib.sha256(der).hexdigest(), context)


def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _valid(
    subject: x509.Name, issuer: x509.Name, key: rsa.RSAPrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365))
    )


def _private_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write_secret(file: Path, pem: bytes) -> None:
    file.touch(mode=0o600)
    file.write_bytes(pem)
