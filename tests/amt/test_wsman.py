"""The WS-MAN client against a strict endpoint that closes, cuts, refuses and lies as AMT does."""

import asyncio
import hashlib
import logging
import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import pytest
from aiohttp import web

from bootserver.amt.errors import (
    AmtAnswerError,
    AmtCertificateError,
    AmtFaultError,
    AmtInDoubtError,
    AmtOverloadedError,
    AmtRefusedError,
    AmtTlsError,
    AmtUnreachableError,
    AmtWrongPasswordError,
    AmtWrongTransportError,
)
from bootserver.amt.redirection.drives import redirect
from bootserver.amt.tls import Tls, client_context, handshake_error
from bootserver.amt.wsman.client import WsmanClient
from bootserver.amt.wsman.digest import DigestLogin
from bootserver.amt.wsman.envelopes import MAX_ANSWER_BYTES
from bootserver.amt.wsman.values import Instance, optional
from bootserver.bench.fake_amt import FakeSpec, SystemState, TlsSuites, fake_amt
from tests.fixtures.amt import PASSWORD as FAKE_PASSWORD
from tests.fixtures.amt_tls import fingerprint, tls_server
from tests.fixtures.processes import output_of

SOAP = "http://www.w3.org/2003/05/soap-envelope"
ENUM = "http://schemas.xmlsoap.org/ws/2004/09/enumeration"
CIM = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/"
POWER = f"{CIM}CIM_PowerManagementService"
ACTION = ".//{http://schemas.xmlsoap.org/ws/2004/08/addressing}Action"
ENDLESS_BYTES = 64 * 1024 * 1024  # far more than the sockets' buffers take
PASSWORD = 'P@ss"w\\ö:rd1'
REALM = "Digest:0123456789ABCDEF0123456789ABCDEF"


def enveloped(body: str) -> bytes:
    return f'<s:Envelope xmlns:s="{SOAP}"><s:Header/><s:Body>{body}</s:Body></s:Envelope>'.encode()


def power_output(return_value: int) -> bytes:
    return enveloped(
        f'<g:RequestPowerStateChange_OUTPUT xmlns:g="{POWER}">'
        f"<g:ReturnValue>{return_value}</g:ReturnValue></g:RequestPowerStateChange_OUTPUT>"
    )


SERVICE = enveloped(
    f'<g:CIM_BootService xmlns:g="{CIM}CIM_BootService"><g:Name>Boot</g:Name></g:CIM_BootService>'
)
IDENTITY = enveloped(
    "<i:IdentifyResponse "
    'xmlns:i="http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd">'
    "<i:ProductVendor>Intel(R)</i:ProductVendor><i:ProductVersion>AMT 16.1</i:ProductVersion>"
    "</i:IdentifyResponse>"
)


@dataclass
class Endpoint:
    """AMT's side: digest with counted nonces, chunked answers, a connection per request."""

    nonces_live_for: int = 1000
    says_stale: bool = True
    challenges: list[str] = field(default_factory=lambda: ['qop="auth,auth-int"'])
    status: int = 200
    answers: dict[str, list[bytes]] = field(default_factory=dict)
    mishaps: list[str] = field(default_factory=list)  # of the next authorized requests
    unauthorized_mishaps: list[str] = field(default_factory=list)
    posts: int = 0
    heard: list[str] = field(default_factory=list)
    keeps_open: bool = False
    peers: set[object] = field(default_factory=set)
    sent_bytes: int = 0  # of an endless answer
    violations: list[str] = field(default_factory=list)
    release: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0
    _nonce: str = "nonce 0"
    _count: int = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.posts += 1
        assert request.transport is not None
        self.peers.add(request.transport.get_extra_info("peername"))
        body = await request.read()
        if "Content-Length" not in request.headers or "Transfer-Encoding" in request.headers:
            self.violations.append("request without a length")
        if request.headers.get("Content-Type") != "application/soap+xml;charset=UTF-8":
            self.violations.append("another content type")
        verdict = self._verdict(request.headers.get("Authorization"))
        if verdict != "ok":
            return await self._unauthorized(request, verdict)
        action = ElementTree.fromstring(body).findtext(ACTION, "Identify").rpartition("/")[2]
        self.heard.append(action)
        mishap = self.mishaps.pop(0) if self.mishaps else ""
        if mishap == "hang":
            await self.release.wait()
        if mishap == "busy":
            return web.Response(status=503, text="<html>later</html>")
        if mishap in ("lose", "hang"):
            return await self._lose(request)
        queue = self.answers[action]
        answer = queue.pop(0) if len(queue) > 1 else queue[0]
        response = web.StreamResponse(
            status=self.status,
            headers={"Server": "Intel(R) Active Management Technology 16.1.30"},
        )
        if self.status == 307:
            response.headers["Location"] = "/wsman"
        response.enable_chunked_encoding()
        if not self.keeps_open:
            response.force_close()
        await response.prepare(request)
        if mishap == "endless":
            while self.sent_bytes < ENDLESS_BYTES:
                await response.write(bytes(65536))
                self.sent_bytes += 65536
        for at in range(0, len(answer), max(7, len(answer) // 50)):
            await response.write(answer[at : at + max(7, len(answer) // 50)])
            if mishap == "cut":
                return await self._lose(request)
        return response

    def _verdict(self, header: str | None) -> str:
        """'ok', 'stale' or 'wrong', by RFC 2617 §3.2.2 worked out once more."""
        if header is None:
            return "wrong"
        given: dict[str, str] = {}
        for name, quoted, plain in re.findall(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|([^",\s]+))', header):
            given[name] = quoted or plain
        self._count += 1
        if given["nonce"] != self._nonce or self._count > self.nonces_live_for:
            return "stale"

        def h(*parts: str) -> str:
            return hashlib.md5(":".join(parts).encode()).hexdigest()

        proof = (h("admin", REALM, PASSWORD), given["nonce"])
        asked = h("POST", "/wsman")
        if self.challenges[-1].startswith("qop"):
            if int(given["nc"], 16) != self._count or given["qop"] != "auth":
                self.violations.append(f"nc {given['nc']}, qop {given['qop']}")
            expected = h(*proof, given["nc"], given["cnonce"], given["qop"], asked)
        else:
            expected = h(*proof, asked)
        return "ok" if given["response"] == expected and given["username"] == "admin" else "wrong"

    async def _unauthorized(self, request: web.Request, verdict: str) -> web.StreamResponse:
        if self.unauthorized_mishaps:
            self.unauthorized_mishaps.pop(0)
            return await self._lose(request)
        self._nonce, self._count = f"nonce {self.posts}", 0
        stale = ',stale="true"' if verdict == "stale" and self.says_stale else ""
        response = web.Response(status=401, text="<html>no</html>")
        response.headers["Server"] = "Intel(R) Active Management Technology 16.1.30"
        for challenge in self.challenges:
            if challenge.startswith(("Basic", "Negotiate")):
                response.headers.add("WWW-Authenticate", challenge)
            else:
                response.headers.add(
                    "WWW-Authenticate",
                    f'Digest realm="{REALM}", nonce="{self._nonce}"{stale},{challenge}',
                )
        if not self.keeps_open:
            response.force_close()
        return response

    async def _lose(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()


@asynccontextmanager
async def listening(
    endpoint: Endpoint, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Endpoint]:
    app = web.Application()
    app.router.add_post("/wsman", endpoint.handle)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    endpoint.port = runner.addresses[0][1]
    try:
        yield endpoint
        assert endpoint.violations == []
    finally:
        endpoint.release.set()
        await runner.cleanup()


@pytest.fixture
async def amt() -> AsyncIterator[Endpoint]:
    async with listening(Endpoint(answers={"Get": [SERVICE]})) as endpoint:
        yield endpoint


def client(endpoint: Endpoint, **options: object) -> WsmanClient:
    given: dict[str, object] = {"port": endpoint.port, **options}
    return WsmanClient("127.0.0.1", "admin", PASSWORD, **given)  # type: ignore[arg-type]


async def power_on(asking: WsmanClient) -> Instance:
    return await asking.invoke(
        "CIM_PowerManagementService", "RequestPowerStateChange", {"PowerState": 2}
    )


# --- answers ------------------------------------------------------------------------------------


async def test_get_reads_a_chunked_answer_after_one_challenge(amt: Endpoint) -> None:
    async with client(amt) as asking:
        instance = await asking.get("CIM_BootService")

    assert instance.text("Name") == "Boot"
    assert amt.posts == 2
    assert asking.firmware_version == "16.1.30"


async def test_the_second_request_needs_no_second_challenge(amt: Endpoint) -> None:
    async with client(amt) as asking:
        await asking.get("CIM_BootService")
        await asking.get("CIM_BootService")

    assert amt.posts == 3


async def test_reads_share_a_connection_where_it_is_kept(amt: Endpoint) -> None:
    amt.keeps_open = True

    async with client(amt) as asking:
        for _ in range(15):
            await asking.get("CIM_BootService")

    assert amt.posts == 16
    assert len(amt.peers) == 1


async def test_reads_take_new_connections_where_none_is_kept(amt: Endpoint) -> None:
    async with client(amt) as asking:
        for _ in range(15):
            await asking.get("CIM_BootService")

    assert amt.heard == ["Get"] * 15
    assert len(amt.peers) == amt.posts == 16


async def test_each_change_has_a_connection_of_its_own(amt: Endpoint) -> None:
    amt.keeps_open = True
    amt.answers["RequestPowerStateChange"] = [power_output(0)]

    async with client(amt) as asking:
        await asking.get("CIM_BootService")
        reading = set(amt.peers)
        await power_on(asking)
        await power_on(asking)
        await asking.get("CIM_BootService")

    assert len(reading) == 1
    assert len(amt.peers - reading) == 2


async def test_a_connection_that_is_closed_unsaid_is_kept_no_more(amt: Endpoint) -> None:
    amt.keeps_open = True

    async with client(amt) as asking:
        await asking.get("CIM_BootService")
        amt.mishaps = ["lose"]
        for _ in range(3):
            await asking.get("CIM_BootService")

    assert amt.heard == ["Get"] * 5
    assert len(amt.peers) == 1 + 3


async def test_concurrent_requests_are_sent_one_after_the_other(amt: Endpoint) -> None:
    async with client(amt) as asking:
        await asyncio.gather(*(asking.get("CIM_BootService") for _ in range(5)))

    assert amt.posts == 6  # with nonce counts in order, which the endpoint checks


def pulled(name: str, tail: str) -> bytes:
    return enveloped(
        f'<e:PullResponse xmlns:e="{ENUM}">{tail}<e:Items><g:CIM_X xmlns:g="{CIM}CIM_X"><g:Name>'
        f"{name}</g:Name></g:CIM_X></e:Items></e:PullResponse>"
    )


CONTEXT = "<e:EnumerationContext>1</e:EnumerationContext>"
BEGUN = enveloped(f'<e:EnumerateResponse xmlns:e="{ENUM}">{CONTEXT}</e:EnumerateResponse>')


async def test_enumerate_pulls_to_the_end(amt: Endpoint) -> None:
    amt.answers["Enumerate"] = [BEGUN]
    amt.answers["Pull"] = [pulled("a", CONTEXT), pulled("b", "<e:EndOfSequence/>")]

    async with client(amt) as asking:
        found = await asking.enumerate("CIM_X")

    assert [one.text("Name") for one in found] == ["a", "b"]


async def test_an_enumeration_whose_pull_is_lost_is_begun_again(amt: Endpoint) -> None:
    amt.answers["Enumerate"] = [BEGUN]
    amt.answers["Pull"] = [pulled("a", "<e:EndOfSequence/>")]
    amt.mishaps = ["", "cut"]

    async with client(amt) as asking:
        found = await asking.enumerate("CIM_X")

    assert [one.text("Name") for one in found] == ["a"]
    assert amt.heard == ["Enumerate", "Pull", "Enumerate", "Pull"]


async def test_an_enumeration_without_end_is_given_up(amt: Endpoint) -> None:
    amt.answers["Enumerate"] = [BEGUN]
    amt.answers["Pull"] = [pulled("a", CONTEXT)]

    async with client(amt) as asking:
        with pytest.raises(AmtAnswerError, match="no end"):
            await asking.enumerate("CIM_X")


# --- what is lost -------------------------------------------------------------------------------


@pytest.mark.parametrize("mishap", ["lose", "cut"])
async def test_a_lost_read_is_asked_again_once(amt: Endpoint, mishap: str) -> None:
    amt.mishaps = [mishap]

    async with client(amt) as asking:
        instance = await asking.get("CIM_BootService")

    assert instance.text("Name") == "Boot"
    assert amt.heard == ["Get", "Get"]


@pytest.fixture
def _again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bootserver.amt.wsman.client.BUSY_AGAIN_S", 0.0)


@pytest.mark.usefixtures("_again_at_once")
async def test_a_read_that_finds_amt_overloaded_is_asked_again(amt: Endpoint) -> None:
    amt.mishaps = ["busy", "busy"]

    async with client(amt) as asking:
        instance = await asking.get("CIM_BootService")

    assert instance.text("Name") == "Boot"
    assert amt.heard == ["Get"] * 3


@pytest.mark.usefixtures("_again_at_once")
async def test_amt_that_stays_overloaded_is_an_error_and_no_missing_answer(amt: Endpoint) -> None:
    amt.mishaps = ["busy"] * 9

    async with client(amt) as asking:
        with pytest.raises(AmtOverloadedError, match=r"is overloaded \(HTTP 503\)"):
            await optional(asking.get("CIM_BootService"))

    assert amt.heard == ["Get"] * 4


async def test_a_change_that_finds_amt_overloaded_is_sent_once(amt: Endpoint) -> None:
    amt.mishaps = ["busy"]

    async with client(amt) as asking:
        with pytest.raises(AmtOverloadedError, match="has not done RequestPowerStateChange"):
            await power_on(asking)

    assert amt.heard == ["RequestPowerStateChange"]


async def test_a_read_lost_twice_is_an_error(amt: Endpoint) -> None:
    amt.mishaps = ["lose"] * 9

    async with client(amt) as asking:
        with pytest.raises(AmtUnreachableError, match="does not answer"):
            await asking.get("CIM_BootService")

    assert amt.heard == ["Get", "Get"]


@pytest.mark.parametrize("mishap", ["lose", "cut"])
async def test_a_lost_power_action_is_in_doubt_and_never_sent_again(
    amt: Endpoint, mishap: str
) -> None:
    amt.answers["RequestPowerStateChange"] = [power_output(0)]
    amt.mishaps = [mishap]

    async with client(amt) as asking:
        with pytest.raises(AmtInDoubtError, match="RequestPowerStateChange was sent"):
            await power_on(asking)

    assert amt.heard == ["RequestPowerStateChange"]


async def test_a_power_action_without_answer_is_in_doubt(amt: Endpoint) -> None:
    amt.answers["RequestPowerStateChange"] = [power_output(0)]
    amt.mishaps = ["hang"]

    async with client(amt, timeout_s=0.5) as asking:
        with pytest.raises(AmtInDoubtError, match="took too long"):
            await power_on(asking)

    assert amt.heard == ["RequestPowerStateChange"]


async def test_an_action_lost_before_it_was_authorized_is_not_in_doubt(amt: Endpoint) -> None:
    amt.unauthorized_mishaps = ["lose"]

    async with client(amt) as asking:
        with pytest.raises(AmtUnreachableError):
            await power_on(asking)

    assert amt.heard == []


async def test_a_lost_put_is_in_doubt(amt: Endpoint) -> None:
    amt.mishaps = ["lose"]

    async with client(amt) as asking:
        with pytest.raises(AmtInDoubtError, match="Put CIM_BootService"):
            await asking.put(Instance(f"{CIM}CIM_BootService", {"Name": "x"}))

    assert amt.heard == ["Put"]


# --- refusals -----------------------------------------------------------------------------------


async def test_a_refused_action_tells_its_return_value(amt: Endpoint) -> None:
    amt.answers["RequestPowerStateChange"] = [power_output(4097)]

    async with client(amt) as asking:
        with pytest.raises(AmtRefusedError, match="invalid state transition") as raised:
            await power_on(asking)

    assert raised.value.return_value == 4097


async def test_a_fault_under_http_400_is_read(amt: Endpoint) -> None:
    amt.status = 400
    amt.answers["Get"] = [
        enveloped(
            "<s:Fault><s:Code><s:Value>s:Sender</s:Value><s:Subcode>"
            "<s:Value>a:DestinationUnreachable</s:Value></s:Subcode></s:Code><s:Reason>"
            '<s:Text xml:lang="en">No route</s:Text></s:Reason></s:Fault>'
        )
    ]

    async with client(amt) as asking:
        with pytest.raises(AmtFaultError, match="has no such thing") as raised:
            await asking.get("CIM_KVMRedirectionSAP")

    assert raised.value.subcode == "DestinationUnreachable"


@pytest.mark.parametrize(
    ("status", "error", "sentence"),
    [
        (403, AmtRefusedError, "but not do that"),
        (400, AmtAnswerError, "HTTP 400"),
        (404, AmtAnswerError, "HTTP 404"),
        (307, AmtAnswerError, "HTTP 307"),
    ],
)
async def test_other_http_answers_are_told(
    amt: Endpoint, status: int, error: type[Exception], sentence: str
) -> None:
    amt.status, amt.answers["Get"] = status, [b"<html>no</html>"]

    async with client(amt) as asking:
        with pytest.raises(error, match=sentence):
            await asking.get("CIM_BootService")


async def test_an_endless_answer_is_cut_off(amt: Endpoint) -> None:
    amt.mishaps = ["endless"]

    async with client(amt) as asking:
        with pytest.raises(AmtAnswerError, match="longer than"):
            await asking.get("CIM_BootService")

    assert MAX_ANSWER_BYTES < amt.sent_bytes < ENDLESS_BYTES


# --- digest -------------------------------------------------------------------------------------


async def test_a_wrong_password_is_tried_once_and_not_repeated(
    amt: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    async with WsmanClient("127.0.0.1", "admin", "hush-hush", port=amt.port) as asking:
        with pytest.raises(AmtWrongPasswordError, match="password of admin") as raised:
            await asking.get("CIM_BootService")

    assert amt.posts == 2
    for told in (repr(asking), repr(vars(asking)), repr(raised.value), caplog.text):
        assert "hush-hush" not in told


@pytest.mark.parametrize("says_stale", [True, False])
async def test_an_old_nonce_does_not_stop_an_action(amt: Endpoint, says_stale: bool) -> None:
    amt.answers["RequestPowerStateChange"] = [power_output(0)]
    amt.nonces_live_for, amt.says_stale = 1, says_stale

    async with client(amt) as asking:
        await asking.get("CIM_BootService")
        await power_on(asking)

    assert amt.heard == ["Get", "RequestPowerStateChange"]


async def test_the_digest_challenge_is_found_among_others(amt: Endpoint) -> None:
    amt.challenges = ["Negotiate", 'Basic realm="x"', 'qop="auth"']

    async with client(amt) as asking:
        await asking.get("CIM_BootService")

    assert amt.heard == ["Get"]


async def test_a_challenge_without_qop_is_answered_the_old_way(amt: Endpoint) -> None:
    amt.challenges = ['opaque="x"']

    async with client(amt) as asking:
        await asking.get("CIM_BootService")

    assert amt.heard == ["Get"]


async def test_the_password_is_never_sent_as_basic(amt: Endpoint) -> None:
    amt.challenges = ['Basic realm="x"']

    async with client(amt) as asking:
        with pytest.raises(AmtAnswerError, match="another authentication"):
            await asking.get("CIM_BootService")

    assert amt.posts == 1


def test_the_digest_is_that_of_rfc_2617(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bootserver.amt.wsman.digest.secrets.token_hex", lambda _: "0a4f113b")
    digest = DigestLogin("Mufasa", "Circle Of Life")
    digest.take(
        [
            'Digest realm="testrealm@host.com", qop="auth,auth-int", '
            'nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"'
        ]
    )

    assert digest.authorization("GET", "/dir/index.html") == (
        'Digest username="Mufasa", realm="testrealm@host.com", '
        'nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", uri="/dir/index.html", qop=auth, nc=00000001, '
        'cnonce="0a4f113b", response="6629fae49393a05397450978507c4ef1", '
        'opaque="5ccc069c403ebaf9f0171e9517f40e41"'
    )


@pytest.mark.interop
async def test_the_endpoint_of_these_tests_takes_the_digest_of_curl(amt: Endpoint) -> None:
    amt.answers["Identify"] = [IDENTITY]
    said = await output_of(
        "curl", "-sS", "--digest", "-u", f"admin:{PASSWORD}", "-d", "<e/>",
        "-H", "Content-Type: application/soap+xml;charset=UTF-8",
        f"http://127.0.0.1:{amt.port}/wsman",
    )  # fmt: skip

    assert said == IDENTITY


# --- TLS and ports ------------------------------------------------------------------------------


async def test_the_first_visit_pins_the_certificate(certificates: tuple[Path, Path]) -> None:
    async with listening(Endpoint(answers={"Get": [SERVICE]}), tls_server(certificates[0])) as amt:
        async with client(amt, tls=Tls()) as first:
            await first.get("CIM_BootService")
        async with client(amt, tls=Tls(pin_sha256=first.certificate_sha256)) as second:
            await second.get("CIM_BootService")

    assert first.certificate_sha256 == fingerprint(certificates[0])
    assert amt.heard == ["Get", "Get"]


async def test_another_certificate_than_the_pin_hears_nothing(
    certificates: tuple[Path, Path],
) -> None:
    async with (
        listening(Endpoint(), tls_server(certificates[1])) as amt,
        client(amt, tls=Tls(pin_sha256=fingerprint(certificates[0]))) as asking,
    ):
        with pytest.raises(AmtCertificateError, match="another certificate"):
            await power_on(asking)

    assert amt.posts == 0


async def test_a_certificate_of_the_ca_is_trusted(certificates: tuple[Path, Path]) -> None:
    async with (
        listening(Endpoint(answers={"Get": [SERVICE]}), tls_server(certificates[0])) as amt,
        client(amt, tls=Tls(ca_file=certificates[0])) as asking,
    ):
        await asking.get("CIM_BootService")

    assert amt.heard == ["Get"]


async def test_a_certificate_of_another_ca_hears_nothing(certificates: tuple[Path, Path]) -> None:
    async with (
        listening(Endpoint(), tls_server(certificates[1])) as amt,
        client(amt, tls=Tls(ca_file=certificates[0])) as asking,
    ):
        with pytest.raises(AmtCertificateError, match="test of the CA: self-signed certificate"):
            await asking.get("CIM_BootService")

    assert amt.posts == 0


async def test_old_tls_is_spoken_only_when_asked_for(certificates: tuple[Path, Path]) -> None:
    pin = fingerprint(certificates[0])
    server = tls_server(certificates[0], old=True)
    async with listening(Endpoint(answers={"Get": [SERVICE]}), server) as amt:
        async with client(amt, tls=Tls(pin_sha256=pin)) as asking:
            with pytest.raises(AmtTlsError) as raised:
                await asking.get("CIM_BootService")
        with pytest.raises(AmtTlsError):
            await client(amt, tls=Tls()).__aenter__()
        async with client(amt, tls=Tls(pin_sha256=pin, legacy=True)) as asking:
            await asking.get("CIM_BootService")

    assert "amt.legacy_tls" in raised.value.hint


@pytest.mark.parametrize("suites", list(TlsSuites))
async def test_every_sound_suite_of_tls_1_2_needs_no_legacy_tls(
    tmp_path: Path, suites: TlsSuites
) -> None:
    spec = FakeSpec(tmp_path, tls=True, tls_suites=suites, power=SystemState.S0)
    async with (
        fake_amt(spec) as device,
        WsmanClient(
            "127.0.0.1", "admin", FAKE_PASSWORD, tls=Tls(), port=device.wsman_port
        ) as asking,
        redirect(
            "127.0.0.1", "admin", FAKE_PASSWORD, None, port=device.redirection_port, tls=Tls()
        ),
    ):
        await asking.get("CIM_BootService")


@pytest.mark.parametrize("suites", [TlsSuites.MODERN, TlsSuites.CBC])  # TLS 1.3 and TLS 1.2
async def test_mutual_tls_is_named(tmp_path: Path, suites: TlsSuites) -> None:
    async with fake_amt(FakeSpec(tmp_path, tls=True, tls_suites=suites, mutual_tls=True)) as device:
        asking = WsmanClient("127.0.0.1", "admin", FAKE_PASSWORD, tls=Tls(), port=device.wsman_port)
        with pytest.raises(AmtTlsError, match="wants a certificate of the console") as raised:
            await ask(asking)

    assert "mutual authentication" in raised.value.hint


async def test_amt_that_goes_away_after_an_answer_is_an_error_and_no_cancellation(
    monkeypatch: pytest.MonkeyPatch, closed_port: int
) -> None:
    async with AsyncExitStack() as opened:
        async with listening(Endpoint(answers={"Get": [SERVICE]})) as amt:
            monkeypatch.setattr("bootserver.amt.wsman.client.PLAIN_PORT", amt.port)
            monkeypatch.setattr("bootserver.amt.wsman.client.TLS_PORT", closed_port)
            asking = await opened.enter_async_context(client(amt))
            await asking.get("CIM_BootService")
        with pytest.raises(AmtUnreachableError, match="cannot be reached"):
            await power_on(asking)


async def test_a_look_at_a_handshake_that_succeeds_comes_to_its_end(tmp_path: Path) -> None:
    async with fake_amt(FakeSpec(tmp_path, tls=True)) as device:
        error = await handshake_error(
            "127.0.0.1", device.wsman_port, client_context(Tls()), ConnectionResetError()
        )

    assert "no common TLS" in str(error)


async def ask(asking: WsmanClient) -> None:
    async with asking:
        await asking.get("CIM_BootService")


@pytest.mark.parametrize("tls", [None, Tls()])
async def test_who_is_silent_is_given_up_after_one_wait_and_the_other_port_was_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tls: Tls | None, closed_port: int
) -> None:
    monkeypatch.setattr("bootserver.amt.wsman.client.FIRST_ANSWER_S", 0.5)
    monkeypatch.setattr("bootserver.amt.wsman.client.LOOK_ELSEWHERE_S", 0.1)
    tried: list[tuple[int, bool]] = []

    async def no_other(host: str, port: int, *, tls: bool, timeout_s: float) -> None:
        tried.append((port, tls))

    monkeypatch.setattr("bootserver.amt.wsman.client.wrong_transport", no_other)
    async with silent_server() as (port, connections):
        for name in ("PLAIN_PORT", "TLS_PORT"):
            is_asked = (name == "TLS_PORT") is (tls is not None)
            monkeypatch.setattr(
                f"bootserver.amt.wsman.client.{name}", port if is_asked else closed_port
            )
        with pytest.raises(AmtUnreachableError, match="it took too long"):
            await ask(WsmanClient("127.0.0.1", "admin", FAKE_PASSWORD, tls=tls))

    assert len(connections) == 1
    assert tried == [(closed_port, tls is not None)]


@asynccontextmanager
async def silent_server() -> AsyncIterator[tuple[int, list[object]]]:
    """A port that takes connections and says nothing."""
    connections: list[object] = []
    over = asyncio.Event()

    async def taken(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        await over.wait()
        writer.close()

    server = await asyncio.start_server(taken, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1], connections
    over.set()
    server.close()
    await server.wait_closed()


async def test_plain_http_where_tls_is_asked_for_is_told(amt: Endpoint) -> None:
    with pytest.raises(AmtTlsError, match="no common TLS"):
        await client(amt, tls=Tls()).__aenter__()


async def test_tls_only_is_told(
    certificates: tuple[Path, Path], closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with listening(Endpoint(), tls_server(certificates[0])) as amt:
        monkeypatch.setattr("bootserver.amt.wsman.client.PLAIN_PORT", closed_port)
        monkeypatch.setattr("bootserver.amt.wsman.client.TLS_PORT", amt.port)
        async with WsmanClient("127.0.0.1", "admin", FAKE_PASSWORD) as asking:
            with pytest.raises(AmtWrongTransportError, match="speaks TLS only"):
                await asking.get("CIM_BootService")

    assert amt.posts == 0


async def test_there_is_no_silent_fall_back_to_plain(
    amt: Endpoint, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bootserver.amt.wsman.client.PLAIN_PORT", amt.port)
    monkeypatch.setattr("bootserver.amt.wsman.client.TLS_PORT", closed_port)

    with pytest.raises(AmtWrongTransportError, match="speaks no TLS"):
        await WsmanClient("127.0.0.1", "admin", FAKE_PASSWORD, tls=Tls()).__aenter__()

    assert amt.posts == 0


async def test_a_closed_port_is_told(closed_port: int) -> None:
    async with WsmanClient("127.0.0.1", "admin", FAKE_PASSWORD, port=closed_port) as asking:
        with pytest.raises(AmtUnreachableError, match=f"port {closed_port}: Connection refused"):
            await power_on(asking)


async def test_an_unknown_name_is_told() -> None:
    async with WsmanClient("no-such-host.invalid", "admin", FAKE_PASSWORD) as asking:
        with pytest.raises(AmtUnreachableError, match=r"no-such-host\.invalid cannot be reached"):
            await asking.get("CIM_BootService")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Tls(pin_sha256="AB" * 32),
        lambda: Tls(pin_sha256="ab" * 32, ca_file=Path("ca.pem")),
    ],
)
def test_trust_that_says_nothing_clear_is_refused(make: Callable[[], Tls]) -> None:
    with pytest.raises(ValueError, match="pin"):
        make()
