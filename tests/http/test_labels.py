"""What pages say: nothing of ours is shown by the name that programs call it."""

from __future__ import annotations

from enum import StrEnum

import pytest

from bootserver.http import labels
from bootserver.model import BootPhase, Firmware, Method, TransferEnd


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (BootPhase, labels.PHASES),
        (Method, labels.METHODS),
        (TransferEnd, labels.OUTCOMES),
        (Firmware, labels.FIRMWARE),
    ],
)
def test_every_name_has_words(names: type[StrEnum], told: dict[str, str]):
    assert set(told) - {""} == {name.value for name in names}
    assert not any("_" in sentence for sentence in told.values())
