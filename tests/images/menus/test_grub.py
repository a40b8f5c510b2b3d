"""GRUB's menus: each rule of its manual, or of its ways, with the part of the manual that says it.

The manual is that of GNU GRUB 2.06. Where it is silent, GRUB 2.06 itself was asked (grub-emu).
"""

from __future__ import annotations

import pytest

from bootserver.images.menus import grub_commands, grub_run
from bootserver.images.menus.grub import read_grub
from bootserver.model import DiscMenu, EntryKind, Firmware, MenuEntry
from tests.fixtures.menu_files import FakeMenuFiles

PATH = "/boot/grub/grub.cfg"
ABC = 'menuentry "A" --id a { linux /a }\nmenuentry "B" --id b { linux /b }\n'


def read(
    text: str, others: dict[str, str] | None = None, firmware: Firmware = Firmware.BIOS
) -> DiscMenu:
    return read_grub(FakeMenuFiles({PATH: text, **(others or {})}), PATH, firmware)


def only(text: str, others: dict[str, str] | None = None) -> MenuEntry:
    """The entry of a menu with one."""
    menu = read(text, others)
    (entry,) = menu.entries
    assert menu.default == 0, menu.doubt
    return entry


def started(menu: DiscMenu) -> str:
    """The title of the entry that starts by itself."""
    assert menu.default is not None, menu.doubt
    return menu.entries[menu.default].title


def words(script: str, others: dict[str, str] | None = None) -> tuple[str, ...]:
    """The kernel's arguments that the words behind the last ">" give, after a script."""
    lines, _, last = script.rpartition(">")
    return only(f"{lines}\nmenuentry A {{\nlinux /k {last}\n}}\n", others).arguments


# Words: section 6.3, "Words", "Quoting", "Variables", "Comments"


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("a b\tc", ("a", "b", "c")),
        ("'a b' \"c d\"", ('"a b"', '"c d"')),  # GRUB's linux quotes them for the kernel
        (r"a\ b", ('"a b"',)),
        (r"'a\b'", (r"a\\b",)),  # and escapes its backslashes
        (r'"a\"b\\c\d"', (r"a\"b\\c\\d",)),
        (r"label=A\x20B", (r"label=A\x20B",)),
        ("a \\\n b", ("a", "b")),
        ("a\\\nb", ("ab",)),
        ("a \\\n# no part of it\nb", ("a", "b")),
        ("a # a comment", ("a",)),
        ("a#b", ("a#b",)),
        ("x=1 # it's\n #isn't\n>$x", ("1",)),
        ("x='a  b'\n>$x \"$x\"", ("a", "b", '"a  b"')),
        ("x=' b '\n>a$x/", ("ab/",)),  # GRUB begins no word at a blank
        ("x=b\n>a${x}c$x", ("abcb",)),
        ("x=b\n>'$x' \\$x", ("$x", "$x")),
        ("$nothing a${nothing}b", ("ab",)),
        ("set x=1\nset x=2\n>$x", ("2",)),
        ("x=1 y=2\n>$x$y", ("1",)),  # a command has one assignment
        ("set x=1\nunset x\n>a$x", ("a",)),
        ('$"a b"', ('"a b"',)),
        ("/x/*.gz '/x/*.gz' /y/*.gz", ("/x/a.gz", "/x/b.gz", "/x/*.gz", "/y/*.gz")),
    ],
)
def test_words_are_those_that_grub_passes_on(script: str, arguments: tuple[str, ...]) -> None:
    assert words(script, {"/x/a.gz": "", "/x/b.gz": ""}) == arguments


def test_carriage_returns_are_no_part_of_a_script() -> None:
    assert started(read("set default=1\r\n" + ABC.replace("\n", "\r\n"))) == "B"


@pytest.mark.parametrize(
    "wrong",
    [
        "menuentry X { }",
        "menuentry X { linux /x; } extra",
        "linux a && linux b",
        "linux a | b",
        'echo "a $ b"',
        "set a=1; }",
        "if true; echo; fi",
        "function f { echo }",
        "done",
        "for x y in a; do echo; done",
        "menuentry X > Y { linux /x; }",
    ],
)
def test_a_line_that_grub_refuses_is_left_out_alone(wrong: str) -> None:
    menu = read(f"{wrong}\n{ABC}")

    assert [entry.title for entry in menu.entries] == ["A", "B"]
    assert menu.unread == ("a part of /boot/grub/grub.cfg is no GRUB script",)


@pytest.mark.parametrize("unending", ["menuentry X {", "echo 'x", 'echo "x', "if true"])
def test_what_does_not_end_takes_the_rest_with_it(unending: str) -> None:
    """As GRUB reads on for its end, up to the end of the file."""
    menu = read(f"{ABC}{unending}\nlinux /x\n")

    assert [entry.title for entry in menu.entries] == ["A", "B"]
    assert menu.unread


# Conditions and loops: section 6.3, "Shell-like scripting"


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("true", True),
        ("false", False),
        ("! false", True),
        ("test a = a", True),
        ("[ a == b ]", False),
        ("[ a != b ]", True),
        ("[ a '<' b ]", True),
        ("[ 010 -eq 8 ]", True),  # numbers as in C
        ("[ 0x1F -gt 30 -a -3 -lt -2 ]", True),
        ("[ 2 -le 1 -o 1 -ge 1 ]", True),
        ("[ -z '' -a -n x ]", True),
        ("[ '' ]", False),
        ("[ -z $nothing ]", True),  # one word, "-z": it is not empty
        ("[ $nothing = y ]", True),  # two words, and neither is empty
        ('[ "$nothing" = y ]', False),
        ("[ ! ( a = b -o a = c ) ]", True),
        ("[ ! '(' a = b -o a = c ')' ]", True),
        ("[ -e /boot -a -d /boot/grub ]", True),
        ("[ -f /boot ]", False),
        ("[ -e /BOOT/grub/GRUB.cfg ]", True),
        ("[ -d /boot/grub/grub.cfg ]", False),
        ("[ -s /empty ]", False),
        ("[ -f /empty ]", True),
        ("[ -f ($root)/empty ]", True),
        ("[ -f $prefix/grub.cfg ]", True),
        ("[ $grub_platform = pc -a $grub_cpu = i386 ]", True),
        ("[ x$feature_menuentry_id = xy ]", True),
        ("search --file /empty --set=x", True),
        ("sleep --interruptible 3", True),  # without a key
        ("keystatus --shift", False),
    ],
)
def test_a_condition_is_decided_as_grub_decides_it(condition: str, holds: bool) -> None:
    script = f"if {condition}; then default=1; else default=0; fi\n{ABC}"

    assert started(read(script, {"/empty": ""})) == ("B" if holds else "A")


def test_compound_commands_run_as_in_a_shell() -> None:
    script = """
        function entry { if [ "$1" = "B" ]; then return; fi; n="$n$1$#"; }
        for name in A B "C D"; do entry $name "x y"; done
        while [ -z "$w" ]; do w=1; done
        until [ "$u" = 11 ]; do u=1$u; if [ "$u" = 1 ]; then continue; fi; v=v; break; done
        if false; then e=1; elif [ a = b ]; then e=2; elif true; then e=3; else e=4; fi
        eval 'g=3 ; h=4'
        >$n $w$u$v $e $g$h"""

    assert words(script) == ("A2C3", "111v", "3", "34")


def test_words_of_an_entry_are_its_parameters() -> None:
    """`menuentry`: "all other arguments including title are passed as positional parameters"."""
    menu = read("menuentry T 'x y' --class c z { linux /k $1 \"$2\" $3 $# $chosen; }")

    assert menu.entries[0].arguments == ("T", '"x y"', "z", "3", "T")


# The default: section 15.1.10 "default"

ABC_SUBMENU = """
menuentry "A" --id a { linux /a }
submenu "B" --id b { menuentry "B1" --id b1 { linux /b1 }
  menuentry "B > 2" { linux /b2 }
}
menuentry "C" --id "x>y" { linux /c }
"""


@pytest.mark.parametrize(
    ("default", "title"),
    [
        ("", "A"),
        ("default=0", "A"),
        ("default=2", "C"),  # F1: without `set`; a submenu is one entry
        ("set default=2", "C"),
        ("set default='x>>y'", "C"),
        ("set default=C", "C"),
        ("set default=3", "A"),  # beyond the end
        ("set default=-1", "A"),
        ("set default=D", "A"),  # no such entry
        ("set default=saved", "A"),  # no word of GRUB's
        ("set default=1", "B1"),  # the submenu opens, and its first entry starts
        ("set default='1>1'", "B > 2"),
        ("set default='b>b1'", "B1"),
        ("set default='B>B >> 2'", "B > 2"),
        ("set default=' 0x2'", "C"),
    ],
)
def test_the_default_is_the_one_that_grub_takes(default: str, title: str) -> None:
    assert started(read(f"{default}\n{ABC_SUBMENU}")) == title
    assert started(read(f"{ABC_SUBMENU}\n{default}")) == title


def test_an_entry_is_the_default_by_its_id() -> None:
    """F1: `set default="two"` and `--id two`."""
    assert started(read(f'set default="b"\n{ABC}')) == "B"
    named = "menuentry_id_option=--id\n" + ABC.replace("--id", "$menuentry_id_option")
    assert started(read(f'set default="b"\n{named}')) == "B"


def test_entries_of_submenus_say_in_which_they_are() -> None:
    entries = read("submenu S { submenu T {\nmenuentry A { linux /a }\n}\n}").entries

    assert [(entry.title, entry.parents) for entry in entries] == [("A", ("S", "T"))]


def test_a_number_that_is_also_a_name_is_in_doubt() -> None:
    """GRUB takes it as a number, and Fedora's GRUB as a name."""
    menu = read(
        f"set default='2 GiB'\n{ABC}menuentry '1' {{ linux /1 }}\nmenuentry '2 GiB' {{ true }}"
    )

    assert menu.default is None
    assert "2 GiB" in menu.doubt


def test_the_saved_entry_is_that_of_the_environment_block() -> None:
    """Section "GRUB environment block"; `load_env`."""
    block = "# GRUB Environment Block\nsaved_entry=b\nother=x\n####"
    script = 'load_env saved_entry\nset default="${saved_entry}"\n' + ABC

    assert started(read(script, {"/boot/grub/grubenv": block})) == "B"
    assert started(read(script)) == "A"
    aside = script.replace("load_env", "load_env --file /env")
    assert started(read(aside, {"/env": block.replace("=b", "=\\b")})) == "B"


# Variables of menus: `export`, `submenu`, `configfile`


def test_entries_see_the_variables_as_the_script_left_them() -> None:
    menu = read("k=1\nmenuentry A { linux /k $k; k=2 }\nmenuentry B { linux /k $k }\nk=3")

    assert [entry.arguments for entry in menu.entries] == [("3",), ("3",)]


def test_submenus_see_only_what_is_exported() -> None:
    inner = "menuentry A { linux /k $a $b $grub_platform }"
    submenu = only(f"a=1\nb=2\nexport b\nsubmenu S {{ {inner} }}")
    other = only("a=1\nb=2\nexport b\nconfigfile /o.cfg", {"/o.cfg": inner})
    source = only("a=1\nb=2\nexport b\nsource $prefix/o.cfg", {"/boot/grub/o.cfg": inner})

    assert submenu.arguments == other.arguments == ("2", "pc")
    assert source.arguments == ("1", "2", "pc")


def test_a_configfile_takes_the_menus_place() -> None:
    others = {"/o.cfg": f"default=1\n{ABC}", "/none.cfg": "x=1"}
    menu = read("default=0\nconfigfile /none.cfg\nconfigfile /o.cfg\nmenuentry N { true }", others)

    assert (len(menu.entries), started(menu)) == (2, "B")


def test_an_entry_that_opens_another_menu_stands_for_its_entries() -> None:
    others = {"/o.cfg": f"default=1\n{ABC}menuentry Back {{ configfile {PATH} }}"}
    menu = read("default=1\nmenuentry N { linux /n }\nmenuentry M { configfile /o.cfg }", others)

    assert [entry.title for entry in menu.entries] == ["N", "A", "B", "Back"]
    assert (started(menu), menu.entries[2].parents) == ("B", ("M",))
    assert menu.entries[3].kind is EntryKind.OTHER


def test_where_a_file_lies_is_known_to_it() -> None:
    """Sections 15.1.6 "config_directory" and "config_file"."""
    menu = only(
        "source $config_directory/sub/o.cfg",
        {"/boot/grub/sub/o.cfg": "d=$config_directory\nmenuentry A { linux /k $d $config_file }"},
    )

    assert menu.arguments == ("(cd0)/boot/grub/sub",)  # the other one is unset once it is read


# What entries start


def test_linux_and_initrd_say_what_is_loaded() -> None:
    """`linux`, `initrd`: "Any initrd must be reloaded after using this command"."""
    entry = only(
        "menuentry A { initrd /no; linux /first x; initrd /no; linux16 (cd0)/Boot//VMLINUZ y; "
        "initrd16 /no; initrdefi --nounzip /ucode.img ($root)/INITRD.gz }"
    )

    assert (entry.kernel, entry.arguments) == ("/boot/vmlinuz", ("y",))
    assert entry.initrds == ("/ucode.img", "/initrd.gz")
    assert (entry.kind, entry.unread) == (EntryKind.LINUX, "")


def test_a_command_may_stand_in_a_variable() -> None:
    entry = only(
        "if [ $grub_platform = pc ]; then l=linux16; else l=linux; fi\nmenuentry A {\n$l /k a\n}"
    )

    assert (entry.kernel, entry.arguments) == ("/k", ("a",))


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("exit", EntryKind.LOCAL_DISK),
        ("set root=(hd0); chainloader +1", EntryKind.LOCAL_DISK),
        ("chainloader (hd0)+1; boot", EntryKind.LOCAL_DISK),
        ("chainloader (hd0,1)/efi/x.efi", EntryKind.LOCAL_DISK),
        (
            "search --set=root --file /bootmgr; chainloader /efi/microsoft/boot/bootmgfw.efi",
            EntryKind.LOCAL_DISK,
        ),
        ("chainloader /EFI/BOOT/mt86.efi", EntryKind.OTHER),  # the disc has it
        ("linux16 /boot/memtest86+x64.bin", EntryKind.OTHER),
        ("linux16 /memdisk iso raw; initrd16 /dos.img", EntryKind.OTHER),
        ("linux /ipxe.lkrn", EntryKind.OTHER),
        ("multiboot2 /boot/xen.gz; module2 /boot/vmlinuz", EntryKind.OTHER),
        ("reboot", EntryKind.OTHER),
        ("halt", EntryKind.OTHER),
        ("fwsetup", EntryKind.OTHER),
        ("echo hello", EntryKind.OTHER),
        ("linux /k; boot", EntryKind.LINUX),
    ],
)
def test_an_entrys_kind_is_what_it_starts(body: str, kind: EntryKind) -> None:
    entry = only(f"menuentry A {{ {body} }}", {"/efi/boot/mt86.efi": ""})

    assert (entry.kind, entry.unread) == (kind, "")


def test_a_script_may_boot_without_a_menu() -> None:
    entry = only("linux /k a\ninitrd /i\nboot\nmenuentry N { true }")

    assert (entry.kernel, entry.initrds, entry.arguments) == ("/k", ("/i",), ("a",))


def test_a_disc_in_a_file_is_the_disc() -> None:
    """loopback.cfg: `iso_path` is set by the loader that reads it, and `loop` is the disc."""
    entry = only(
        "menuentry A { loopback loop $iso_path; linux (loop)/k iso-scan/filename=${iso_path} a; "
        "initrd (loop)/i }"
    )

    assert (entry.kernel, entry.initrds, entry.unread) == ("/k", ("/i",), "")
    assert entry.arguments == ("iso-scan/filename=", "a")


def test_what_is_sought_by_name_is_the_disc() -> None:
    entry = only(
        "search --no-floppy --set=root -l THE_DISC\nprobe --set id --fs-uuid $root\n"
        "menuentry A { search -u --set dev --hint hd0 12-34; linux ($dev)/k uuid=$id }"
    )

    assert (entry.kernel, entry.arguments, entry.unread) == ("/k", ("uuid=",), "")


# What cannot be told


@pytest.mark.parametrize(
    ("body", "unread"),
    [
        ("linux $k/vmlinuz", "takes its kernel from $k, which nothing sets"),
        ("linux /k; initrd $i", "takes an initrd from $i, which nothing sets"),
        ("$l /k; initrd /i", "takes a command from $l, which nothing sets"),
        ("linux (hd0,1)/k", "takes its kernel from (hd0,1), a disk of the machine"),
        (
            "loopback loop /x.iso; linux (loop)/k",
            "takes its kernel from within /x.iso",
        ),
        (
            "search --set=root --file /not/there; linux /k",
            "takes its kernel from what GRUB's `search` finds on the machine",
        ),
        (
            "smbios --type 1 --get-string 4 --set name; linux /k $name",
            "takes an argument from what GRUB's `smbios` finds on the machine",
        ),
        (
            "if cpuid -l; then linux /a; else linux /b; fi",
            "depends on what GRUB's `cpuid` finds on the machine",
        ),
        ("linux k", "takes its kernel from “k”, where GRUB finds no file"),
        ("configfile $x/o.cfg", "goes on in a file that $x names, which nothing sets"),
    ],
)
def test_what_of_an_entry_cannot_be_told_is_said(body: str, unread: str) -> None:
    assert only(f"menuentry A {{ {body} }}").unread == unread


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("--set 1:v '(.+)_default.cfg' /a/b_default.cfg", "v=/a/b w= ok=y"),
        ("--set=v '^/([^/]*)/(.*)$' /a/b/c", "v=a w= ok=y"),  # the first group is the default
        ("-s 2:v -s 0:w '/([a-z]*)(/.*)' /a/b/c", "v=/b/c w=/a/b/c ok=y"),
        ("--set 3:v '(a)' a", "v= w= ok=y"),  # there is no such group
        ("--set v 'x(.)' abc", "v=old w= ok="),
        (r"--set v 'a\.(b)' a.b", "v=b w= ok=y"),
    ],
)
def test_an_expression_gives_what_its_groups_match(command: str, arguments: str) -> None:
    """GRUB manual, `regexp`."""
    script = f"v=old\nif regexp {command}; then ok=y; fi\n> v=$v w=$w ok=$ok"

    assert " ".join(words(script)) == arguments


@pytest.mark.parametrize(
    "script",
    [
        f"if cpuid -l; then default=1; fi\n{ABC}",
        f"if cpuid -l; then menuentry X {{ linux /x }}; fi\n{ABC}",
        f"if cpuid -l; then configfile /o.cfg; fi\n{ABC}",
        f"if [ $? = 0 ]; then true; elif test -f (hd0,1)/x; then source /x; fi\nfoo\n"
        f"if [ $? = 0 ]; then default=1; fi\n{ABC}",
        f"regexp --set=1:n '(1|2)' 1\ndefault=$n\n{ABC}",
        f"smbios -s m\nregexp -s n '(.)' $m\ndefault=$n\n{ABC}",
        f"regexp '(.*)(.*)(.*)x' aaaa -s n\ndefault=$n\n{ABC}",
        f"source $nothing/o.cfg\n{ABC}",
        f"uki\n{ABC}",
        f"blscfg default\n{ABC}",
        f"set blsdir=(hd0,1)/entries\nblscfg\n{ABC}",
        f"while smbios; do source /x; done\n{ABC}",
        f"submenu S {{ if cpuid -l; then default=1; fi\n{ABC} }}",
        "",
        "submenu S { true; }",
        f"configfile {PATH}",
    ],
)
def test_a_default_that_cannot_be_told_is_none(script: str) -> None:
    menu = read(script)

    assert menu.default is None
    assert menu.doubt.startswith("the menu ")


def test_what_only_changes_the_looks_leaves_no_doubt() -> None:
    script = f"""
        if loadfont $prefix/font.pf2; then
            set gfxmode=auto
            insmod gfxterm
            terminal_output gfxterm
        elif background_image /x.png; then set color_normal=white/black
        fi
        default=1
        {ABC}"""

    assert (started(read(script)), read(script).unread) == ("B", ())


# Boot Loader Specification entries: `blscfg` of GRUB 2.14's manual, and of Fedora's GRUB before

BLS = {
    "/loader/entries/abc-0-rescue.conf": "title Rescue\nlinux /vmlinuz-0\n",
    "/loader/entries/abc-6.9.1-200.conf": "title Fedora 6.9\nlinux /vmlinuz-6.9\noptions old\n",
    "/loader/entries/abc-6.10.2-100.conf": (
        "title Fedora 6.10\nversion 1\nlinux /vmlinuz-6.10\ninitrd /initrd $tuned_initrd\n"
        'options root=live:CDLABEL=X $kernelopts "a b"\ngrub_class fedora\n'
    ),
    "/loader/entries/none.conf": "title No kernel\n",
}
# As Fedora's grub2-mkconfig writes it.
FEDORA = """
    set default="${saved_entry}"
    set kernelopts="quiet rhgb"
    set tuned_initrd=""
    insmod blscfg
    blscfg
"""


def test_entries_of_the_boot_loader_specification_stand_newest_first() -> None:
    menu = read(FEDORA, BLS)

    assert [entry.title for entry in menu.entries] == ["Fedora 6.10", "Fedora 6.9", "Rescue"]
    assert (menu.default, menu.doubt, menu.unread) == (0, "", ())
    newest = menu.entries[0]
    assert (newest.name, newest.kernel, newest.initrds) == (
        "abc-6.10.2-100",
        "/vmlinuz-6.10",
        ("/initrd",),
    )
    assert newest.arguments == ("root=live:CDLABEL=X", "quiet", "rhgb", '"a b"')


@pytest.mark.parametrize(
    ("before", "title"),
    [
        ("saved_entry=abc-6.9.1-200", "Fedora 6.9"),
        ("saved_entry=2", "Rescue"),
        ("saved_entry='Fedora 6.9'", "Fedora 6.9"),
        ("saved_entry=gone", "Fedora 6.10"),
    ],
)
def test_the_default_among_them_is_a_file_s_name_a_title_or_a_number(
    before: str, title: str
) -> None:
    assert started(read(f"{before}\n{FEDORA}", BLS)) == title


@pytest.mark.parametrize(
    ("command", "titles"),
    [
        ("blscfg abc-6.9.1-200", ["Fedora 6.9"]),
        ("blscfg --entry abc-6.9.1-200.conf", ["Fedora 6.9"]),
        ("blscfg --path=/other", ["Elsewhere"]),
        ("blscfg ($root)/other", ["Elsewhere"]),
        ("set blsdir=/other; blscfg", ["Elsewhere"]),
        ("menuentry First { linux /f }; blscfg --path /other", ["First", "Elsewhere"]),
    ],
)
def test_blscfg_takes_one_entry_or_another_directory(command: str, titles: list[str]) -> None:
    menu = read(command, {**BLS, "/other/UPPER.conf": "title Elsewhere\nlinux /o\n"})

    assert [entry.title for entry in menu.entries] == titles


def test_entries_below_boot_and_without_options_are_taken_too() -> None:
    files = {"/boot/loader/entries/A-1.conf": "linux /boot/k\n"}

    entry = only("default=A-1; default_kernelopts='x y'; blscfg", files)

    assert (entry.title, entry.name, entry.arguments) == ("/boot/k", "A-1", ("x", "y"))


# Bounds


@pytest.mark.parametrize(
    "script",
    [
        "while true; do true; done",
        "x=aaaaaaaa\nwhile true; do x=$x$x; done",
        "function f { f; }\nf",
        f"source {PATH}",
        "function f { eval f; }\nf",
        "for i in a; do " * 40,
        "x=0\nwhile true; do eval v$x=1; x=1$x; done",
    ],
)
def test_a_script_without_an_end_is_left(script: str) -> None:
    menu = read(f"{ABC}{script}\n")

    assert [entry.title for entry in menu.entries[:2]] == ["A", "B"]
    assert menu.unread


def test_an_entry_without_an_end_is_the_only_one_left() -> None:
    menu = read("menuentry L { while true; do true; done }\n" + ABC)

    assert [entry.title for entry in menu.entries] == ["L", "A", "B"]
    assert menu.entries[0].unread == grub_run.TOO_LONG


def test_a_menu_has_a_most_of_entries() -> None:
    menu = read("for n in " + " ".join(map(str, range(100))) + "; do menuentry $n { true; }; done")

    assert (len(menu.entries), menu.default) == (grub_commands.MAX_ENTRIES, None)
    assert menu.unread == ("the menu has more than 64 entries",)


def test_a_disc_that_gives_no_more_files_is_read_as_far_as_it_did() -> None:
    files = FakeMenuFiles({PATH: f"{ABC}source /a.cfg\nsource /b.cfg\n", "/a.cfg": ABC}, reads=2)
    menu = read_grub(files, PATH, Firmware.BIOS)

    assert (len(menu.entries), menu.default) == (4, None)
    assert menu.doubt == "the menu is longer than what is read of a disc's menu"
