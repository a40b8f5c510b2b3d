"""Boots as counters and histograms, for Prometheus and for the export: each thing counted once.

Labels are bounded. The caller says what an image and a recipe are called, and gives "other" for one
too many.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.openmetrics.exposition import generate_latest

from bootserver.model import BootPhase, Firmware
from bootserver.sessions.shape import BootJson
from bootserver.sessions.tracker import BAD_ENDS, ORDER

OTHER, UNKNOWN = "other", "unknown"
OUTCOMES = ("handed_off", "failed", "expired")
BUCKETS_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800)
# The phases that every boot from a stub has; the others get a line when a boot comes to them.
USUAL_PHASES = tuple(
    phase.value
    for phase in BootPhase
    if ORDER[BootPhase.STUB_STARTED] <= ORDER[phase] <= ORDER[BootPhase.OS_UP]
)
HANDED_OFF = ORDER[BootPhase.HANDED_OFF]
REMEMBERED = 20_000  # boots that may still go on

# When a counter began says nothing of boots that are older, and is a line for each of them.
disable_created_metrics()  # type: ignore[no-untyped-call]


@dataclass(slots=True)
class _Counted:
    """What has been counted of one boot."""

    phases: int = 0
    sent_bytes: int = 0
    outcome: bool = False


class BootMetrics:
    """Counts boots as they go on; `registry` has what was counted."""

    def __init__(
        self,
        image_label: Callable[[str], str],
        recipe_label: Callable[[str], str] = lambda recipe: recipe,
    ) -> None:
        self._image_label = image_label
        self._recipe_label = recipe_label
        self._counted: OrderedDict[str, _Counted] = OrderedDict()
        self._under_way: dict[str, bool] = {}  # by id; whether it is stalled
        self.registry = CollectorRegistry()
        what = ("image", "recipe", "firmware")
        self._phase_seconds = Histogram(
            "boot_phase_seconds",
            "How long boots took to come to a phase from the one before",
            ("phase", *what),
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        self._boots = Counter(
            "boots",
            "Boots by what became of them, each once: handed_off, failed or expired",
            ("outcome", *what),
            registry=self.registry,
        )
        self._image_bytes = Counter(
            "image_bytes",
            "Bytes of images that were sent to machines",
            what,
            registry=self.registry,
        )

    def count_boots_under_way(self) -> None:
        """Have in the registry how many boots are under way, and how many of these stand still."""
        for name, text, value in (
            ("boots_in_progress", "Boots between their stub and the hand-off", self.in_progress),
            ("boots_stalled", "Boots in progress that do not move", self.stalled),
        ):
            Gauge(name, text, registry=self.registry).set_function(value)

    def in_progress(self) -> int:
        """How many boots are between their stub and the hand-off."""
        return len(self._under_way)

    def stalled(self) -> int:
        """How many of these stand still."""
        return sum(self._under_way.values())

    def begin_at_zero(self, image: str, recipe: str) -> None:
        """Have a line for all that is to be counted of an image, so that rates have a beginning."""
        for firmware in Firmware:
            labels = (self._image_label(image), self._recipe_label(recipe), firmware.value)
            self._image_bytes.labels(*labels)
            for outcome in OUTCOMES:
                self._boots.labels(outcome, *labels)
            for phase in USUAL_PHASES:
                self._phase_seconds.labels(phase, *labels)

    def pass_over(self, boot: BootJson) -> None:
        """What this boot has done so far was counted before, by a server that has ended since."""
        self._watch(boot)
        if _is_known(boot):
            self._counted[boot["id"]] = _Counted(
                len(boot["phases"]), boot["sent_bytes"], _outcome(boot) is not None
            )

    def add(self, boot: BootJson) -> None:
        """Count what is new of a boot: its phases, its bytes, what became of it."""
        self._watch(boot)
        if not _is_known(boot):
            return
        counted = self._counted.setdefault(boot["id"], _Counted())
        labels = (
            self._image_label(boot["image"]),
            self._recipe_label(boot["recipe"]) or UNKNOWN,
            boot["machine"]["firmware"] or UNKNOWN,
        )
        for phase in boot["phases"][max(counted.phases, 1) :]:  # the first has nothing before it
            self._phase_seconds.labels(phase["phase"], *labels).observe(phase["seconds"])
        counted.phases = len(boot["phases"])
        self._image_bytes.labels(*labels).inc(max(boot["sent_bytes"] - counted.sent_bytes, 0))
        counted.sent_bytes = boot["sent_bytes"]
        if not counted.outcome and (outcome := _outcome(boot)):
            self._boots.labels(outcome, *labels).inc()
            counted.outcome = True
        if len(self._counted) > REMEMBERED:
            self._counted.popitem(last=False)

    def openmetrics(self) -> str:
        """All of it as text (OpenMetrics 1.0)."""
        text: bytes = generate_latest(self.registry)  # type: ignore[no-untyped-call]
        return text.decode()

    def _watch(self, boot: BootJson) -> None:
        place = ORDER[BootPhase(boot["phase"])]
        if ORDER[BootPhase.STUB_STARTED] <= place < HANDED_OFF:
            self._under_way[boot["id"]] = bool(boot["stalled"])
        else:
            self._under_way.pop(boot["id"], None)


def _is_known(boot: BootJson) -> bool:
    """True once it is clear what is booted, or that it will never be: labels do not change then."""
    return bool(boot["recipe"]) or ORDER[BootPhase(boot["phase"])] >= HANDED_OFF


def _outcome(boot: BootJson) -> str | None:
    """What became of the boot; None while that is open."""
    phase = BootPhase(boot["phase"])
    if phase in BAD_ENDS:
        return phase.value
    return BootPhase.HANDED_OFF.value if ORDER[phase] >= HANDED_OFF else None
