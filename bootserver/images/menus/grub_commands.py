"""GRUB's commands, as far as they say what a disc's menu offers.

Each takes its words, and gives whether it succeeds: None if that cannot be told. They are named as
in the GNU GRUB manual 2.06.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from bootserver.images.menus.grub_conditions import (
    MAX_REPEATED,
    MAX_SEARCHED,
    alike,
    holds,
    number_at_start,
)
from bootserver.images.menus.grub_files import FILE_COMMANDS, exists, file_test
from bootserver.images.menus.grub_menu import BootedError, Item, Start
from bootserver.images.menus.grub_run import (
    UNKNOWN,
    Commands,
    GrubRun,
)
from bootserver.images.menus.grub_script import parse
from bootserver.images.menus.systemd_boot import ENTRIES, BlsEntry, bls_entries, version_key
from bootserver.model import EntryKind

MAX_ENTRIES = 64  # a menu for people has fewer
TOO_MANY = f"has more than {MAX_ENTRIES} entries"

_ENTRY_OPTIONS = ("--class", "--users", "--hotkey", "--source", "--id")
_TO_ESCAPE = re.compile(r"(\\x[0-9A-Fa-f]{2})|([\\'\"])")
_BLOCKS = re.compile(r"(?:\([^)]*\))?[\d,+]+")  # a list of blocks in place of a file
# Not Linux: memory tests, iPXE, programs of other loaders, images for memdisk.
_NO_LINUX = re.compile(r"\.(c32|bin|bs|0|img|com|lkrn|krn|iso)$|/(mem(test|disk)|mt86)[^/]*$")
_FOREIGN = (
    *("uki", "legacy_source", "legacy_configfile"),
    *("syslinux_source", "syslinux_configfile"),
)


def _menuentry(run: GrubRun, args: list[str]) -> bool:
    return _add(run, args, submenu=False)


def _submenu(run: GrubRun, args: list[str]) -> bool:
    return _add(run, args, submenu=True)


def _add(run: GrubRun, args: list[str], *, submenu: bool) -> bool:
    """GRUB manual, `menuentry`: options stand before the title, or behind it."""
    plain, name, block = list[str](), "", run.argument_block
    words = iter(args)
    for word in words:
        option, given, value = word.partition("=")
        if option in _ENTRY_OPTIONS:
            value = value if given else next(words, "")
            if option == "--id":
                name = value
            elif option == "--source":
                block = tuple(s for unit in parse(value) if unit for s in unit)
        elif word not in ("--unrestricted", "--"):
            plain.append(word)
    if not plain or block is None:
        return False
    if len(run.menu.items) >= MAX_ENTRIES:
        run.unread.append(f"the menu {TOO_MANY}")
        run.menu.doubt = TOO_MANY
        return True
    item = Item(plain[0], name, submenu, block, tuple(plain), run.unsure)
    run.menu.items.append(item)
    return True


def _test(run: GrubRun, args: list[str]) -> bool | None:
    return holds(args, lambda how, word: file_test(run, how, word))


def _regexp(run: GrubRun, args: list[str]) -> bool | None:
    """GRUB manual, `regexp`: `--set 2:NAME` is what the second group matches; 1 is the default."""
    names, plain = list[str](), list[str]()
    words = iter(args)
    for word in words:
        option, given, value = word.partition("=")
        if option in ("--set", "-s"):
            names.append(value if given else next(words, ""))
        else:
            plain.append(word)
    expression = alike(plain[0]) if len(plain) == 2 else None
    if not expression or len(plain[1]) > MAX_SEARCHED or UNKNOWN.search(plain[1]):
        run.set_unknown("regexp", args)
        return None
    run.spend(len(plain[1]) ** (MAX_REPEATED + 1))
    found = expression.search(plain[1])
    if not found:
        return False
    for name in names:
        number, _, variable = name.rpartition(":")
        group = number_at_start(number or "1")
        if group is not None and group <= expression.groups:
            run.set(variable, found[group])
        else:
            _unset(run, [variable])
    return True


def _foreign(run: GrubRun, args: list[str]) -> None:
    run.unread.append("the menu takes entries from files in another language")
    run.doubt("takes entries from files in another language")


def _blscfg(run: GrubRun, args: list[str]) -> bool | None:
    """GRUB manual 2.14, `blscfg`; Fedora's GRUB names an entry and a directory without options.

    Entries stand in the order of their files' names, the newest version first.
    """
    directories = [run.menu.variables.get("blsdir") or ENTRIES, f"/boot{ENTRIES}"]
    wanted = ""
    words = iter(args)
    for word in words:
        option, given, value = word.partition("=")
        if option in ("--path", "-p"):
            directories = [value if given else next(words, "")]
        elif option in ("--entry", "-e"):
            wanted = value if given else next(words, "")
        elif word.startswith("("):
            directories = [word]
        elif word in ("default", "non-default") or option.startswith("-"):
            _foreign(run, args)
            return None
        else:
            wanted = word
    found = list[BlsEntry]()
    for directory in directories:
        path, trouble = run.located(directory)
        if trouble:
            run.doubt(f"takes entries from {trouble}")
            return None
        if found := [entry for entry in bls_entries(run.files, path) if entry.linux]:
            break
    found.sort(key=lambda entry: version_key(_name_of(entry)), reverse=True)
    default = run.menu.variables.get("default", "")
    for entry in found:
        name = _name_of(entry)
        if wanted.lower() in ("", name, f"{name}.conf"):
            options = entry.options or run.menu.variables.get("default_kernelopts", "")
            script = f"linux {entry.linux} {options}\n"
            if entry.initrds:
                script += f"initrd {' '.join(entry.initrds)}\n"
            # Names are lower case here, and as they are written in `default`.
            named = default if default.lower() == name else name
            words_of_entry = [f"--id={named}", f"--source={script}", entry.title or entry.linux]
            _add(run, words_of_entry, submenu=False)
    return True


def _name_of(entry: BlsEntry) -> str:
    return entry.file.rpartition("/")[2].removesuffix(".conf")


def _assign(run: GrubRun, args: list[str]) -> bool:
    name, assigned, value = args[0].partition("=") if args else ("", "", "")
    if assigned:
        run.set(name, value)
    return bool(assigned)


def _unset(run: GrubRun, args: list[str]) -> bool:
    for name in args:
        run.menu.variables.pop(name, None)
    return True


def _export(run: GrubRun, args: list[str]) -> bool:
    for name in args:
        run.set(name, run.menu.variables.get(name, ""))
        run.menu.exported.add(name)
    return True


def _shift(run: GrubRun, args: list[str]) -> bool:
    run.params = run.params[int(args[0][:6]) if args and args[0].isdigit() else 1 :]
    return True


def _setparams(run: GrubRun, args: list[str]) -> bool:
    run.params = args
    return True


def _eval(run: GrubRun, args: list[str]) -> bool | None:
    run.script(" ".join(args), run.path)
    return run.status


def _source_command(run: GrubRun, args: list[str]) -> bool | None:
    return _other_file(run, args, run.source)


def _configfile(run: GrubRun, args: list[str]) -> bool | None:
    """GRUB manual, `configfile`: the file's menu has none of this one's variables."""
    return _other_file(run, args, lambda path: run.open(path, run.menu.inner(path)))


def _normal(run: GrubRun, args: list[str]) -> bool | None:
    args = args or [run.menu.variables.get("prefix", "") + "/grub.cfg"]
    return _other_file(
        run,
        args,
        lambda path: run.open(path, replace(run.menu, configs=(*run.menu.configs, path))),
    )


def _other_file(run: GrubRun, args: list[str], use: Callable[[str], bool]) -> bool | None:
    if not args:
        return False
    missing = run.missing
    path, trouble = run.located(args[0])
    if not trouble and use(path):
        return True
    if missing:
        trouble = f"a file that ${missing[0][1]} names, which nothing sets"
    if trouble:
        run.doubt(f"goes on in {trouble}")
        return None
    return False


def _linux(run: GrubRun, args: list[str]) -> bool | None:
    """GRUB manual, `linux`: the kernel's file, and its command line as it is."""
    if not args:
        return False
    path, trouble = run.located(args[0])
    unset = [variable for word, variable in run.missing if word == 1]
    if unset:
        trouble = f"${unset[0]}, which nothing sets"
    if trouble or _NO_LINUX.search(path):
        unread = f"takes its kernel from {trouble}" if trouble else ""
        run.start = Start(EntryKind.OTHER, unread=run.start.unread or unread)
        return None
    unread = ""
    for asked in UNKNOWN.findall(" ".join(args[1:])):
        if asked != "probe":  # of the disc: that is a word about the medium
            unread = f"takes an argument from what GRUB's `{asked}` finds on the machine"
    arguments = (_argument(UNKNOWN.sub("", arg)) for arg in args[1:])
    run.start = Start(
        EntryKind.LINUX,
        kernel=path,
        arguments=tuple(argument for argument in arguments if argument),
        unread=run.start.unread or unread,
    )
    return None


def _initrd(run: GrubRun, args: list[str]) -> bool | None:
    """GRUB manual, `initrd`: all that the last one names, one after the other."""
    start = run.start
    if not start.kernel:
        return False  # "you need to load the kernel first"
    located = [run.located(arg) for arg in args if not arg.startswith("--")]
    start.initrds = tuple(path for path, trouble in located if not trouble)
    troubles = [trouble for _, trouble in located if trouble]
    troubles += [f"${variable}, which nothing sets" for _, variable in run.missing]
    if troubles:
        start.unread = start.unread or f"takes an initrd from {troubles[0]}"
    return None


def _chainloader(run: GrubRun, args: list[str]) -> bool | None:
    """Another loader: of the machine's disk, if the disc has no such file."""
    missing = run.missing
    target = next((arg for arg in args if not arg.startswith("-")), "")
    path, trouble = run.located(target)
    if missing or (trouble.startswith("within")):
        local = False
    else:
        local = bool(_BLOCKS.fullmatch(target) or trouble or not exists(run, path))
    run.start = Start(
        kind=EntryKind.LOCAL_DISK if local else EntryKind.OTHER,
        unread=f"takes a program from ${missing[0][1]}, which nothing sets" if missing else "",
    )
    return None


def _program(run: GrubRun, args: list[str]) -> bool | None:
    run.start = Start(kind=EntryKind.OTHER)
    return None


def _boot(run: GrubRun, args: list[str]) -> bool:
    if run.start.kind:
        raise BootedError
    return False


def _exit(run: GrubRun, args: list[str]) -> bool:
    run.start = Start(kind=EntryKind.LOCAL_DISK, unread=run.start.unread)
    raise BootedError


def _switch_off(run: GrubRun, args: list[str]) -> bool:
    if any(arg.startswith("--is") for arg in args):
        return False
    run.start = Start(kind=EntryKind.OTHER, unread=run.start.unread)
    raise BootedError


def _cpuid(run: GrubRun, args: list[str]) -> bool | None:
    """True on UEFI: the GRUB that reads this menu there is one for 64 bits."""
    return True if run.menu.variables.get("grub_cpu") == "x86_64" else None


def _argument(word: str) -> str:
    """A word of the kernel's command line: quoted if it has blanks, with GRUB's backslashes."""
    escaped = _TO_ESCAPE.sub(lambda found: found[1] or "\\" + found[2], word)
    return f'"{escaped}"' if " " in escaped else escaped


COMMANDS: Commands = {
    "menuentry": _menuentry,
    "submenu": _submenu,
    "test": _test,
    "[": _test,
    "regexp": _regexp,
    "set": _assign,
    "unset": _unset,
    "export": _export,
    "shift": _shift,
    "setparams": _setparams,
    "eval": _eval,
    "source": _source_command,
    ".": _source_command,
    "configfile": _configfile,
    "extract_entries_source": _source_command,
    "extract_entries_configfile": _source_command,
    "normal": _normal,
    **FILE_COMMANDS,
    **dict.fromkeys(("linux", "linux16", "linuxefi"), _linux),
    **dict.fromkeys(("initrd", "initrd16", "initrdefi"), _initrd),
    **dict.fromkeys(("chainloader", "ntldr", "freedos"), _chainloader),
    **dict.fromkeys(("multiboot", "multiboot2", "knetbsd", "kfreebsd"), _program),
    "blscfg": _blscfg,
    **dict.fromkeys(_FOREIGN, _foreign),
    **dict.fromkeys(("true", "echo", "sleep", "insmod", "save_env"), lambda run, args: True),
    "boot": _boot,
    "exit": _exit,
    **dict.fromkeys(("halt", "reboot", "fwsetup"), _switch_off),
    "cpuid": _cpuid,
    "false": lambda run, args: False,
    "keystatus": lambda run, args: False if args else None,  # no key is pressed
}
