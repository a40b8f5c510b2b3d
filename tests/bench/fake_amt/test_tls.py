"""TLS as old firmware has it, and as firmware has it that wants a certificate of the console."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from bootserver.bench.fake_amt import FakeAmtDevice, FakeSpec, TlsSuites, fake_amt


def console_context(device: FakeAmtDevice, ciphers: str = "") -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=device.certificate_pem)
    if ciphers:
        context.set_ciphers(ciphers)
    return context


async def answer(device: FakeAmtDevice, context: ssl.SSLContext) -> tuple[bytes, str]:
    """The first bytes of an answer, and the suite it came with."""
    reader, writer = await asyncio.open_connection(device.host, device.wsman_port, ssl=context)
    try:
        writer.write(b"POST /wsman HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        return await reader.readexactly(12), writer.get_extra_info("cipher")[0]
    finally:
        writer.close()


# Suites that OpenSSL has at its security level 2, which is Debian's, and Python leaves out.
@pytest.mark.parametrize(
    ("suites", "ciphers", "chosen"),
    [
        (TlsSuites.RSA_KEY_EXCHANGE, "kRSA+AESGCM:@SECLEVEL=2", "AES256-GCM-SHA384"),
        (TlsSuites.CBC, "ECDHE-RSA-AES256-SHA:@SECLEVEL=2", "ECDHE-RSA-AES256-SHA"),
        (TlsSuites.RSA_AND_CBC, "AES256-SHA:@SECLEVEL=2", "AES256-SHA"),
    ],
)
async def test_an_old_device_has_only_its_old_suites(
    tmp_path: Path, suites: TlsSuites, ciphers: str, chosen: str
):
    async with fake_amt(FakeSpec(tmp_path, tls=True, tls_suites=suites)) as device:
        assert await answer(device, console_context(device, ciphers)) == (b"HTTP/1.1 401", chosen)

        with pytest.raises(ssl.SSLError, match="handshake failure"):
            await answer(device, console_context(device, "ECDHE+AESGCM"))


async def test_mutual_tls_lets_in_who_has_a_certificate_of_its_own(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path, tls=True, mutual_tls=True)) as device:
        with_one = console_context(device)
        with_one.load_cert_chain(device.client_certificate)
        assert (await answer(device, with_one))[0] == b"HTTP/1.1 401"

        with pytest.raises(ssl.SSLError, match="certificate required"):
            await answer(device, console_context(device))
