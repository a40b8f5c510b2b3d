"""What is said of a disc of Windows PE: its Windows, its network drivers, and what is ballast."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest

from bootserver.windows import inspect as inspect_module
from bootserver.windows.inspect import WinPe, WinPeFindings, inspect_winpe
from bootserver.windows.wim import WimError
from tests.fixtures.winpe import (
    ALL_DRIVERS,
    DISK,
    FOREIGN,
    INTEL,
    KEPT,
    PLAIN,
    WIFI,
    FakeDriver,
    WinPeSpec,
    disc_content,
    make_wim,
    make_winpe,
    solid_wim,
    store_folder,
    winpe_disc,
    winpe_wim,
)

NETWORK = [driver for driver in ALL_DRIVERS if driver is not DISK]


def inspected(spec: WinPeSpec) -> WinPe:
    return inspect_winpe(disc_content(winpe_disc(spec)))


@pytest.mark.parametrize(
    "spec",
    [
        WinPeSpec(shape="iso9660"),
        WinPeSpec(shape="udf", compression="XPRESS"),
        WinPeSpec(images=2, compression="XPRESS", integrity=True),
    ],
    ids=["iso9660", "udf", "two images"],
)
def test_the_network_drivers_of_the_booted_image_are_listed(spec: WinPeSpec):
    winpe = inspected(spec)
    listed = {driver.name: driver for driver in winpe.drivers}

    assert sorted(driver.name for driver in winpe.drivers) == sorted(
        f"{driver.name}.inf" for driver in NETWORK
    )
    assert (winpe.index, len(winpe.images)) == (spec.images, spec.images)
    assert winpe.compression == spec.compression
    intel = listed["e1d68x64.inf"]
    assert intel.pci_ids == ("8086:153a", "8086:15a0", "8086:15b7", "8086:15bb")
    assert (intel.vendors, intel.provider) == (("Intel",), "Intel")
    assert (intel.driver_date, intel.driver_version) == ("2016-04-05", "12.15.31.4")
    assert listed["rtux64w10.inf"].pci_ids == ()  # it is for a USB adapter
    assert {name for name, driver in listed.items() if driver.wifi} == {
        f"{driver.name}.inf" for driver in WIFI
    }


@pytest.mark.parametrize("in_xml", [True, False], ids=["described", "by its kernel"])
@pytest.mark.parametrize(
    ("arch", "version", "title"),
    [
        ("x86", (6, 0, 6001), "Windows Vista (6.0.6001) for x86"),
        ("amd64", (10, 0, 22621), "Windows 11 (10.0.22621) for amd64"),
        ("arm64", (10, 0, 19041), "Windows 10 (10.0.19041) for arm64"),
    ],
)
def test_the_version_of_windows_is_what_the_wim_says_else_the_kernel(arch, version, title, in_xml):
    winpe = inspected(WinPeSpec(arch=arch, version=version, version_in_xml=in_xml))

    assert winpe.windows == title
    assert winpe.version == ".".join(map(str, version))
    assert winpe.architecture == arch
    assert all(driver.pci_ids for driver in winpe.drivers if driver.name == "e1d68x64.inf")


def test_a_driver_for_another_windows_serves_no_device():
    vista = inspected(WinPeSpec(arch="x86", version=(5, 2, 3790)))

    assert not any(driver.pci_ids for driver in vista.drivers)  # all are for NTx86.6.0


def test_without_a_known_windows_all_devices_of_a_driver_are_told():
    files = {"Windows/System32/ntoskrnl.exe": b"MZ no kernel"}
    winpe = inspected(WinPeSpec(version_in_xml=False, wim_files=files))

    assert (winpe.windows, winpe.version, winpe.architecture) == ("", "", "")
    assert {driver.name: driver.pci_ids for driver in winpe.drivers}["e1c62x64.inf"] == (
        "8086:1502",
        "8086:1503",
    )
    assert winpe.lines(with_drivers=False)[0].startswith("An unknown Windows: image 1 of 1")


@pytest.mark.interop
@pytest.mark.parametrize("images", [1, 2])
def test_what_trimming_gains_is_what_wimlib_saves_without_these_drivers(images, tmp_path: Path):
    spec = WinPeSpec(images=images)
    gains = {gain.trim: gain for gain in inspected(spec).gains}
    without = {
        "foreign_nics": [d for d in ALL_DRIVERS if d not in FOREIGN and d is not WIFI[1]],
        "wifi": [driver for driver in ALL_DRIVERS if driver not in WIFI],
        "both": [driver for driver in ALL_DRIVERS if driver not in (*FOREIGN, *WIFI)],
    }

    for trim, drivers in without.items():
        trimmed = make_wim(tmp_path / f"{trim}.wim", replace(spec, drivers=tuple(drivers)))
        saved_bytes = winpe_wim(spec).stat().st_size - trimmed.stat().st_size
        gain = gains[trim]
        assert gain.drivers == len(ALL_DRIVERS) - len(drivers)
        # Names and the table of contents get smaller, too.
        assert gain.saved_bytes < saved_bytes < gain.saved_bytes + 1000 * gain.drivers
        assert gain.seconds_at_100_mbit == pytest.approx(gain.saved_bytes / 11.77e6, abs=0.01)
        assert gain.seconds_at_1_gbit == pytest.approx(gain.saved_bytes / 117.7e6, abs=0.01)
    assert {
        driver.name.removesuffix(".inf")
        for driver in inspected(spec).drivers
        if not driver.dropped_by
    } >= {driver.name for driver in (INTEL, *KEPT)}


def test_a_file_that_a_kept_driver_needs_is_no_gain_and_one_that_two_share_counts_once():
    alone = {f"{store_folder(FOREIGN[0])}/common.dll": b"common" * 9999}
    twice = {**alone, f"{store_folder(FOREIGN[1])}/common.dll": b"common" * 9999}
    shared = {**alone, f"{store_folder(INTEL)}/common.dll": b"common" * 9999}

    plain, with_shared, with_one, with_two = (
        inspected(WinPeSpec(wim_files=files)).gains[0].saved_bytes
        for files in ({}, shared, alone, twice)
    )

    assert plain == with_shared < with_one == with_two


def test_a_driver_beside_the_store_is_found_with_its_files():
    driver = FakeDriver("rtl8139", "Realtek", ("PCI\\VEN_10EC&DEV_8139",))
    files = {f"Windows/INF/{name}": data for name, data in driver.files("amd64").items()}
    winpe = inspected(WinPeSpec(drivers=(), wim_files=files))

    [found] = winpe.drivers
    assert (found.path, found.pci_ids) == ("/Windows/INF/rtl8139.inf", ("10ec:8139",))
    assert found.packed_bytes > 68_000  # its .sys and .cat


def test_remote_desktop_tools_are_found_by_their_programs():
    files = {
        "Program Files/Symantec/pcAnywhere/AWHOST32.EXE": b"MZ",
        "Program Files/TeamViewer/TeamViewer.exe": b"MZ TeamViewer",
        "Windows/System32/mstsc.exe": b"MZ it shows other screens",
    }
    winpe = inspected(WinPeSpec(remote_desktop=True, wim_files=files))

    assert {(found.tool, found.path) for found in winpe.remote_desktop} == {
        ("pcAnywhere", "/Program Files/Symantec/pcAnywhere/AWHOST32.EXE"),
        ("TeamViewer", "/Program Files/TeamViewer/TeamViewer.exe"),
        ("VNC", "/Program Files/uvnc bvba/UltraVNC/winvnc.exe"),
    }
    assert inspected(PLAIN).remote_desktop == ()


def test_an_inf_that_cannot_be_read_is_told_and_stops_nothing():
    files = {
        "Windows/INF/empty.inf": b"class=net",
        "Windows/INF/huge.inf": b"[Version]\r\nClass=Net\r\n" + b";" * 8_000_000,
    }
    winpe = inspected(WinPeSpec(wim_files=files))

    assert len(winpe.drivers) == len(NETWORK)
    assert winpe.caveats == (
        "/Windows/INF/huge.inf has 8.0 MB, too much for the INF file of a driver",
        "/Windows/INF/empty.inf cannot be used: it has no [Version] section",
    )


def test_a_solid_wim_is_read_and_said_to_be_unchangeable(tmp_path: Path):
    disc = make_winpe(tmp_path / "solid.iso", boot_wim=solid_wim(tmp_path / "solid.wim"))

    winpe = inspect_winpe(disc_content(disc))

    assert len(winpe.drivers) == len(NETWORK)
    assert winpe.compression == "LZMS"
    assert "--compress=LZX" in winpe.caveats[0]


def test_lines_for_a_person_have_the_drivers_only_if_they_are_wanted():
    winpe = inspected(WinPeSpec(remote_desktop=True))
    short, long = (winpe.lines(with_drivers=wanted) for wanted in (False, True))

    assert short[0] == (
        "Windows 11 (10.0.22621) for amd64: image 1 of 1 (Microsoft Windows PE) in "
        "/sources/boot.wim, 1.5 MB, LZX"
    )
    assert short[2] == "Network drivers: 14"
    assert not any("8086:" in line for line in short)
    assert "    8086:153a 8086:15a0 8086:15b7 8086:15bb" in long
    assert [line for line in long if line.startswith("Without drivers of Wi-Fi cards (2): ")]


async def test_a_version_of_a_disc_is_looked_into_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    disc = make_winpe(tmp_path / "pe.iso")
    looks = []

    def counted(content, cancelled):
        looks.append(content)
        return inspect_winpe(content, cancelled)

    monkeypatch.setattr(inspect_module, "inspect_winpe", counted)
    findings = WinPeFindings()
    first = await findings.of(disc_content(disc))
    again = await findings.of(disc_content(disc))
    os.utime(disc, (1, 1))
    changed = await findings.of(disc_content(disc))

    assert first is again
    assert changed == first
    assert len(looks) == 2


async def test_who_waits_for_a_look_that_is_cancelled_is_not_kept(
    monkeypatch: pytest.MonkeyPatch,
):
    begun, ended = asyncio.Event(), []
    loop = asyncio.get_running_loop()

    def endless(content, cancelled):
        loop.call_soon_threadsafe(begun.set)
        cancelled.wait()
        ended.append(content)
        raise WimError("that was cancelled")

    monkeypatch.setattr(inspect_module, "inspect_winpe", endless)
    looking = asyncio.create_task(WinPeFindings().of(disc_content(winpe_disc())))
    await begun.wait()
    looking.cancel()

    with pytest.raises(asyncio.CancelledError):
        await looking
    assert len(ended) == 1
