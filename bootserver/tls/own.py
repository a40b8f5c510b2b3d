"""A small CA of our own in the state directory, and the certificate that it gives this server.

| file in `var/ca/` | what it is                                          |
|-------------------|-----------------------------------------------------|
| `root.key`        | the CA's private key; who has it can be this CA     |
| `root.crt`        | the CA's certificate, for those who are to trust it |
| `server.key`      | this server's private key                           |
| `server.crt`      | this server's certificate                           |

Keys are made once and stay. Certificates are made again near their end, when the server's name
changes, or when its key is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from bootserver.errors import CertificateError
from bootserver.files.atomic import create_once, write_atomically
from bootserver.tls.certificates import (
    Authority,
    is_good_root,
    is_good_server,
    load_key,
    make_root,
    make_server,
    new_key,
)

log = structlog.get_logger(__name__)


def own_root(directory: Path, now: datetime) -> Authority:
    """The CA in `directory`, made at first use; raises CertificateError. Blocks."""
    path = directory / "root.crt"
    with _complaining(directory):
        directory.mkdir(0o700, parents=True, exist_ok=True)
        key = _key(directory / "root.key")
        if not path.exists():
            create_once(path, make_root(key, now))
        if not is_good_root(path.read_bytes(), key, now):
            write_atomically(path, make_root(key, now))
            log.info("certificate.renewed", path=str(path))
        return Authority(x509.load_pem_x509_certificate(path.read_bytes()), key)


def own_pair(directory: Path, host: str, now: datetime) -> tuple[Path, Path]:
    """Certificate and key of the server that machines call `host`; as own_root."""
    root = own_root(directory, now)
    path, key_path = directory / "server.crt", directory / "server.key"
    with _complaining(directory):
        key = _key(key_path)
        there = path.read_bytes() if path.exists() else b""
        if not is_good_server(there, key, root.certificate, host, now):
            write_atomically(path, make_server(root, key, host, now))
            log.info("certificate.made", path=str(path), host=host)
        return path, key_path


def _key(path: Path) -> rsa.RSAPrivateKey:
    if not path.exists():
        create_once(path, new_key())
    return load_key(path.read_bytes())


@contextmanager
def _complaining(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as err:
        raise CertificateError(
            f"the certificates in {directory} cannot be read or made: {err.strerror}",
            hint="check [state] path in config.toml, and who may write there",
        ) from err
    except (ValueError, TypeError) as err:  # a key that is none, or has a passphrase
        raise CertificateError(
            f"a private key in {directory} cannot be used",
            hint="move that directory away; a new CA is made, which machines have to trust anew",
        ) from err
