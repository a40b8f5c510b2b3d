"""Reads config.toml: unknown keys refused, all mistakes reported at once, by key.

Relative paths are relative to config.toml.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from bootserver.config import PASSWORD_VARIABLE, PROJECT, Config, KeyPairConfig, Section
from bootserver.errors import ConfigError

CONFIG_VARIABLE = "BOOTSERVER_CONFIG"
SECRET_KEYS = frozenset({"database"})  # its URL may carry a password


def load_config(path: Path | None = None) -> Config:
    """The configuration in force: the file at `path`, overlaid by the environment.

    Without `path`: the file that BOOTSERVER_CONFIG names, else ./config.toml, else the project's.
    Raises ConfigError that lists every mistake by key, each with a hint.
    """
    path = (path or _default_path()).absolute()
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise ConfigError(
            f"{path} cannot be read: {err.strerror}",
            hint=f"name another file with --config or {CONFIG_VARIABLE}",
        ) from err
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise ConfigError(f"{path} is not valid TOML: {err}", hint="correct that line") from err
    mistakes = list(_unknown_variables())
    try:
        config = Config(**values)
    except ValidationError as err:
        mistakes += [_mistake(detail) for detail in err.errors()]
    if mistakes:
        raise ConfigError(
            f"{path} has {len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''}:\n"
            + "\n".join(f"  {mistake}" for mistake in mistakes),
            hint="every key is explained in the config.toml that comes with bootserver",
        )
    return _anchor_paths(config, path.parent)


def in_force(config: Config) -> dict[str, Any]:
    """The configuration as plain TOML values, secrets masked."""
    values = _without_none(config.model_dump(mode="json"))
    return {
        section: (
            {key: _masked(key, value) for key, value in table.items()}
            if isinstance(table, dict)
            else table
        )
        for section, table in values.items()
    }


def _without_none(value: Any) -> Any:
    """The value without the keys that nothing is said of: TOML has no null."""
    match value:
        case dict():
            return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
        case list():
            return [_without_none(inner) for inner in value]
        case _:
            return value


def _default_path() -> Path:
    if named := os.environ.get(CONFIG_VARIABLE):
        return Path(named)
    here = Path("config.toml")
    return here if here.exists() else PROJECT / "config.toml"


def _anchor_paths(config: Config, base: Path) -> Config:
    """The same configuration with every relative path made absolute from `base`."""

    def anchored(section: Section, **paths: Any) -> Section:
        return section.model_copy(update=paths)

    def anchored_path(path: Path | None) -> Path | None:
        return None if path is None else base / path

    def anchored_pair(pair: KeyPairConfig) -> Section:
        key, certificate = anchored_path(pair.key), anchored_path(pair.certificate)
        return anchored(pair, key=key, certificate=certificate)

    stub = config.stub
    stub_paths = {
        "build": base / stub.build,
        "shim": anchored_path(stub.shim),
        "signing": anchored_pair(stub.signing),
        "loaders": {name: base / loader for name, loader in stub.loaders.items()},
    }

    def anchored_amt(amt: Section) -> Section:
        files = {key: anchored_path(getattr(amt, key)) for key in ("password_file", "ca")}
        return anchored(amt, **files)

    machines = tuple(
        table.model_copy(update={"amt": anchored_amt(table.amt)}) if table.amt else table
        for table in config.machines
    )
    return config.model_copy(
        update={
            "server": anchored(config.server, tls=anchored_pair(config.server.tls)),
            "amt": anchored_amt(config.amt),
            "machines": machines,
            "images": anchored(config.images, path=base / config.images.path),
            "drivers": anchored(config.drivers, path=base / config.drivers.path),
            "state": anchored(config.state, path=base / config.state.path),
            "stub": anchored(stub, **stub_paths),
        }
    )


def _unknown_variables() -> Iterator[str]:
    """A mistake for each BOOTSERVER_ variable that names no table (pydantic ignores these)."""
    for name in sorted(os.environ):
        if not name.startswith("BOOTSERVER_") or name in (CONFIG_VARIABLE, PASSWORD_VARIABLE):
            continue
        table = name.removeprefix("BOOTSERVER_").split("__")[0].lower()
        if table not in Config.model_fields:
            yield f"{name} (environment): no such table{_nearest(table, Config.model_fields)}"


def _mistake(detail: Any) -> str:
    """One line for one of pydantic's errors: key, what is wrong, what was meant."""
    location = [str(part) for part in detail["loc"]]
    key = ".".join(location)
    if detail["type"] == "extra_forbidden":
        known: Any = Config.model_fields
        for table in location[:-1]:
            if table in known:
                known = _model_of(known[table].annotation).model_fields
        return f"{key}: no such key{_nearest(location[-1], known)}"
    reason = str(detail["msg"]).removeprefix("Value error, ")
    return f"{key} = {detail['input']!r}: {reason[:1].lower()}{reason[1:]}"


def _model_of(annotation: Any) -> type[BaseModel]:
    """The table that a key holds: itself, or one of several, or none at all."""
    inner = [annotation, *get_args(annotation)]
    return next((i for i in inner if isinstance(i, type) and issubclass(i, BaseModel)), Section)


def _nearest(name: str, known: Any) -> str:
    matches = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {matches[0]}?)" if matches else ""


def _masked(key: str, value: Any) -> Any:
    """A URL without its password."""
    if key in SECRET_KEYS and isinstance(value, str):
        return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", value)
    return value
