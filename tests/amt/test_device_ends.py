"""How redirected drives end, or never come about: in words, in time, and without a loose end."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bootserver.amt import link as link_module
from bootserver.amt.device import redirect
from bootserver.amt.errors import (
    AmtCertificateError,
    AmtTlsError,
    AmtUnreachableError,
    AmtWrongTransportError,
)
from bootserver.amt.events import Closed
from bootserver.amt.ider import DriveKind
from bootserver.amt.link import Patience
from bootserver.amt.media import MemoryMedium
from bootserver.amt.protocol import Failure, RedirectionError
from bootserver.amt.tls import Tls
from tests.fakes.amt_firmware import (
    END,
    START_OK,
    START_STORAGE,
    Firmware,
    command,
    firmware,
    open_reply,
    WELCOME,
)

CD = MemoryMedium(DriveKind.CD, bytes(2048 * 300))
READ_FIRST_BLOCK = "28 00 00000000 00 0001 00"
SHORT = Patience(answer_s=0.3, ping_every_s=0.05, silence_s=0.3, close_s=0.2)


async def attach(port: int, **options: object) -> None:
    """Attaches and waits for the end."""
    given: dict[str, object] = {"port": port, "patience": SHORT, **options}
    async with (
        asyncio.timeout(20),
        redirect("127.0.0.1", "admin", "P@ssw0rd", CD, **given) as drives,  # type: ignore[arg-type]
    ):
        await drives.wait_closed()


async def silent(device: Firmware) -> None:
    """Says nothing until the console has gone."""
    while await device.reader.read(4096):
        pass


# ---- No session


async def refused(device: Firmware) -> None:
    await device.expect(START_STORAGE)
    await device.send(b"\x11\x02\0\0")
    await device.nothing_more()


async def wrong_password(device: Firmware) -> None:
    await device.log_in()
    await device.send(bytes.fromhex("14 01 0000 04 00000000"))
    await device.nothing_more()


async def drives_refused(device: Firmware) -> None:
    await device.log_in()
    await device.send(WELCOME)
    await device.read(18)
    await device.send(open_reply())
    await device.read(13)
    await device.send(bytes.fromhex("49 0000 00 01000000 03 00000000"))
    await device.nothing_more()


async def garbage(device: Firmware) -> None:
    await device.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await silent(device)


async def garbage_after_login(device: Firmware) -> None:
    await device.log_in()
    await device.send(WELCOME, b"\xde\xad\xbe\xef" * 100)
    await silent(device)


async def cut_in_login(device: Firmware) -> None:
    await device.expect(START_STORAGE)
    await device.send(START_OK)


async def drip(device: Firmware) -> None:
    """A byte now and then, never a whole message."""
    await device.expect(START_STORAGE)
    for byte in START_OK[:-1]:
        await device.send(bytes([byte]))
        await asyncio.sleep(0.05)
    await silent(device)


@pytest.mark.parametrize(
    ("script", "failure", "words"),
    [
        (refused, Failure.BUSY, "another console holds the device's storage redirection"),
        (wrong_password, Failure.WRONG_PASSWORD, "refused user name or password"),
        (drives_refused, Failure.REJECTED, "refused to switch its redirected drives"),
        (garbage, Failure.PROTOCOL, "does not speak the redirection protocol"),
        (garbage_after_login, Failure.PROTOCOL, "no message begins with 0xde"),
        (cut_in_login, Failure.LOST, "the connection.*awaited: the list of ways to log in"),
        (silent, Failure.LOST, "has not answered for 0.3 s; awaited: the answer to our request"),
        (drip, Failure.LOST, "has not answered for 0.3 s"),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
async def test_no_session_is_told_in_words(
    script: Callable[[Firmware], object], failure: Failure, words: str
) -> None:
    async with firmware(script) as port:  # type: ignore[arg-type]
        with pytest.raises(RedirectionError, match=words) as raised:
            await attach(port)

    assert raised.value.failure is failure


# ---- The end of one


async def test_the_device_may_end_the_session() -> None:
    async def script(device: Firmware) -> None:
        await device.attach()
        await device.send(bytes.fromhex("43 0000 00 02000000"))
        await device.expect(END)
        await device.nothing_more()

    async with firmware(script) as port:
        async with redirect("127.0.0.1", "admin", "pw", CD, port=port) as drives:
            assert await drives.wait_closed() == Closed(asked=False)
            with pytest.raises(RedirectionError, match="device has ended the session"):
                await drives.wait_until(lambda stats: stats.reads == 1)


async def test_a_cut_in_mid_read_is_told_to_all_who_wait() -> None:
    async def script(device: Firmware) -> None:
        await device.attach()
        await device.send(command(2, "28 00 00000000 00 0100 00"))
        await device.read(34 + 8192)
        device.writer.transport.abort()

    async with firmware(script) as port:
        async with redirect("127.0.0.1", "admin", "pw", CD, port=port) as drives:
            waiting = asyncio.create_task(drives.wait_until(lambda stats: stats.reads == 99))
            with pytest.raises(RedirectionError, match="the connection with the device broke"):
                await drives.wait_closed()
            with pytest.raises(RedirectionError, match="the connection with the device broke"):
                await waiting


async def test_a_device_that_falls_silent_is_given_up() -> None:
    async def script(device: Firmware) -> None:
        await device.attach()
        await silent(device)

    async with firmware(script) as port:
        with pytest.raises(RedirectionError, match=r"nothing has come from the device for 0\.3 s"):
            await attach(port)


async def test_a_device_that_lives_but_takes_nothing_is_given_up() -> None:
    async def script(device: Firmware) -> None:
        await device.attach()
        await device.send(*(command(n, "28 00 00000000 00 012C 00") for n in range(2, 18)))
        for number in range(18, 10_000):
            if device.writer.transport.is_closing():
                break
            await device.send(b"\x4b\0\0\0" + number.to_bytes(4, "little"))
            await asyncio.sleep(0.02)

    async with firmware(script) as port:
        with pytest.raises(RedirectionError, match=r"device has taken nothing for 0\.3 s"):
            await attach(port)


async def test_a_close_that_nobody_answers_ends_all_the_same() -> None:
    async def script(device: Firmware) -> None:
        await device.attach()
        await device.expect(bytes.fromhex("42 0000 00 02000000"))
        await device.expect(END)
        await device.nothing_more()

    async with firmware(script) as port:
        async with redirect("127.0.0.1", "admin", "pw", CD, port=port, patience=SHORT) as drives:
            await drives.detach()
            assert await drives.wait_closed() == Closed(asked=True)
            with pytest.raises(RedirectionError, match="was ended from here"):
                await drives.wait_until(lambda stats: stats.reads == 1)


async def test_a_device_that_does_not_read_cannot_keep_us() -> None:
    gone = asyncio.Event()

    async def script(device: Firmware) -> None:
        await device.attach()
        await device.send(*(command(n, "28 00 00000000 00 012C 00") for n in range(2, 18)))
        await gone.wait()

    async with firmware(script) as port:
        async with redirect("127.0.0.1", "admin", "pw", CD, port=port, patience=SHORT) as drives:
            await drives.wait_until(lambda stats: stats.reads > 0)
        gone.set()


async def test_leaving_by_an_error_detaches_and_passes_the_error_on() -> None:
    async def script(device: Firmware) -> None:
        await device.attach()
        await device.detach(2, 2)

    async with firmware(script) as port:
        with pytest.raises(ZeroDivisionError):
            async with redirect("127.0.0.1", "admin", "pw", CD, port=port):
                raise ZeroDivisionError


# ---- Ports and TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two self-made certificates for 127.0.0.1, each its own CA."""

    def make(name: str) -> Path:
        path = tmp_path_factory.mktemp("tls") / f"{name}.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
             "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1",
             "-keyout", path.with_suffix(".key"), "-out", path],
            check=True, capture_output=True,
        )  # fmt: skip
        return path

    return make("one"), make("two")
