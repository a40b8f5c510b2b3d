"""What a boot over AMT is doing, and how it ended, as data for the API and its clients."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

from pydantic import Field, InstanceOf, computed_field

from bootserver.amt.boot.forecast import BootForecasts, Forecast
from bootserver.amt.errors import AmtError, failure_of
from bootserver.amt.types import BootMethod
from bootserver.errors import BootServerError
from bootserver.json_values import MayFail, Timestamp


class BootStep(StrEnum):
    """What is going on, in order; the last three are ends."""

    WAITING = "waiting"  # for its turn
    PROBING = "probing"
    PREPARING = "preparing"
    CONSENT = "consent"  # a user at the machine reads out the code on its screen
    ATTACHING = "attaching"
    POWERING = "powering"
    WATCHING = "watching"
    ATTACHED = "attached"  # as asked: the drive stays until it is taken away
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDS = frozenset({BootStep.DONE, BootStep.FAILED, BootStep.CANCELLED})


@dataclass(frozen=True, slots=True)
class BootProgress(MayFail):
    """A boot over AMT so far. `boot` is its id in the ledger, once it has one."""

    id: str
    host: str
    image: str
    asked: BootMethod
    created_at: Timestamp
    step: Annotated[BootStep, Field(serialization_alias="doing")] = BootStep.WAITING
    sentence: str = ""  # what is going on, or how it ended
    taken: BootMethod | None = None
    forecasts: Annotated[BootForecasts | None, Field(exclude=True)] = None
    boot: str = ""
    reads: int = 0
    redirected_bytes: int = 0
    problem: Annotated[InstanceOf[BootServerError] | None, Field(exclude=True)] = field(
        default=None, repr=False
    )
    ended_at: Timestamp | None = None

    @property
    def is_active(self) -> bool:
        """True until its end."""
        return self.step not in ENDS

    @computed_field
    @property
    def expected(self) -> dict[BootMethod, Forecast | None]:
        """What is expected of both ways, None before that is known."""
        return {
            BootMethod.TWO_STAGE: self.forecasts.two_stage if self.forecasts else None,
            BootMethod.DIRECT: self.forecasts.direct if self.forecasts else None,
        }

    @computed_field
    @property
    def failure(self) -> str:
        """Why it failed in one word for programs, or ""."""
        return failure_of(self.problem) if self.problem else ""


class NoReadsError(AmtError):
    """The machine was started and does not boot from the redirected CD."""


class NoCallError(AmtError):
    """The machine has read the stub, or knows its URL, and its stub does not call."""


class BootFailedError(AmtError):
    """The stub has called, and the boot failed after that."""
