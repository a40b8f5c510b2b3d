"""Pages show names as text, to a reader of HTML that is not ours."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import bootserver.http
from bootserver.disc.entry import Node
from bootserver.http.listing import render_listing
from tests.fixtures.readers import hostile_names

HERE = Path(bootserver.http.__file__).parent


class Links(HTMLParser):
    """The links of a page, each with its text; and the tags that it has."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: list[list[str]] = []
        self.tags: set[str] = set()
        self._inside = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "a":
            self.links.append([str(dict(attrs)["href"]), ""])
            self._inside = True

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.links[-1][1] += data


def test_every_file_of_a_disc_is_a_link_with_its_name():
    # As a disc's names are decoded: whole text, with no slash in it.
    whole = {name.encode(errors="replace").decode() for name in hostile_names(5_000)}
    names = sorted({name.replace("/", "") for name in whole} - {""})

    read = Links(render_listing("/", [Node(name, is_directory=False) for name in names]))

    assert read.tags == {"html", "meta", "title", "h1", "pre", "a"}
    assert [(unquote(href), text) for href, text in read.links] == [(f"./{n}", n) for n in names]


def test_no_page_and_no_script_takes_text_for_html():
    sources = [*(HERE / "templates").glob("*"), *(HERE / "static").glob("*.js")]
    taken = (
        r"\|\s*safe\b|autoescape|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\("
    )

    assert len(sources) > 20
    assert [path.name for path in sources if re.search(taken, path.read_text())] == []
