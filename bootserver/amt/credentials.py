"""Where AMT's passwords come from: never from config.toml, a command line, or the database.

The first of these that there is counts, the more special ones first:

| place                                                  | for                              |
|--------------------------------------------------------|----------------------------------|
| `amt.password_file` in the machine's table             | this machine                     |
| the systemd credential `amt-password-HOST`             | this machine                     |
| the environment variable BOOTSERVER_AMT_PASSWORD       | all                              |
| the systemd credential `amt-password`                  | all                              |
| `[amt] password_file`                                  | all                              |

A file's first line is the password, without the line end.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

import structlog

from bootserver.amt.errors import AmtError
from bootserver.config import PASSWORD_VARIABLE, AmtConfig, MachineAmtConfig

# systemd.exec(5), LoadCredential=: where the service finds its credentials.
CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"
CREDENTIAL = "amt-password"
PASSWORD_BYTES_MAX = 1024  # AMT takes 32 characters; a larger file is not the one that was meant

log = structlog.get_logger(__name__)


class NoPasswordError(AmtError):
    """No password is kept for this machine's AMT; somebody may know it."""


def find_password(
    host: str,
    amt: AmtConfig,
    machine: MachineAmtConfig | None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """The password for that host's AMT; NoPasswordError where none is kept.

    Raises AmtError for a file that is there and cannot be used.
    """
    environment = os.environ if environment is None else environment
    if machine and machine.password_file:
        return read_password(machine.password_file)
    credentials = environment.get(CREDENTIALS_VARIABLE)
    own, common = (
        (Path(credentials) / name if credentials else None)
        for name in (f"{CREDENTIAL}-{host}", CREDENTIAL)
    )
    if own and own.exists():
        return read_password(own)
    if password := environment.get(PASSWORD_VARIABLE):
        return password
    if common and common.exists():
        return read_password(common)
    if amt.password_file:
        return read_password(amt.password_file)
    raise NoPasswordError(
        f"no password is kept for AMT on {host}",
        hint=f"set {PASSWORD_VARIABLE}, or password_file in [amt] or in the machine's table",
    )


def read_password(path: Path) -> str:
    """The password in the file's first line; AmtError if there is none to be had."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(PASSWORD_BYTES_MAX + 1)
    except OSError as err:
        raise AmtError(
            f"the password file {path} cannot be read: {err.strerror}",
            hint="check password_file, and who may read it",
        ) from err
    if mode & stat.S_IROTH:  # as container secrets often are, so no reason to refuse
        log.warning("amt.password_file_readable_by_all", path=str(path))
    try:
        password = text.split(b"\n", 1)[0].removesuffix(b"\r").decode()
    except UnicodeDecodeError:
        password = ""
    if not password or len(text) > PASSWORD_BYTES_MAX:
        raise AmtError(
            f"the password file {path} has no password in its first line",
            hint="write the password there, and nothing else",
        )
    return password
