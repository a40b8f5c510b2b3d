"""Which words a disc may give to its kernel, and the URLs that are put into arguments."""

from __future__ import annotations

import pytest

from bootserver.images.arguments import fill, is_plain


@pytest.mark.parametrize("word", ["${mac}", "$root", "{tree}", "a b", "caf\u00e9", ""])
def test_a_word_that_we_would_change_is_not_plain(word: str):
    assert not is_plain(word)


@pytest.mark.parametrize("word", ["quiet", "a||b", "b#x", "ds=nocloud;s=http://a/", '"a"'])
def test_any_other_word_of_a_disc_is(word: str):
    assert is_plain(word)


def test_urls_are_put_in_their_places():
    arguments = "a={tree}x b={iso} host={server} dir={tree_path} c={card} ; #x"

    assert fill(
        arguments, tree_url="http://192.0.2.1:8080/b/K/tree/", iso_url="http://192.0.2.1/i.iso"
    ) == (
        "a=http://192.0.2.1:8080/b/K/tree/x b=http://192.0.2.1/i.iso host=192.0.2.1:8080 "
        "dir=/b/K/tree c=${netX/mac:hexhyp} ${}; ${}#x"
    )
