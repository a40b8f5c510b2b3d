"""What is in a certificate of ours, decided as plain data; and the PEM that it becomes.

| certificate | for whom                        | how long                     | signed by |
|-------------|---------------------------------|------------------------------|-----------|
| root        | this server's CA and no other's | ten years, renewed in time   | itself    |
| server      | the host that machines call     | some thirteen months, likewise | root    |

RSA with 2,048 bits and SHA-256, although elliptic curves are faster. For years EDK II, from which
PCs' firmware is made, had an OpenSSL without elliptic curves. Such firmware cannot read them.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

KEY_BITS, EXPONENT = 2048, 65537

# Machines that need rescue have dead clock batteries, and their firmware begins at its own year 0.
VALID_FROM = datetime(2000, 1, 1, tzinfo=UTC)
ROOT_LIFE, ROOT_SPARE = timedelta(days=3653), timedelta(days=500)
# A server certificate ends before the root that signed it does, whenever it was made.
SERVER_LIFE, SERVER_SPARE = timedelta(days=400), timedelta(days=100)

COMMON_NAME_LIMIT = 64  # RFC 5280 appendix A.1, ub-common-name


@dataclass(frozen=True, slots=True)
class CertificatePlan:
    """What is to be in a certificate: a server's for `host`, or a CA's where that is empty."""

    common_name: str
    host: str
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA: its certificate and its private key."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey = field(repr=False)


def plan_root(key: rsa.RSAPrivateKey, now: datetime) -> CertificatePlan:
    """A CA's own certificate; its name tells it from other sites' in a machine that knows several.

    The name comes from the key, so that it stays when the certificate is renewed.
    """
    digest = x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest
    return CertificatePlan(f"bootserver CA {digest[:4].hex()}", "", now + ROOT_LIFE)


def plan_server(host: str, now: datetime) -> CertificatePlan:
    """A server's certificate for `host`, a name or an address."""
    return CertificatePlan(host[:COMMON_NAME_LIMIT], host, now + SERVER_LIFE)


def is_for(certificate: x509.Certificate, host: str) -> bool:
    """True if a client that calls `host` accepts this certificate (RFC 9525 §6.3 and §6.4)."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:  # a common name counts no more
        return False
    if address := _address(host):
        return address in names.get_values_for_type(x509.IPAddress)
    host = host.lower()
    wildcard = f"*.{host.partition('.')[2]}"
    dns_names = {name.lower() for name in names.get_values_for_type(x509.DNSName)}
    return bool(dns_names & {host, wildcard})


def is_good_root(certificate: bytes, key: rsa.RSAPrivateKey, now: datetime) -> bool:
    """True if this PEM is the certificate of the CA that has `key`, and lasts for a while yet."""
    loaded = _loaded(certificate)
    return loaded is not None and _is_good(loaded, key, loaded, now + ROOT_SPARE)


def is_good_server(
    certificate: bytes, key: rsa.RSAPrivateKey, root: x509.Certificate, host: str, now: datetime
) -> bool:
    """True if this PEM, signed by `root`, is for the server `host` that has `key`; likewise."""
    loaded = _loaded(certificate)
    return (
        loaded is not None
        and is_for(loaded, host)
        and _is_good(loaded, key, root, now + SERVER_SPARE)
    )


def _loaded(certificate: bytes) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(certificate)
    except ValueError:
        return None


def _is_good(
    certificate: x509.Certificate, key: rsa.RSAPrivateKey, issuer: x509.Certificate, until: datetime
) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return certificate.public_key() == key.public_key() and certificate.not_valid_after_utc >= until


def new_key() -> bytes:
    """A new private key, PEM (PKCS #8), without a passphrase."""
    key = rsa.generate_private_key(public_exponent=EXPONENT, key_size=KEY_BITS)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def load_key(key: bytes) -> rsa.RSAPrivateKey:
    """The private key in a PEM; ValueError or TypeError if it is none that we made."""
    loaded = load_pem_private_key(key, password=None)
    if not isinstance(loaded, rsa.RSAPrivateKey):
        raise ValueError("not an RSA key")
    return loaded


def make_root(key: rsa.RSAPrivateKey, now: datetime) -> bytes:
    """The certificate of the CA that has this key, PEM."""
    return _certificate(plan_root(key, now), key.public_key(), signer=None, signer_key=key)


def make_server(authority: Authority, key: rsa.RSAPrivateKey, host: str, now: datetime) -> bytes:
    """The certificate of the server that has this key and is called `host`, PEM."""
    plan = plan_server(host, now)
    return _certificate(plan, key.public_key(), authority.certificate, authority.key)


def _certificate(
    plan: CertificatePlan,
    public: rsa.RSAPublicKey,
    signer: x509.Certificate | None,
    signer_key: rsa.RSAPrivateKey,
) -> bytes:
    """The certificate that was planned, for the owner of `public`; self-signed without a signer.

    RFC 5280 §4.2 has the extensions. A machine without elliptic curves encrypts the session's
    secret with the server's key. So the key must be good for that as well.
    """
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, plan.common_name)])
    is_ca = not plan.host
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer.subject if signer else subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(VALID_FROM)
        .not_valid_after(plan.not_after)
        .add_extension(
            x509.BasicConstraints(ca=is_ca, path_length=0 if is_ca else None), critical=True
        )
        .add_extension(_key_usage(is_ca=is_ca), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer_key.public_key()),
            critical=False,
        )
    )
    if not is_ca:
        address = _address(plan.host)
        name = x509.IPAddress(address) if address else x509.DNSName(plan.host)
        builder = builder.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        ).add_extension(x509.SubjectAlternativeName([name]), critical=False)
    return builder.sign(signer_key, hashes.SHA256()).public_bytes(Encoding.PEM)


def _key_usage(*, is_ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_ca,
        key_encipherment=not is_ca,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
