"""One-Click Recovery: what the device fetches over HTTPS, and what it refuses to boot."""

from __future__ import annotations

import base64
import hashlib
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from bootserver.bench.fake_amt import BootFrom, FakeAmtDevice, FakeSpec, fake_amt
from bootserver.bench.fake_amt.certificate import Certificate, make_certificate
from tests.bench.fake_amt.wire import WAIT_S, Wsman, order, power, role

ON = 2
HTTPS_SOURCE = "Intel(r) AMT: Force OCR UEFI HTTPS Boot"
DISC = bytes(range(256)) * 800
GUEST_SEES_HOST_AS = "10.0.2.2"

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def whole(request: web.Request) -> web.StreamResponse:
    return web.Response(body=DISC, content_type="application/octet-stream")


async def missing(request: web.Request) -> web.StreamResponse:
    return web.Response(status=404)


async def without_length(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    response.enable_chunked_encoding()
    await response.prepare(request)
    await response.write(DISC)
    return response


async def moved(request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("/elsewhere.iso")


@asynccontextmanager
async def https(context: ssl.SSLContext, answer: Answer = whole) -> AsyncIterator[int]:
    """A server on 127.0.0.1; its port."""
    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return make_certificate(FakeSpec(tmp_path / "server", host=GUEST_SEES_HOST_AS))


def parameter(kind: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0x8086, kind, len(value)) + value


async def recover(
    device: FakeAmtDevice, url: str, *, root: str = "", uses_roots: bool = True
) -> BootFrom:
    """Set up a boot from that URL, power on; where it booted from."""
    wsman = Wsman(device)
    if root:
        blob = "".join(root.splitlines()[1:-1])
        inside = f"<r:CertificateBlob>{blob}</r:CertificateBlob>"
        await wsman.invoke("AMT_PublicKeyManagementService", "AddTrustedRootCertificate", inside)
    told = parameter(1, url.encode()) + parameter(20, bytes([uses_roots]))
    await order(wsman)
    await wsman.put(
        "AMT_BootSettingData",
        InstanceID="Intel(r) AMT:BootSettingData 0",
        UefiBootParametersArray=base64.b64encode(told).decode(),
        UefiBootNumberOfParams="2",
    )
    await role(wsman)
    assert (await order(wsman, HTTPS_SOURCE)).returned == 0
    await power(wsman, ON)
    return (await device.booted(timeout_s=WAIT_S)).source


async def test_the_image_is_fetched_whole_and_booted(tmp_path: Path, certificate: Certificate):
    async with fake_amt(FakeSpec(tmp_path)) as device, https(certificate.context) as port:
        url = f"https://{GUEST_SEES_HOST_AS}:{port}/b/token/image.iso"

        booted_from = await recover(device, url, root=certificate.pem)

        (fetched,) = device.fetched
        assert booted_from is BootFrom.HTTPS
        assert (fetched.url, fetched.error, fetched.size_bytes) == (url, "", len(DISC))
        assert fetched.sha256 == hashlib.sha256(DISC).hexdigest()
        assert fetched.disc
        assert fetched.disc.read_bytes() == DISC
        settings = await Wsman(device).get("AMT_BootSettingData")
        assert settings.texts("BIOSLastStatus") == ["0", "0"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [(missing, "status 404"), (without_length, "no Content-Length"), (moved, "status 302")],
)
async def test_what_cannot_be_fetched_is_not_booted(
    tmp_path: Path, certificate: Certificate, answer: Answer, error: str
):
    async with fake_amt(FakeSpec(tmp_path)) as device, https(certificate.context, answer) as port:
        url = f"https://{GUEST_SEES_HOST_AS}:{port}/image.iso"

        assert await recover(device, url, root=certificate.pem) is BootFrom.DEFAULT
        assert device.fetched[0].error == error
        settings = await Wsman(device).get("AMT_BootSettingData")
        assert settings.texts("BIOSLastStatus") == ["65535", "0"]


@pytest.mark.parametrize("uses_roots", [True, False], ids=["no root", "root not to be used"])
async def test_a_server_that_nothing_vouches_for_is_not_booted(
    tmp_path: Path, certificate: Certificate, uses_roots: bool
):
    async with fake_amt(FakeSpec(tmp_path)) as device, https(certificate.context) as port:
        url = f"https://{GUEST_SEES_HOST_AS}:{port}/image.iso"
        root = "" if uses_roots else certificate.pem

        assert await recover(device, url, root=root, uses_roots=uses_roots) is BootFrom.DEFAULT
        assert "CERTIFICATE_VERIFY_FAILED" in device.fetched[0].error


async def test_a_certificate_for_another_host_is_refused(tmp_path: Path):
    other = make_certificate(FakeSpec(tmp_path / "server", host="10.9.9.9"))
    async with fake_amt(FakeSpec(tmp_path)) as device, https(other.context) as port:
        url = f"https://{GUEST_SEES_HOST_AS}:{port}/image.iso"

        assert await recover(device, url, root=other.pem) is BootFrom.DEFAULT
        assert "CERTIFICATE_VERIFY_FAILED" in device.fetched[0].error


async def test_plain_http_is_refused(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path)) as device:
        assert await recover(device, "http://10.0.2.2/image.iso") is BootFrom.DEFAULT
        assert device.fetched[0].error == "not an https URL"
