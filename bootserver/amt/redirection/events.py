"""What a redirection session tells whoever runs it: how far it is, and what happened."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bootserver.amt.redirection.ider import (
    CommandWritten,
    DataFromHost,
    ErrorOccurred,
    FeaturesReply,
    OpenReply,
    ResetOccurred,
)
from bootserver.amt.redirection.protocol import Failure
from bootserver.amt.redirection.sol import SerialData, SerialReply


class State(StrEnum):
    """How far a session is."""

    NEW = "new"
    STARTING = "starting"
    QUERYING = "querying"
    CHALLENGING = "challenging"
    RESPONDING = "responding"
    OPENING = "opening"
    OPEN = "open"
    CLOSING = "closing"
    ENDED = "ended"
    FAILED = "failed"


AWAITED = {
    State.NEW: "nothing, for nothing was sent yet",
    State.STARTING: "the answer to our request for a session",
    State.QUERYING: "the list of ways to log in",
    State.CHALLENGING: "the challenge to log in with",
    State.RESPONDING: "the verdict on the password",
    State.OPENING: "the answer to OPEN_SESSION",
    State.OPEN: "commands of the host",
    State.CLOSING: "the answer to CLOSE",
}


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The password was right; OPEN_SESSION is on its way."""


@dataclass(frozen=True, slots=True)
class Switched:
    """The firmware has accepted to show the drives, or to take them away."""

    on: bool


@dataclass(frozen=True, slots=True)
class Closed:
    """The session is over, as asked or on the firmware's own account."""

    asked: bool


@dataclass(frozen=True, slots=True)
class Failed:
    """The session is over: why, in words, and what to do about it."""

    failure: Failure
    message: str
    hint: str = ""


Event = (
    Authenticated
    | OpenReply  # the session is open: time for `switch_on`
    | Switched
    | FeaturesReply  # to `ask`
    | CommandWritten  # to be answered, in order
    | DataFromHost
    | ResetOccurred  # answered already; the commands before it are void
    | ErrorOccurred
    | SerialReply  # the serial line is there
    | SerialData
    | Closed
    | Failed
)
