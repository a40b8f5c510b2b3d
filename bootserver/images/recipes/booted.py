"""The ways by which a guest has come up in our boot tests.

They stand in booted.json beside this module. `explain` reads that file at run time, so it is
part of the package and under version control. Only the boot tests write it (`make booted`).
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from bootserver.model import Firmware, Method

FACTS = Path(__file__).with_name("booted.json")


def is_booted(recipe: str, firmware: Firmware, method: Method) -> bool:
    """True if a guest of this kind has said in a boot test that it runs, booted in this way."""
    return (recipe, firmware, method) in _ways()


@cache
def _ways() -> frozenset[tuple[str, str, str]]:
    facts = json.loads(FACTS.read_text(encoding="utf-8"))
    return frozenset((fact["recipe"], fact["firmware"], fact["method"]) for fact in facts)
