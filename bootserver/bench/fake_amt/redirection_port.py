"""The redirection port: which consoles may come in, and with what; then a session takes over.

Theory of operation. The console speaks first. It asks for a session by its tag, and is admitted or
refused by a status. Then it logs in: it may query the ways, asks for a challenge with empty fields,
and sends its proof. The reply that admits it is sent by the session, together with the session's
first bytes. The port keeps the tags that are held, and a nonce per connection. A console that does
anything else is cut off, and `violations` says why.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import ssl
from collections.abc import Awaitable, Callable

import structlog

from bootserver.bench.fake_amt import redirection
from bootserver.bench.fake_amt.ider_session import IderSession
from bootserver.bench.fake_amt.link import ConsoleLink
from bootserver.bench.fake_amt.login import md5_hex
from bootserver.bench.fake_amt.methods import login_failed
from bootserver.bench.fake_amt.redirection import (
    ViolationError,
    fields_of,
    login_reply,
    start_reply,
    with_lengths,
)
from bootserver.bench.fake_amt.sol_session import SolSession
from bootserver.bench.fake_amt.state import DeviceState

log = structlog.get_logger()

_IDER, _SOL, _KVM = b"IDER", b"SOL ", b"KVMR"
_STARTED, _UNKNOWN, _BUSY, _DISABLED = 0, 1, 2, 3
_GOOD, _FAILED, _NOT_OFFERED = 0, 1, 2
_QUERY, _CLEAR, _DIGEST_2069, _DIGEST_2617 = 0, 1, 3, 4
_URI = b"/RedirectionService"
_LOGIN_S = 30


class RedirectionPort:
    """One device's redirection port; `ider` and `sol` are the sessions that are open now.

    `violations` has a sentence for each thing that a console did wrong. `type_` takes what SOL
    sends to the host; `drives_lost` is called when a storage session has ended.
    """

    def __init__(
        self,
        state: DeviceState,
        type_: Callable[[bytes], None],
        drives_lost: Callable[[], Awaitable[None]],
    ) -> None:
        self.ider: IderSession | None = None
        self.sol: SolSession | None = None
        self.violations: list[str] = []
        self.port = 0
        self._state = state
        self._type = type_
        self._drives_lost = drives_lost
        self._context: ssl.SSLContext | None = None
        self._reserved: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._held: set[bytes] = set()
        self._reads = 0  # of the sessions that are over
        self._serving: set[asyncio.Task[None]] = set()

    async def start(self, context: ssl.SSLContext | None) -> None:
        """Have a port number; connections are refused until `listen(True)`."""
        self._context = context
        self._reserve(self._state.spec.redirection_port)

    async def stop(self) -> None:
        """Close the port and end all sessions."""
        await self.listen(False)
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        if self._reserved:
            self._reserved.close()

    async def listen(self, on: bool) -> None:
        """Open or close the port; sessions that are open stay."""
        if on and not self._server:
            assert self._reserved is not None
            self._server = await asyncio.start_server(
                self._connected, sock=self._reserved, ssl=self._context
            )
            self._reserved = None
        elif not on and self._server:
            self._server.close()
            self._server = None
            self._reserve(self.port)

    def hang_up(self) -> None:
        """Break all connections off, as a cable does that is pulled."""
        for task in self._serving:
            task.cancel()

    def _reserve(self, port: int) -> None:
        # Bound, but not listening: the number is ours, and connections are refused.
        self._reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind((self._state.spec.host, port))
        self.port = self._reserved.getsockname()[1]

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        manners = self._state.spec.redirection_manners
        link = ConsoleLink(
            reader, writer, manners.segments, lambda: bool(self._state.slow_sessions)
        )
        tag = b""
        try:
            tag = await self._start_session(link)
            if tag and (admitted := await self._log_in(link)):
                await self._session(link, tag, admitted)
        except ViolationError as err:
            self.violations.append(str(err))
            log.info("fake_amt.violation", reason=str(err))
        except TimeoutError:
            self.violations.append("nothing came for too long")
            log.info("fake_amt.silence")
        except ConnectionError:
            pass  # the console has left
        finally:
            self._held.discard(tag)
            writer.close()

    async def _session(self, link: ConsoleLink, tag: bytes, admitted: bytes) -> None:
        manners, name = self._state.spec.redirection_manners, tag.decode().strip()
        self._state.sessions.add(name)
        if self._state.spec.network.slow_from_sleep and not self._state.is_on:
            self._state.slow_sessions.add(name)
        self._state.consent.session_opened()
        try:
            if tag == _IDER:
                self.ider = IderSession(link, manners, reads_before=self._reads)
                await self.ider.run(admitted)
            else:
                self.sol = SolSession(link, manners, self._type)
                await self.sol.run(admitted)
        finally:
            self._state.sessions.discard(name)
            self._state.slow_sessions.discard(name)
            if self.ider and tag == _IDER:
                self._reads += self.ider.reads
                self.ider = None
                await self._drives_lost()
            else:
                self.sol = None

    # StartRedirectionSession: 0 0x10, 1 0 for storage and serial, 4 tag
    async def _start_session(self, link: ConsoleLink) -> bytes:
        """The tag of the session that may begin; b"" when it may not."""
        message = await link.next(_LOGIN_S)
        if message is None:
            return b""
        if message[0] != redirection.START_SESSION:
            raise ViolationError(f"message 0x{message[0]:02X} before a session is started")
        tag = message[4:8]
        if message[2:4] != b"\0\0" or message[1] != (tag == _KVM):
            raise ViolationError(f"a session started with {message.hex(' ')}")
        status = self._start_status(tag)
        if status != _STARTED:
            await link.send(start_reply(status))
            return b""
        self._held.add(tag)
        await link.send(start_reply(_STARTED))
        return tag

    def _start_status(self, tag: bytes) -> int:
        state = self._state
        if tag not in (_IDER, _SOL, _KVM):
            return _UNKNOWN
        enabled = {_IDER: state.redirection.has_ider, _SOL: state.redirection.has_sol}
        # What firmware says without the consent it needs is unknown: this is our guess.
        if not enabled.get(tag, False) or state.consent.is_missing:
            return _DISABLED
        is_busy = tag == _IDER and state.spec.redirection_manners.busy
        return _BUSY if is_busy or tag in self._held else _STARTED

    async def _log_in(self, link: ConsoleLink) -> bytes:
        """The reply that admits the console; b"" when it is not admitted, and knows."""
        nonce = secrets.token_hex(16).encode()
        while message := await link.next(_LOGIN_S):
            if message[0] != redirection.AUTHENTICATE or message[1:4] != b"\0\0\0":
                raise ViolationError(f"message 0x{message[0]:02X} before the login")
            kind, fields = message[4], fields_of(message[9:])
            offered = self._state.spec.redirection_manners.auth_types
            if kind == _QUERY:
                await link.send(login_reply(_GOOD, _QUERY, bytes(offered)))
                continue
            if kind not in offered:
                await link.send(login_reply(_NOT_OFFERED, kind))
                return b""
            if kind in (_DIGEST_2069, _DIGEST_2617) and len(fields) > 2 and not fields[2]:
                if fields[3:4] != [_URI]:
                    raise ViolationError(f"login for {fields[3:4]}")
                challenge = [self._state.realm.encode(), nonce]
                challenge += [b"auth"] if kind == _DIGEST_2617 else []
                await link.send(login_reply(_FAILED, kind, with_lengths(*challenge)))
                continue
            if self._is_right(kind, fields, nonce):
                return login_reply(_GOOD, kind)
            login_failed(self._state)
            await link.send(login_reply(_FAILED, kind))
            return b""
        return b""

    def _is_right(self, kind: int, fields: list[bytes], nonce: bytes) -> bool:
        spec = self._state.spec
        if kind == _CLEAR:
            return fields == [spec.user.encode(), spec.password.encode()]
        if len(fields) != (8 if kind == _DIGEST_2617 else 7):
            raise ViolationError(f"{len(fields)} login fields")
        user, realm, given_nonce, uri, cnonce, count, response = (
            field.decode("latin-1") for field in fields[:7]
        )
        secret = md5_hex(f"{spec.user}:{self._state.realm}:{spec.password}")
        what = md5_hex(f"POST:{_URI.decode()}")
        if kind == _DIGEST_2617:
            if fields[7] != b"auth" or len(count) != 8 or not 1 <= len(cnonce) <= 32:
                raise ViolationError("a digest of the wrong shape")
            expected = md5_hex(f"{secret}:{given_nonce}:{count}:{cnonce}:auth:{what}")
        else:
            expected = md5_hex(f"{secret}:{given_nonce}:{what}")
        return (
            user == spec.user
            and realm == self._state.realm
            and given_nonce.encode("latin-1") == nonce
            and uri.encode("latin-1") == _URI
            and secrets.compare_digest(response.encode("latin-1"), expected.encode())
        )
