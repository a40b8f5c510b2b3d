"""What a boot over AMT is doing, and how it ended, as data for the API and its clients."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from bootserver.amt.boot.forecast import BootForecasts, Forecast
from bootserver.amt.errors import AmtError, failure_of
from bootserver.amt.types import BootMethod
from bootserver.errors import BootServerError


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
class BootProgress:
    """A boot over AMT so far. `boot` is its id in the ledger, once it has one."""

    id: str
    host: str
    image: str
    asked: BootMethod
    created_at: datetime
    step: BootStep = BootStep.WAITING
    sentence: str = ""  # what is going on, or how it ended
    taken: BootMethod | None = None
    forecasts: BootForecasts | None = None
    boot: str = ""
    reads: int = 0
    redirected_bytes: int = 0
    problem: BootServerError | None = field(default=None, repr=False)
    ended_at: datetime | None = None

    @property
    def is_active(self) -> bool:
        """True until its end."""
        return self.step not in ENDS

    def as_json(self) -> dict[str, Any]:
        """For the API, its event stream and the command line."""
        two_stage = self.forecasts.two_stage if self.forecasts else None
        direct = self.forecasts.direct if self.forecasts else None
        return {
            "id": self.id,
            "host": self.host,
            "image": self.image,
            "asked": self.asked.value,
            "taken": self.taken.value if self.taken else None,
            "doing": self.step.value,
            "sentence": self.sentence,
            "expected": {
                BootMethod.TWO_STAGE.value: _forecast_json(two_stage),
                BootMethod.DIRECT.value: _forecast_json(direct),
            },
            "boot": self.boot,
            "reads": self.reads,
            "redirected_bytes": self.redirected_bytes,
            "failure": failure_of(self.problem) if self.problem else "",
            "error": self.problem.message if self.problem else "",
            "hint": self.problem.hint if self.problem else "",
            "created_at": self.created_at.isoformat(),
            "ended_at": self.ended_at.isoformat() if self.ended_at else None,
        }


class NoReadsError(AmtError):
    """The machine was started and does not boot from the redirected CD."""


class NoCallError(AmtError):
    """The machine has read the stub, or knows its URL, and its stub does not call."""


class BootFailedError(AmtError):
    """The stub has called, and the boot failed after that."""


def _forecast_json(forecast: Forecast | None) -> dict[str, Any] | None:
    if forecast is None:
        return None
    return {
        "seconds": round(forecast.seconds, 1),
        "slow_bytes": forecast.slow_bytes,
        "fast_bytes": forecast.fast_bytes,
        "sentence": forecast.sentence,
    }
