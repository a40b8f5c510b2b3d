"""The words of Intel AMT's redirection protocol that both directions use."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from bootserver.amt.errors import AmtError

CHUNK_BYTES_MIN, CHUNK_BYTES_MAX = 512, 8192  # what a firmware may say of its buffers
AUTH_DATA_BYTES_MAX = 1024  # a challenge is three fields of at most 255 bytes
AUTH_URI = b"/RedirectionService"
NONCE_COUNT = b"00000002"  # the empty digest that asks for the challenge was request number one


class Service(StrEnum):
    """What is redirected; the value is the tag that asks for it."""

    STORAGE = "IDER"
    SERIAL = "SOL "

    @property
    def words(self) -> str:
        """For a sentence."""
        return "storage redirection" if self is Service.STORAGE else "Serial over LAN"

    @property
    def mebx_switch(self) -> str:
        """What the switch in the machine's own setup is called."""
        return "IDE-R" if self is Service.STORAGE else "SOL"


class Failure(StrEnum):
    """Why there is no session, or none any more."""

    BUSY = "busy"  # somebody else holds the device's only session of the kind
    DISABLED = "disabled"  # redirection is switched off, or this device has none
    WRONG_PASSWORD = "wrong_password"  # noqa: S105  (a reason, no secret)
    NO_DIGEST = "no_digest"  # only ways to log in that show the password, or that nobody uses
    REJECTED = "rejected"  # the device would not open the session or switch its drives
    PROTOCOL = "protocol"  # bytes or an order that the protocol does not have
    ENDED = "ended"  # the device has ended the session
    LOST = "lost"  # the connection ended, or nothing comes any more


class RedirectionError(AmtError):
    """A session failed or was used out of order; `failure` says how, for programs."""

    def __init__(
        self, message: str, *, hint: str = "", failure: Failure = Failure.PROTOCOL
    ) -> None:
        super().__init__(message, hint=hint)
        self.failure = failure


class Device(IntEnum):
    """The redirected drive, as the device register names it."""

    FLOPPY = 0xA0
    CD = 0xB0


class FeatureKind(IntEnum):
    """What a DISABLE_ENABLE_FEATURES is about."""

    SUPPORTED = 1  # answer: bit 0, drives can be switched
    STATE = 2  # answer: bit 1, drives are there now
    SET = 3  # answer: 1, accepted


class SwitchWhen(IntEnum):
    """When the drives appear or go; the value is the timing bits of FeatureKind.SET."""

    ON_RESET = 0x08
    GRACEFUL = 0x10  # rejected while the host has a command under way
    NOW = 0x18  # ends the session if Linux is running


class AuthMethod(IntEnum):
    """The ways to log in that are used here."""

    QUERY = 0
    DIGEST = 4  # RFC 2617 with qop=auth


@dataclass(frozen=True, slots=True)
class Timings:
    """What the firmware is told to expect; 0 ms of heartbeat is none."""

    rx_timeout_ms: int = 30_000  # the firmware ends a session whose console is silent for longer
    tx_timeout_ms: int = 0
    heartbeat_ms: int = 20_000

    def __post_init__(self) -> None:
        if not 10_000 <= self.rx_timeout_ms <= 65_535:
            raise RedirectionError("the receive timeout must be 10,000 to 65,535 ms")
        if not 0 <= self.tx_timeout_ms <= 65_535:
            raise RedirectionError("the send timeout must be 0 to 65,535 ms")
        if self.heartbeat_ms != 0 and not 1_000 <= self.heartbeat_ms <= 65_535:
            raise RedirectionError("the heartbeat must be 0 (none) or 1,000 to 65,535 ms")
