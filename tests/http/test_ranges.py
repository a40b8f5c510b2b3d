"""Range headers and conditions: the words of RFC 9110, and slicing as the model."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootserver.http.conditions import (
    Conditions,
    Representation,
    Selection,
    parse_http_date,
    select_ranges,
)
from bootserver.http.ranges import MAX_RANGES, UnsatisfiableRangeError, parse_ranges, plain_range
from bootserver.http.replies import content_range
from bootserver.model import ByteRange

HUGE = 10**30


def pairs(ranges: tuple[ByteRange, ...] | None) -> list[tuple[int, int]] | None:
    return None if ranges is None else [(r.start, r.stop) for r in ranges]


# ---- one range --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-99", (0, 100)),
        ("bytes=5-9", (5, 10)),
        ("bytes=5-", (5, 100)),
        ("bytes=99-", (99, 100)),
        ("bytes=90-1000", (90, 100)),
        ("bytes=-1", (99, 100)),
        ("bytes=-100", (0, 100)),
        ("bytes=-101", (0, 100)),
        (f"bytes=-{HUGE}", (0, 100)),
        (f"bytes=7-{HUGE}", (7, 100)),
        ("bytes=0007-0008", (7, 9)),
        ("bytes=-0003", (97, 100)),
        ("bytes=" + "0" * 6000 + "7-" + "0" * 6000 + "8", (7, 9)),
        ("Bytes=5-9", (5, 10)),
        (" \tbytes=5-9\t ", (5, 10)),
        ("bytes= 5-9 ", (5, 10)),
        ("bytes=,, ,5-9,\t,", (5, 10)),
    ],
)
def test_a_range_within_the_file_is_half_open(header: str, expected: tuple[int, int]) -> None:
    assert pairs(parse_ranges(header, 100)) == [expected]


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=5-2",
        f"bytes={HUGE}-2",
        f"bytes={HUGE + 1}-{HUGE}",
        "bytes=5",
        "bytes=a-b",
        "bytes=5-9x",
        "bytes=+5-9",
        "bytes=--5",
        "bytes=5-9-12",
        "bytes=1_0-20",
        "bytes=5 - 9",
        "bytes =5-9",
        "bytes=5-9;6-7",
        "bytes=5-9, x",
        "bytes=5-9,6-5",
        "bytes=5-9\n",
        "items=0-1",
        "xbytes=0-1",
        "bytes=\u0665-\u0669",  # Arabic-Indic digits five and nine
        "bytes=\u00b2-\u00b3",  # superscripts: str.isdigit() is true of them, int() refuses them
    ],
)
def test_a_malformed_header_is_ignored(header: str | None) -> None:
    assert parse_ranges(header, 100) is None


@pytest.mark.parametrize(
    "header",
    [
        "bytes=100-",
        "bytes=100-200",
        "bytes=-0",
        "bytes=-000",
        "bytes=100-,200-,-0",
        f"bytes={HUGE}-",
        "bytes=" + "9" * 8000 + "-",
    ],
)
def test_range_past_end_is_unsatisfiable(header: str) -> None:
    with pytest.raises(UnsatisfiableRangeError) as caught:
        parse_ranges(header, 100)

    assert caught.value.size_bytes == 100


def test_nothing_of_an_empty_file_can_be_had_by_position() -> None:
    with pytest.raises(UnsatisfiableRangeError):
        parse_ranges("bytes=0-", 0)


def test_the_end_of_an_empty_file_is_the_whole_file() -> None:
    assert parse_ranges("bytes=-5", 0) is None


def test_content_range_counts_to_the_last_byte() -> None:
    assert content_range(ByteRange(0, 500), 1234) == "bytes 0-499/1234"


# ---- several ranges ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-1,5-6", [(0, 2), (5, 7)]),
        ("bytes=5-6,0-1", [(5, 7), (0, 2)]),
        ("bytes=0-1, 100-, 5-6", [(0, 2), (5, 7)]),
        ("bytes=0-5,3-9", [(0, 10)]),
        ("bytes=0-4,5-9", [(0, 10)]),
        ("bytes=0-4,6-9", [(0, 5), (6, 10)]),
        ("bytes=50-60,0-9,-10,5-20,55-70", [(50, 71), (0, 21), (90, 100)]),
        ("bytes=50-59,0-9,10-49", [(0, 60)]),
        ("bytes=0-,0-,0-,-100", [(0, 100)]),
    ],
)
def test_several_ranges_keep_their_order_unless_they_touch(
    header: str, expected: list[tuple[int, int]]
) -> None:
    assert pairs(parse_ranges(header, 100)) == expected


def test_as_many_ranges_as_allowed_are_served_and_one_more_is_not() -> None:
    allowed = ",".join(f"{2 * i}-{2 * i}" for i in range(MAX_RANGES))

    ranges = parse_ranges(f"bytes={allowed}", 1000)

    assert ranges is not None
    assert len(ranges) == MAX_RANGES
    assert parse_ranges(f"bytes={allowed},999-", 1000) is None


@pytest.mark.parametrize("spec", ["0-0", "0-", "-1", "1-0", "x", "99999-"])
def test_ten_thousand_ranges_are_ignored(spec: str) -> None:
    assert parse_ranges("bytes=" + ",".join([spec] * 10_000), 100) is None


def test_commas_alone_do_not_count_as_ranges() -> None:
    assert pairs(parse_ranges("bytes=" + "," * 10_000 + "1-2", 100)) == [(1, 3)]


# ---- slicing as the model ---------------------------------------------------------------------

positions = st.integers(0, 60) | st.sampled_from([HUGE, 2**63, 2**64 - 1])
int_ranges = st.tuples(positions, st.none() | positions).filter(
    lambda ends: ends[1] is None or ends[0] <= ends[1]
)
suffix_ranges = st.tuples(st.none(), positions)
separators = st.sampled_from([",", ", ", " ,\t", ",,", ", ,"])


def spelled(spec: tuple[int | None, int | None]) -> str:
    return "-".join("" if end is None else str(end) for end in spec)


def sliced(content: bytes, spec: tuple[int | None, int | None]) -> set[int]:
    """The positions a spec names, by Python's own slicing."""
    every = range(len(content))
    match spec:
        case (None, int(length)):
            return set(every[-min(length, len(content)) :]) if length else set()
        case (int(first), None):
            return set(every[first:])
        case (int(first), int(last)):
            return set(every[first : last + 1])
    raise AssertionError(spec)


@given(
    st.binary(min_size=1, max_size=50),
    st.lists(int_ranges | suffix_ranges, min_size=1, max_size=12),
    separators,
)
def test_ranges_name_the_same_bytes_as_slices(
    content: bytes, specs: list[tuple[int | None, int | None]], separator: str
) -> None:
    header = "bytes=" + separator.join(map(spelled, specs))
    expected = set().union(*(sliced(content, spec) for spec in specs))

    try:
        ranges = parse_ranges(header, len(content))
    except UnsatisfiableRangeError:
        assert not expected
        return

    assert ranges is not None
    named = [i for part in ranges for i in range(part.start, part.stop)]
    assert sorted(named) == sorted(expected)  # every byte asked for, and none of them twice
    if len(specs) == 1:
        (part,) = ranges
        assert content[part.start : part.stop] == bytes(content[i] for i in sorted(expected))


@given(st.lists(int_ranges, min_size=1, max_size=12))
def test_parts_come_in_the_order_their_first_range_was_asked_for(
    specs: list[tuple[int | None, int | None]],
) -> None:
    content = bytes(50)
    try:
        ranges = parse_ranges("bytes=" + ",".join(map(spelled, specs)), len(content))
    except UnsatisfiableRangeError:
        return

    assert ranges is not None
    asked = [named for spec in specs if (named := sliced(content, spec))]
    places = [
        next(n for n, named in enumerate(asked) if named & set(range(part.start, part.stop)))
        for part in ranges
    ]
    assert places == sorted(places)


@given(st.text(max_size=30) | st.text("bytes=-,0123456789 \t", max_size=30))
def test_no_header_makes_a_range_outside_the_file(text: str) -> None:
    try:
        ranges = parse_ranges(text, 100)
    except UnsatisfiableRangeError:
        return

    assert all(0 <= part.start < part.stop <= 100 for part in ranges or ())


# ---- conditions -------------------------------------------------------------------------------

BEFORE = "Sun, 06 Nov 1994 08:49:36 GMT"
MODIFIED = "Sun, 06 Nov 1994 08:49:37 GMT"
AFTER = "Sun, 06 Nov 1994 08:49:38 GMT"
FILE = Representation(size_bytes=100, etag='"abc"', last_modified_s=784111777)

FULL = Selection(200)
PART = Selection(206, (ByteRange(5, 10),))
NOT_MODIFIED = Selection(304)
FAILED = Selection(412)


@pytest.mark.parametrize(
    ("validator", "expected"),
    [
        ('"abc"', PART),
        (' "abc" ', PART),
        ('"stale-etag"', FULL),
        ('W/"abc"', FULL),
        ("abc", FULL),
        ("*", FULL),
        ('"abc", "def"', FULL),
        (MODIFIED, PART),
        (BEFORE, FULL),
        (AFTER, FULL),
        ("yesterday", FULL),
        ("", FULL),
    ],
)
def test_a_range_is_sent_only_if_if_range_names_this_version(
    validator: str, expected: Selection
) -> None:
    assert select_ranges("GET", Conditions(range="bytes=5-9", if_range=validator), FILE) == expected


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (Conditions(range="bytes=5-9", if_range=MODIFIED), FULL),
        (Conditions(range="bytes=5-9", if_range="yesterday"), FULL),
        (Conditions(range="bytes=5-9", if_range='"abc"'), PART),
        (Conditions(range="bytes=5-9", if_unmodified_since=BEFORE), PART),
        (Conditions(range="bytes=5-9", if_modified_since=AFTER), PART),
    ],
)
def test_dates_say_nothing_of_a_file_without_one(
    conditions: Conditions, expected: Selection
) -> None:
    assert select_ranges("GET", conditions, replace(FILE, last_modified_s=None)) == expected


def test_a_stale_if_range_makes_even_an_unsatisfiable_range_a_plain_get() -> None:
    assert select_ranges("GET", Conditions(range="bytes=500-", if_range='"old"'), FILE) == FULL


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('"abc"', FULL),
        ('"x", "abc"', FULL),
        (',, "x" ,"abc",', FULL),
        ('"a,b","abc"', FULL),
        ("*", FULL),
        ('W/"abc"', FAILED),
        ('"x"', FAILED),
        ('"abc" "x"', FAILED),
        ("abc", FAILED),
        ("", FAILED),
        ('"x, *', FAILED),
    ],
)
def test_if_match_compares_strongly(header: str, expected: Selection) -> None:
    assert select_ranges("GET", Conditions(if_match=header), FILE) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('"abc"', NOT_MODIFIED),
        ('W/"abc"', NOT_MODIFIED),
        ('"x", W/"abc"', NOT_MODIFIED),
        ("*", NOT_MODIFIED),
        ('"x"', FULL),
        ('w/"abc"', FULL),
        ("abc", FULL),
        ("", FULL),
    ],
)
def test_if_none_match_compares_weakly(header: str, expected: Selection) -> None:
    assert select_ranges("GET", Conditions(if_none_match=header), FILE) == expected


@pytest.mark.parametrize(
    ("date", "expected"),
    [(BEFORE, FULL), (MODIFIED, NOT_MODIFIED), (AFTER, NOT_MODIFIED), ("soon", FULL)],
)
def test_if_modified_since_is_a_limit_to_the_second(date: str, expected: Selection) -> None:
    assert select_ranges("GET", Conditions(if_modified_since=date), FILE) == expected


@pytest.mark.parametrize(
    ("date", "expected"), [(BEFORE, FAILED), (MODIFIED, FULL), (AFTER, FULL), ("soon", FULL)]
)
def test_if_unmodified_since_is_a_limit_to_the_second(date: str, expected: Selection) -> None:
    assert select_ranges("GET", Conditions(if_unmodified_since=date), FILE) == expected


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (Conditions(if_match='"abc"', if_unmodified_since=BEFORE), FULL),
        (Conditions(if_match='"x"', if_none_match='"abc"'), FAILED),
        (Conditions(if_unmodified_since=BEFORE, if_none_match='"abc"'), FAILED),
        (Conditions(if_none_match='"x"', if_modified_since=AFTER), FULL),
        (Conditions(if_match='"abc"', if_none_match='"abc"'), NOT_MODIFIED),
        (Conditions(range="bytes=5-9", if_match='"abc"', if_none_match='"x"'), PART),
        (Conditions(range="bytes=5-9", if_none_match='"abc"'), NOT_MODIFIED),
        (Conditions(range="bytes=500-", if_match='"x"'), FAILED),
        (Conditions(range="bytes=500-"), Selection(416)),
        (Conditions(range="bytes=5-2"), FULL),
        (Conditions(if_range='"abc"'), FULL),
    ],
)
def test_conditions_are_judged_in_the_order_of_the_rfc(
    conditions: Conditions, expected: Selection
) -> None:
    assert select_ranges("GET", conditions, FILE) == expected


@pytest.mark.parametrize("wanted", ["bytes=5-9", "bytes=500-"])
def test_head_has_no_ranges(wanted: str) -> None:
    assert select_ranges("HEAD", Conditions(range=wanted), FILE) == FULL


def test_head_has_conditions() -> None:
    assert select_ranges("HEAD", Conditions(if_none_match='"abc"'), FILE) == NOT_MODIFIED


def test_a_list_of_many_tags_is_searched_to_its_end() -> None:
    many = ", ".join(f'"{i}"' for i in range(10_000))

    assert select_ranges("GET", Conditions(if_none_match=many + ', "abc"'), FILE) == NOT_MODIFIED
    assert select_ranges("GET", Conditions(if_none_match=many + ', "abc'), FILE) == FULL


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", 784111777),  # the three forms of RFC 9110 §5.6.7
        ("Sunday, 06-Nov-94 08:49:37 GMT", 784111777),
        ("Sun Nov  6 08:49:37 1994", 784111777),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Wednesday, 01-Jan-20 00:00:00 GMT", 1577836800),
        ("Sun, 06 Nov 1994 08:49:37 +0000", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT ", None),
        ("Sun, 6 Nov 1994 08:49:37 GMT", None),
        ("Sun, 31 Feb 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 24:49:37 GMT", None),
        ("Sun, \u0660\u0666 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 0000 08:49:37 GMT", None),
        ("784111777", None),
        ("", None),
    ],
)
def test_an_http_date_has_three_forms_and_no_others(text: str, expected: int | None) -> None:
    assert parse_http_date(text) == expected


@given(
    st.binary(max_size=8)
    | st.from_regex(rb"[0-9]{0,4}-[0-9]{0,4}", fullmatch=True)
    | st.from_regex(rb"[0-9]{15,40}-[0-9]{0,40}", fullmatch=True),
    st.integers(0, 2000),
)
def test_the_quick_parser_agrees_or_leaves_it_to_the_other(spec: bytes, size_bytes: int):
    quick = plain_range(spec, size_bytes)

    if quick is not None:
        assert parse_ranges(f"bytes={spec.decode()}", size_bytes) == (quick,)


@pytest.mark.parametrize(
    ("spec", "start", "stop"), [(b"0-0", 0, 1), (b"7-", 7, 100), (b"50-999", 50, 100)]
)
def test_the_quick_parser_takes_the_plain_forms(spec: bytes, start: int, stop: int):
    assert plain_range(spec, 100) == ByteRange(start, stop)
