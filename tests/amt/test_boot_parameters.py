"""One-Click Recovery's parameters: exact bytes, and what is refused before AMT could."""

import base64
from typing import Any

import pytest

from bootserver.amt.control.boot_parameters import RecoveryParameters, encode
from bootserver.amt.errors import AmtError


def test_a_url_alone_is_trusted_by_the_roots_in_amt() -> None:
    text, count = encode(RecoveryParameters("https://192.0.2.1/stub.efi"))

    assert count == 3
    assert base64.b64decode(text) == (
        bytes.fromhex("8680 0100 1a000000") + b"https://192.0.2.1/stub.efi"
        + bytes.fromhex("8680 1400 01000000 01")
        + bytes.fromhex("8680 1e00 02000000 0000")
    )  # fmt: skip


def test_every_parameter_has_its_type_and_place() -> None:
    text, count = encode(
        RecoveryParameters(
            "https://a/b",
            image_sha256=bytes(range(32)),
            server_name="boot.example",
            server_certificate_sha256=b"\xff" * 32,
            timeout_s=300,
            user="me",
            password="secret",
        )
    )

    assert count == 9
    assert base64.b64decode(text) == (
        bytes.fromhex("8680 0100 0b000000") + b"https://a/b"
        + bytes.fromhex("8680 0400 20000000") + bytes(range(32))
        + bytes.fromhex("8680 1400 01000000 01")
        + bytes.fromhex("8680 1500 0c000000") + b"boot.example"
        + bytes.fromhex("8680 1600 02000000 0100")
        + bytes.fromhex("8680 1700 20000000") + b"\xff" * 32
        + bytes.fromhex("8680 1e00 02000000 2c01")
        + bytes.fromhex("8680 2800 02000000") + b"me"
        + bytes.fromhex("8680 2900 06000000") + b"secret"
    )  # fmt: skip


def test_a_pinned_server_needs_no_roots() -> None:
    text, count = encode(
        RecoveryParameters(
            "https://a/b", trust_amt_roots=False, server_certificate_sha256=b"\xff" * 32
        )
    )

    assert count == 3
    assert bytes.fromhex("86801400") not in base64.b64decode(text)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"url": "http://a/b"}, "is no HTTPS URL"),
        (
            {"url": "https://a/" + "b" * 291},
            "the URL has 301 bytes; One-Click Recovery carries 300",
        ),
        ({"url": "https://a/\n"}, "the URL is to be printable ASCII"),
        ({"url": "https://ä/"}, "the URL is to be printable ASCII"),
        ({"server_name": "a" * 257}, "the server's name has 257 bytes"),
        ({"server_name": ""}, "the server's name is to be printable"),
        ({"user": "u" * 17, "password": "p"}, "the user for the URL has 17 bytes"),
        ({"user": "u", "password": "geheim-" * 3}, "the password for the URL has 21 bytes"),
        ({"user": "u"}, "come together"),
        ({"image_sha256": b"x" * 31}, "the image's SHA-256 is to be 32 bytes, not 31"),
        ({"server_certificate_sha256": b"x" * 33}, "certificate's SHA-256 is to be 32 bytes"),
        ({"timeout_s": 65536}, "0 to 65535 seconds"),
        ({"timeout_s": -1}, "0 to 65535 seconds"),
        ({"trust_amt_roots": False}, "nothing says how the BIOS is to trust"),
    ],
)
def test_what_amt_cannot_carry_is_refused_in_a_sentence(
    wrong: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(AmtError, match=sentence) as raised:
        RecoveryParameters(**{"url": "https://a/b", **wrong})

    assert "geheim" not in str(raised.value)


@pytest.mark.parametrize("url_bytes", [10, 300])
def test_a_url_up_to_the_limit_is_carried(url_bytes: int) -> None:
    url = "https://a/".ljust(url_bytes, "b")

    assert base64.b64decode(encode(RecoveryParameters(url))[0])[4:8] == url_bytes.to_bytes(
        4, "little"
    )


def test_the_password_is_not_shown() -> None:
    parameters = RecoveryParameters("https://a/b", user="u", password="geheim")

    assert "geheim" not in repr(parameters)
