"""GRUB's `test` and `regexp` commands, with a third answer: that it cannot be told.

GNU GRUB manual 2.06, `test`. Where the words make no sense, GRUB still has an answer. A word that
is no test is true if it is not empty.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from contextlib import suppress

Truth = bool | None

# A number as GRUB reads it at the beginning of a text: in C's notation, or nothing.
NUMBER = re.compile(r"\s*(?:0[xX]([0-9a-fA-F]{1,8})|0([0-7]{0,9})|([1-9]\d{0,9}))", re.ASCII)

_OF_TEXTS: dict[str, Callable[[str, str], bool]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_OF_NUMBERS: dict[str, Callable[[int, int], bool]] = {
    "-eq": operator.eq,
    "-ne": operator.ne,
    "-lt": operator.lt,
    "-le": operator.le,
    "-gt": operator.gt,
    "-ge": operator.ge,
}
# What Python's expressions and POSIX's extended ones read alike: no alternatives, and no group is
# repeated. With few parts that are, it takes a time that can be told.
_ALIKE = re.compile(
    r"\^?(?:(?:\\[^\w\s]|\.|\[\^?[\w/.-]+\]|[\w/ =:,;%@~-])[*+?]?|[()])*\$?", re.ASCII
)
MAX_REPEATED = 2
MAX_SEARCHED = 128  # characters

_NOT_TOLD = re.compile(r"-(pgt|plt|nt.*|ot.*)")  # of versions and of times


def number_at_start(text: str) -> int | None:
    """The number that a text begins with; None without one."""
    found = NUMBER.match(text)
    if found is None:
        return None
    base = 16 if found[1] else 8 if found[2] is not None else 10
    return int(found[1] or found[2] or found[3] or "0", base)


def alike(expression: str) -> re.Pattern[str] | None:
    """The expression of a `regexp`, if it can be told what POSIX makes of it."""
    repeated = len(re.findall(r"[*+?]", re.sub(r"\\.", "", expression)))
    if _ALIKE.fullmatch(expression) and repeated <= MAX_REPEATED:
        with suppress(re.error):
            return re.compile(expression, re.ASCII)
    return None


def holds(words: list[str], of_file: Callable[[str, str], Truth]) -> Truth:
    """Whether `test` is true of its words; `of_file` answers -d, -e, -f and -s for a path.

    A word with NUL in it is not known, and so is what depends on it.
    """
    if words[-1:] == ["]"]:
        words = words[:-1]
    outer, at = list[_Terms](), 0
    terms = _Terms()
    while at < len(words):
        first, second, third = [*words[at : at + 3], "", ""][:3]
        left = len(words) - at
        if left >= 3 and (
            second in _OF_TEXTS or second in _OF_NUMBERS or _NOT_TOLD.fullmatch(second)
        ):
            terms.add(_compared(first, second, third))
            at += 3
        elif left >= 2 and first in ("-d", "-e", "-f", "-s"):
            terms.add(None if "\0" in second else of_file(first, second))
            at += 2
        elif left >= 2 and first in ("-n", "-z"):
            terms.add(None if "\0" in second else bool(second) is (first == "-n"))
            at += 2
        else:
            at += 1
            if first == "(":
                outer.append(terms)
                terms = _Terms()
            elif first == ")":
                if not outer:
                    break
                inner, terms = terms.value(), outer.pop()
                terms.add(inner)
            elif first == "!":
                terms.inverted = not terms.inverted
            elif first == "-o":
                terms.either, terms.all = terms.value(), True
            elif first != "-a":
                terms.add(None if "\0" in first else bool(first))
    while outer:
        inner, terms = terms.value(), outer.pop()
        terms.add(inner)
    return terms.value()


class _Terms:
    """Terms that are all to be true, or else those before an -o."""

    def __init__(self) -> None:
        self.either: Truth = False
        self.all: Truth = True
        self.inverted = False

    def add(self, term: Truth) -> None:
        if term is not None and self.inverted:
            term = not term
        self.inverted = False
        self.all = (
            False if False in (self.all, term) else None if None in (self.all, term) else True
        )

    def value(self) -> Truth:
        return (
            True
            if True in (self.either, self.all)
            else None
            if None in (self.either, self.all)
            else False
        )


def _compared(first: str, how: str, second: str) -> Truth:
    if "\0" in first + second or _NOT_TOLD.fullmatch(how):
        return None
    if how in _OF_TEXTS:
        return _OF_TEXTS[how](first, second)
    return _OF_NUMBERS[how](_signed(first), _signed(second))


def _signed(text: str) -> int:
    sign = -1 if text.startswith("-") else 1
    return sign * (number_at_start(text.removeprefix("-")) or 0)
