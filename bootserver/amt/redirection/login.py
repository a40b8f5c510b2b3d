"""How a redirection session begins, whatever it redirects: the request for it, and the login."""

from __future__ import annotations

from bootserver.amt.redirection.console import authenticate, digest_response, start_session
from bootserver.amt.redirection.events import AWAITED, State
from bootserver.amt.redirection.framing import AuthReply, StartReply
from bootserver.amt.redirection.protocol import (
    AUTH_URI,
    NONCE_COUNT,
    AuthMethod,
    Failure,
    RedirectionError,
    Service,
)


class Login:
    """The console's part from StartRedirectionSession to the verdict on the password.

    It knows no order of its own: the session says how far it is. The password is forgotten as soon
    as the proof of it is out.
    """

    def __init__(self, service: Service, user: str, password: str, *, cnonce: str) -> None:
        self._service = service
        self._user = user.encode()
        self._password = password.encode()
        self._cnonce = cnonce.encode()
        if len(self._user) > 255:
            raise RedirectionError("a user name for AMT cannot be longer than 255 bytes")

    def start(self) -> bytes:
        """The request for a session."""
        return start_session(self._service)

    def forget(self) -> None:
        """Forgets the password: it will not be needed."""
        self._password = b""

    def started(self, reply: StartReply) -> tuple[State, bytes]:
        """The state that follows on the answer to our request, and what to send."""
        match reply.status:
            case 0:
                return State.QUERYING, authenticate(AuthMethod.QUERY)
            case 2:
                raise RedirectionError(
                    f"another console holds the device's {self._service.words}",
                    hint="end it there, or wait until the device gives it up",
                    failure=Failure.BUSY,
                )
            case 1 | 3:
                raise RedirectionError(
                    f"{self._service.words} is switched off on the device, or it has none",
                    hint=f"enable redirection over WS-MAN; {self._service.mebx_switch} must be on "
                    "in MEBx, too",
                    failure=Failure.DISABLED,
                )
            case status:
                raise RedirectionError(
                    f"the device refused the session with status {status}",
                    failure=Failure.REJECTED,
                )

    def answered(self, state: State, reply: AuthReply) -> tuple[State, bytes]:
        """The state that follows on a reply to the login, and what to send; OPENING is the end."""
        if state is State.RESPONDING and reply.status != 0:
            raise RedirectionError(
                "the device refused user name or password", failure=Failure.WRONG_PASSWORD
            )
        due = AuthMethod.QUERY if state is State.QUERYING else AuthMethod.DIGEST
        if reply.status == 2 or (state is State.QUERYING and AuthMethod.DIGEST not in reply.data):
            raise RedirectionError(
                "the device does not offer to log in by digest",
                hint="other ways would show the password; set up a digest user in AMT",
                failure=Failure.NO_DIGEST,
            )
        if reply.method != due:
            raise RedirectionError(
                f"the device answers login method {reply.method}; asked was {int(due)}"
            )
        match state, reply.status:
            case State.QUERYING, 0:
                empty = (self._user, b"", b"", AUTH_URI, b"", b"", b"", b"")
                return State.CHALLENGING, authenticate(AuthMethod.DIGEST, empty)
            case State.CHALLENGING, 1:
                proof = authenticate(AuthMethod.DIGEST, self._proof(reply.data))
                self.forget()
                return State.RESPONDING, proof
            case State.RESPONDING, 0:
                return State.OPENING, b""
        raise RedirectionError(
            f"the device answers with login status {reply.status}; awaited: {AWAITED[state]}"
        )

    def _proof(self, challenge: bytes) -> tuple[bytes, ...]:
        """The fields of the login, by the challenge's realm, nonce and qop."""
        values = _fields(challenge)
        if len(values) != 3:
            raise RedirectionError("the device's challenge is not realm, nonce and qop")
        realm, nonce, qop = values
        if b"auth" not in (word.strip() for word in qop.split(b",")):
            raise RedirectionError(
                "the device's challenge does not offer qop=auth", failure=Failure.NO_DIGEST
            )
        response = digest_response(self._user, self._password, realm, nonce, self._cnonce)
        head = (self._user, realm, nonce, AUTH_URI)
        return (*head, self._cnonce, NONCE_COUNT, response, b"auth")


def _fields(data: bytes) -> list[bytes]:
    """Values that each come after a byte with their length; empty if the data is cut short."""
    values = []
    at = 0
    while at < len(data):
        stop = at + 1 + data[at]
        if stop > len(data):
            return []
        values.append(data[at + 1 : stop])
        at = stop
    return values
