"""The certificate that the boot plane shows: made once, renewed in time, judged by OpenSSL."""

from __future__ import annotations

import asyncio
import hashlib
import re
import ssl
import subprocess
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from bootserver.config import Config
from bootserver.configfile import load_config
from bootserver.errors import CertificateError
from bootserver.keypair import read_certificates
from bootserver.tls.authority import SiteAuthority
from bootserver.tls.certificates import is_for, new_key
from tests.fixtures import processes
from tests.fixtures.secure_boot import make_key_pair, run

pytestmark = pytest.mark.slow

KEYS = ("root.key", "server.key")
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ROOT_DAYS, SERVER_DAYS = 3653, 400


@pytest.fixture(scope="module")
def keys() -> dict[str, bytes]:
    return {name: new_key() for name in KEYS}


@pytest.fixture
def fresh(site: Path) -> Config:
    """The configuration of a server that has never run."""
    return load_config(site / "config.toml")


@pytest.fixture
def config(fresh: Config, keys: dict[str, bytes]) -> Config:
    """The same with the keys there already, which take long to make."""
    ca = fresh.state.path / "ca"
    ca.mkdir(parents=True)
    for name, key in keys.items():
        (ca / name).write_bytes(key)
    return fresh


def https(config: Config, url: str = "https://x", **server: object) -> Config:
    """The same configuration, with HTTPS on and that URL for machines to call."""
    values = {"https_port": 8443, "url": url.replace("https:", "http:")} | server
    return config.model_copy(update={"server": config.server.model_copy(update=values)})


def authority(config: Config, now: datetime = NOW) -> SiteAuthority:
    config.state.path.mkdir(exist_ok=True)
    return SiteAuthority(config, now=lambda: now)


def openssl(*arguments: str | Path) -> str:
    return run("openssl", *arguments).decode()


@asynccontextmanager
async def listening(context: ssl.SSLContext) -> AsyncIterator[int]:
    """A port where `context` is shown to each client."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


async def handshake(port: int, *arguments: object) -> str:
    """What OpenSSL's own client says of a handshake."""
    _, output, _ = await processes.run(
        *("openssl", "s_client", "-connect", f"127.0.0.1:{port}", *map(str, arguments)),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )
    return output.decode()


# ---- Our own CA ----


@pytest.mark.interop
@pytest.mark.parametrize(
    ("url", "check"),
    [
        ("https://192.0.2.10:8080", ("-verify_ip", "192.0.2.10")),
        ("https://[2001:db8::10]:8080", ("-verify_ip", "2001:db8::10")),
        ("https://boot.example.org", ("-verify_hostname", "boot.example.org")),
        (f"https://{'n' * 60}.{'m' * 60}", ("-verify_hostname", f"{'n' * 60}.{'m' * 60}")),
    ],
)
async def test_openssl_trusts_the_server_for_its_host_and_for_no_other(
    config: Config, url: str, check: tuple[str, str]
):
    ours = authority(https(config, url), datetime.now(UTC))

    async with listening(ours.server_context()) as port:
        trust = ("-CAfile", ours.directory / "root.crt", "-x509_strict", "-purpose", "sslserver")
        good = await handshake(port, *trust, *check, "-verify_return_error")
        other = await handshake(port, *trust, "-verify_hostname", "other.example.org")
        stranger = await handshake(port, *check)

    assert "Verification: OK" in good
    assert re.search(r"Verification error: .*mismatch", other)
    assert "Verification error" in stranger


@pytest.mark.interop
def test_the_certificates_are_what_old_firmware_can_read(config: Config):
    ours = authority(https(config, "https://192.0.2.10"))
    ours.server_context()

    root, server = (
        openssl("x509", "-noout", "-text", "-in", ours.directory / name)
        for name in ("root.crt", "server.crt")
    )

    for text in (root, server):
        assert "Public-Key: (2048 bit)" in text
        assert text.count("Signature Algorithm: sha256WithRSAEncryption") == 2
        assert "Not Before: Jan  1 00:00:00 2000 GMT" in text  # dead clock batteries
    assert "CA:TRUE, pathlen:0" in root
    assert "Certificate Sign, CRL Sign" in root
    assert "Not After : Nov 22 12:00:00 2036 GMT" in root
    assert "CA:FALSE" in server
    assert "Digital Signature, Key Encipherment" in server
    assert "TLS Web Server Authentication" in server
    assert "IP Address:192.0.2.10" in server
    assert "Not After : Dec 27 12:00:00 2027 GMT" in server


def test_what_it_keeps_is_its_owners_only(fresh: Config):
    ours = authority(https(fresh))
    ours.server_context()

    modes = {path.name: path.stat().st_mode & 0o777 for path in ours.directory.iterdir()}

    assert modes == {
        "root.key": 0o600,
        "server.key": 0o600,
        "root.crt": 0o600,
        "server.crt": 0o600,
    }


def test_the_root_is_told_in_der_and_by_its_digest(config: Config):
    ours = authority(https(config))

    der = ours.root_der()

    shown = openssl("x509", "-noout", "-fingerprint", "-sha256", "-in", ours.directory / "root.crt")
    assert ours.root_sha256() == shown.strip().partition("=")[2].replace(":", "").lower()
    assert ours.root_sha256() == hashlib.sha256(der).hexdigest()


def test_all_that_start_at_once_have_one_ca_and_a_pair_that_fits(fresh: Config):
    config = https(fresh)
    fresh.state.path.mkdir()

    def start(_: int) -> str:
        ours = SiteAuthority(config, now=lambda: NOW)
        ours.server_context()  # raises if key and certificate do not fit
        return ours.root_sha256()

    with ThreadPoolExecutor(8) as threads:
        roots = set(threads.map(start, range(8)))

    ca = fresh.state.path / "ca"
    assert len(roots) == 1
    assert {path.name for path in ca.iterdir()} == {
        *("root.key", "root.crt", "server.key", "server.crt")
    }
    openssl("verify", "-CAfile", ca / "root.crt", ca / "server.crt")


# ---- Renewal ----


def files(ours: SiteAuthority) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in ours.directory.iterdir()}


def changed(config: Config, now: datetime, later: Config | None = None) -> set[str]:
    """Which files are other ones, when a server of NOW is started again at `now`."""
    authority(config).server_context()
    before = files(authority(config))
    authority(later or config, now).server_context()
    after = files(authority(config))
    assert after.keys() == before.keys()
    return {name for name in after if after[name] != before[name]}


@pytest.mark.parametrize(
    ("days", "names"),
    [
        (SERVER_DAYS - 101, set()),
        (SERVER_DAYS - 99, {"server.crt"}),
        (SERVER_DAYS + 1, {"server.crt"}),
        (ROOT_DAYS - 501, {"server.crt"}),
        (ROOT_DAYS - 499, {"server.crt", "root.crt"}),
        (ROOT_DAYS + 1, {"server.crt", "root.crt"}),
    ],
)
def test_certificates_are_renewed_before_they_end(config: Config, days: int, names: set[str]):
    assert changed(https(config), NOW + timedelta(days=days)) == names


def test_a_server_certificate_ends_before_its_root(config: Config):
    last = NOW + timedelta(days=ROOT_DAYS - 501)  # the root is not renewed yet
    ours = authority(https(config))
    root = ours.root()
    authority(https(config), last).server_context()

    [server] = read_certificates(ours.directory / "server.crt", "server.tls")

    assert authority(https(config), last).root() == root
    assert server.not_valid_after_utc < root.not_valid_after_utc


def test_a_renewed_root_vouches_for_what_the_old_one_signed_and_the_other_way_round(
    config: Config, tmp_path: Path
):
    authority(https(config)).server_context()
    ca = authority(https(config)).directory
    for name in ("root.crt", "server.crt"):
        (tmp_path / name).write_bytes((ca / name).read_bytes())
    authority(https(config), NOW + timedelta(days=ROOT_DAYS - 499)).server_context()

    for root in (ca, tmp_path):
        for server in (ca, tmp_path):
            openssl(
                *("verify", "-no_check_time", "-CAfile", root / "root.crt"), server / "server.crt"
            )


def test_another_host_gets_another_certificate_of_the_same_ca(config: Config):
    one, other = https(config, "https://192.0.2.10"), https(config, "https://boot.example.org")

    assert changed(one, NOW, other) == {"server.crt"}
    [certificate] = read_certificates(authority(one).directory / "server.crt", "server.tls")
    assert is_for(certificate, "boot.example.org")
    assert not is_for(certificate, "192.0.2.10")


@pytest.mark.parametrize(
    ("lost", "left_bytes", "made_again"),
    [
        ("server.crt", None, {"server.crt"}),
        ("server.crt", 100, {"server.crt"}),
        ("server.key", None, {"server.crt", "server.key"}),
        ("root.crt", None, {"root.crt"}),
        ("root.crt", 100, {"root.crt"}),
        ("root.key", None, {"root.crt", "root.key", "server.crt"}),
    ],
)
def test_what_was_lost_is_made_again_with_all_that_hangs_on_it(
    config: Config, lost: str, left_bytes: int | None, made_again: set[str]
):
    ours = authority(https(config))
    ours.server_context()
    before, path = files(ours), ours.directory / lost
    path.unlink()
    if left_bytes is not None:
        path.write_bytes(before[lost][:left_bytes])

    authority(https(config), NOW + timedelta(seconds=1)).server_context()

    after = files(ours)
    assert {name for name in after if after[name] != before[name]} == made_again
    openssl("verify", "-CAfile", ours.directory / "root.crt", ours.directory / "server.crt")


@pytest.mark.parametrize("name", KEYS)
def test_a_key_that_is_none_is_one_sentence_without_the_key(config: Config, name: str):
    ours = authority(https(config))
    ours.server_context()
    (ours.directory / name).write_text("-----BEGIN PRIVATE KEY-----\nhunter2\n")

    with pytest.raises(CertificateError, match=r"a private key in .*ca cannot be used") as caught:
        authority(https(config)).server_context()

    assert "hunter2" not in caught.value.message + caught.value.hint


def test_a_directory_that_cannot_be_made_is_one_sentence(fresh: Config):
    fresh.state.path.mkdir()
    (fresh.state.path / "ca").write_text("in the way")

    with pytest.raises(CertificateError, match="cannot be read or made: File exists"):
        authority(https(fresh)).root_der()


async def test_new_connections_see_the_renewed_certificate(config: Config):
    times = [NOW]
    ours = SiteAuthority(https(config), now=lambda: times[0])

    async with listening(ours.server_context()) as port:
        before = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))
        times[0] += timedelta(days=SERVER_DAYS)
        await ours.renew()
        after = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))

    ends = [x509.load_pem_x509_certificate(pem.encode()) for pem in (before, after)]
    assert ends[0].not_valid_after_utc == NOW + timedelta(days=SERVER_DAYS)
    assert ends[1].not_valid_after_utc == NOW + timedelta(days=2 * SERVER_DAYS)


async def test_where_nobody_serves_https_nothing_is_made(fresh: Config):
    ours = authority(fresh)

    await ours.renew()

    assert not ours.directory.exists()


# ---- The site's own certificate ----


@pytest.fixture
def chain(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A certificate for boot.example.org and its root in one file, its key, and the root alone."""
    root = make_key_pair(tmp_path, "root")
    leaf, request = tmp_path / "leaf.crt", tmp_path / "leaf.csr"
    key, extensions = tmp_path / "leaf.key", tmp_path / "leaf.ext"
    extensions.write_text("subjectAltName=DNS:*.example.org,IP:192.0.2.10\n")
    openssl(
        *("req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x"),
        *("-keyout", key, "-out", request),
    )
    openssl(
        *("x509", "-req", "-in", request, "-CA", root.certificate, "-CAkey", root.key),
        *("-days", "30", "-set_serial", "7", "-extfile", extensions, "-out", leaf),
    )
    leaf.write_bytes(leaf.read_bytes() + root.certificate.read_bytes())
    return leaf, key, root.certificate


def with_pair(config: Config, certificate: Path, key: Path) -> Config:
    pair = config.server.tls.model_copy(update={"certificate": certificate, "key": key})
    return https(config, "https://boot.example.org:8080", tls=pair)


async def test_the_sites_own_certificate_is_shown_and_its_root_told(
    fresh: Config, chain: tuple[Path, Path, Path]
):
    certificate, key, root = chain
    ours = authority(with_pair(fresh, certificate, key), datetime.now(UTC))

    async with listening(ours.server_context()) as port:
        seen = await handshake(
            port, "-CAfile", root, "-verify_hostname", "boot.example.org", "-verify_return_error"
        )

    assert "Verification: OK" in seen
    assert ours.root_der() == ssl.PEM_cert_to_DER_cert(root.read_text())
    assert ours.problems() == []
    assert str(certificate) in ours.advice()
    assert ours.root_sha256() in ours.advice()
    assert not ours.directory.exists()


async def test_a_certificate_that_the_site_renews_is_taken_up(
    config: Config, chain: tuple[Path, Path, Path], tmp_path: Path
):
    certificate, key, _ = chain
    ours = authority(with_pair(config, certificate, key))

    async with listening(ours.server_context()) as port:
        new = make_key_pair(tmp_path, "new")
        certificate.write_bytes(new.certificate.read_bytes())
        key.write_bytes(new.key.read_bytes())
        await ours.renew()
        seen = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))

    assert ssl.PEM_cert_to_DER_cert(seen) == ssl.PEM_cert_to_DER_cert(new.certificate.read_text())


def test_what_machines_would_refuse_is_told_beforehand(
    config: Config, chain: tuple[Path, Path, Path], tmp_path: Path
):
    certificate, key, _ = chain
    good = with_pair(config, certificate, key)
    elsewhere = https(good, "https://boot.example.com", tls=good.server.tls)
    other = make_key_pair(tmp_path, "other")
    late = datetime.now(UTC) + timedelta(days=31)

    [name] = authority(elsewhere, NOW).problems()
    [expired] = authority(good, late).problems()
    [mixed] = authority(with_pair(config, certificate, other.key), NOW).problems()
    [missing] = authority(with_pair(config, tmp_path / "none.crt", key), NOW).problems()

    assert "is not for boot.example.com, which machines call; set [server] url" in name
    assert f"{certificate} expired on" in expired
    assert "does not belong to the certificate" in mixed
    assert "[server.tls]" in mixed
    assert "none.crt cannot be read: No such file" in missing
    with pytest.raises(CertificateError, match="does not belong"):
        authority(with_pair(config, certificate, other.key)).server_context()


@pytest.mark.parametrize(
    ("host", "is_good"),
    [
        ("boot.example.org", True),
        ("BOOT.Example.ORG", True),
        ("a.boot.example.org", False),
        ("example.org", False),
        ("192.0.2.10", True),
        ("192.0.2.11", False),
    ],
)
def test_a_certificate_is_for_the_hosts_that_clients_accept_it_for(
    chain: tuple[Path, Path, Path], host: str, is_good: bool
):
    certificates = read_certificates(chain[0], "server.tls")

    assert is_for(certificates[0], host) is is_good
    assert not is_for(certificates[1], "root")  # a common name counts no more


# ---- What is spoken ----


@pytest.mark.interop
@pytest.mark.parametrize(
    ("client", "says"),
    [
        (("-tls1_3",), "TLSv1.3"),
        (("-tls1_2",), "ECDHE-RSA-AES256-GCM-SHA384"),
        # Firmware without elliptic curves, and without GCM too.
        (("-tls1_2", "-cipher", "AES128-GCM-SHA256"), "Cipher is AES128-GCM-SHA256"),
        (("-tls1_2", "-cipher", "AES128-SHA256"), "Cipher is AES128-SHA256"),
        # What it would rather have does not count: the best that both can.
        (("-tls1_2", "-cipher", "AES128-SHA256:ECDHE-RSA-AES128-GCM-SHA256"), "is ECDHE-RSA-"),
        (("-tls1_2", "-cipher", "AES128-SHA"), "Cipher is (NONE)"),
        (("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), "Cipher is (NONE)"),
    ],
)
async def test_old_firmware_is_spoken_to_and_nothing_worse(
    config: Config, client: tuple[str, ...], says: str
):
    ours = authority(https(config), datetime.now(UTC))

    async with listening(ours.server_context()) as port:
        seen = await handshake(port, *client)

    assert says in seen


@pytest.mark.parametrize(
    ("url", "port", "https_url"),
    [
        ("http://192.0.2.10:8080", 8443, "https://192.0.2.10:8443"),
        ("http://boot.example.org", 443, "https://boot.example.org"),
        ("http://[2001:db8::10]:8080", 8443, "https://[2001:db8::10]:8443"),
    ],
)
def test_the_https_url_has_the_host_that_machines_call(
    config: Config, url: str, port: int, https_url: str
):
    assert authority(https(config, url, https_port=port)).https_url() == https_url


def test_where_https_is_off_that_is_one_sentence(fresh: Config):
    with pytest.raises(CertificateError, match="not served over HTTPS") as caught:
        authority(fresh).https_url()

    assert "https_port = 8443" in caught.value.hint
    assert "HTTPS: off" in authority(fresh).advice()


def test_a_new_key_is_another_one_each_time():
    assert new_key() != new_key()
