"""Texts that people write: which are taken, and how they are written."""

import pytest

from bootserver.fields import parse_host, parse_server_url


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("", ""),
        ("http://192.0.2.10", "http://192.0.2.10"),
        ("http://192.0.2.10:8080/", "http://192.0.2.10:8080"),
        ("https://boot.example.org:65535", "https://boot.example.org:65535"),
        ("http://boot_server", "http://boot_server"),
        ("http://[2001:db8::5]:8080", "http://[2001:db8::5]:8080"),
    ],
)
def test_a_server_url_is_taken_without_its_last_slash(text: str, url: str):
    assert parse_server_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "http://a:99999",
        "http://a:0",
        "http://a:",
        "http://192.0.2.256",
        "http://192.0.2",
        "http://0.0.0.0:8080",
        "http://[::]:8080",
        "http://224.0.0.1",
        "http://255.255.255.255",
        "http://2001:db8::5",
        "http://[2001:db8:::5]",
        "http://[192.0.2.1]",
        "http://[boot]",
        "http://a..b",
        "http://-a",
        "http://a/b",
        "http://u@a",
        "http://a?b",
        "ftp://a",
        "http://a\n",
    ],
)
def test_what_no_machine_can_call_is_refused(text: str):
    with pytest.raises(ValueError, match="is not a server URL"):
        parse_server_url(text)


@pytest.mark.parametrize("text", ["192.0.2.256", "10.1", "a b", "a..b", "", "x" * 254])
def test_what_is_neither_name_nor_address_is_refused(text: str):
    with pytest.raises(ValueError, match="is neither a host name nor an IP address"):
        parse_host(text)
