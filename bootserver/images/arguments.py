"""Kernel arguments: which words may stand in an iPXE script, and the URLs that go into them.

iPXE has no quoting: it splits at blanks, ends a command at `||` and `&&`, begins a comment at `#`
and expands `${`. Words from a disc therefore pass a list of characters; those of the recipes may
hold the places below besides.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

# The address of the card that iPXE booted from, as pxelinux gives it: the one `${` in a script
# that is not the script's own.
BOOT_CARD = "BOOTIF=01-${netX/mac:hexhyp}"

# {tree}    URL of the disc's files, ends in "/"       {iso}        URL of the image, ends in .iso
# {server}  address and port of {tree}                 {tree_path}  its path, without the last "/"
PLACES = ("{tree}", "{iso}", "{server}", "{tree_path}")

_SAFE_WORD = re.compile(r"[A-Za-z0-9_./:=,+@~%-]+")


def safe_words(text: str) -> list[str]:
    """The words of `text` that mean nothing to iPXE; the others are left out."""
    return [word for word in text.split() if _SAFE_WORD.fullmatch(word)]


def is_safe(arguments: str) -> bool:
    """True for a recipe's arguments that reach the kernel as they are but for their places."""
    for place in (*PLACES, "${netX/mac:hexhyp}"):
        arguments = arguments.replace(place, "_")
    return safe_words(arguments) == arguments.split()


def fill(arguments: str, *, tree_url: str, iso_url: str) -> str:
    """The arguments with this boot's URLs in their places."""
    parts = urlsplit(tree_url)
    values = (tree_url, iso_url, parts.netloc, parts.path.rstrip("/"))
    for place, value in zip(PLACES, values, strict=True):
        arguments = arguments.replace(place, value)
    return arguments
