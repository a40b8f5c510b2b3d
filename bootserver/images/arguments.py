"""Kernel arguments: the words that a disc may give, and what goes into their places."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from bootserver.quoting import ipxe_arguments

# {tree}    URL of the disc's files, ends in "/"       {iso}        URL of the image, ends in .iso
# {server}  address and port of {tree}                 {tree_path}  its path, without the last "/"
# {card}    hardware address of the card that iPXE booted from, as pxelinux writes it
PLACES = ("{tree}", "{iso}", "{server}", "{tree_path}", "{card}")
BOOT_CARD = "BOOTIF=01-{card}"

_PLAIN_WORD = re.compile(r"(?:(?![${}])[\x21-\x7e])+")  # nothing for iPXE or for us to fill in


def is_plain(word: str) -> bool:
    """True for a word of a disc's menu that reaches the kernel through us as it is."""
    return _PLAIN_WORD.fullmatch(word) is not None


def fill(arguments: str, *, tree_url: str, iso_url: str) -> str:
    """A way's arguments as words of an iPXE script, with this boot's values in their places."""
    parts = urlsplit(tree_url)
    values = (tree_url, iso_url, parts.netloc, parts.path.rstrip("/"), "${netX/mac:hexhyp}")
    words = ipxe_arguments(" ".join(arguments.split()))
    for place, value in zip(PLACES, values, strict=True):
        words = words.replace(place, value)
    return words
