"""What WS-MAN carries: instances of CIM classes, their properties, and pointers to others.

`Instance` reads a property that must be there. The functions `optional_…` read one that an old, odd
or silent AMT may lack: that is None, and no error.
"""

from collections.abc import Awaitable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from bootserver.amt.errors import AmtAnswerError, AmtFaultError, AmtRefusedError

ADDRESSING = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
ANONYMOUS = f"{ADDRESSING}/role/anonymous"

T = TypeVar("T")


@dataclass(frozen=True)
class EndpointReference:
    """A pointer to an instance: its class and, where there are several, its selectors."""

    resource: str
    selectors: Mapping[str, str] = field(default_factory=dict)
    address: str = ANONYMOUS


@dataclass(frozen=True)
class Nested:
    """A value with elements of its own (a CIM datetime), by `{namespace}name`, for giving back."""

    children: tuple[tuple[str, "Value"], ...]


Value: TypeAlias = str | EndpointReference | Nested | tuple["Value", ...] | None
"""As read: text, a pointer, nested elements, several of one name, or nothing (xsi:nil)."""

Plain: TypeAlias = Value | bool | int
"""As written: None writes no element at all, which is not what an empty text does."""


@dataclass(frozen=True)
class Instance:
    """One instance, or a method's output: properties in the order in which they came."""

    resource: str
    properties: Mapping[str, Value] = field(repr=False)  # RFBPassword is one

    def __contains__(self, name: str) -> bool:
        return name in self.properties

    def text(self, name: str) -> str:
        """The property's text."""
        match self.properties.get(name):
            case str(text):
                return text
            case _:
                raise AmtAnswerError(f"AMT's {short_name(self.resource)} lacks the property {name}")

    def number(self, name: str) -> int:
        """The property as a number."""
        return as_number(self.text(name), f"{short_name(self.resource)}.{name}")

    def flag(self, name: str) -> bool:
        """The property as a truth value."""
        match self.text(name).lower():
            case "true" | "1":
                return True
            case "false" | "0":
                return False
            case other:
                where = f"{short_name(self.resource)}.{name}"
                raise AmtAnswerError(f"{other!r} of AMT's {where} is neither true nor false")

    def changed(self, changes: Mapping[str, Plain], without: Collection[str] = ()) -> "Instance":
        """This instance with some properties set (in their old places) and others left out."""
        properties = {**self.properties, **{name: read_back(new) for name, new in changes.items()}}
        return Instance(
            self.resource, {name: properties[name] for name in properties if name not in without}
        )


def read_back(value: Plain) -> Value:
    """The value as it is read back once it has been written."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case _:
            return value


def short_name(resource: str) -> str:
    """The class that a resource URI names."""
    return resource.rpartition("/")[2]


def as_number(text: str, what: str) -> int:
    """The number that AMT wrote; `what` stands for it in the error."""
    try:
        return int(text)
    except ValueError:
        raise AmtAnswerError(f"{text[:40]!r} of AMT's {what} is not a number") from None


# ---- values that may not be there


async def optional(asked: Awaitable[T]) -> T | None:
    """What was asked for, or None where this AMT has no such thing or this user may not see it.

    No answer at all and a wrong password are still errors.
    """
    try:
        return await asked
    except (AmtFaultError, AmtAnswerError, AmtRefusedError):
        return None


def optional_text(instance: Instance | None, name: str) -> str | None:
    """The property's text without blanks around it, or None; empty is None, too."""
    value = instance.properties.get(name) if instance is not None else None
    return value.strip() or None if isinstance(value, str) else None


def optional_number(instance: Instance | None, name: str) -> int | None:
    """The property as a number, or None."""
    return _as_number_or_none(optional_text(instance, name))


def optional_numbers(instance: Instance | None, name: str) -> tuple[int, ...]:
    """The numbers of a property that comes any number of times; what is none is left out."""
    value = instance.properties.get(name) if instance is not None else None
    texts = value if isinstance(value, tuple) else (value,)
    found = (_as_number_or_none(one) for one in texts if isinstance(one, str))
    return tuple(one for one in found if one is not None)


def optional_flag(instance: Instance | None, name: str) -> bool | None:
    """The property as a truth value, or None."""
    try:
        return instance.flag(name) if instance is not None else None
    except AmtAnswerError:
        return None


def meaning(meanings: Mapping[int, T], value: int | None) -> T | None:
    """What the number stands for, or None where that is unknown."""
    return meanings.get(value) if value is not None else None


def _as_number_or_none(value: str | None) -> int | None:
    try:
        return int(value) if value is not None else None
    except ValueError:
        return None
