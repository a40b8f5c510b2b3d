"""What AMT may know: values read so that an old, odd or silent answer is None, not an error."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import TypeVar

from bootserver.amt.errors import AmtAnswerError, AmtFaultError, AmtRefusedError
from bootserver.amt.wsman.values import Instance

T = TypeVar("T")


async def optional(asked: Awaitable[T]) -> T | None:
    """What was asked for, or None where this AMT has no such thing or this user may not see it.

    That nobody answers, or that the password is wrong, is still an error.
    """
    try:
        return await asked
    except (AmtFaultError, AmtAnswerError, AmtRefusedError):
        return None


def text(instance: Instance | None, name: str) -> str | None:
    """The property's text without blanks around it, or None; empty is None, too."""
    value = instance.properties.get(name) if instance is not None else None
    return value.strip() or None if isinstance(value, str) else None


def number(instance: Instance | None, name: str) -> int | None:
    """The property as a number, or None."""
    return _number(text(instance, name))


def numbers(instance: Instance | None, name: str) -> tuple[int, ...]:
    """The numbers of a property that comes any number of times; what is none is left out."""
    value = instance.properties.get(name) if instance is not None else None
    texts = value if isinstance(value, tuple) else (value,)
    found = (_number(one) for one in texts if isinstance(one, str))
    return tuple(one for one in found if one is not None)


def flag(instance: Instance | None, name: str) -> bool | None:
    """The property as a truth value, or None."""
    try:
        return instance.flag(name) if instance is not None else None
    except AmtAnswerError:
        return None


def meaning(meanings: Mapping[int, T], value: int | None) -> T | None:
    """What the number stands for, or None where nobody knows."""
    return meanings.get(value) if value is not None else None


def _number(value: str | None) -> int | None:
    try:
        return int(value) if value is not None else None
    except ValueError:
        return None
