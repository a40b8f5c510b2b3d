"""What can be benchmarked: a row for each way to boot a machine, built in or from TOML.

[[case]]
name = "winpe-two-stage-600"
image = "winpe"               # an image's id in the library, or a path
firmware = "bios"             # or "uefi"
way = "two-stage"             # or "direct": the whole image through the slow CD
marker = "Startnet"           # a regular expression, on the text screen or the serial line;
                              # or phase = "handed_off": how far the ledger must come
rate_kb_s = 600               # of the slow CD; 0 or left out = as fast as it goes
latency_ms = 10               # of every READ from it
nic = "virtio-net-pci"        # or "e1000", "e1000e"
memory_mib = 2048
arguments = "console=ttyS0"   # as in an image's side-car; for two-stage only
recipe = "disc"               # the same
timeout_s = 900
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from bootserver.bench.qemu_command import NicModel
from bootserver.bench.slow_link import SlowLine
from bootserver.errors import ConfigError, ImageNotFoundError
from bootserver.fields import KernelArguments
from bootserver.model import BootPhase, Firmware

KB = 1000
FOUNDING_RATES_KB_S = (150, 600, 1500)


class BootWay(StrEnum):
    """What comes over the slow path."""

    DIRECT = "direct"  # the whole image is redirected
    TWO_STAGE = "two-stage"  # the stub is, and the rest comes over HTTP


def _regular_expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as err:
        raise ValueError(f"not a regular expression: {err}") from err
    return text


class Case(BaseModel):
    """One way to boot one machine, and the event that ends it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+_-]{0,79}$")
    image: str = Field(min_length=1)
    firmware: Firmware
    way: BootWay
    marker: Annotated[str, AfterValidator(_regular_expression)] = ""
    phase: BootPhase | None = None
    rate_kb_s: int = Field(default=0, ge=0)
    latency_ms: float = Field(default=0, ge=0, le=10_000)
    nic: NicModel = NicModel.E1000
    memory_mib: int = Field(default=1024, ge=64)
    arguments: KernelArguments = ""
    recipe: str = ""
    timeout_s: float = Field(default=900, gt=0)

    @model_validator(mode="after")
    def _ends_once(self) -> Self:
        if bool(self.marker) == (self.phase is not None):
            raise ValueError("give either a marker or a phase, by which it ends")
        if self.way is BootWay.DIRECT and (self.phase or self.arguments or self.recipe):
            raise ValueError("a direct boot is not ours: it has no phase, arguments or recipe")
        return self

    @field_validator("phase")
    @classmethod
    def _comes_to_pass(cls, phase: BootPhase | None) -> BootPhase | None:
        if phase in (BootPhase.FAILED, BootPhase.EXPIRED):
            raise ValueError("a case ends where its boot has come far enough")
        return phase

    @property
    def line(self) -> SlowLine:
        """The slow path to its CD."""
        return SlowLine(self.latency_ms / 1000, self.rate_kb_s * KB)


def _live(firmware: Firmware, rate_kb_s: int = 0, latency_ms: float = 0) -> tuple[Case, Case]:
    """The Debian live disc, directly and in two stages, over the same line."""
    machine: dict[str, Any] = {
        "firmware": firmware,
        "memory_mib": 2048,
        "marker": "LIVE-UP",
        "rate_kb_s": rate_kb_s,
        "latency_ms": latency_ms,
    }
    name, speed = f"live-{firmware}", _speed(rate_kb_s, latency_ms)
    direct = _case(f"{name}-direct-{speed}", "debian-live", BootWay.DIRECT, **machine)
    # What the disc itself says in its menu: our script would leave the serial console out.
    machine["arguments"] = "console=tty0 console=ttyS0,115200 quiet"
    two_stage = _case(f"{name}-two-stage-{speed}", "debian-live", BootWay.TWO_STAGE, **machine)
    return direct, two_stage


def _to_ram(image: str, rate_kb_s: int) -> tuple[Case, Case]:
    """A disc that reads all of itself into memory, as Windows PE does, directly and in two stages.

    In two stages it is our script that has it do so.
    """
    machine: dict[str, Any] = {
        "firmware": Firmware.BIOS,
        "memory_mib": 2048,
        "marker": "LIVE-UP",
        "rate_kb_s": rate_kb_s,
        "timeout_s": 1800,
    }
    name, speed = image.removeprefix("debian-live-"), _speed(rate_kb_s)
    direct = _case(f"{name}-bios-direct-{speed}", image, BootWay.DIRECT, **machine)
    machine["arguments"] = "console=tty0 console=ttyS0,115200 quiet"
    two_stage = _case(f"{name}-bios-two-stage-{speed}", image, BootWay.TWO_STAGE, **machine)
    return direct, two_stage


def _whole_disc(name: str, image: str, rate_kb_s: int) -> Case:
    """All of a disc is fetched, into a UEFI RAM disk: what its size costs."""
    return _case(
        f"{name}-uefi-{_speed(rate_kb_s)}",
        *(image, BootWay.TWO_STAGE),
        firmware=Firmware.UEFI,
        memory_mib=2048,
        marker="LIVE-UP",
        recipe="disc",
        rate_kb_s=rate_kb_s,
    )


def _memtest(rate_kb_s: int = 0) -> tuple[Case, Case]:
    """A disc that reads little of itself."""
    direct, two_stage = (
        _case(
            f"memtest-bios-{way}-{_speed(rate_kb_s)}",
            *("memtest86+x64", way),
            firmware=Firmware.BIOS,
            marker="L1 Cache",  # its boot loader says "Memtest86+ v8" before
            rate_kb_s=rate_kb_s,
        )
        for way in BootWay
    )
    return direct, two_stage


def _case(name: str, image: str, way: BootWay, **fields: Any) -> Case:
    return Case(name=name, image=image, way=way, **fields)


def _speed(rate_kb_s: int, latency_ms: float = 0) -> str:
    rate = f"{rate_kb_s}kB" if rate_kb_s else "unlimited"
    return f"{rate}-{latency_ms:g}ms" if latency_ms else rate


_SLOWEST, *_QUICKER = FOUNDING_RATES_KB_S
_SLOWEST_DIRECT, _SLOWEST_TWO_STAGE = _live(Firmware.BIOS, _SLOWEST)

# Names that stand for several cases. The direct boots over the slowest line take 8 minutes each.
GROUPS: dict[str, tuple[Case, ...]] = {
    "memtest": (*_memtest(), *_memtest(150)),
    "founding": (
        *(case for rate in (*_QUICKER, 0) for case in _live(Firmware.BIOS, rate)),
        _SLOWEST_TWO_STAGE,
        *_live(Firmware.BIOS, 600, 10),
        *_live(Firmware.UEFI, 600),
        *_to_ram("debian-live-toram", 600),
        *_to_ram("debian-live-toram-and-100mb", 600),
        _whole_disc("whole-disc", "debian-live", 600),
        _whole_disc("whole-disc-and-100mb", "debian-live-and-100mb", 600),
        *_memtest(150),
    ),
    "founding-slowest": (_SLOWEST_DIRECT,),
}

BUILT_IN: dict[str, Case] = {case.name: case for cases in GROUPS.values() for case in cases}


def choose_cases(names: Sequence[str], own: Iterable[Case] = ()) -> tuple[Case, ...]:
    """The cases and groups of these names, in that order, each once; without names all of `own`.

    Raises ConfigError for a name that is neither.
    """
    own = tuple(own)
    cases = BUILT_IN | {case.name: case for case in own}
    if not names:
        return own or GROUPS["memtest"]
    chosen: dict[str, Case] = {}
    for name in names:
        if name not in cases and name not in GROUPS:
            near = difflib.get_close_matches(name, [*cases, *GROUPS], n=1)
            raise ConfigError(
                f"there is no benchmark case {name}" + (f"; is it {near[0]}?" if near else ""),
                hint="run: bootserver bench cases",
            )
        for case in (cases[name],) if name in cases else GROUPS[name]:
            chosen[case.name] = case
    return tuple(chosen.values())


def read_cases(path: Path) -> tuple[Case, ...]:
    """The cases of a TOML file; raises ConfigError that lists every mistake."""
    try:
        file = _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as err:
        raise ConfigError(f"{path} cannot be read: {err.strerror}") from err
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise ConfigError(f"{path} is not valid TOML: {err}") from err
    except ValidationError as err:
        mistakes = "\n".join(f"  {_mistake(detail)}" for detail in err.errors())
        raise ConfigError(
            f"{path} does not describe benchmark cases:\n{mistakes}",
            hint="docs/benchmarks.md shows a case with all its keys",
        ) from err
    return file.case


def find_image(image: str, library: Path) -> Path:
    """The file of an image: a path that is there, else NAME.iso or NAME.img in the library."""
    for path in (Path(image), library / f"{image}.iso", library / f"{image}.img"):
        if path.is_file():
            return path.absolute()
    raise ImageNotFoundError(
        f"the image {image} is neither a file nor in {library}",
        hint="`make bench` makes the images of the founding table; `bootserver bench cases` "
        "says which case needs which",
    )


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    case: tuple[Case, ...] = Field(min_length=1)

    @field_validator("case")
    @classmethod
    def _have_names_of_their_own(cls, cases: tuple[Case, ...]) -> tuple[Case, ...]:
        names = [case.name for case in cases]
        if twice := {name for name in names if names.count(name) > 1 or name in GROUPS}:
            raise ValueError(f"a name stands for one case: {', '.join(sorted(twice))}")
        return cases


def _mistake(detail: Any) -> str:
    place = ".".join(str(part + 1 if isinstance(part, int) else part) for part in detail["loc"])
    return f"{place}: {str(detail['msg']).removeprefix('Value error, ')}"
