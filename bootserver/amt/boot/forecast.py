"""How long a boot over redirection will take, directly and in two stages: an estimate, beforehand.

A disc that reads little of itself boots faster when it is redirected as it is. A disc that reads
much of itself boots faster when a stub fetches it. The shares below were counted in QEMU
(docs/benchmarks.md); what a machine of yours reads may differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import PlainSerializer, computed_field

from bootserver.amt.errors import AmtError
from bootserver.amt.hosts import LineSpeeds
from bootserver.images.decide import Decision, Site, chosen, decide
from bootserver.model import Firmware, Image, Machine, Method
from bootserver.quoting import shell_command
from bootserver.units import megabytes, rough_duration

# A live system reads its kernel and initrd whole, and about so much of its root until it is up.
LIVE_SHARE = 0.2
# Memtest86+ reads 0.24 MB of itself, a GRUB rescue disc 0.83 MB.
SELF_CONTAINED_BYTES = 1_000_000
SELF_CONTAINED_MAX_BYTES = 32_000_000  # a larger disc has a system on it, of which we know nothing
UNKNOWN_SHARE = 1 / 3
BOOT_WIM = "/sources/boot.wim"
# The stub's own start, and its way to an address: iPXE waits three seconds for DHCP offers.
KNOWN_ADDRESS_S, DHCP_S = 1.0, 4.0


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is to be expected of one way to boot: bytes over each line, and about how long."""

    slow_bytes: int
    fast_bytes: int
    seconds: Annotated[float, PlainSerializer(lambda s: round(s, 1), return_type=float)]

    @computed_field
    @property
    def sentence(self) -> str:
        """The same for a person."""
        fast = f" and {megabytes(self.fast_bytes)} over HTTP" if self.fast_bytes else ""
        slow = f"{megabytes(self.slow_bytes)} over redirection"
        return f"about {rough_duration(self.seconds)}: {slow}{fast}"


@dataclass(frozen=True, slots=True)
class BootForecasts:
    """Both ways to boot an image; `direct` is None for one that no firmware starts as a disc."""

    two_stage: Forecast
    direct: Forecast | None
    reads_once: bool = False  # so small a disc is all in memory soon, and can then be taken away

    @property
    def direct_is_faster(self) -> bool:
        """True if the disc reads so little of itself that the stub does not pay."""
        return self.direct is not None and self.direct.seconds < self.two_stage.seconds


def foresee(
    image: Image, site: Site, stub_bytes: int, lines: LineSpeeds, *, address_is_known: bool
) -> BootForecasts:
    """What to expect, of the firmware for which it takes longer; AmtError if the image boots none.

    `stub_bytes` is what a firmware reads of the stub.
    """
    decisions = [
        decision for firmware in Firmware if (decision := _decided(image, firmware, site)).offer
    ]
    if not decisions:
        refusal = decide(image, Machine(firmware=Firmware.UEFI), site).refusal
        raise AmtError(
            f"{image.id} boots no machine: {refusal}",
            hint=shell_command("bootserver images explain", image.id),
        )
    fast_bytes = max(_fetched_bytes(image, decision) for decision in decisions)
    two_stage = Forecast(
        stub_bytes,
        fast_bytes,
        stub_bytes / lines.slow_bytes_per_s
        + (KNOWN_ADDRESS_S if address_is_known else DHCP_S)
        + fast_bytes / lines.fast_bytes_per_s,
    )
    if not is_disc(image):
        return BootForecasts(two_stage, None)
    read_bytes = min(
        image.size_bytes, max(_read_directly_bytes(image, decision) for decision in decisions)
    )
    direct = Forecast(read_bytes, 0, read_bytes / lines.slow_bytes_per_s)
    return BootForecasts(two_stage, direct, image.size_bytes <= SELF_CONTAINED_MAX_BYTES)


def _decided(image: Image, firmware: Firmware, site: Site) -> Decision:
    """How the image boots; of a choice at the machine's screen, its first entry."""
    machine = Machine(firmware=firmware)
    decision = decide(image, machine, site)
    if decision.choice is None:
        return decision
    return decide(chosen(image, f"#{decision.choice.numbers[0] + 1}"), machine, site)


def is_disc(image: Image) -> bool:
    """True if a firmware starts the image when it lies in a CD drive."""
    facts = image.facts
    if facts is None or facts.plain_disk is not None:
        return False
    return any(facts.boots(firmware) for firmware in Firmware)


def _fetched_bytes(image: Image, decision: Decision) -> int:
    """What comes over HTTP until the system is up: by the loader, and then by the system."""
    assert decision.offer is not None
    return decision.offer.loaded_bytes + _medium_bytes(image, decision.offer.fetched)


def _read_directly_bytes(image: Image, decision: Decision) -> int:
    """About how much a machine reads of the disc in its drive, until the system is up."""
    offer, facts = decision.offer, image.facts
    assert offer is not None
    assert facts is not None
    if BOOT_WIM in facts.markers:  # Windows PE reads all of it
        return facts.markers[BOOT_WIM] + SELF_CONTAINED_BYTES
    if offer.way.method is Method.KERNEL:
        medium_bytes = _medium_bytes(image, offer.fetched)
        return offer.loaded_bytes + round(LIVE_SHARE * medium_bytes) + SELF_CONTAINED_BYTES
    if image.size_bytes <= SELF_CONTAINED_MAX_BYTES:
        return SELF_CONTAINED_BYTES
    return round(UNKNOWN_SHARE * image.size_bytes)


def _medium_bytes(image: Image, fetched: str) -> int:
    if fetched == "{iso}":
        return image.size_bytes
    return image.facts.markers.get(fetched, 0) if image.facts and fetched else 0
