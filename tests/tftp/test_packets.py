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
    ("datagram", "code", "message"),
    [
        (b"\x00\x02a\x00octet\x00", 2, "access violation: this server is read-only"),
        (b"\x00\x01a\x00netascii\x00", 4, "only octet (binary) mode is served"),
        (b"\x00\x01a\x00mail\x00", 4, "only octet (binary) mode is served"),
        (b"\x00\x01b\xe4r\x00octet\x00", 1, "file not found: name is not UTF-8"),
        (b"\x00\x01a\nb\x00octet\x00", 4, "malformed request: unprintable file name"),
        (b"\x00\x01a\x1b[2J\x00octet\x00", 4, "malformed request: unprintable file name"),
        (b"\x00\x01\x00octet\x00", 4, "malformed request: no file name"),
        (b"\x00\x01", 4, "malformed request: cut short"),
        (b"\x00\x01a\x00octet", 4, "malformed request: cut short"),
        (b"\x00\x01a\x00octet\x00blksize\x00", 4, "malformed request: options"),
        (b"\x00\x01a\x00octet\x00blksize\x00512", 4, "malformed request: options"),
        (b"\x00\x01a\x00octet\x00blksize\x00\x00", 4, "malformed request: options"),
        (b"\x00\x01a\x00octet\x00blksi\xffe\x008\x00", 4, "malformed request: options"),
        (b"\x00\x01" + b"a" * 504 + b"\x00octet\x00", 4, "malformed request: over 512 bytes"),
    ],
)
def test_what_cannot_be_served_is_refused(datagram, code, message):
    refusal = refusal_of(datagram)

    assert (refusal.code, refusal.message) == (code, message)


def test_request_of_512_bytes_is_read():
    assert len(packets.parse_request(b"\x00\x01" + b"a" * 503 + b"\x00octet\x00").name) == 503


@pytest.mark.parametrize(
    "datagram", [b"", b"\x00", b"\x01", b"\x00\x00", b"\x00\x03", b"\x00\x05\x00\x00", b"\x01\x01"]
)
def test_only_rrq_and_wrq_are_requests(datagram):
    assert not packets.is_request(datagram)


@given(st.sampled_from([b"\x00\x01", b"\x00\x02"]), st.binary(max_size=600))
def test_garbage_is_refused_or_read_never_more(opcode, rest):
    with contextlib.suppress(TftpRefusal):
        assert packets.parse_request(opcode + rest).name.isprintable()


@given(st.binary(max_size=40))
def test_any_option_bytes_are_refused_or_read(rest):
    with contextlib.suppress(TftpRefusal):
        packets.parse_request(b"\x00\x01a\x00octet\x00" + rest)


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
        (b"\x00\x05\x00\x00a\n\x1b[2Jb\xff", "0: a??[2Jb�"),
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
