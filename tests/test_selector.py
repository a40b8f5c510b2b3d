"""Selectors: the names by which a person picks a machine."""

import pytest

from bootserver.model import Machine
from bootserver.selector import Selector

UUID = "00112233-4455-6677-8899-aabbccddeeff"


@pytest.mark.parametrize(
    ("words", "selector"),
    [
        (["52-54-00-AB-CD-01"], Selector(mac="52:54:00:ab:cd:01")),
        (["mac=525400abcd01"], Selector(mac="52:54:00:ab:cd:01")),
        ([UUID.upper()], Selector(uuid=UUID)),
        ([f"uuid={{{UUID}}}"], Selector(uuid=UUID)),
        (["serial= S 1 "], Selector(serial="S 1")),
        (["asset=a=b", "52:54:00:ab:cd:01"], Selector(mac="52:54:00:ab:cd:01", asset="a=b")),
    ],
)
def test_words_name_a_machine(words: list[str], selector: Selector):
    assert Selector.parse(words) == selector


@pytest.mark.parametrize(
    "words",
    [
        ["serial=To Be Filled By O.E.M."],
        ["serial=to be filled by O.E.M"],
        ["serial=Default string"],
        ["serial=System Serial Number"],
        ["serial=Not Specified"],
        ["serial=0"],
        ["serial=00000000"],
        ["serial=XXXXXXXXXX"],
        ["serial=........"],
        ["serial=N/A"],
        ["asset=No Asset Tag"],
        ["asset=Asset-1234567890"],
        ["03000200-0400-0500-0006-000700080009"],
        ["00020003-0004-0005-0006-000700080009"],
        ["00000000-0000-0000-0000-000000000000"],
        ["FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"],
        ["fefefefe-fefe-fefe-fefe-fefefefefefe"],
        ["00:00:00:00:00:00"],
        ["88:88:88:88:87:88"],
        ["serial=Default string", "asset=Default string", "ffffffff-ffff-ffff-ffff-ffffffffffff"],
    ],
)
def test_names_that_many_machines_have_are_warned_of(words: list[str]):
    warning = Selector.parse(words).warning

    assert warning.startswith("many machines have the ")
    assert warning.endswith("give the MAC address as well")


@pytest.mark.parametrize(
    "words",
    [
        ["52:54:00:12:34:56"],
        [UUID],
        ["serial=5CD1234XYZ"],
        ["serial=7"],
        ["asset=11"],
        ["asset=PC 7"],
        ["serial=Default string", "52:54:00:12:34:56"],
        ["serial=5CD1234XYZ", "00000000-0000-0000-0000-000000000000"],
    ],
)
def test_names_of_one_machine_are_not_warned_of(words: list[str]):
    assert Selector.parse(words).warning == ""


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "give a mac, uuid, serial or asset"),
        ([""], "is no MAC address, no UUID"),
        (["S1"], "'S1' is no MAC address, no UUID, no serial="),
        (["name=S1"], "is no MAC address, no UUID"),
        (["serial= "], "'serial= ' gives no serial"),
        (["mac=52:54"], "'52:54' is not a MAC address"),
        (["uuid=1"], "'1' is not a UUID"),
        (["serial=A", "serial=B"], "a machine has one serial: A or B?"),
        (["serial=" + "x" * 81], "at most 80 characters"),
    ],
)
def test_words_that_name_none_are_told(words: list[str], complaint: str):
    with pytest.raises(ValueError, match=complaint):
        Selector.parse(words)


def test_every_name_given_must_be_the_machines():
    selector = Selector(mac="52:54:00:ab:cd:01", asset="PC 7")

    assert selector.matches(Machine(mac="52:54:00:ab:cd:01", asset="pc 7", serial="S"))
    assert not selector.matches(Machine(mac="52:54:00:ab:cd:01"))
    assert not selector.matches(Machine(asset="PC 7"))


def test_the_key_tells_which_selectors_match_the_same_machines():
    assert Selector(serial="A").key == Selector(serial="a").key
    assert Selector(serial="A").key != Selector(asset="A").key
    assert Selector(serial='A", "asset": "B').key != Selector(serial="A", asset="B").key
