"""The loader's command line: what it takes, and in which words it refuses the rest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .conftest import URL_MAX, Library, Options

DIGEST = "00112233445566778899aabbccddeeffFFEEDDCCBBAA99887766554433221100"


def test_all_options_are_read(library: Library):
    options = library.options(
        f"ramdisk.efi url=/b/KEY/image.iso  sha256={DIGEST} size=4730064896 mode=own "
        "notify=/b/KEY/phase/handoff\0"
    )

    assert isinstance(options, Options)
    assert options.url == b"/b/KEY/image.iso"
    assert options.notify == b"/b/KEY/phase/handoff"
    assert options.has_sha256
    assert bytes(options.sha256) == bytes.fromhex(DIGEST)
    assert options.size_bytes == 4_730_064_896
    assert options.own_disk


def test_only_the_url_is_needed(library: Library):
    options = library.options("ramdisk.efi url=http://server/x.iso mode=auto")

    assert isinstance(options, Options)
    assert options.url == b"http://server/x.iso"
    assert (options.notify, options.has_sha256, options.size_bytes) == (b"", False, 0)
    assert not options.own_disk


def test_the_first_word_is_the_name_of_the_program_whatever_it_looks_like(library: Library):
    assert "url=ADDRESS is missing" in library.options("url=/x.iso")


def test_an_equals_sign_in_a_value_belongs_to_it(library: Library):
    assert library.options("r url=/x?a=b").url == b"/x?a=b"


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("", "the option url=ADDRESS is missing"),
        ("r", "the option url=ADDRESS is missing"),
        ("r url=", "the option url= is not understood: it takes an address"),
        ("r url=/x notify=", "the option notify= is not understood: it takes an address"),
        ("r url=/x colour=red", "the option colour=red is not understood: there are url, sha256"),
        ("r url=/x urls", "the option urls is not understood"),
        ("r url=/x mode=", "the option mode= is not understood: it takes auto or own"),
        ("r url=/x mode=owner", "it takes auto or own"),
        ("r url=/x size=", "it takes a number of bytes"),
        ("r url=/x size=0", "it takes a number of bytes"),
        ("r url=/x size=12k", "it takes a number of bytes"),
        ("r url=/x size=-1", "it takes a number of bytes"),
        ("r url=/x size=18446744073709551616", "it takes a number of bytes"),
        (f"r url=/x sha256={DIGEST[:-1]}", "it takes 64 hexadecimal digits"),
        (f"r url=/x sha256={DIGEST}0", "it takes 64 hexadecimal digits"),
        (f"r url=/x sha256={DIGEST[:-1]}g", "it takes 64 hexadecimal digits"),
        ("r url=/ä.iso", "an option is too long, or not plain ASCII"),
        ("r url=/x\ty", "an option is too long, or not plain ASCII"),
        (f"r url=/{'x' * 2000}", "an option is too long, or not plain ASCII"),
    ],
)
def test_what_is_not_understood_is_refused_in_a_sentence(
    library: Library, line: str, sentence: str
):
    refusal = library.options(line)

    assert isinstance(refusal, str)
    assert sentence in refusal


def test_the_largest_size_is_read(library: Library):
    assert library.options(f"r url=/x size={2**64 - 1}").size_bytes == 2**64 - 1


def test_the_longest_url_is_read_whole(library: Library):
    url = "/" + "x" * (URL_MAX - 2)

    assert library.options(f"r url={url}").url == url.encode()
    assert "it takes an address" in library.options(f"r url={url}x")


@given(line=st.text())
def test_any_text_is_read_or_refused(library: Library, line: str):
    answer = library.options(line.encode("utf-16-le", "replace").decode("utf-16-le"))

    assert answer == "" or answer
