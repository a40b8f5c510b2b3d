"""The loaders that stubs and the boot plane need: where each is, and where it came from.

`stub/build/MANIFEST.toml` lists what `make setup` collected; `[stub.loaders]` in config.toml puts
a site's own in place of any of them.
"""

from __future__ import annotations

import hashlib
import platform
import tomllib
from dataclasses import dataclass
from pathlib import Path
from shutil import which

import tomli_w

from bootserver.config import StubConfig
from bootserver.errors import LoaderMissingError
from bootserver.files.atomic import write_atomically
from bootserver.model import Architecture

MANIFEST = "MANIFEST.toml"

BIOS, X64, ARM64 = Architecture.BIOS, Architecture.X64, Architecture.ARM64

# Each loader: the machines it is for, and what it does.
LOADERS = {
    "isolinux.bin": (BIOS, "starts the stub"),
    "ldlinux.c32": (BIOS, "is isolinux's second half"),
    "isohdpfx.bin": (BIOS, "starts the stub from a USB stick"),
    "ipxe.lkrn": (BIOS, "is iPXE, the stub's network"),
    "memdisk": (BIOS, "boots an ISO from RAM"),
    "undionly.kpxe": (BIOS, "is iPXE for machines that boot by PXE"),
    "ipxe-amd64.efi": (X64, "is iPXE, the stub's network"),
    "snponly.efi": (X64, "is iPXE through the firmware's own network driver"),
    "efi-loader.efi": (X64, "unpacks iPXE, so that few bytes are redirected"),
    "ramdisk.efi": (X64, "boots an ISO from RAM"),
    "ipxe-arm64.efi": (ARM64, "is iPXE, the stub's network"),
}

# Ours, from the C source in stub/; and what compiles it for PCs, on whatever machine.
COMPILED = ("ramdisk.efi", "efi-loader.efi")
COMPILER = "x86_64-linux-gnu-gcc"

# Loaders that only a site can supply, in [stub.loaders]. Nothing is missing without them, and they
# are served as they are. Upstream's wimboot has Microsoft's signature, and ours would break it.
OPTIONAL = {"wimboot": "boots Windows PE from the files of its disc"}

# What machines may fetch from /nbp: public binaries.
SERVED = frozenset(
    {"memdisk", "ipxe.lkrn", "undionly.kpxe", "ipxe-amd64.efi", "snponly.efi", "ramdisk.efi"}
    | OPTIONAL.keys()
)


@dataclass(frozen=True, slots=True)
class Loader:
    """A loader's file, its package and version ("" for a site's own), and its digest."""

    name: str
    path: Path
    package: str = ""
    version: str = ""
    sha256: str = ""


def find_loader(stub: StubConfig, name: str) -> Path:
    """The file of the loader `name`: the site's own, else the collected one.

    Raises LoaderMissingError when it is not there.
    """
    own = stub.loaders.get(name)
    if name in OPTIONAL and own is None:
        raise LoaderMissingError(
            f"this site has no {name}", hint=f"get one, and name it in [stub.loaders] {name}"
        )
    path = own or stub.build / name
    if name not in (LOADERS | OPTIONAL) or not path.is_file():
        setup_hint = compiling_hint() if name in COMPILED else "run: make setup"
        raise LoaderMissingError(
            f"the loader {name} is missing ({path})",
            hint=f"check [stub.loaders] {name}" if own else setup_hint,
        )
    return path


def compiling_hint() -> str:
    """What to do when our own loaders are not compiled: it names the compiler that is missing."""
    if which(COMPILER):
        return "run: make setup"
    package = "gcc" if platform.machine() == "x86_64" else "gcc-x86-64-linux-gnu"
    return f"{COMPILER} is missing: apt install {package}, then run: make setup"


def read_loader(stub: StubConfig, name: str) -> bytes:
    """The bytes of a loader; raises LoaderMissingError when it cannot be read."""
    path = find_loader(stub, name)
    try:
        return path.read_bytes()
    except OSError as err:
        raise LoaderMissingError(
            f"the loader {path} cannot be read: {err.strerror}", hint="check its permissions"
        ) from err


def problems(stub: StubConfig) -> list[str]:
    """A sentence for each loader that is missing or differs from the manifest."""
    manifest = read_manifest(stub.build)
    found = []
    for name, (architecture, purpose) in LOADERS.items():
        if architecture not in stub.architectures:
            continue
        try:
            digest = hashlib.sha256(read_loader(stub, name)).hexdigest()
        except LoaderMissingError as err:
            found.append(f"{err.message}: on {architecture} it {purpose}; {err.hint}")
            continue
        listed = manifest.get(name)
        if name not in stub.loaders and listed and listed.sha256 != digest:
            found.append(
                f"{listed.path} differs from what make setup collected; delete it, then make setup"
            )
    for name, path in stub.loaders.items():
        if name in OPTIONAL and not path.is_file():
            found.append(f"{path} is missing: {name} {OPTIONAL[name]}; check [stub.loaders] {name}")
        elif name not in LOADERS | OPTIONAL:
            found.append(f"[stub.loaders] {name}: no such loader")
    return found


def sha256_of(path: Path) -> str:
    """The SHA-256 of a small file, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_manifest(build: Path) -> dict[str, Loader]:
    """What was collected into `build`, by name; empty when nothing was."""
    try:
        tables = tomllib.loads((build / MANIFEST).read_text(encoding="utf-8")).get("loader", [])
    except FileNotFoundError:
        return {}
    return {
        table["name"]: Loader(
            table["name"],
            build / table["name"],
            table["package"],
            table["version"],
            table["sha256"],
        )
        for table in tables
    }


def write_manifest(build: Path, loaders: list[Loader]) -> None:
    """Write down what was collected, sorted by name."""
    tables = [
        {"name": x.name, "package": x.package, "version": x.version, "sha256": x.sha256}
        for x in sorted(loaders, key=lambda x: x.name)
    ]
    write_atomically(build / MANIFEST, tomli_w.dumps({"loader": tables}).encode(), shared=True)
