"""`python -m bootserver.stub.collect`: fill stub/build with loaders, or fetch a packaged ISO.

Called by the Makefile. Does nothing twice: what the manifest lists and the disk holds stays.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import click

from bootserver.config import PROJECT
from bootserver.errors import BootServerError, StubError
from bootserver.files.atomic import write_atomically
from bootserver.stub.loaders import (
    COMPILED,
    LOADERS,
    Loader,
    compiling_hint,
    read_manifest,
    sha256_of,
    write_manifest,
)
from bootserver.stub.packages import PackageSource, Unpacked
from bootserver.stub.pe_from_elf import pe_from_elf


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a file is inside which package, and what that package must be able to do."""

    package: str
    member: str
    capable: Callable[[Unpacked], bool] = lambda _: True


def _knows_autoexec(ipxe: Unpacked) -> bool:
    """Judge iPXE by what it can do: builds that know autoexec.ipxe also hold images over 2 GiB.

    Bookworm's, of 2019, does neither, and corrupts such images without a word.
    """
    binaries = (efi for efi in ipxe.root.rglob("ipxe*.efi") if efi.is_file())  # not dangling links
    return any(b"autoexec.ipxe" in efi.read_bytes() for efi in binaries)


ORIGINS = {
    "isolinux.bin": Origin("isolinux", "usr/lib/ISOLINUX/isolinux.bin"),
    "isohdpfx.bin": Origin("isolinux", "usr/lib/ISOLINUX/isohdpfx.bin"),
    "ldlinux.c32": Origin("syslinux-common", "usr/lib/syslinux/modules/bios/ldlinux.c32"),
    "memdisk": Origin("syslinux-common", "usr/lib/syslinux/memdisk"),
    "ipxe.lkrn": Origin("ipxe", "usr/lib/ipxe/ipxe.lkrn", _knows_autoexec),
    "undionly.kpxe": Origin("ipxe", "usr/lib/ipxe/undionly.kpxe", _knows_autoexec),
    "ipxe-amd64.efi": Origin("ipxe", "usr/lib/ipxe/ipxe-amd64.efi", _knows_autoexec),
    "ipxe-arm64.efi": Origin("ipxe", "usr/lib/ipxe/ipxe-arm64.efi", _knows_autoexec),
    "snponly.efi": Origin("ipxe", "usr/lib/ipxe/snponly.efi", _knows_autoexec),
}

# What ours are compiled with. Not the host's package: that has the headers of the host's processor.
HEADERS = {"gnu-efi": Origin("gnu-efi", "usr/include/efi")}

ISOS = {
    "memtest86+x64.iso": Origin("memtest86+", "usr/lib/memtest86+/memtest86+x64.iso"),
    "grub-rescue-cdrom.iso": Origin("grub-rescue-pc", "usr/lib/grub-rescue/grub-rescue-cdrom.iso"),
}


def collect_loaders(build: Path) -> list[Loader]:
    """Put every loader into `build` and write its manifest; returns those that were new."""
    build.mkdir(parents=True, exist_ok=True)
    manifest = read_manifest(build)
    missing = {
        name: origin for name, origin in ORIGINS.items() if not _is_whole(manifest.get(name))
    }
    missing |= {name: origin for name, origin in HEADERS.items() if not (build / name).exists()}
    found = {
        name: Loader(name, path, package.package, package.version, sha256_of(path))
        for name, path, package in _extract(missing, build)
        if name in ORIGINS
    }
    _compile(build)
    for name in COMPILED:
        path = build / name
        found[name] = Loader(name, path, "bootserver", version("bootserver"), sha256_of(path))
    new = [loader for name, loader in found.items() if manifest.get(name) != loader]
    if new:
        kept = {name: loader for name, loader in manifest.items() if name in LOADERS}
        write_manifest(build, list((kept | found).values()))
    return new


def collect_isos(names: Iterable[str], directory: Path) -> list[Path]:
    """Put packaged ISOs into `directory`; returns those that were new."""
    missing = {name: ISOS[name] for name in names if not (directory / name).exists()}
    directory.mkdir(parents=True, exist_ok=True)
    return [path for _, path, _ in _extract(missing, directory)]


def _compile(build: Path) -> None:
    """Our own loaders, compiled where their source is newer."""
    command = ["make", "--silent", "-C", str(PROJECT / "stub"), f"BUILD={build.resolve()}"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as err:
        reason = getattr(err, "stderr", "") or str(err)
        raise StubError(
            f"our UEFI loaders cannot be compiled: {reason.strip()}", hint=compiling_hint()
        ) from err
    for name in COMPILED:
        write_atomically(
            build / name, pe_from_elf((build / name).with_suffix(".elf").read_bytes()), shared=True
        )


def _extract(wanted: dict[str, Origin], directory: Path) -> list[tuple[str, Path, Unpacked]]:
    """Each wanted file or folder in `directory`, complete, with the package it came from."""
    if not wanted:
        return []
    extracted = []
    with tempfile.TemporaryDirectory(prefix="bootserver-") as workdir:
        source = PackageSource(Path(workdir))
        packages: dict[str, Unpacked] = {}
        # Packages that must be able to do something come last: they may need another release.
        for name, origin in sorted(wanted.items(), key=lambda item: item[1].package == "ipxe"):
            if origin.package not in packages:
                origins = [x for x in wanted.values() if x.package == origin.package]
                packages[origin.package] = _capable(source, origins)
            package = packages[origin.package]
            target = directory / name
            member = package.root / origin.member
            if member.is_dir():
                partial = directory / f".{name}.part"
                shutil.copytree(member, partial, dirs_exist_ok=True)
                partial.rename(target)
            else:
                write_atomically(target, member.read_bytes(), shared=True)
            extracted.append((name, target, package))
    return extracted


def _capable(source: PackageSource, origins: Sequence[Origin]) -> Unpacked:
    """The host release's package if it has and can do what is asked, else the newer release's."""
    name = origins[0].package

    def is_fit(package: Unpacked) -> bool:
        return all((package.root / x.member).exists() and x.capable(package) for x in origins)

    package = source.unpack(name)
    if not is_fit(package):
        package = source.unpack(name, release=source.newer_release)
    if not is_fit(package):
        raise StubError(
            f"{name} {package.version} is not what is needed",
            hint="name builds of your own in [stub.loaders]",
        )
    return package


def _is_whole(loader: Loader | None) -> bool:
    return loader is not None and loader.path.is_file() and sha256_of(loader.path) == loader.sha256


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option(
    "--iso", "isos", multiple=True, type=click.Choice(sorted(ISOS)), help="An ISO instead."
)
def main(directory: Path, isos: tuple[str, ...]) -> None:
    """Put the loaders (or the named ISOs) into DIRECTORY, from the distribution's packages."""
    try:
        if isos:
            for path in collect_isos(isos, directory):
                print(f"{path.name}: {path.stat().st_size:,} bytes")
            return
        for loader in collect_loaders(directory):
            print(f"{loader.name}: from {loader.package} {loader.version}")
    except BootServerError as err:
        raise click.ClickException(f"{err.message}; {err.hint}") from err


if __name__ == "__main__":
    main()
