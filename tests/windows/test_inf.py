"""What INF files offer, in texts of the shapes that drivers have."""

import pytest

from bootserver.model import PciId
from bootserver.windows.inf import read_inf
from bootserver.windows.target import WindowsTarget

VISTA = WindowsTarget.parse("6.0.6002", "x86")
WINDOWS_7 = WindowsTarget.parse("6.1.7601", "amd64")
WINDOWS_10 = WindowsTarget.parse("10.0.19041", "amd64")

E1C = r"""
; Intel's wired adapters under Windows 7
[Version]
Signature   = "$Windows NT$"
Class       = Net
ClassGUID   = {4d36e972-e325-11ce-bfc1-08002be10318}
Provider    = %Intel%
CatalogFile = e1c62x64.cat
DriverVer   = 12/21/2010,11.8.84.0

[Manufacturer]
%Intel% = Intel, NTamd64.6.1, NTamd64.6.1.1

[Intel]

[Intel.NTamd64.6.1.1]
; DisplayName      Section        DeviceID
%E1502NC.DeviceDesc% = E1502.6.1.1, PCI\VEN_8086&DEV_1502
%E1502NC.DeviceDesc% = E1502.6.1.1, PCI\VEN_8086&DEV_1502&SUBSYS_00008086

[Intel.NTamd64.6.1]
%E1503NC.DeviceDesc% = E1503.6.1, PCI\VEN_8086&DEV_1503

[E1502.6.1.1.ndi]
*IfType = 6

[SourceDisksNames]
1 = %DISK1_NAME%,,,

[SourceDisksFiles]
e1c62x64.sys = 1,,
e1cmsg.dll   = 1,,

[Strings]
Intel = "Intel"
DISK1_NAME = "Intel PRO Installation Disk"
E1502NC.DeviceDesc = "Intel(R) 82579LM Gigabit Network Connection"
E1503NC.DeviceDesc = "Intel(R) 82579V Gigabit Network Connection"
"""


def test_82579lm_has_its_driver_under_windows_7():
    inf = read_inf(E1C.encode())

    [one, _] = inf.models(WINDOWS_7)

    assert inf.network
    assert one.description == "Intel(R) 82579LM Gigabit Network Connection"
    assert one.hardware_ids == (r"PCI\VEN_8086&DEV_1502",)
    assert inf.rank(PciId(0x8086, 0x1502), WINDOWS_7)
    assert inf.files(WINDOWS_7) == ["e1c62x64.cat", "e1c62x64.sys", "e1cmsg.dll"]
    assert not inf.rank(PciId(0x8086, 0x1502), VISTA)


@pytest.mark.parametrize(
    "text",
    [
        "8086:15bc",
        "8086:15bc:1028:0869",
        r"PCI\VEN_8086&DEV_15BC",
        r"pci\ven_8086&dev_15bc&subsys_08691028&rev_10",
    ],
)
def test_pci_id_is_read_as_people_and_windows_write_it(text):
    pci = PciId.parse(text)

    assert str(pci).startswith("8086:15bc")
    assert pci.subsystem in (None, (0x1028, 0x0869))
