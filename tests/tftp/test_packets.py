"""TFTP packets: exact bytes in and out, and nothing a client writes may raise but a refusal."""

import contextlib
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootserver.tftp import packets
from bootserver.tftp.packets import ReadRequest, TftpRefusal


def refusal_of(datagram: bytes) -> TftpRefusal:
    with pytest.raises(TftpRefusal) as caught:
        packets.parse_request(datagram)
    return caught.value


def test_request_without_options():
    request = packets.parse_request(b"\x00\x01/boot/ipxe.efi\x00octet\x00")

    assert request == ReadRequest("/boot/ipxe.efi", {})


def test_options_keep_the_clients_spelling_and_order():
    request = packets.parse_request(
        b"\x00\x01undionly.kpxe\x00octet\x00TSize\x000\x00blksize\x001456\x00"
    )

    assert list(request.options.items()) == [("TSize", "0"), ("blksize", "1456")]


def test_mode_is_case_insensitive():
    assert packets.parse_request(b"\x00\x01a\x00OcTeT\x00").name == "a"


def test_utf8_name_is_decoded():
    assert packets.parse_request(b"\x00\x01b\xc3\xa4r\x00octet\x00").name == "bär"


@pytest.mark.parametrize(
    ("name", "read_as"),
    [
        # Lenovo T460 (netboot.xyz#1198)
        (b"netboot.xyz.efi\xff", "netboot.xyz.efi"),
        (b"netboot.xyz.kpxe\xff\xff\xff\xff\xff", "netboot.xyz.kpxe"),
        # Intel PXE-2.0 build 082 on a Realtek RTL8139 (uClibc bug 6146)
        (b"/pxelinux.0\xff\xd13*G", "/pxelinux.0"),
        # the same ROMs where another DHCP option follows the name (seen with tftp-hpa)
        (b"pxelinux.biny\n;o\x1e", "pxelinux.bin"),
        (b"undionly.kpxea\x11", "undionly.kpxe"),  # option 97, whose value begins with NUL
        (b"undionly.kpxeB\x0c192.168.1.10\xff", "undionly.kpxe"),  # option 66
        (b"undionly.kpxe\x03\x04\xc0\xa8\x01\x01", "undionly.kpxe"),  # option 3
        (b"undionly.kpxe\x96\x04\xc0\xa8\x01\x01", "undionly.kpxe"),  # option 150
        (b"b\xc3\xa4r\xff", "bär"),
        (b"b\xe4r", "b"),  # Latin-1 is no name of ours
    ],
)
def test_what_rom_appends_to_the_name_is_cut_off(name, read_as):
    assert packets.parse_request(b"\x00\x01" + name + b"\x00octet\x00").name == read_as


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        (b"octet\x00", {}),
        (b"octet", {}),
        (b"", {}),
        (b"\x00\x00octet\x00", {}),
        (b"image\x00", {}),
        (b"octet\x00tsize\x000", {"tsize": "0"}),  # SGI, RTL8139: no NUL at the end
        (b"octet\x00blksize\x00", {"blksize": ""}),
        (b"octet\x00blksize\x00\x00", {"blksize": ""}),
        (b"octet\x00blksize", {"blksize": ""}),
        (b"octet\x00\x00\x00blksize\x001468\x00\x00\x00", {"blksize": "1468"}),
        (b"octet\x00tsize\x000\x00" + bytes(490), {"tsize": "0"}),
        (b"octet\x00multicast\x00\x00tsize\x000\x00", {"multicast": "", "tsize": "0"}),
        (b"octet\x00vend\xf6r\x00\xff\x00tsize\x000\x00", {"vendör": "ÿ", "tsize": "0"}),
        (b"octet\x00blksize\x008\x00blksize\x009\x00", {"blksize": "8"}),
        # a phone of Grandstream's (tftpy#141)
        (b"octet\x00blksize\x001024\x00tsize\x000\x00grandstream_ID\x00\x00grandstream_X\x001\x00",
         {"blksize": "1024", "tsize": "0", "grandstream_ID": "", "grandstream_X": "1"}),
    ],
)  # fmt: skip
def test_request_that_strays_from_the_rfcs_is_read(fields, options):
    request = packets.parse_request(b"\x00\x01file\x00" + fields)

    assert request == ReadRequest("file", options)


@pytest.mark.parametrize("datagram", [b"\x00\x01file", b"\x00\x01fileoctet\x00"])
def test_request_without_a_mode_is_one_for_octets(datagram):
    assert packets.parse_request(datagram) == ReadRequest("file")


def test_netascii_is_told_apart():
    assert packets.parse_request(b"\x00\x01a\x00NetASCII\x00") == ReadRequest(
        "a", {}, netascii=True
    )


@pytest.mark.parametrize(
    ("datagram", "code", "message"),
    [
        (b"\x00\x02a\x00octet\x00", 2, "access violation: this server is read-only"),
        (b"\x00\x01a\x00mail\x00", 4, "mail mode is not served"),
        (b"\x00\x01\xe4r\x00octet\x00", 4, "malformed request: no file name"),
        (b"\x00\x01\x1b[2J\x00octet\x00", 4, "malformed request: no file name"),
        (b"\x00\x01\x00octet\x00", 4, "malformed request: no file name"),
        (b"\x00\x01", 4, "malformed request: no file name"),
        (b"\x00\x01" + b"a" * 1464 + b"\x00octet\x00", 4, "malformed request: too long"),
    ],
)
def test_what_cannot_be_served_is_refused(datagram, code, message):
    refusal = refusal_of(datagram)

    assert (refusal.code, refusal.message) == (code, message)


@pytest.mark.parametrize(
    ("name", "logged"),
    [
        (b"/b/TOKEN/boot.ipxe", "boot.ipxe"),
        (b"\\b\\TOKEN\\boot.ipxe", "boot.ipxe"),
        (b"netboot.xyz.efi\xff", "netboot.xyz.efi\\xff"),
        (b"b\xc3\xa4r\x1b[2J\n", "bär\\x1b[2J\\n"),
        (b"\xe2\x80\xaetxt", "\\u202etxt"),
        (b"", ""),
        (b"a" * 1000, "a" * 100),
    ],
)
def test_name_for_the_log_is_as_sent_and_printable(name, logged):
    assert packets.name_for_log(b"\x00\x01" + name + b"\x00octet\x00") == logged
    assert packets.name_for_log(b"\x00\x01" + name) == logged


def test_request_of_a_whole_frame_is_read():
    assert len(packets.parse_request(b"\x00\x01" + b"a" * 1463 + b"\x00octet\x00").name) == 1463


@pytest.mark.parametrize(
    "datagram", [b"", b"\x00", b"\x01", b"\x00\x00", b"\x00\x03", b"\x00\x05\x00\x00", b"\x01\x01"]
)
def test_only_rrq_and_wrq_are_requests(datagram):
    assert not packets.is_request(datagram)


@given(st.sampled_from([b"\x00\x01", b"\x00\x02"]), st.binary(max_size=1600))
def test_garbage_is_refused_or_read_never_more(opcode, rest):
    with contextlib.suppress(TftpRefusal):
        assert packets.parse_request(opcode + rest).name.isprintable()


@given(st.binary(max_size=40))
def test_any_option_bytes_are_read(rest):
    assert packets.parse_request(b"\x00\x01a\x00octet\x00" + rest).name == "a"


def test_data_block_number_rolls_over_to_zero():
    assert packets.encode_data(65535, b"ab") == b"\x00\x03\xff\xffab"
    assert packets.encode_data(65536, b"") == b"\x00\x03\x00\x00"
    assert packets.encode_data(65537, b"") == b"\x00\x03\x00\x01"


def test_oack_bytes():
    oack = packets.encode_oack({"tsize": "65", "BLKSIZE": "1468"})

    assert oack == b"\x00\x06tsize\x0065\x00BLKSIZE\x001468\x00"


def test_error_bytes():
    assert packets.encode_error(1, "file not found") == b"\x00\x05\x00\x01file not found\x00"


def test_error_message_is_100_printable_ascii_characters_at_most():
    assert packets.encode_error(0, "ä\0\n") == b"\x00\x05\x00\x00???\x00"
    assert packets.encode_error(0, "x" * 200) == b"\x00\x05\x00\x00" + b"x" * 100 + b"\x00"


@pytest.mark.parametrize(
    ("datagram", "text"),
    [
        (b"\x00\x05\x00\x00User aborted\x00", "0: User aborted"),
        (b"\x00\x05\x00\x08", "8: "),
        (b"\x00\x05", "0: "),
        (b"\x00\x05\x00\x00a\n\x1b[2Jb\xff", "0: a\\n\\x1b[2Jb�"),
    ],
)
def test_clients_error_becomes_one_clean_line(datagram, text):
    assert packets.error_text(datagram) == text


def test_long_clients_error_is_cut():
    assert len(packets.error_text(b"\x00\x05\x00\x00" + b"x" * 1000)) == 103


def test_the_codec_adds_no_log_lines_of_its_own(caplog):
    with caplog.at_level(logging.INFO):
        packets.error_text(b"\x00\x05\x00\x00User aborted\x00")
        packets.encode_error(2, "no")
        packets.parse_request(b"\x00\x01a\x00octet\x00blksize\x00512\x00")

    assert caplog.records == []
