r"""What Windows PE does when it starts, edited: drivers loaded before its network, lines run after.

Winpeshl.exe, which Windows PE starts with, looks for three things and takes the first it finds:

1. `Windows\System32\winpeshl.ini`: the programs under [LaunchApps], a line for each, one after the
   other; or the one that AppPath under [LaunchApp] names. startnet.cmd is not run.
2. `\setup.exe`, of installation media.
3. `Windows\System32\startnet.cmd`: by default the one line `wpeinit`, which starts the network.

What is there stays, and a call of start.cmd, a batch file of ours, comes before it. It loads the
drivers, and leaves up.cmd running beside all else, which waits until there is an address. So it
does not matter which of the image's own programs runs wpeinit, and whether that program ever ends.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from itertools import pairwise

from bootserver.errors import ImageError
from bootserver.quoting import batch_word

STARTNET = "/Windows/System32/startnet.cmd"
WINPESHL = "/Windows/System32/winpeshl.ini"
SETUP = "/setup.exe"
DRIVERS = "/bootserver/drivers"  # each driver in a folder of its own below it
START = "/bootserver/start.cmd"
UP = "/bootserver/up.cmd"

_START_WINDOWS = r"%SYSTEMDRIVE%\bootserver\start.cmd"
_STARTNET_LINE = f"@call {_START_WINDOWS}\r\n".encode()
_WINPESHL_LINE = rf"%SYSTEMROOT%\System32\cmd.exe, /c {_START_WINDOWS}"
_SETUP_LINE = r"%SYSTEMDRIVE%\setup.exe"
_LINE = re.compile(
    r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+"
)  # splitlines() splits at letters of code pages
_HEADER = re.compile(r"[ \t]*\[[ \t]*(?P<name>[^\]\r\n]*?)[ \t]*\]")
_APP_PATH = re.compile(r"[ \t]*AppPath[ \t]*=[ \t]*(?P<path>[^\r\n]*)", re.IGNORECASE)

_START = (
    "@echo off",
    r'for /r %SYSTEMDRIVE%\bootserver\drivers %%i in (*.inf) do drvload "%%i"',
    r"if exist %SYSTEMDRIVE%\bootserver\up.cmd "
    r'start "bootserver" /min cmd.exe /c %SYSTEMDRIVE%\bootserver\up.cmd',
)
_CURL = r"%SYSTEMROOT%\System32\curl.exe"
_CALL = f'if exist {_CURL} start "bootserver" /b {_CURL} '
# ping is the one program to wait with that every Windows PE has.
_WAIT = (
    "@echo off",
    ":wait",
    "ping -n 4 127.0.0.1 >nul",
    'ipconfig | find "IPv4" | find /v "169.254." >nul || goto wait',
)


def startup_files(
    startnet: bytes | None,
    winpeshl: bytes | None,
    up: bytes | None = None,
    *,
    has_setup: bool,
    lines: Sequence[str] = (),
    up_url: str = "",
) -> dict[str, bytes]:
    """The files to put into the image, by their paths in it, for an image that has these.

    When the network is up, `lines` are run as a batch file has them, after those of an earlier
    edit, and `up_url` is asked for until it answers, by curl.exe if the image has that. Raises
    ImageError for a winpeshl.ini that starts nothing, and for lines that a batch file cannot have
    in every code page.
    """
    files = {START: _batch(_START)}
    if lines or up_url:
        files[UP] = _up(up or b"", lines, up_url)
    if winpeshl is not None:
        files[WINPESHL] = _edited_winpeshl(winpeshl)
    elif has_setup:
        text = "\r\n".join(("[LaunchApps]", _WINPESHL_LINE, _SETUP_LINE, ""))
        files[WINPESHL] = text.encode()
    else:
        own = b"wpeinit\r\n" if startnet is None else startnet
        files[STARTNET] = _STARTNET_LINE + own.removeprefix(_STARTNET_LINE)
    return files


def _up(own: bytes, lines: Sequence[str], url: str) -> bytes:
    """up.cmd with these lines too; a call of the URL takes the place of another URL's."""
    kept = [
        line
        for line in own.decode("latin-1").splitlines()
        if line not in _WAIT and not (url and line.startswith(_CALL))
    ]
    more = [line for line in map(_checked, lines) if line not in kept]
    return _batch((*_WAIT, *_call(url), *kept, *more))


def _call(url: str) -> tuple[str, ...]:
    """Ask for the URL beside all else, for five minutes: lines to run do not wait for it."""
    options = "-fso NUL -m 10 --retry 60 --retry-delay 5 --retry-max-time 300 --retry-connrefused"
    return (f"{_CALL}{options} {batch_word(url)}",) if url else ()


def _checked(line: str) -> str:
    if not re.fullmatch(r"[\x20-\x7e]*", line):
        raise ImageError(
            f"the line {line!r} cannot be in a batch file: it has more than printable ASCII",
            hint="rename what it runs, or run a batch file that you add",
        )
    return line


def _batch(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1")


def _edited_winpeshl(data: bytes) -> bytes:
    """Our line as the first program of the file; all else keeps its encoding and line ends."""
    mark = codecs.BOM_UTF16_LE if data.startswith(codecs.BOM_UTF16_LE) else b""
    encoding = "utf-16-le" if mark else "latin-1"  # which gives any code page's bytes back
    try:
        lines = _LINE.findall(data[len(mark) :].decode(encoding))
    except UnicodeDecodeError:
        lines = []  # as Windows reads it
    apps, app = _section(lines, "launchapps"), _section(lines, "launchapp")
    app_path = next((at for at in app if _APP_PATH.match(lines[at])), None)
    if any(_is_program(lines[at]) for at in apps):
        header = apps.start - 1
    elif app_path is not None:
        header = app.start - 1
        lines[header] = f"[LaunchApps]{_end_of(lines[header])}"
        lines[app_path] = _APP_PATH.sub(r"\g<path>", lines[app_path])
    else:
        raise ImageError(
            "the winpeshl.ini in the image starts nothing",
            hint=r"look at Windows\System32\winpeshl.ini: it has [LaunchApps], or AppPath",
        )
    ours = f"{_WINPESHL_LINE}{_end_of(lines[header])}"
    if ours not in lines:
        lines.insert(header + 1, ours)
    return mark + "".join(lines).encode(encoding)


def _section(lines: Sequence[str], name: str) -> range:
    """The lines below the first header with that name; none without it."""
    headers = [at for at, line in enumerate(lines) if _HEADER.match(line)]
    for at, following in pairwise([*headers, len(lines)]):
        match = _HEADER.match(lines[at])
        if match and match["name"].lower() == name:
            return range(at + 1, following)
    return range(0)


def _is_program(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith(";")


def _end_of(line: str) -> str:
    return line[len(line.rstrip("\r\n")) :] or "\r\n"
