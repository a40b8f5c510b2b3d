"""Changes one setting in a side-car, and leaves the rest of the file as it is."""

from __future__ import annotations

import errno
import hashlib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from bootserver.errors import ImageError
from bootserver.files.atomic import write_atomically
from bootserver.images.sidecar import is_absent, read_sidecar

KEYS = ("title", "memdisk", "arguments", "recipe", "entry")


def settings_of(image: Path) -> tuple[dict[str, str], str]:
    """What the image's side-car says of each of KEYS, and the version of the file; blocks.

    Raises ImageError for a side-car that cannot be read.
    """
    data = _bytes(image)
    said = read_sidecar(image)
    values = {"title": said.title} | {key: getattr(said.settings, key) for key in KEYS[1:]}
    return values, hashlib.sha256(data).hexdigest()[:32]


def change_settings(image: Path, values: Mapping[str, str], version: str) -> bool:
    """Makes the side-car say `values` of KEYS, "" for nothing; blocks.

    False, and nothing is changed, if the file is another one than `version` by now.
    """
    data = _bytes(image)
    if hashlib.sha256(data).hexdigest()[:32] != version:
        return False
    text = data.decode()
    wanted = {k: v for k, v in tomllib.loads(text).items() if k not in KEYS}
    wanted |= {key: value for key, value in values.items() if value}
    edited = _edited(text, values)
    _write(image.with_suffix(".toml"), edited if _says(edited, wanted) else tomli_w.dumps(wanted))
    return True


def _edited(text: str, values: Mapping[str, str]) -> str:
    """The text with the lines of KEYS replaced: comments and order stay as they are.

    It knows keys on a line of their own only; the caller looks whether that was enough.
    """
    head, *tables = re.split(r"^(?=\s*\[)", text, maxsplit=1, flags=re.MULTILINE)
    new = {key: tomli_w.dumps({key: value}) if value else "" for key, value in values.items()}
    lines = []
    for line in head.splitlines(keepends=True):
        key = re.match(r"\s*([A-Za-z]+)\s*=", line)
        lines.append(new.pop(key[1]) if key and key[1] in new else line)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    end = len(lines)
    while end and re.match(r"\s*(#|$)", lines[end - 1]):
        end -= 1  # what stands over a table belongs to it
    return "".join([*lines[:end], *new.values(), *lines[end:], *tables])


def _says(text: str, wanted: Mapping[str, Any]) -> bool:
    try:
        return tomllib.loads(text) == wanted
    except tomllib.TOMLDecodeError:
        return False


def _bytes(image: Path) -> bytes:
    """The side-car as it is on disk; empty if there is none."""
    path = image.with_suffix(".toml")
    try:
        return path.read_bytes()
    except OSError as err:
        if is_absent(err):
            return b""
        raise ImageError(f"{path.name} cannot be read: {err.strerror}") from err


def _write(path: Path, text: str) -> None:
    """In one step: the library reads it at any moment."""
    try:
        write_atomically(path, text.encode(), shared=True)
    except OSError as err:
        raise ImageError(
            f"{path.name} cannot be written: {err.strerror}",
            hint=f"check who may write to {path.parent}"
            if err.errno != errno.ENAMETOOLONG
            else "give the image a shorter name",
        ) from err
