"""What INF files offer, in texts of the shapes that drivers have."""

import codecs
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootserver.pci import PciId
from bootserver.windows.inf import Decoration, read_inf
from bootserver.windows.inf_text import LIMIT_BYTES, InfError, read_sections
from bootserver.windows.target import WindowsTarget

VISTA = WindowsTarget.parse("6.0.6002", "x86")
WINDOWS_7 = WindowsTarget.parse("6.1.7601", "amd64")
WINDOWS_10 = WindowsTarget.parse("10.0.19041", "amd64")
WINDOWS_11 = WindowsTarget.parse("10.0.22621", "amd64")

NET = """[Version]
Signature = "$Windows NT$"
Class = Net
ClassGUID = {4D36E972-E325-11CE-BFC1-08002BE10318}
Provider = %Maker%
DriverVer = 12/21/2010,11.8.84.0
[Strings]
Maker = "Maker"
"""


def network(manufacturer: str, *, driver_ver: str = "12/21/2010,11.8.84.0") -> str:
    return NET.replace("12/21/2010,11.8.84.0", driver_ver) + f"[Manufacturer]\n{manufacturer}\n"


# Shapes of real drivers: the file, its manufacturer's line, and sections with ids.
DRIVERS = {
    "el1k6032.inf": network("%Maker% = Intel\n[Intel]\n%x% = E1000, PCI\\VEN_8086&DEV_1010"),
    "e1k62x64.inf": network(
        "%Maker% = Intel, NTamd64.6.1, NTamd64.6.1.1\n[Intel.NTamd64.6.1.1]\n"
        "%x% = E10DE, PCI\\VEN_8086&DEV_10DE\n[Intel.NTamd64.6.1]\n"
    ),
    "e1c62x64.inf": network(
        "%Maker% = Intel, NTamd64.6.1.1\n[Intel.NTamd64.6.1.1]\n"
        "%x% = E1502, PCI\\VEN_8086&DEV_1502\n%x% = E1502, PCI\\VEN_8086&DEV_1502&SUBSYS_00008086\n"
    ),
    "e1d62x64.inf": network(
        "%Maker% = Intel, NTamd64.6.1\n[Intel.NTamd64.6.1]\n%x% = E, PCI\\VEN_8086&DEV_153A",
        driver_ver="08/01/2017,12.16.4.3",
    ),
    "e1d63x64.inf": network(
        "%Maker% = Intel, NTamd64.6.3.1, NTamd64.10.0.1\n[Intel.NTamd64.10.0.1]\n"
        "%x% = E, PCI\\VEN_8086&DEV_153A\n%x% = E, PCI\\VEN_8086&DEV_155A\n"
        "%x% = E, PCI\\VEN_8086&DEV_15B7",
        driver_ver="05/08/2016,12.15.22.6",
    ),
    "e2f.inf": network(
        "%Maker% = Intel, NTamd64.10.0...16299\n[Intel.NTamd64.10.0...16299]\n"
        "%x% = E, PCI\\VEN_8086&DEV_15F2\n%x% = E, PCI\\VEN_8086&DEV_125B"
    ),
    "rt640x64.inf": network(
        "%Maker% = Realtek, NTamd64.10.0\n[Realtek.NTamd64.10.0]\n"
        "%x% = R, PCI\\VEN_10EC&DEV_8168&REV_15, PCI\\VEN_10EC&DEV_8168&SUBSYS_85051043&REV_15"
    ),
}


@pytest.mark.parametrize(
    ("device", "target", "driver"),
    [
        ("8086:1010", VISTA, "el1k6032.inf"),
        ("8086:1010", WINDOWS_7, None),  # undecorated is for x86 alone
        ("8086:10de", WINDOWS_7, "e1k62x64.inf"),
        ("8086:1502", WINDOWS_7, "e1c62x64.inf"),
        ("8086:1502", VISTA, None),
        ("8086:153a", WINDOWS_7, "e1d62x64.inf"),
        ("8086:153a", WINDOWS_10, "e1d63x64.inf"),  # the closer decoration, though it is older
        ("8086:155a", WINDOWS_10, "e1d63x64.inf"),
        ("8086:15b7", WINDOWS_10, "e1d63x64.inf"),
        ("8086:15f2", WINDOWS_11, "e2f.inf"),
        ("8086:125b", WINDOWS_11, "e2f.inf"),
        ("8086:15f2", WindowsTarget.parse("10.0.15063", "amd64"), None),  # its build is too low
        (
            "10ec:8168",
            WINDOWS_10,
            "rt640x64.inf",
        ),  # whose id has a revision
        (r"PCI\VEN_10EC&DEV_8168&REV_15", WINDOWS_10, "rt640x64.inf"),
        (r"PCI\VEN_10EC&DEV_8168&REV_06", WINDOWS_10, None),
    ],
)
def test_device_gets_the_driver_that_windows_takes(device, target, driver):
    pci = PciId.parse(device)
    ranks = {name: read_inf(text.encode()).rank(pci, target) for name, text in DRIVERS.items()}
    ranks = {name: rank for name, rank in ranks.items() if rank}

    assert max(ranks, key=ranks.get, default=None) == driver


def test_id_with_the_subsystem_ranks_above_one_without():
    inf = read_inf(DRIVERS["e1c62x64.inf"].encode())

    plain = inf.rank(PciId.parse("8086:1502:1028:0001"), WINDOWS_7)
    exact = inf.rank(PciId.parse("8086:1502:8086:0000"), WINDOWS_7)

    assert plain < exact


def test_id_with_what_the_device_has_not_told_ranks_below_one_without():
    line = "%Maker% = M, NTamd64\n[M.NTamd64]\n%x% = A, PCI\\VEN_10EC&DEV_8168"
    plain, newer = (
        read_inf(network(line + board, driver_ver=version).encode())
        for board, version in (("", "01/01/2010,1.0"), ("&SUBSYS_08691028", "01/01/2020,2.0"))
    )

    told, untold = PciId.parse("10ec:8168:1028:0869"), PciId.parse("10ec:8168")

    assert plain.rank(told, WINDOWS_7) < newer.rank(told, WINDOWS_7)
    assert plain.rank(untold, WINDOWS_7) > newer.rank(untold, WINDOWS_7)


@pytest.mark.parametrize(
    ("text", "decoration"),
    [
        ("NT", Decoration()),
        ("ntAMD64.6.1", Decoration("amd64", (6, 1, 0))),
        ("NTx86.0x6.0x1.0x0000001", Decoration("x86", (6, 1, 0), 1)),
        ("NTamd64.10.0...16299", Decoration("amd64", (10, 0, 16299))),
        ("NTamd64...0x3", Decoration("amd64", product=3)),
        ("Win98", None),
        ("NTmips.6", None),
    ],
)
def test_decorations_are_read(text, decoration):
    assert Decoration.parse(text) == decoration


def test_server_section_is_not_for_windows_pe():
    text = network(
        "%Maker% = M, NTamd64.6.1, NTamd64.6.1.3\n[M.NTamd64.6.1]\n"
        "%x% = A, PCI\\VEN_8086&DEV_1502\n[M.NTamd64.6.1.3]\n%x% = B, PCI\\VEN_8086&DEV_1502"
    )

    [model] = read_inf(text.encode()).models(WINDOWS_7)

    assert model.install_section == "A"


def test_sources_of_the_architecture_and_its_catalog_belong_to_a_driver():
    text = NET.replace("[Strings]", "CatalogFile = a.cat\nCatalogFile.NTamd64 = b.cat\n[Strings]")
    text += r"""[SourceDisksNames]
1 = disk,,,\common
[SourceDisksNames.amd64]
2 = disk,,,x64
[SourceDisksFiles]
both.dll = 1
[SourceDisksFiles.amd64]
Driver.sys = 2,sub
..\..\evil.sys = 2
[SourceDisksFiles.x86]
other.sys = 1
"""

    inf = read_inf(text.encode())

    assert inf.files(WINDOWS_7) == ["b.cat", "common/both.dll", "x64/sub/Driver.sys"]
    assert inf.files(VISTA) == ["a.cat", "common/both.dll", "common/other.sys"]


LINES = r'''[Odd]
a = "x; y", "say ""hi""" ; comment
b = one, \
    two, \ ; goes on
    three
c = ,,d
"quoted, key" = %%name%% %Maker% "%MAKER%" %unknown%
no, key = here
path = C:\folder\file
open = "never closed ; no comment
[ODD]
again = yes
'''


def test_lines_are_read_as_setup_reads_them():
    lines = read_sections((NET + LINES).encode())["odd"]

    assert [(line.name, line.values) for line in lines] == [
        ("a", ("x; y", 'say "hi"')),
        ("b", ("one", "two", "three")),
        ("c", ("", "", "d")),
        ("quoted, key", ("%name% Maker Maker %unknown%",)),
        ("", ("no", "key = here")),
        ("path", (r"C:\folder\file",)),
        ("open", ("never closed ; no comment",)),
        ("again", ("yes",)),
    ]


def test_english_strings_go_before_those_without_a_language_and_others():
    text = (
        "[Strings]\na = plain\nb = plain\n[Strings.0407]\na = deutsch\nb = deutsch\nc = deutsch\n"
        "[Strings.0409]\na = english\n[x]\n%a%, %b%, %c%\n"
    )

    [line] = read_sections(text.encode())["x"]

    assert line.values == ("english", "plain", "deutsch")


@pytest.mark.parametrize(
    "encoded",
    [
        codecs.BOM_UTF16_LE + "Gerät".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + "Gerät".encode("utf-16-be"),
        codecs.BOM_UTF8 + "Gerät".encode(),
        "Gerät".encode(),
        "Gerät".encode("cp1252"),
    ],
)
def test_each_encoding_is_read(encoded):
    assert _decode(encoded) == "Gerät"


def _decode(data: bytes) -> str:
    bom = next(
        (
            b
            for b in (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
            if data.startswith(b)
        ),
        b"",
    )
    wide = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}.get(bom, "ascii")
    [line] = read_sections(bom + "[x]\n".encode(wide) + data[len(bom) :])["x"]
    return line.value


_WORD = st.text(
    st.characters(
        codec="cp1252", exclude_characters='"%\\;,=[]\xad', exclude_categories=("C", "Z")
    ),
    min_size=1,
    max_size=8,
)


@given(
    st.lists(
        st.tuples(
            _WORD,
            st.lists(st.text(st.sampled_from('ab ";,=\\['), max_size=6), min_size=1, max_size=4),
        ),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from(["utf-8-sig", "utf-16-le", "utf-16-be", "utf-8"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
)
def test_what_is_written_in_quotes_is_read_back_in_each_encoding(lines, encoding, end, split):
    comma = f", \\{end}  " if split else ","
    text = f"[Section]{end}" + "".join(
        f"{name} = {comma.join(_quoted(value) for value in values)}{end}" for name, values in lines
    )
    bom = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}.get(encoding, b"")

    read = read_sections(bom + text.encode(encoding))["section"]

    assert [(line.name, list(line.values)) for line in read] == lines


def _quoted(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'


@given(
    st.binary(max_size=300),
    st.text(st.sampled_from('[]%";,=\\\n nNtT.0x1VersionStrings'), max_size=200),
)
def test_rubbish_is_read_or_refused(data, text):
    for content in (data, NET.encode() + data, (NET + "[Manufacturer]\n" + text).encode()):
        try:
            inf = read_inf(content)
        except InfError:
            pass
        else:
            inf.models(WINDOWS_7)
            inf.files(WINDOWS_7)
            inf.removable()


@pytest.mark.parametrize(
    "data",
    [
        bytes(LIMIT_BYTES + 1),
        b"[a]\n" + b"," * 700_000,
        b"[Strings]\na=" + b"x" * 4000 + b"\n[x]\n" + b"%a%%a%%a%%a%\n" * 20_000,
        b"[autorun]\nopen = setup.exe\n",
    ],
    ids=["50 MB", "only commas", "strings that explode", "autorun.inf"],
)
def test_what_is_no_drivers_inf_file_is_refused(data):
    with pytest.raises(InfError) as refused:
        read_inf(data)

    assert refused.value.hint


REMOVAL = {
    "foreign": ("PCI\\VEN_10EC&DEV_8168", "6", True),
    "intel": ("PCI\\VEN_8086&DEV_1502", "6", False),
    "mixed": ("PCI\\VEN_10EC&DEV_8168, PCI\\VEN_8086&DEV_1502", "6", False),
    "intel wifi": ("PCI\\VEN_8086&DEV_0085", "0x47 ; IF_TYPE_IEEE80211", True),
    "usb": ("USB\\VID_0BDA&PID_8153", "6", True),
    "virtual": ("VMBUS\\{f8615163}", "6", False),
    "root": ("ROOT\\NDISVIRTUALBUS", "6", False),
    "loopback": ("*MSLOOP", "6", False),
    "wan": ("MS_NDISWANIP", "6", False),
    "made-up bus": ("B06BDRV\\L2ND&PCI_163914E4", "6", False),
}


@pytest.mark.parametrize(("ids", "if_type", "removable"), REMOVAL.values(), ids=REMOVAL)
def test_only_drivers_for_devices_that_are_not_needed_are_removable(ids, if_type, removable):
    text = network(f"%Maker% = M, NTamd64\n[M.NTamd64]\n%x% = A, {ids}\n[A]\n*IfType = {if_type}")

    assert read_inf(text.encode()).removable() is removable


@pytest.mark.parametrize(
    "text",
    ["8086:15bc", "8086:15bc:1028:0869", r"pci\ven_8086&dev_15bc&subsys_08691028&rev_10"],
)
def test_pci_id_is_read_as_people_and_windows_write_it(text):
    pci = PciId.parse(text)

    assert str(pci).startswith("8086:15bc")
    assert pci.subsystem in (None, (0x1028, 0x0869))


def _steps(size: int) -> int:
    """How many lines of Python it takes to read an INF file, and all that it offers."""
    text = network("%Maker% = M, NTamd64.6.1\n" * size + "[M.NTamd64.6.1]")
    text += "".join(
        f'"%Maker%" = A, PCI\\VEN_8086&DEV_{number:04X}, \\\n  x\n' for number in range(size)
    )
    steps = 0

    def count(*_):
        nonlocal steps
        steps += 1
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        inf = read_inf(text.encode())
        assert len(inf.models(WINDOWS_7)) == size
        assert inf.rank(PciId(0x8086, 1), WINDOWS_7)
        assert len(inf.pci_ids) == size
        assert inf.removable() is False
    finally:
        sys.settrace(before)
    return steps


def test_twice_the_text_costs_twice_the_work():
    assert _steps(200) < 2.2 * _steps(100)
