"""The boot plane over HTTPS: the certificate that this server shows, and who vouches for it."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from bootserver.config import Config
from bootserver.errors import BootServerError, CertificateError
from bootserver.keypair import load_pair, read_certificates
from bootserver.quoting import url_host
from bootserver.stub.spec import own_url
from bootserver.tls.certificates import is_for
from bootserver.tls.own import own_pair, own_root

log = structlog.get_logger(__name__)

TABLE = "server.tls"
LOOK_AGAIN_S = 3600

# The best first. The last two lines are for firmware whose OpenSSL has no elliptic curves. It can
# only encrypt the session's secret with our key (RFC 5246 §7.4.7.1). OpenSSL's callers usually no
# longer allow that, Python included.
CIPHERS = ":".join(
    (
        *("ECDHE+AESGCM", "ECDHE+CHACHA20", "ECDHE+AES"),
        *("AES256-GCM-SHA384", "AES128-GCM-SHA256"),
        *("AES256-SHA256", "AES128-SHA256"),
        "!SHA1",
    )
)


def _now() -> datetime:
    return datetime.now(UTC)


class SiteAuthority:
    """What machines need to trust this server: the site's own certificate, or one of our CA's.

    The files of our CA are made at first use, in whichever process that is. What takes a file
    blocks, making the first key for up to a second; it raises CertificateError.
    """

    def __init__(self, config: Config, *, now: Callable[[], datetime] = _now) -> None:
        self._config = config
        self._now = now
        self._context: ssl.SSLContext | None = None

    @property
    def directory(self) -> Path:
        """Where our own CA is kept: its certificate is `root.crt` there."""
        return self._config.state.path / "ca"

    @property
    def host(self) -> str:
        """The name or address by which machines call this server; StubError if none is known."""
        return urlsplit(own_url(self._config)).hostname or ""

    def https_url(self) -> str:
        """The boot plane's URL over HTTPS; CertificateError where it is not served."""
        port = self._config.server.https_port
        if not port:
            raise CertificateError(
                "the boot plane is not served over HTTPS", hint="set [server] https_port = 8443"
            )
        return f"https://{url_host(self.host)}" + (f":{port}" if port != 443 else "")

    def root(self) -> x509.Certificate:
        """The certificate that machines are to trust.

        If the site has its own, it is the last in that file: the root, if it is there.
        """
        if pair := self._config.server.tls.pair:
            return read_certificates(pair[1], TABLE)[-1]
        return own_root(self.directory, self._now()).certificate

    def root_der(self) -> bytes:
        """The certificate that machines are to trust, DER."""
        return self.root().public_bytes(Encoding.DER)

    def root_sha256(self) -> str:
        """The SHA-256 of root_der(), lower-case hex, by which people and AMT devices name it."""
        return hashlib.sha256(self.root_der()).hexdigest()

    def server_context(self) -> ssl.SSLContext:
        """What HTTPS is served with, always the same object; keep_current renews it."""
        if self._context is None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers(CIPHERS)
            load_pair(context, *self._pair(), TABLE)
            self._context = context
        return self._context

    def problems(self) -> list[str]:
        """Why machines would refuse this server's certificate, each with what to do about it."""
        pair = self._config.server.tls.pair
        if not self._config.server.https_port or pair is None:
            return []
        key, path = pair
        found = []
        try:
            certificate = read_certificates(path, TABLE)[0]
            load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), path, key, TABLE)
            if certificate.not_valid_after_utc <= self._now():
                expired = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
                found.append(f"the certificate {path} expired on {expired}; have it renewed")
            if not is_for(certificate, self.host):
                found.append(
                    f"the certificate {path} is not for {self.host}, which machines call; "
                    "set [server] url to the name that it is for"
                )
        except BootServerError as err:
            found.append(f"{err.message}; {err.hint}")
        return found

    def advice(self) -> str:
        """What machines must trust to fetch from here over HTTPS, in a sentence."""
        server = self._config.server
        if not server.https_port:
            return "HTTPS: off; AMT One-Click Recovery needs it ([server] https_port = 8443)"
        root = self.directory / "root.crt"
        if server.tls.pair is None and not root.exists():
            return f"HTTPS: a CA will be made in {self.directory} when the server starts"
        try:
            sha256 = self.root_sha256()
        except CertificateError as err:
            return f"HTTPS: {err.message}"
        where = server.tls.certificate or root
        return f"HTTPS: machines must trust the root in {where}, SHA-256 {sha256}"

    async def keep_current(self) -> None:
        """Show new connections the certificate that is in force, for ever.

        It changes when ours nears its end, when this server's address does, and when the site's own
        is renewed.
        """
        while True:
            await asyncio.sleep(LOOK_AGAIN_S)
            try:
                await self.renew()
            except BootServerError as err:  # the old one is as good as it was
                log.warning("certificate.not_renewed", reason=err.message, hint=err.hint)

    async def renew(self) -> None:
        """Bring server_context() up to date, if anybody has asked for it."""
        if self._context:
            pair = await asyncio.to_thread(self._pair)
            # On the loop, where no handshake is half done.
            load_pair(self._context, *pair, TABLE)

    def _pair(self) -> tuple[Path, Path]:
        """The files with the server's certificate and key, as they are to be now."""
        if pair := self._config.server.tls.pair:
            return pair[1], pair[0]
        return own_pair(self.directory, self.host, self._now())
