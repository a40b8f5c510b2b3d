"""NAME.toml beside NAME.iso: what a person wants to say about an image."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from bootserver.errors import ImageError
from bootserver.images.iso import open_regular

SIZE_LIMIT_BYTES = 64 * 1024

_RULES = {
    "title": "a text of at most 200 characters in one line",
    "memdisk": 'memdisk\'s arguments in a text, such as "iso raw": '
    "letters, digits, spaces and = , . _ - only",
}


def _one_line(text: str) -> str:
    if not all(c.isprintable() for c in text):
        raise ValueError("not printable")
    return text.strip()


class SideCar(BaseModel):
    """The side-car's keys; an absent file is the same as an empty one."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    title: Annotated[str, Field(max_length=200), AfterValidator(_one_line)] = ""
    # It goes into an iPXE script, so only what memdisk's arguments are made of.
    memdisk: Annotated[str, Field(pattern=r"\A[A-Za-z0-9=,. _-]*\z")] = ""


def read_sidecar(iso: Path) -> SideCar:
    """The side-car of an image file; raises ImageError that names the key to mend."""
    path = iso.with_suffix(".toml")
    try:
        with open_regular(path) as file:
            if os.fstat(file.fileno()).st_size > SIZE_LIMIT_BYTES:
                raise ImageError(
                    f"{path.name} is larger than {SIZE_LIMIT_BYTES:,} bytes",
                    hint="it is for a few keys only",
                )
            return SideCar.model_validate(tomllib.loads(file.read().decode("utf-8-sig")))
    except FileNotFoundError:
        return SideCar()
    except OSError as err:
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
    wrong = [str(e["loc"][0]) for e in err.errors() if e["type"] != "extra_forbidden"]
    parts = [f"{key!r} is no known key" for key in unknown]
    parts += [f"{key!r} has a value that cannot be used" for key in wrong]
    hints = [f"{key} is {_RULES[key]}" for key in wrong]
    if unknown:
        hints.append(f"the keys are {' and '.join(_RULES)}")
    return ImageError(f"{name}: {', '.join(parts)}", hint="; ".join(hints))
