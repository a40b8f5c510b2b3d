"""The machine as its iPXE describes it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootserver.boot.machine_query import parse_machine
from bootserver.model import Firmware, Machine


def test_a_machine_is_read_from_the_query():
    # As QEMU's iPXE sent it, with -m 3000; an asset tag besides.
    query = {
        "mac": "52-54-00-12-34-56",
        "uuid": "00112233-4455-6677-8899-AABBCCDDEEFF",
        "serial": "S 1  ",
        "asset": " PC 7",
        "manufacturer": "ACME",
        "product": "Box & One",
        "memsize": "",
        "platform": "pcbios",
        "buildarch": "i386",
        "dimms": "b80b.......",
    }

    assert parse_machine(query) == Machine(
        mac="52:54:00:12:34:56",
        uuid="00112233-4455-6677-8899-aabbccddeeff",
        serial="S 1",
        asset="PC 7",
        manufacturer="ACME",
        product="Box & One",
        firmware=Firmware.BIOS,
        architecture="i386",
        memory_mib=3000,
    )


def test_what_makers_wrote_comes_in_hex_and_plain_from_older_stubs():
    for name in ("serial", "asset", "manufacturer", "product"):
        told = {f"{name}.hex": "A+b & ${x};\u00e9#".encode().hex(), name: "plain"}

        assert getattr(parse_machine(told), name) == "A+b & ${x};\u00e9#"
        assert getattr(parse_machine({name: "plain"}), name) == "plain"
        assert getattr(parse_machine({f"{name}.hex": ""}), name) == ""
        assert getattr(parse_machine({f"{name}.hex": "zz"}), name) == ""


@pytest.mark.parametrize(
    ("dimms", "mib"),
    [
        ("0020.0020.0000.0000", 16384),  # two of 8 GiB, two empty slots
        ("ff7f", 32767),  # 32 GiB or more
        ("0084", 1),  # 1,024 KiB
        ("ffff.0020", None),  # one unknown: the sum is unknown
        ("", None),
        ("zz.20.002000", None),
    ],
)
def test_memory_is_the_sum_of_the_memory_devices(dimms: str, mib: int | None):
    assert parse_machine({"dimms": dimms}).memory_mib == mib


def test_an_ipxe_that_knows_its_memory_is_believed_first():
    assert parse_machine({"memsize": "2048", "dimms": "0020"}).memory_mib == 2048


@given(
    st.dictionaries(
        st.sampled_from(["mac", "uuid", "asset", "memsize", "dimms", "product"]), st.text()
    )
)
def test_nonsense_is_left_out(query: dict[str, str]):
    machine = parse_machine(query)

    assert len(machine.product) <= 80
    assert machine.product.isprintable()
