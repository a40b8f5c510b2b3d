"""UEFI programs signed with a site's own key, for machines that enforce Secure Boot.

A signature carries the time of signing, and equal stubs have equal bytes. So each program is signed
once, and kept by the digest of program and certificate. Signing is sbsign's work.
"""

from __future__ import annotations

import hashlib
import shutil
import ssl
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from bootserver.config import SigningConfig, StubConfig
from bootserver.errors import BootServerError, CertificateError, StubError
from bootserver.files.atomic import create_once
from bootserver.keypair import load_pair, read_certificates

log = structlog.get_logger(__name__)

PE_MAGIC = b"MZ"

SBSIGN_S = 60  # how long sbsign may take; a megabyte takes it 30 ms

TABLE, GUIDE = "stub.signing", "docs/secure-boot.md"


def signed(
    loader: Callable[[str], bytes], signing: SigningConfig, cache: Path
) -> Callable[[str], bytes]:
    """The same loaders by name, every UEFI program among them signed; or `loader` itself.

    What it gives out raises as sign_program does.
    """
    if signing.pair is None:
        return loader

    def signed_loader(name: str) -> bytes:
        program = loader(name)
        return sign_program(program, signing, cache) if name.endswith(".efi") else program

    return signed_loader


def signed_file(program: Path, signing: SigningConfig, cache: Path) -> Path:
    """A file with the UEFI program signed: in the cache, or `program` itself without a key.

    What is no UEFI program is itself as well, whatever its name. Raises as sign_program does.
    """
    if signing.pair is None:
        return program
    try:
        data = program.read_bytes()
    except OSError as err:
        raise StubError(
            f"{program} cannot be read: {err.strerror}", hint="check its permissions"
        ) from err
    return _signed_path(data, *signing.pair, cache) if data.startswith(PE_MAGIC) else program


def sign_program(program: bytes, signing: SigningConfig, cache: Path) -> bytes:
    """The UEFI program with the site's signature: the same bytes for the same program, always.

    One that has this signature already, and any program without a key, is returned as it is.
    Raises StubError when sbsign is missing or `program` is none, CertificateError when key or
    certificate cannot be used.
    """
    if signing.pair is None:
        return program
    return _signed_path(program, *signing.pair, cache).read_bytes()


def signing_problem(signing: SigningConfig) -> BootServerError | None:
    """What keeps this key and certificate from signing, None if nothing does."""
    if signing.pair is None:
        return None
    key, certificate = signing.pair
    try:
        _require_sbsign()
        _check_pair(key, certificate, _site_certificate(certificate))
    except (StubError, CertificateError) as err:
        return err
    return None


def secure_boot_advice(stub: StubConfig) -> str:
    """What machines with Secure Boot on make of this server's stubs, and what to do about it."""
    certificate = stub.signing.certificate
    if stub.shim:
        start = f"stubs start with {stub.shim.name}, which loads {stub.shim_loads}"
        if certificate:
            start += f" and UEFI loaders are signed with {certificate}"
        return (
            f"Secure Boot: {start}; machines must trust that shim, and shim the loaders ({GUIDE})"
        )
    if certificate:
        return (
            f"Secure Boot: UEFI loaders are signed with {certificate}; machines must trust it, and "
            f"what they boot must be signed ({GUIDE})"
        )
    return (
        "Secure Boot: machines with Secure Boot on refuse these stubs; turn it off there, or set "
        f"[stub.signing] ({GUIDE})"
    )


def _signed_path(program: bytes, key: Path, certificate: Path, cache: Path) -> Path:
    """The file in the cache that has this program signed, made if it is not there."""
    facts = _site_certificate(certificate)
    digest = hashlib.sha256(facts.fingerprint(hashes.SHA256()) + program).hexdigest()
    kept = cache / f"{digest}.efi"
    if kept.exists():
        return kept
    _require_sbsign()
    _check_pair(key, certificate, facts)
    try:
        cache.mkdir(0o700, parents=True, exist_ok=True)
        with TemporaryDirectory(prefix="bootserver-") as workdir:
            plain, made = Path(workdir) / "plain.efi", Path(workdir) / "signed.efi"
            plain.write_bytes(program)
            if _run("sbverify", "--cert", str(certificate), str(plain)).returncode == 0:
                made = plain  # it has this signature already
            else:
                _sign(plain, made, key, certificate)
            create_once(kept, made.read_bytes())  # where another was quicker, theirs stays
    except OSError as err:
        raise StubError(
            f"{cache} cannot take signed loaders: {err.strerror}", hint="check its permissions"
        ) from err
    log.info("loader.signed", sha256=hashlib.sha256(program).hexdigest(), signed=str(kept))
    return kept


def _sign(plain: Path, made: Path, key: Path, certificate: Path) -> None:
    done = _run(
        *("sbsign", "--key", str(key), "--cert", str(certificate)),
        *("--output", str(made), str(plain)),
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it does not say why"])[0]
        raise StubError(
            f"sbsign cannot sign this loader: {reason}",
            hint="check that the file in [stub.loaders] or stub/build is a UEFI program",
        )


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SBSIGN_S,
        )
    except subprocess.TimeoutExpired as err:
        raise StubError(
            f"{command[0]} did not end within {SBSIGN_S} s", hint="is the key on a slow disk?"
        ) from err


def _require_sbsign() -> None:
    if not (shutil.which("sbsign") and shutil.which("sbverify")):
        raise StubError(
            "sbsign is not installed, and [stub.signing] needs it",
            hint="apt install sbsigntool",
        )


def _site_certificate(path: Path) -> x509.Certificate:
    return read_certificates(path, TABLE)[0]


def _check_pair(key: Path, certificate: Path, facts: x509.Certificate) -> None:
    """Raise CertificateError unless the key can be used and belongs to the certificate.

    OpenSSL judges, before sbsign would ask for a passphrase on a terminal.
    """
    if facts.not_valid_after_utc <= datetime.now(UTC):
        raise CertificateError(
            f"the certificate {certificate} expired on {facts.not_valid_after_utc:%Y-%m-%d}",
            hint=f"make a new one and enroll it in the machines: {GUIDE}",
        )
    load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), certificate, key, TABLE)
