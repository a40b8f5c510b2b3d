"""One-Click Recovery: the BIOS fetches the image over HTTPS and boots it from memory.

Here the device itself fetches it, as the BIOS would: one whole GET, exact Content-Length. It trusts
the CA certificates that were pushed to AMT and no others. What was fetched then lies in the
machine's CD drive, an .efi program on a CD around it. OVMF's own HTTP boot would need the URL in
its variables, which cannot be set while QEMU runs.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pycdlib
from yarl import URL

from bootserver.bench.fake_amt.boot import RecoveryRequest
from bootserver.stub.fat import fat_image

_TIMEOUT_S = 300
_PIECE_BYTES = 1 << 20
_EFI_IMAGE = "/EFI.IMG;1"


@dataclass(frozen=True, slots=True)
class Fetched:
    """What became of the download; `error` "" when `disc` can be booted."""

    url: str
    error: str = ""
    size_bytes: int = 0
    sha256: str = ""
    content_type: str = ""
    disc: Path | None = None


async def fetch(
    recovery: RecoveryRequest, roots: Sequence[bytes], workdir: Path, gateway: str
) -> Fetched:
    """Download the image; `gateway` is the address under which QEMU's guest knows this host."""
    url = URL(recovery.url)
    if url.scheme != "https" or not url.host:
        return Fetched(recovery.url, "not an https URL")
    # Only what AMT was given vouches for the server, and only if it was told so.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for root in roots if recovery.uses_roots else ():
        context.load_verify_locations(cadata=root)
    headers = {"Host": url.authority}
    if recovery.user:
        login = f"{recovery.user}:{recovery.password}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(login).decode()}"
    here = url.with_host("127.0.0.1") if url.host == gateway else url
    name = "recovery.efi" if url.path.lower().endswith(".efi") else "recovery.iso"
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
            session.get(
                here,
                ssl=context,
                server_hostname=url.host,
                headers=headers,
                allow_redirects=False,
            ) as response,
        ):
            return await _keep(response, recovery.url, workdir / name)
    except (aiohttp.ClientError, OSError, TimeoutError) as err:
        return Fetched(recovery.url, f"{type(err).__name__}: {err}")


async def _keep(response: aiohttp.ClientResponse, url: str, path: Path) -> Fetched:
    if response.status != 200:
        return Fetched(url, f"status {response.status}")
    if response.content_length is None:
        return Fetched(url, "no Content-Length")
    digest, size_bytes = hashlib.sha256(), 0
    with path.open("wb") as file:
        async for piece in response.content.iter_chunked(_PIECE_BYTES):
            digest.update(piece)
            size_bytes += len(piece)
            await asyncio.to_thread(file.write, piece)
    disc = path
    if path.suffix == ".efi":
        disc = path.with_suffix(".efi.iso")
        await asyncio.to_thread(_cd_around, path, disc)
    return Fetched(url, "", size_bytes, digest.hexdigest(), response.content_type, disc)


def _cd_around(program: Path, disc: Path) -> None:
    """A CD from which UEFI firmware starts that program (El Torito, platform 0xEF)."""
    image = program.with_suffix(".img")
    image.write_bytes(fat_image({"EFI/BOOT/BOOTX64.EFI": program.read_bytes()}))
    iso = pycdlib.PyCdlib()
    iso.new()
    iso.add_file(str(image), _EFI_IMAGE)
    iso.add_eltorito(_EFI_IMAGE, bootcatfile="/BOOT.CAT;1", efi=True)
    iso.write(str(disc))
    iso.close()
