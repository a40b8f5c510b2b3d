"""The machine as its iPXE describes it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootserver.boot.machine_query import parse_machine
from bootserver.model import Firmware, Machine, Nic
from bootserver.pci import PciId


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


def test_the_network_cards_are_those_that_ipxe_drives():
    # As iPXE 1.21.1 sent it from a Q35 with an e1000e and a virtio card. In the places without a
    # card it reads the host bridge.
    nics = (
        "525400000001.01808610d3.00008086.00_525400000002.011af41000.00011af4.00"
        "_..11001af4.00_..11001af4.00"
    )

    assert parse_machine({"nics": nics}).nics == (
        Nic("52:54:00:00:00:01", PciId(0x8086, 0x10D3, (0x8086, 0), 0)),
        Nic("52:54:00:00:00:02", PciId(0x1AF4, 0x1000, (0x1AF4, 1), 0)),
    )


@pytest.mark.parametrize(
    ("text", "nic"),
    [
        (
            "525400000001.01808615bc..",
            Nic("52:54:00:00:00:01", PciId(0x8086, 0x15BC)),
        ),  # without `pci/`
        (
            "525400000001.01808615bc.ffffffff.ff",
            Nic("52:54:00:00:00:01", PciId(0x8086, 0x15BC, revision=0xFF)),
        ),
        ("525400000001.0a0bda8153.08691028.03", Nic("52:54:00:00:00:01")),  # on USB
        ("525400000001.01ffffffff..", Nic("52:54:00:00:00:01")),
        ("525400000001...", None),
        ("525400000001.01808615bc.08691028.03.", None),
        ("5254000000zz.01808615bc..", None),
        ("<script>.01808615bc..", None),
    ],
)
def test_a_card_is_taken_as_far_as_it_makes_sense(text: str, nic: Nic | None):
    assert parse_machine({"nics": text}).nics == ((nic,) if nic else ())


def test_no_more_cards_are_read_than_a_machine_has():
    card = "525400000001.01808615bc.08691028.03"

    assert len(parse_machine({"nics": "_".join([card] * 1000)}).nics) == 16


@given(
    st.dictionaries(
        st.sampled_from(["mac", "uuid", "asset", "memsize", "dimms", "product", "nics"]), st.text()
    )
)
def test_nonsense_is_left_out(query: dict[str, str]):
    machine = parse_machine(query)

    assert len(machine.product) <= 80
    assert machine.product.isprintable()
