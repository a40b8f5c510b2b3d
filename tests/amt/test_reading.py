"""Reading what AMT may know: what is absent, odd or forbidden is None, and nothing else is."""

from collections.abc import Callable
from typing import Any

import pytest

from bootserver.amt.control.reading import flag, number, numbers, optional, text
from bootserver.amt.errors import (
    AmtAnswerError,
    AmtError,
    AmtFaultError,
    AmtRefusedError,
    AmtUnreachableError,
    AmtWrongPasswordError,
)
from bootserver.amt.wsman.values import Instance, Nested

ODD: Instance = Instance(
    "AMT_X",
    {
        "Empty": "",
        "Blank": " 7 ",
        "Word": "word",
        "Yes": "true",
        "Many": ("1", "x", "2"),
        "Nil": None,
        "Nested": Nested(()),
    },
)


async def raising(err: AmtError) -> str:
    raise err


@pytest.mark.parametrize(
    "err",
    [
        AmtFaultError("x", subcode="DestinationUnreachable"),
        AmtAnswerError("x"),
        AmtRefusedError("x"),
    ],
)
async def test_what_amt_does_not_have_or_tell_is_none(err: AmtError) -> None:
    assert await optional(raising(err)) is None


@pytest.mark.parametrize("err", [AmtUnreachableError("x"), AmtWrongPasswordError("x")])
async def test_that_nobody_answers_is_still_an_error(err: AmtError) -> None:
    with pytest.raises(type(err)):
        await optional(raising(err))


@pytest.mark.parametrize(
    ("read", "name", "value"),
    [
        (text, "Word", "word"),
        (text, "Blank", "7"),
        (text, "Empty", None),
        (text, "Many", None),
        (number, "Blank", 7),
        (number, "Word", None),
        (number, "Nested", None),
        (numbers, "Many", (1, 2)),
        (numbers, "Blank", (7,)),
        (numbers, "Nil", ()),
        (numbers, "Absent", ()),
        (flag, "Yes", True),
        (flag, "Word", None),
        (flag, "Nil", None),
        (flag, "Absent", None),
    ],
)
def test_a_value_is_what_it_says_or_none(
    read: Callable[[Instance | None, str], Any], name: str, value: object
) -> None:
    assert read(ODD, name) == value


@pytest.mark.parametrize(
    ("read", "value"), [(text, None), (number, None), (flag, None), (numbers, ())]
)
def test_nothing_is_read_of_no_instance(
    read: Callable[[Instance | None, str], Any], value: object
) -> None:
    assert read(None, "Word") == value
