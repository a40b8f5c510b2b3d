"""What a stub consists of."""

import re
from dataclasses import replace
from typing import Any

import pytest

from bootserver.errors import StubError
from bootserver.model import Architecture
from bootserver.stub.network import DHCP, NetworkSpec
from bootserver.stub.plan import StubPlan, plan_program, plan_stub
from bootserver.stub.spec import StubSpec
from tests.conftest import STAND_INS
from tests.fixtures.readers import ipxe_commands

TOKEN = "0123456789abcdef0123456789abcdef"
SPEC = StubSpec("memtest", ("http://192.0.2.1:8080", "http://[2001:db8::1]:8080"), 69)


def script(spec: StubSpec) -> str:
    return file(plan_stub(spec, TOKEN, STAND_INS.__getitem__), "/AUTOEXEC.IPXE")


def file(plan: StubPlan, path: str) -> str:
    return next(f.data.decode("ascii") for f in plan.files if f.path == path)


def test_servers_are_tried_in_order_and_tftp_last():
    assert SPEC.script_urls(TOKEN) == (
        f"http://192.0.2.1:8080/b/{TOKEN}/boot.ipxe",
        f"http://[2001:db8::1]:8080/b/{TOKEN}/boot.ipxe",
        f"tftp://192.0.2.1/b/{TOKEN}/boot.ipxe",
    )


def test_an_odd_tftp_port_is_in_the_url():
    spec = StubSpec("memtest", ("http://[2001:db8::1]:8080",), 6969)

    assert spec.script_urls(TOKEN)[1] == f"tftp://[2001:db8::1]:6969/b/{TOKEN}/boot.ipxe"


def test_a_stub_for_no_architecture_is_refused():
    with pytest.raises(StubError, match="for no architecture"):
        plan_stub(replace(SPEC, architectures=()), TOKEN, STAND_INS.__getitem__)


def test_a_stub_as_a_program_is_for_x64():
    spec = replace(SPEC, architectures=(Architecture.BIOS, Architecture.ARM64))

    with pytest.raises(StubError, match="for x64 machines"):
        plan_program(spec, TOKEN, STAND_INS.__getitem__, lambda parts: b"")


STATIC = NetworkSpec.parse(static_ip="192.0.2.5/24", vlan=42, mac="52:54:00:00:00:01")
KNOWN = replace(STATIC, then_dhcp=True)
every_network = pytest.mark.parametrize(
    "network", [DHCP, STATIC, KNOWN], ids=["dhcp", "static", "known"]
)
MAY_FAIL = {"dhcp", "chain", "ifopen", "ifclose", "vcreate", "isset", "clear"}


@every_network
def test_every_network_command_has_a_way_on(network: NetworkSpec):
    for line in script(replace(SPEC, network=network)).splitlines():
        words = line.split()
        if words and words[0] in MAY_FAIL:
            assert "||" in words, line


@every_network
def test_the_script_never_ends(network: NetworkSpec):
    assert script(replace(SPEC, network=network)).rstrip().endswith("goto start")


@every_network
def test_every_label_that_is_gone_to_exists_once(network: NetworkSpec):
    lines = script(replace(SPEC, network=network)).splitlines()
    labels = [line[1:] for line in lines if line.startswith(":")]
    targets = {
        words[i + 1]
        for words in map(str.split, lines)
        for i, word in enumerate(words[:-1])
        if word == "goto"
    }

    assert targets <= set(labels)
    assert len(labels) == len(set(labels))


def test_dhcp_is_the_default():
    text = script(SPEC)

    assert "dhcp ${nic}" in text
    assert "set ${nic}/ip" not in text
    assert "vcreate" not in text


def test_a_static_address_replaces_dhcp():
    network = NetworkSpec.parse(
        static_ip="192.0.2.5/24",
        gateway="192.0.2.1",
        dns="192.0.2.2",
        vlan=42,
        mac="52:54:00:00:00:01",
    )
    text = script(StubSpec("memtest", SPEC.servers, None, network))

    assert "dhcp" not in text
    assert "set ${nic}/ip 192.0.2.5\nset ${nic}/netmask 255.255.255.0\n" in text
    assert "set ${nic}/gateway 192.0.2.1\nset ${nic}/dns 192.0.2.2\n" in text
    assert "vcreate --tag 42 ${nic}" in text
    assert "iseq ${${nic}/mac} 52:54:00:00:00:01 || goto try_nic" in text


def known_address(**more: Any) -> list[str]:
    network = NetworkSpec.parse(
        static_ip="192.0.2.5/24",
        gateway="192.0.2.1",
        dns="192.0.2.2",
        mac="52:54:00:00:00:01",
        then_dhcp=True,
        **more,
    )
    servers = ("http://192.0.2.1:8080", "https://boot.example.org")
    return script(StubSpec("memtest", servers, 69, network)).splitlines()


def test_a_known_address_is_tried_on_its_card_alone_and_the_servers_not_for_long():
    lines = known_address()
    before = lines[: lines.index(":ask_dhcp")]

    assert "iseq ${${nic}/mac} 52:54:00:00:00:01 || goto find_known" in before
    assert "isset ${${nic}/mac} || goto ask_dhcp" in before  # no card has it
    assert "set ${nic}/ip 192.0.2.5" in before
    assert "set ${nic}/gateway 192.0.2.1" in before
    assert "ifopen ${nic} && iflinkwait --timeout 6000 ${nic} || goto forget_known" in before
    assert [line.partition("/b/")[0] for line in before if line.startswith("chain")] == [
        "chain --timeout 4000 --autofree http://192.0.2.1:8080",
        "chain --timeout 4000 --autofree https://boot.example.org",
    ]
    assert "dhcp" not in " ".join(before).replace("ask_dhcp", "")


def test_a_known_address_that_leads_nowhere_leaves_no_trace_in_what_comes_after():
    lines = known_address()
    forgotten = lines[lines.index(":forget_known") : lines.index(":ask_dhcp")]
    after = lines[lines.index(":ask_dhcp") + 1 :]

    # What is set on a card goes before what DHCP finds there.
    taken = [line.split()[1] for line in lines if re.match(r"set \$\{nic\}/", line)]
    assert [f"clear {setting} ||" for setting in taken] == [
        line for line in forgotten if line.startswith("clear")
    ]
    plain = script(StubSpec("memtest", ("http://192.0.2.1:8080", "https://boot.example.org"), 69))
    assert after == plain.splitlines()[plain.splitlines().index(":start") + 1 :]


def test_a_known_address_on_a_vlan_is_taken_there():
    lines = known_address(vlan=42)
    vlan = "isset ${${nic}-42/mac} || vcreate --tag 42 ${nic} || goto ask_dhcp"

    assert (
        lines.index(vlan)
        < lines.index("set nic ${nic}-42")
        < lines.index("set ${nic}/ip 192.0.2.5")
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"static_ip": "192.0.2.5/24", "then_dhcp": True}, "takes a network card to try it on"),
        ({"mac": "52:54:00:00:00:01", "then_dhcp": True}, "takes a network card to try it on"),
        ({"static_ip": "192.0.2.5"}, "lacks its prefix length"),
        ({"static_ip": "192.0.2.256/24"}, "192.0.2.256"),
        ({"static_ip": "2001:db8::5/64"}, "2001:db8::5"),
        ({"static_ip": "192.0.2.5/24", "gateway": "198.51.100.1"}, "is not in 192.0.2.0/24"),
        ({"static_ip": "192.0.2.5/24", "dns": "dns.example"}, "dns.example"),
        ({"gateway": "192.0.2.1"}, "goes with a static address"),
        ({"static_ip": "0.0.0.0/0"}, "is no machine's address"),
        ({"static_ip": "192.0.2.5/0", "gateway": "0.0.0.0"}, "is no machine's address"),
        ({"static_ip": "192.0.2.5/0"}, "is no machine's address"),
        ({"static_ip": "192.0.2.0/24"}, "is no machine's address"),
        ({"static_ip": "192.0.2.5/24", "gateway": "192.0.2.255"}, "is no machine's address"),
        ({"static_ip": "192.0.2.5/24", "gateway": "192.0.2.5"}, "and its gateway's"),
        ({"static_ip": "192.0.2.5/24", "dns": "0.0.0.0"}, "is no machine's address"),
        ({"static_ip": "224.0.0.5/24"}, "is no machine's address"),
        ({"static_ip": "255.255.255.255/32"}, "is no machine's address"),
        ({"static_ip": "127.0.0.1/8"}, "is no machine's address"),
        ({"static_ip": "127.1.2.3/31"}, "is no machine's address"),
        ({"static_ip": "0.0.0.5/8"}, "is no machine's address"),
        ({"static_ip": "192.0.2.5/24", "dns": "127.0.0.53"}, "is no machine's address"),
        ({"vlan": 0}, "0 is no VLAN"),
        ({"vlan": 4095}, "4095 is no VLAN"),
    ],
)
def test_a_wrong_network_is_one_sentence(values: dict[str, Any], message: str):
    with pytest.raises(StubError, match=message) as caught:
        NetworkSpec.parse(**values)

    assert caught.value.hint


def test_a_hostile_image_name_stays_text():
    text = script(StubSpec("a ${cls} && shell || echo \n b\x1b[2J", SPEC.servers, None))

    shown = "bootserver: this machine is to boot a $ {cls} && shell || echo b [2J"
    assert ["echo", *shown.split()] in ipxe_commands(text)


def test_the_serial_console_is_optional():
    with_serial = plan_stub(
        StubSpec("m", SPEC.servers, None, serial="0 115200"), TOKEN, STAND_INS.__getitem__
    )
    without = plan_stub(StubSpec("m", SPEC.servers, None), TOKEN, STAND_INS.__getitem__)

    assert file(with_serial, "/ISOLINUX.CFG").startswith("SERIAL 0 115200\n")
    assert "SERIAL" not in file(without, "/ISOLINUX.CFG")


def test_the_digest_follows_all_that_decides_the_bytes():
    def digest(spec: StubSpec = SPEC, token: str = TOKEN, /, **loaders: bytes) -> str:
        return plan_stub(spec, token, (STAND_INS | loaders).__getitem__).digest

    assert digest() == digest()
    digests = {
        digest(),
        digest(StubSpec("other", SPEC.servers, 69)),
        digest(SPEC, "f" * 32),
        digest(**{"ipxe.lkrn": b"another"}),
        digest(**{"isohdpfx.bin": b"another"}),
    }
    assert len(digests) == 5
