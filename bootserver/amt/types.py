"""The types in which people and programs speak of AMT: login, power, way to boot.

Of the standard library only, since every command of the command line has to read it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class AmtLogin:
    """A login for this one time, over what is configured; "" and None: as configured."""

    user: str = ""
    password: str = field(default="", repr=False)
    tls: bool | None = None
    legacy_tls: bool = False


class PowerState(StrEnum):
    """What the machine does now. `standby` is a running system's own saving (S0ix)."""

    ON = "on"
    STANDBY = "standby"
    SLEEPING = "sleeping"
    HIBERNATING = "hibernating"
    OFF = "off"
    UNKNOWN = "unknown"

    @property
    def in_words(self) -> str:
        """What follows on "the machine is"."""
        return _STATES_IN_WORDS.get(self, self.value)


_STATES_IN_WORDS = {
    PowerState.STANDBY: "asleep, in standby",
    PowerState.SLEEPING: "asleep",
    PowerState.HIBERNATING: "asleep, in hibernation",
}


class PowerAction(StrEnum):
    """What can be asked for. `shutdown`, `restart`, `sleep` and `hibernate` need the system's help.

    `boot` starts the firmware in any state: a reset if it is on, power-on if not.
    """

    BOOT = "boot"
    ON = "on"
    OFF = "off"
    RESET = "reset"
    CYCLE = "cycle"
    SHUTDOWN = "shutdown"
    RESTART = "restart"
    SLEEP = "sleep"
    HIBERNATE = "hibernate"


class BootMethod(StrEnum):
    """How a machine gets its image; AUTO is the way that is expected to be the fastest."""

    AUTO = "auto"
    TWO_STAGE = "two-stage"  # redirected stub, image over HTTP
    DIRECT = "direct"  # redirected image
    ONE_CLICK_RECOVERY = "ocr"  # AMT has the firmware fetch the stub by HTTPS


class BootTarget(StrEnum):
    """What a machine of its own can boot next, once: nothing of ours."""

    BIOS_SETUP = "bios-setup"
    DISK = "disk"
    CD = "cd"  # a drive of its own
    PXE = "pxe"
