"""Reading what AMT may know: what is absent, odd or forbidden is None, and nothing else is."""

from collections.abc import Callable
from typing import Any

import pytest

from bootserver.amt.errors import (
    AmtAnswerError,
    AmtError,
    AmtFaultError,
    AmtRefusedError,
    AmtUnreachableError,
    AmtWrongPasswordError,
)
from bootserver.amt.wsman.values import (
    Instance,
    Nested,
    optional,
    optional_flag,
    optional_number,
    optional_numbers,
    optional_text,
)

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
        (optional_text, "Word", "word"),
        (optional_text, "Blank", "7"),
        (optional_text, "Empty", None),
        (optional_text, "Many", None),
        (optional_number, "Blank", 7),
        (optional_number, "Word", None),
        (optional_number, "Nested", None),
        (optional_numbers, "Many", (1, 2)),
        (optional_numbers, "Blank", (7,)),
        (optional_numbers, "Nil", ()),
        (optional_numbers, "Absent", ()),
        (optional_flag, "Yes", True),
        (optional_flag, "Word", None),
        (optional_flag, "Nil", None),
        (optional_flag, "Absent", None),
    ],
)
def test_a_value_is_what_it_says_or_none(
    read: Callable[[Instance | None, str], Any], name: str, value: object
) -> None:
    assert read(ODD, name) == value


@pytest.mark.parametrize(
    ("read", "value"),
    [(optional_text, None), (optional_number, None), (optional_flag, None), (optional_numbers, ())],
)
def test_nothing_is_read_of_no_instance(
    read: Callable[[Instance | None, str], Any], value: object
) -> None:
    assert read(None, "Word") == value
