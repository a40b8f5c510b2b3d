"""GRUB's commands and tests that look for files and devices (GNU GRUB manual 2.06)."""

from __future__ import annotations

import re

from bootserver.images.menus.grub_run import MAX_WORDS, Commands, GrubRun, shortened, unknown


def _search(run: GrubRun, args: list[str], *, by_file: bool = False) -> bool | None:
    """GRUB manual, `search`: what is sought by its label or its ID is the disc itself."""
    names, variable, at = list[str](), "", 0
    while at < len(args):
        option, _, value = args[at].partition("=")
        following = "".join(args[at + 1 : at + 2])
        takes_it = bool(not value and following and not following.startswith("-"))
        if option in ("--set", "-s"):
            variable = value or (following if takes_it else "root")
            at += takes_it
        elif option.startswith("--hint"):
            at += takes_it
        elif option.startswith("-"):
            by_file = by_file or option in ("--file", "-f")
        else:
            names.append(args[at])
        at += 1
    if not names:
        return False
    if by_file:
        path, trouble = run.located(names[0])
        # $iso_path is empty: the file that it would name has the disc.
        found = not names[0] or (not trouble and exists(run, path))
    else:
        found = True
    if variable:
        run.set(variable, "cd0" if found else unknown("search"))
    return found or None


def _search_file(run: GrubRun, args: list[str]) -> bool | None:
    """`search.file NAME VARIABLE`."""
    return _search(run, [*args[:1], "--set", *args[1:2]], by_file=True)


def _search_named(run: GrubRun, args: list[str]) -> bool | None:
    """`search.fs_label NAME VARIABLE`, `search.fs_uuid NAME VARIABLE`."""
    return _search(run, [*args[:1], "--set", *args[1:2]])


def file_test(run: GrubRun, how: str, word: str) -> bool | None:
    """What `test` asks of a file; on the disc, where its device is no other one."""
    path, trouble = run.located(word)
    if trouble:
        return None
    size = run.files.size(path)
    if how == "-s":
        return bool(size)
    if how == "-f" or size is not None:
        return size is not None and how != "-d"
    return bool(run.files.names(path))


def exists(run: GrubRun, path: str) -> bool:
    return run.files.size(path) is not None or bool(run.files.names(path))


def _loopback(run: GrubRun, args: list[str]) -> bool | None:
    """A file as a device; where the menu is told a name for it, that is the disc itself."""
    plain = [arg for arg in args if not arg.startswith("-")]
    if len(plain) == 2:
        path, trouble = run.located(plain[1])
        if not trouble and path != "/":
            run.images[plain[0]] = shortened(path)
    return None


def _load_env(run: GrubRun, args: list[str]) -> bool:
    """GRUB manual, `load_env`: `name=value` lines with backslashes, and "#" to fill the block."""
    path = run.menu.variables.get("prefix", "") + "/grubenv"
    names = list[str]()
    words = iter(args)
    for word in words:
        option, given, value = word.partition("=")
        if option in ("--file", "-f"):
            path = value if given else next(words, "")
        elif not word.startswith("-"):
            names.append(word)
    located, trouble = run.located(path)
    text = None if trouble else run.files.text(located)
    if text is None:
        return False
    run.spend(len(text))
    for line in text.splitlines():
        name, assigned, value = line.partition("=")
        if assigned and not line.startswith("#") and (not names or name in names):
            run.set(name, re.sub(r"\\(.)", r"\1", value[:MAX_WORDS]))
    return True


FILE_COMMANDS: Commands = {
    "search": _search,
    "search.file": _search_file,
    "search.fs_label": _search_named,
    "search.fs_uuid": _search_named,
    "loopback": _loopback,
    "load_env": _load_env,
}
