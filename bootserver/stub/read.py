"""What is in a stub's file, read back from its bytes."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from typing import Any

import pycdlib
from pycdlib.pycdlibexception import PyCdlibException

from bootserver.errors import StubError
from bootserver.quoting import IPXE_NOTHING
from bootserver.stub.plan import ESP_PATH, ISOLINUX_PATH, VOLUME_ID

SCRIPT_START = b"#!ipxe\n# bootserver's stub"


def read_stub(path: Path) -> dict[str, Any]:
    """The stub's size, image, servers, loaders and files (name -> bytes); raises StubError.

    `uefi` says which iPXE starts on UEFI machines: `packed`, `plain` or `none`.
    """
    iso = pycdlib.PyCdlib()
    try:
        iso.open(str(path))
    except (PyCdlibException, OSError) as err:
        raise StubError(
            f"{path} is not an ISO: {err}", hint="name a file made by stub build"
        ) from err
    try:
        if iso.pvd.volume_identifier.decode("ascii", "replace").strip() != VOLUME_ID:
            raise StubError(f"{path} is an ISO, but no stub", hint="name a file made by stub build")
        files = {
            entry.file_identifier().decode().removesuffix(";1"): entry.get_data_length()
            for entry in iso.list_children(iso_path="/")
            if entry.is_file()
        }
        esp = BytesIO()
        if ESP_PATH[1:] in files:
            iso.get_file_from_iso_fp(esp, iso_path=f"{ESP_PATH};1")
    finally:
        iso.close()
    script = _script(path.read_bytes())
    called = re.findall(r"^echo bootserver: calling (.*)$", script, re.MULTILINE)
    image = re.search(r"^echo bootserver: this machine is to boot (.*)$", script, re.MULTILINE)
    return {
        "file": str(path),
        "size_bytes": path.stat().st_size,
        "image": image[1].replace(IPXE_NOTHING, "") if image else "",
        "servers": list(dict.fromkeys(called)),  # twice, where a known address goes first
        "bios": ISOLINUX_PATH[1:] in files,
        "uefi": _uefi(esp.getvalue()),
        "files": files,
    }


def _script(stub: bytes) -> str:
    """The script inside: the same on the ISO's own side and on its FAT volume."""
    start = stub.find(SCRIPT_START)
    return stub[start : stub.find(b"\0", start)].decode("ascii", "replace") if start >= 0 else ""


def _uefi(esp: bytes) -> str:
    """Which iPXE the FAT image has, by the names in its directories."""
    if b"IPXE    BIN" in esp:
        return "packed"
    return "plain" if b"BOOTX64 EFI" in esp or b"BOOTAA64EFI" in esp else "none"
