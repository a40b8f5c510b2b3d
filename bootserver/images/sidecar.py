"""NAME.toml beside NAME.iso: what a person wants to say about an image."""

from __future__ import annotations

import difflib
import errno
import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from bootserver.errors import ImageError
from bootserver.fields import ARGUMENTS_LIMIT, Entry, KernelArguments, MemdiskArguments
from bootserver.files.open_version import open_regular
from bootserver.images.recipes import RECIPE_NAMES
from bootserver.model import ImageSettings

SIZE_LIMIT_BYTES = 64 * 1024
FILES_LIMIT_BYTES = 256 * 1024**2  # of all files of a side-car: each goes through memory

RULES = {
    "title": "a text of at most 200 characters in one line",
    "memdisk": 'memdisk\'s arguments in a text, such as "iso raw": '
    "letters, digits, spaces and = , . _ - only",
    "arguments": f"kernel arguments in a text of at most {ARGUMENTS_LIMIT:,} characters: printable "
    "ASCII without ${...} in a word",
    "recipe": "the name of a recipe in a text, as images explain prints it",
    "entry": "the name, title or #NUMBER of an entry of the disc's own menu, as images explain "
    "prints them",
    "inject": 'a table of files for the initramfs: "path/in/it" = "file beside the image"',
    "replace": 'a table of files for the disc: "/path/on/disc" = "file beside the image"',
}


@dataclass(frozen=True, slots=True)
class SideCar:
    """What a side-car says; an absent file is the same as an empty one."""

    title: str = ""
    settings: ImageSettings = field(default_factory=ImageSettings)


NOTHING_SAID = SideCar()


def read_sidecar(image: Path) -> SideCar:
    """The side-car of an image file; raises ImageError that names the key to correct."""
    path = image.with_suffix(".toml")
    keys = _read(path)
    if keys is None:
        return NOTHING_SAID
    _require_recipe(path.name, keys.recipe)
    files = _locate(path, {"inject": keys.inject, "replace": keys.replace})
    said = ImageSettings(keys.memdisk, keys.arguments, keys.recipe, keys.entry, **files)
    return SideCar(keys.title, said)


def remove_sidecar(image: Path) -> None:
    """Remove what is said about an image, if anything is; raises OSError."""
    try:
        image.with_suffix(".toml").unlink()
    except OSError as err:
        if not is_absent(err):
            raise


def is_absent(err: OSError) -> bool:
    """True where there can be no side-car: an image's name may be as long as a name can be."""
    return err.errno in (errno.ENOENT, errno.ENAMETOOLONG)


def _one_line(text: str) -> str:
    if not all(c.isprintable() for c in text):
        raise ValueError("not printable")
    return text.strip()


def _path_in_initramfs(text: str) -> str:
    if not _is_plain(text):
        raise ValueError("no path in an initramfs")
    return text


def _path_on_disc(text: str) -> str:
    if not text.startswith("/") or not _is_plain(text[1:]):
        raise ValueError("no path on a disc")
    return text


def _is_plain(path: str) -> bool:
    """True for names with single slashes between them, none of which leads anywhere else."""
    return path.isprintable() and not {"", ".", ".."} & set(path.split("/"))


class _Keys(BaseModel):
    """The keys of the file. What goes into an iPXE script is checked to stay in its place."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    title: Annotated[str, Field(max_length=200), AfterValidator(_one_line)] = ""
    memdisk: MemdiskArguments = ""
    arguments: KernelArguments = ""
    recipe: str = ""
    entry: Entry = ""
    inject: dict[Annotated[str, AfterValidator(_path_in_initramfs)], str] = {}
    replace: dict[Annotated[str, AfterValidator(_path_on_disc)], str] = {}


def _read(path: Path) -> _Keys | None:
    """What the file says; None if there is none."""
    try:
        with open_regular(path) as file:
            if os.fstat(file.fileno()).st_size > SIZE_LIMIT_BYTES:
                raise ImageError(
                    f"{path.name} is larger than {SIZE_LIMIT_BYTES:,} bytes",
                    hint="it is for a few keys only",
                )
            return _Keys.model_validate(tomllib.loads(file.read().decode("utf-8-sig")))
    except OSError as err:
        if is_absent(err):
            return None
        raise ImageError(
            f"{path.name} cannot be read: {err.strerror or err}", hint="check its permissions"
        ) from err
    except UnicodeDecodeError as err:
        raise ImageError(f"{path.name} is not UTF-8 text", hint="save it as UTF-8") from err
    except ValidationError as err:
        raise _complaint(path.name, err) from err
    except (tomllib.TOMLDecodeError, RecursionError) as err:
        raise ImageError(
            f"{path.name} is not valid TOML: {err}", hint='lines look like: title = "Rescue disc"'
        ) from err


def _complaint(name: str, err: ValidationError) -> ImageError:
    """One sentence about every key that is wrong."""
    unknown = [str(e["loc"][0]) for e in err.errors() if e["type"] == "extra_forbidden"]
    wrong = {str(e["loc"][0]): e for e in err.errors() if e["type"] != "extra_forbidden"}
    parts = [f"{key!r} is no known key" for key in unknown]
    for key, error in wrong.items():
        line = f" at {str(error['loc'][1])!r}" if len(error["loc"]) > 1 else ""  # of a table
        parts.append(f"{key!r} has a value that cannot be used{line}")
    hints = [f"{key} is {RULES[key]}" for key in wrong]
    if unknown:
        hints.append(f"the keys are {', '.join(RULES)}")
    return ImageError(f"{name}: {', '.join(parts)}", hint="; ".join(hints))


def _require_recipe(name: str, recipe: str) -> None:
    """Raises ImageError for a recipe that there is not."""
    if not recipe or recipe in RECIPE_NAMES:
        return
    near = difflib.get_close_matches(recipe, sorted(RECIPE_NAMES), n=1)
    raise ImageError(
        f"{name}: 'recipe' is {recipe!r}, which is no recipe",
        hint=f"did you mean {near[0]}?" if near else f"one of {', '.join(sorted(RECIPE_NAMES))}",
    )


def _locate(sidecar: Path, tables: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """The tables with the absolute paths of their files, which are there."""
    home = Path(os.path.realpath(sidecar.parent))
    located: dict[str, dict[str, str]] = {key: {} for key in tables}
    total_bytes = 0
    for key, table in tables.items():
        for place, name in table.items():
            try:
                path, size_bytes = _regular_file(home, name)
            except ValueError as err:
                raise ImageError(
                    f"{sidecar.name}: {key!r} names {name!r}, {err}",
                    hint=f"the file has to lie in {sidecar.parent}, or in a directory there",
                ) from err
            located[key][place] = str(path)
            total_bytes += size_bytes
    if total_bytes > FILES_LIMIT_BYTES:
        raise ImageError(
            f"{sidecar.name}: the files of 'inject' and 'replace' have {total_bytes:,} bytes, "
            f"more than {FILES_LIMIT_BYTES:,}",
            hint="make them fewer or smaller",
        )
    return located


def _regular_file(home: Path, name: str) -> tuple[Path, int]:
    """The resolved path of a file below `home`, and its size; ValueError says why it is none."""
    if not _is_plain(name):
        raise ValueError("which is no path from the image's directory")
    try:
        path = Path(os.path.realpath(home / name, strict=True))
        status = path.stat()
    except OSError as err:
        raise ValueError(f"which cannot be read: {err.strerror or err}") from err
    if not path.is_relative_to(home):
        raise ValueError("which leads out of the image's directory")
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("which is no regular file")
    return path, status.st_size
