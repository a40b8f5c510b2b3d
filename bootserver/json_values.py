"""Typed values as JSON: one declaration gives the value, its JSON and its schema.

The API, its event stream, `--json` and the pages all print what `to_json` makes of a dataclass.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Annotated, Any

from pydantic import PlainSerializer, TypeAdapter, WithJsonSchema, computed_field

from bootserver.errors import BootServerError

Json = dict[str, Any]

_DATE_TIME = WithJsonSchema({"type": "string", "format": "date-time"})
# RFC 3339 with +00:00 for UTC, as a boot has it; pydantic's own form ends in Z.
Timestamp = Annotated[datetime, PlainSerializer(datetime.isoformat), _DATE_TIME]
TimestampText = Annotated[str, _DATE_TIME]  # a time that is written already


@cache
def adapter_of(kind: Any) -> TypeAdapter[Any]:
    """What serializes values of that type, and describes them."""
    return TypeAdapter(kind)


def to_json(value: Any) -> Any:
    """A dataclass as a JSON object, with its computed fields."""
    kind: Any = type(value)
    return adapter_of(kind).dump_python(value, mode="json", by_alias=True)


class MayFail:
    """The base of dataclasses with a `problem`: their JSON has its sentence and its hint."""

    __slots__ = ()
    problem: BootServerError | None

    @computed_field
    @property
    def error(self) -> str:
        """Why it failed, or ""."""
        return self.problem.message if self.problem else ""

    @computed_field
    @property
    def hint(self) -> str:
        """What to do about that, or ""."""
        return self.problem.hint if self.problem else ""
