"""One-Click Recovery's parameters: exact bytes, and what is refused before AMT could."""

import pytest

from bootserver.amt.control.boot_options import recovery_parameters
from bootserver.amt.errors import AmtError


def test_a_url_is_trusted_by_the_roots_in_amt() -> None:
    assert recovery_parameters("https://192.0.2.1/stub.efi") == [
        bytes.fromhex("8680 0100 1a000000") + b"https://192.0.2.1/stub.efi",
        bytes.fromhex("8680 1400 01000000 01"),
        bytes.fromhex("8680 1e00 02000000 0000"),
    ]


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://a/b", "is no HTTPS URL"),
        ("https://a/" + "b" * 291, "the URL has 301 bytes; One-Click Recovery carries 300"),
        ("https://a/\n", "the URL is to be printable ASCII"),
        ("https://ä/", "the URL is to be printable ASCII"),
    ],
)
def test_what_amt_cannot_carry_is_refused_in_a_sentence(url: str, sentence: str) -> None:
    with pytest.raises(AmtError, match=sentence):
        recovery_parameters(url)


@pytest.mark.parametrize("url_bytes", [10, 300])
def test_a_url_up_to_the_limit_is_carried(url_bytes: int) -> None:
    url = "https://a/".ljust(url_bytes, "b")

    assert recovery_parameters(url)[0][4:8] == url_bytes.to_bytes(4, "little")
