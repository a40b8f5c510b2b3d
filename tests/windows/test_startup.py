"""What Windows PE does when it starts, edited, in exact bytes."""

from __future__ import annotations

import codecs

import pytest

from bootserver.errors import ImageError
from bootserver.windows.startup import START, STARTNET, UP, WINPESHL, startup_files

CALL = b"@call %SYSTEMDRIVE%\\bootserver\\start.cmd\r\n"
PROGRAM = r"%SYSTEMROOT%\System32\cmd.exe, /c %SYSTEMDRIVE%\bootserver\start.cmd"
LOAD = b'@echo off\r\nfor /r %SYSTEMDRIVE%\\bootserver\\drivers %%i in (*.inf) do drvload "%%i"\r\n'
RUN = (
    b"if exist %SYSTEMDRIVE%\\bootserver\\up.cmd "
    b'start "bootserver" /min cmd.exe /c %SYSTEMDRIVE%\\bootserver\\up.cmd\r\n'
)


def edited(winpeshl: bytes) -> bytes:
    return startup_files(b"wpeinit\r\n", winpeshl, has_setup=False)[WINPESHL]


def test_drivers_are_loaded_before_the_lines_of_startnet() -> None:
    own = b"rem \x81ber\nwpeinit\nmenu.exe"

    files = startup_files(own, None, has_setup=False)

    assert files == {STARTNET: CALL + own, START: LOAD + RUN}


def test_image_without_any_script_starts_its_network() -> None:
    assert startup_files(None, None, has_setup=False)[STARTNET] == CALL + b"wpeinit\r\n"


def test_setup_is_started_as_it_would_have_been() -> None:
    files = startup_files(b"wpeinit\r\n", None, has_setup=True)

    assert STARTNET not in files
    text = f"[LaunchApps]\r\n{PROGRAM}\r\n%SYSTEMDRIVE%\\setup.exe\r\n"
    assert files[WINPESHL].decode() == text


def test_winpeshl_comes_before_setup_and_startnet() -> None:
    files = startup_files(b"wpeinit\r\n", b"[LaunchApps]\r\na.exe\r\n", has_setup=True)

    assert files.keys() == {WINPESHL, START}


def test_programs_of_winpeshl_come_behind_ours() -> None:
    own = b"; \x85 ours\r\n[LaunchApps]\r\nwpeinit\r\n%SYSTEMDRIVE%\\a b\\menu.exe, -x\r\n"

    assert edited(own) == own.replace(b"Apps]\r\n", b"Apps]\r\n" + PROGRAM.encode() + b"\r\n")


def test_winpeshl_in_utf16_with_bare_line_feeds_stays_so() -> None:
    def encoded(text: str) -> bytes:
        return codecs.BOM_UTF16_LE + text.encode("utf-16-le")

    assert edited(encoded(" [ launchapps ] \nmenü.exe")) == encoded(
        f" [ launchapps ] \n{PROGRAM}\nmenü.exe"
    )


def test_the_one_program_of_launchapp_becomes_the_last_of_two() -> None:
    own = b"[LaunchApp]\r\n; the shell\r\nAppPath = %SYSTEMDRIVE%\\shell.exe\r\n[Other]\r\na=b\r\n"

    assert edited(own).decode() == (
        f"[LaunchApps]\r\n{PROGRAM}\r\n; the shell\r\n%SYSTEMDRIVE%\\shell.exe\r\n"
        "[Other]\r\na=b\r\n"
    )


@pytest.mark.parametrize(
    "winpeshl",
    [
        b"",
        b"[LaunchApps]\r\n; a.exe\r\n\r\n[Other]\r\na.exe\r\n",
        b"[LaunchApp]\r\n",
        codecs.BOM_UTF16_LE + b"[\0L",
    ],
)
def test_winpeshl_that_starts_nothing_is_refused(winpeshl: bytes) -> None:
    with pytest.raises(ImageError, match="starts nothing"):
        edited(winpeshl)


@pytest.mark.parametrize(
    ("startnet", "winpeshl", "has_setup"),
    [
        (b"wpeinit\r\n", None, False),
        (b"", None, True),
        (b"", b"[LaunchApps]\r\na.exe\r\n", False),
        (b"", b"[LaunchApp]\nAppPath=a.exe", False),
    ],
)
def test_second_edit_changes_nothing(
    startnet: bytes, winpeshl: bytes | None, has_setup: bool
) -> None:
    lines = ("a.exe",)
    files = startup_files(startnet, winpeshl, has_setup=has_setup, lines=lines)

    again = startup_files(
        files.get(STARTNET, startnet),
        files.get(WINPESHL),
        files[UP],
        has_setup=has_setup,
        lines=lines,
    )

    assert again == files


def test_lines_run_and_the_server_is_called_when_there_is_an_address() -> None:
    files = startup_files(
        None,
        None,
        has_setup=False,
        lines=("wpeutil DisableFirewall", r"start X:\vnc\winvnc.exe"),
        up_url="http://192.0.2.1:8080/b/a%20b/phase/up?a&b",
    )

    assert files[START] == LOAD + RUN
    assert files[UP].decode() == (
        "@echo off\r\n"
        ":wait\r\n"
        "ping -n 4 127.0.0.1 >nul\r\n"
        'ipconfig | find "IPv4" | find /v "169.254." >nul || goto wait\r\n'
        r'if exist %SYSTEMROOT%\System32\curl.exe start "bootserver" /b '
        r"%SYSTEMROOT%\System32\curl.exe -fso NUL -m 10 --retry 60 --retry-delay 5 "
        "--retry-max-time 300 --retry-connrefused "
        '"http://192.0.2.1:8080/b/a%%20b/phase/up?a&b"\r\n'
        "wpeutil DisableFirewall\r\n"
        "start X:\\vnc\\winvnc.exe\r\n"
    )


def test_lines_of_an_earlier_edit_stay_and_another_call_takes_the_place_of_its_call() -> None:
    first = startup_files(None, None, has_setup=False, lines=("a.exe",), up_url="http://a/up")

    kept = startup_files(b"", None, first[UP], has_setup=False)
    more = startup_files(
        b"", None, first[UP], has_setup=False, lines=("b.exe", "a.exe"), up_url="http://b/up"
    )[UP].decode()

    assert UP not in kept
    assert kept[START] == first[START]
    assert more.endswith("a.exe\r\nb.exe\r\n")
    assert more.count("a.exe") == more.count(":wait") == more.count("@echo off") == 1
    assert '"http://b/up"' in more
    assert "http://a/up" not in more


@pytest.mark.parametrize("line", ["a\r\nb", "menü.exe", "a\tb", "\x1a"])
def test_line_that_no_batch_file_can_have_is_refused(line: str) -> None:
    with pytest.raises(ImageError, match="more than printable ASCII"):
        startup_files(None, None, has_setup=False, lines=(line,))
