"""A client for Intel AMT's WS-MAN: one request at a time, with a digest login.

Theory of operation. The client speaks first, always: one POST, one answer. The first POST has no
login and gets 401 with a challenge. The same envelope goes out again with the proof. A nonce is
used on until AMT calls it stale, which costs one more round. After any other 401 the password is
wrong. AMT closes the connection after a 401, and may after each answer.

Two connections are kept apart. Reads share one, where AMT keeps it open. What changes something has
a new one each time. On one that died while it was idle, a power action may or may not have been
heard.

Reads that are lost on the way, or find AMT overloaded, go out again. A change goes out with
credentials once. When no answer comes, the caller gets AmtInDoubtError and reads the machine's
state. (After a 401 there is no doubt: AMT did nothing.)

The client keeps the challenge with its count, the certificate to insist on, and AMT's version of
the Server header. A host that does not answer costs FIRST_ANSWER_S in all. AMT's other port is
tried in that time: a silent or closed port may be the wrong one.
"""

import asyncio
import re
import ssl
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self, TypeVar

import aiohttp

from bootserver.amt.errors import (
    AmtAnswerError,
    AmtError,
    AmtInDoubtError,
    AmtOverloadedError,
    AmtRefusedError,
    AmtUnreachableError,
    AmtWrongPasswordError,
    AmtWrongTransportError,
)
from bootserver.amt.tls import (
    Tls,
    changed_certificate,
    client_context,
    fingerprint,
    handshake_error,
    mutual_tls,
    reason,
    wrong_transport,
)
from bootserver.amt.wsman import envelopes
from bootserver.amt.wsman.digest import DigestLogin
from bootserver.amt.wsman.values import Instance, Plain
from bootserver.quoting import url_host

PLAIN_PORT = 16992
TLS_PORT = 16993
PATH = "/wsman"
CONNECT_TIMEOUT_S = 10.0
FIRST_ANSWER_S = 10.0
LOOK_ELSEWHERE_S = 1.0  # a port that is silent for so long may be the wrong one of the two
BUSY_TRIES, BUSY_AGAIN_S = 4, 1.0
MAX_PULLS = 100

T = TypeVar("T")


class _Lost(Exception):
    """No whole answer came. `heard`: AMT may have done what it was asked to."""

    def __init__(self, reason: str, *, heard: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.heard = heard


class _Busy(Exception):
    """AMT cannot answer now, and has done nothing."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class WsmanClient:
    """WS-MAN with one machine, as an async context manager; one request at a time.

    `certificate_sha256` is the certificate that this client insists on. After a first visit
    (TLS without pin or CA) the caller keeps it as the pin of later ones.
    """

    def __init__(
        self,
        host: str,
        user: str,
        password: str,
        *,
        tls: Tls | None = None,
        port: int | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        self.host = host
        self.port = port if port is not None else TLS_PORT if tls else PLAIN_PORT
        self.certificate_sha256 = tls.pin_sha256 if tls else None
        self.firmware_version: str | None = None
        self._tls = tls
        self._digest = DigestLogin(user, password)
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_TIMEOUT_S)
        self._one_at_a_time = asyncio.Lock()
        self._context: ssl.SSLContext | None = None
        self._kept: aiohttp.ClientSession | None = None  # its connection goes on after a message
        self._fresh: aiohttp.ClientSession | None = None
        self._keeps = True
        self._has_answered = False
        self._answer_by: float | None = None
        self._elsewhere: asyncio.Task[AmtWrongTransportError | None] | None = None
        self._hurry = asyncio.Event()

    def __repr__(self) -> str:
        return f"WsmanClient({self.url!r})"

    @property
    def url(self) -> str:
        """Where AMT is asked."""
        scheme = "https" if self._tls else "http"
        return f"{scheme}://{url_host(self.host)}:{self.port}{PATH}"

    @property
    def encrypted(self) -> bool:
        """Whether AMT is asked over TLS."""
        return self._tls is not None

    async def __aenter__(self) -> Self:
        trust: aiohttp.Fingerprint | bool = True
        if self._tls:
            self._context = client_context(self._tls)
            if self._tls.ca_file is None:
                if self.certificate_sha256 is None:
                    self.certificate_sha256 = await self._first_certificate(self._context)
                # aiohttp compares after the handshake, before a byte of the request is sent.
                trust = aiohttp.Fingerprint(bytes.fromhex(self.certificate_sha256))
        self._kept = self._open_session(aiohttp.TCPConnector(ssl=trust, limit=1))
        self._fresh = self._open_session(aiohttp.TCPConnector(ssl=trust, force_close=True))
        return self

    def _open_session(self, connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
        )

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop_looking_elsewhere()
        for session in (self._kept, self._fresh):
            if session is not None:
                await session.close()

    async def get(self, class_name: str, selectors: Mapping[str, str] | None = None) -> Instance:
        """The one instance of the class, or the one with these selectors."""
        return envelopes.parse_instance(
            await self._again_if_lost(
                lambda: self._send(envelopes.get(class_name, _message_id(), selectors))
            )
        )

    async def enumerate(self, class_name: str) -> list[Instance]:
        """All instances of the class."""
        # A pull moves on the device's side, so a lost one is no use: all is begun again.
        return await self._again_if_lost(lambda: self._enumerate(class_name))

    async def put(self, instance: Instance) -> None:
        """Replace the instance on the device by this one. Never sent twice."""
        answer = await self._change(
            f"Put {instance.resource.rpartition('/')[2]}",
            envelopes.put(instance, _message_id()),
        )
        envelopes.parse_put(answer)

    async def invoke(
        self,
        class_name: str,
        method: str,
        parameters: Mapping[str, Plain] | None = None,
    ) -> Instance:
        """The method's output; AmtRefusedError when AMT says that it failed. Never sent twice."""
        request = envelopes.invoke(class_name, method, _message_id(), parameters)
        return envelopes.parse_output(await self._change(method, request), method)

    async def _enumerate(self, class_name: str) -> list[Instance]:
        answer = await self._send(envelopes.enumerate_(class_name, _message_id()))
        context: str | None = envelopes.parse_enumerate(answer)
        found: list[Instance] = []
        for _ in range(MAX_PULLS):
            if context is None:
                return found
            answer = await self._send(envelopes.pull(class_name, _message_id(), context))
            batch, context = envelopes.parse_pull(answer)
            found += batch
        raise AmtAnswerError(f"AMT on {self.host} finds no end of {class_name}")

    async def _again_if_lost(self, ask: Callable[[], Awaitable[T]]) -> T:
        is_again, busy_tries = False, 0
        while True:
            try:
                return await ask()
            except _Lost as lost:
                if is_again:
                    raise self._unreachable(lost) from lost
                is_again = True
                self._keeps = False  # it may have closed what we thought was open
            except _Busy as busy:
                busy_tries += 1
                if busy_tries == BUSY_TRIES:
                    raise self._overloaded(busy, "was asked") from busy
                await asyncio.sleep(BUSY_AGAIN_S)

    async def _change(self, what: str, request: bytes) -> bytes:
        try:
            return await self._send(request, fresh=True)
        except _Busy as busy:
            raise self._overloaded(busy, f"has not done {what}: asked") from busy
        except _Lost as lost:
            if not lost.heard:
                raise self._unreachable(lost) from lost
            raise AmtInDoubtError(
                f"{what} was sent to AMT on {self.host}, and no answer came: {lost.reason}",
                hint="look at the machine's state before you try again",
            ) from lost

    def _overloaded(self, busy: _Busy, what: str) -> AmtOverloadedError:
        return AmtOverloadedError(
            f"AMT on {self.host} {what}, and is overloaded (HTTP {busy.status})",
            hint="try again in a minute; AMT that stays so comes back after a power cut",
        )

    def _unreachable(self, lost: _Lost) -> AmtUnreachableError:
        return AmtUnreachableError(
            f"AMT on {self.host} does not answer: {lost.reason}",
            hint="try again; AMT that answers no more comes back after a power cut",
        )

    async def _send(self, envelope: bytes, *, fresh: bool = False) -> bytes:
        """The answer's body, a success or a fault; the digest's steps are in here."""
        async with self._one_at_a_time:
            proven = False
            for _ in range(3):  # unasked, on the challenge, and once more if the nonce is stale
                status, challenges, body = await self._post(envelope, fresh=fresh)
                if status != 401:
                    return self._judged(status, body)
                stale = self._digest.take(challenges)
                if proven and not stale:
                    break
                proven = True
        raise AmtWrongPasswordError(
            f"AMT on {self.host} does not take the password of {self._digest.user}",
            hint="check user and password; AMT has its own, set in MEBx or by provisioning",
        )

    def _judged(self, status: int, body: bytes) -> bytes:
        # Faults come with 400 and 500, and say more than the number.
        if status == 200 or (status in (400, 500) and b"Envelope" in body):
            return body
        if status == 403:
            raise AmtRefusedError(
                f"AMT on {self.host} lets {self._digest.user} in, but not do that",
                hint="give the user the realm, or use the administrator",
            )
        if status >= 500:
            raise _Busy(status)
        raise AmtAnswerError(f"AMT on {self.host} answered HTTP {status}")

    async def _post(self, envelope: bytes, *, fresh: bool) -> tuple[int, list[str], bytes]:
        session = self._fresh if fresh or not self._keeps else self._kept
        if session is None:
            raise RuntimeError("WsmanClient is used outside its context")
        headers = {"Content-Type": "application/soap+xml;charset=UTF-8"}
        authorization = self._digest.authorization("POST", PATH)
        if authorization:
            headers["Authorization"] = authorization
        try:
            async with (
                asyncio.timeout_at(None if self._has_answered else self._first_answer_by()),
                session.post(
                    self.url,
                    data=envelope,
                    headers=headers,
                    allow_redirects=False,
                    ssl=self._context or True,
                ) as response,
            ):
                self._has_answered = True
                self._stop_looking_elsewhere()
                self._note_version(response.headers.get("Server", ""))
                body = await _bounded(response.content)
                return response.status, response.headers.getall("WWW-Authenticate", []), body
        except (
            aiohttp.ClientConnectorError,
            aiohttp.ServerFingerprintMismatch,
            aiohttp.ConnectionTimeoutError,
            aiohttp.ClientConnectorCertificateError,
        ) as err:
            raise await self._not_connected(err) from err
        except (aiohttp.ClientError, TimeoutError, OSError) as err:
            if "CERTIFICATE_REQUIRED" in str(err):  # TLS 1.3: the handshake was over for us
                raise mutual_tls(self.host) from err
            if not self._has_answered and isinstance(err, TimeoutError):
                raise await self._not_connected(err) from err
            # Without credentials AMT does nothing, so there is nothing to be in doubt about.
            raise _Lost(_reason(err), heard=bool(authorization)) from err

    def _first_answer_by(self) -> float:
        """By when AMT has to answer for the first time; begins to look at the other port."""
        if self._answer_by is None:
            self._answer_by = asyncio.get_running_loop().time() + FIRST_ANSWER_S
            self._elsewhere = asyncio.create_task(self._look_elsewhere())
        return self._answer_by

    async def _first_certificate(self, context: ssl.SSLContext) -> str:
        try:
            async with asyncio.timeout_at(self._first_answer_by()):
                _, writer = await asyncio.open_connection(self.host, self.port, ssl=context)
        except (OSError, TimeoutError) as err:
            raise await self._not_connected(err) from err
        shown = fingerprint(writer.get_extra_info("ssl_object"))
        # What the closing handshake has to say is of no interest, and could take long.
        writer.transport.abort()
        return shown

    async def _not_connected(self, err: Exception) -> AmtError:
        """The error for a connection that did not come about; nothing was asked for."""
        cause = err.os_error if isinstance(err, aiohttp.ClientConnectorError) else err
        try:
            if isinstance(cause, aiohttp.ServerFingerprintMismatch):
                return changed_certificate(self.host)
            if failed := await handshake_error(self.host, self.port, self._context, cause):
                return failed
            self._hurry.set()
            if self._elsewhere and (wrong := await self._elsewhere):
                return wrong
        finally:
            self._stop_looking_elsewhere()
        return AmtUnreachableError(
            f"AMT on {self.host} cannot be reached on port {self.port}: {_reason(cause)}",
            hint="is the machine on mains and network, and AMT activated?",
        )

    async def _look_elsewhere(self) -> AmtWrongTransportError | None:
        """Whether AMT's other port answers, tried as soon as this one takes long or refuses."""
        if self.port != (TLS_PORT if self._tls else PLAIN_PORT):
            return None  # only AMT's own ports have a counterpart
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_ELSEWHERE_S):
                await self._hurry.wait()
        other_port = PLAIN_PORT if self._tls else TLS_PORT
        return await wrong_transport(
            self.host,
            other_port,
            tls=self._tls is not None,
            timeout_s=FIRST_ANSWER_S - LOOK_ELSEWHERE_S,
        )

    def _stop_looking_elsewhere(self) -> None:
        if self._elsewhere is not None:
            self._elsewhere.cancel()
            self._elsewhere = None  # or a later error would wait for what was cancelled

    def _note_version(self, server: str) -> None:
        found = re.fullmatch(r"Intel\(R\) Active Management Technology ([0-9.]{3,20})", server)
        if found:
            self.firmware_version = found[1]


async def _bounded(content: aiohttp.StreamReader) -> bytes:
    body = bytearray()
    async for piece in content.iter_any():
        body += piece
        if len(body) > envelopes.MAX_ANSWER_BYTES:
            raise AmtAnswerError(f"AMT's answer is longer than {envelopes.MAX_ANSWER_BYTES} bytes")
    return bytes(body)


def _message_id() -> str:
    return f"uuid:{uuid.uuid4()}"


def _reason(err: Exception) -> str:
    """The system's text where there is one; never aiohttp's repr, which holds headers."""
    if isinstance(err, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError):
        return "the connection was closed"
    return reason(err)
