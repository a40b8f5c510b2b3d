"""Which words may stand in an iPXE script, and the URLs that are put into arguments."""

from __future__ import annotations

import pytest

from bootserver.images.arguments import fill, is_safe, safe_words


@pytest.mark.parametrize(
    "word", ["${mac}", "a||b", "a&&b", "#x", "a#b", "$(x)", "`x`", "a;b", '"a"', "{tree}", "a\\b"]
)
def test_a_word_that_means_something_to_ipxe_never_comes_from_a_disc(word: str):
    assert safe_words(f"quiet {word} splash") == ["quiet", "splash"]


def test_urls_are_put_in_their_places():
    arguments = "a={tree}x b={iso} host={server} dir={tree_path} c=${netX/mac:hexhyp}"

    assert fill(
        arguments, tree_url="http://192.0.2.1:8080/b/K/tree/", iso_url="http://192.0.2.1/i.iso"
    ) == (
        "a=http://192.0.2.1:8080/b/K/tree/x b=http://192.0.2.1/i.iso host=192.0.2.1:8080 "
        "dir=/b/K/tree c=${netX/mac:hexhyp}"
    )


def test_the_places_of_a_recipe_are_safe_and_other_expansions_are_not():
    assert is_safe("fetch={tree}live/x BOOTIF=01-${netX/mac:hexhyp} url={iso}")
    assert not is_safe("a=${mac}")
    assert not is_safe("a={medium}")
