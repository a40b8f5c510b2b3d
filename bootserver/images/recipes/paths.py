"""Which of a disc's files a recipe means: patterns, and the newest of several that match."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from bootserver.model import IsoFacts

# What lies beside a file and is about it: signatures, sums, lists.
_ABOUT_A_FILE = re.compile(r"\.(sig|asc|gpg|md5|sha\d+|b2sum|hmac|cms|zsync|size|manifest|txt)$")
_PACKING = re.compile(r"\.(img|gz|xz|lz|lzma|lz4|zst|efi)(?![a-z0-9])")


def matching(facts: IsoFacts, pattern: str) -> list[str]:
    """The markers that match, in no order; `*` stands for a part of one name."""
    if "*" not in pattern:
        return [pattern] if pattern in facts.markers else []
    expression = _expression(pattern)
    return [path for path in facts.markers if expression.fullmatch(path)]


def content_files(facts: IsoFacts, pattern: str) -> list[str]:
    """Those that match, have content, and are not about another file."""
    return [
        path
        for path in matching(facts, pattern)
        if facts.markers[path] and not _ABOUT_A_FILE.search(path)
    ]


def pick(facts: IsoFacts, patterns: Sequence[str], *, version: str | None = None) -> str:
    """The file that the first fitting pattern means, "" for none.

    Of several, those of `version` (see `version_of`) are preferred, then the newest by name.
    """
    for pattern in patterns:
        if found := content_files(facts, pattern):
            return max(
                found, key=lambda path: (version_of(path, pattern) == version, natural(path))
            )
    return ""


def version_of(path: str, pattern: str) -> str:
    """What the first `*` of the pattern stands for in the path, without packing and punctuation.

    So `/live/vmlinuz-6.1-amd64` and `/live/initrd.img-6.1-amd64` have one version, as have
    `/boot/grmlfullamd64/vmlinuz` and `/live/grml-full-amd64/grml-full-amd64.squashfs`.
    """
    match = _expression(pattern).fullmatch(path)
    part = match[1] if match and match.groups() else ""
    return re.sub(r"[^a-z0-9]", "", _PACKING.sub("", part))


def natural(text: str) -> list[tuple[int, str]]:
    """A sort key by which `vmlinuz-6.10` comes after `vmlinuz-6.9`."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text)
    ]


@lru_cache(1024)
def _expression(pattern: str) -> re.Pattern[str]:
    return re.compile(re.escape(pattern).replace(r"\*", "([a-z0-9._+~-]*)"))
