"""A directory of an image's tree as a page, for people and for wget -r."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from jinja2 import Environment

from bootserver.disc.volume import Node

_PAGE = Environment(autoescape=True, trim_blocks=True).from_string("""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{{ path }}</title>
<h1>{{ path }}</h1>
<pre>
{% if path != "/" %}
<a href="../">../</a>
{% endif %}
{% for name, href, size in rows %}
{{ "%15s" | format(size) }}  <a href="{{ href }}">{{ name }}</a>
{% endfor %}
</pre>
""")


def render_listing(path: str, nodes: Sequence[Node]) -> str:
    """HTML with a relative link to each node; directories end in `/`."""
    rows = []
    for node in sorted(nodes, key=lambda node: node.name):
        name = f"{node.name}/" if node.is_directory else node.name
        size = "" if node.is_directory else f"{node.size_bytes:,}"
        rows.append((name, f"./{quote(name)}", size))
    return _PAGE.render(path=path, rows=rows)
