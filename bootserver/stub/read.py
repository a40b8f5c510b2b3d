"""What is in a stub's file, read back from its bytes."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from typing import Any

import pycdlib
from pycdlib.pycdlibexception import PyCdlibException

from bootserver.errors import StubError
from bootserver.stub.plan import VOLUME_ID


def read_stub(path: Path) -> dict[str, Any]:
    """The stub's size, image, servers and files (name -> size in bytes); raises StubError."""
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
        buffer = BytesIO()
        iso.get_file_from_iso_fp(buffer, iso_path="/AUTOEXEC.IPXE;1")
    finally:
        iso.close()
    script = buffer.getvalue().decode("ascii")
    image = re.search(r"^echo bootserver: this machine is to boot (.*)$", script, re.MULTILINE)
    return {
        "file": str(path),
        "size_bytes": path.stat().st_size,
        "image": image[1] if image else "",
        "servers": re.findall(r"^echo bootserver: calling (.*)$", script, re.MULTILINE),
        "files": files,
    }
