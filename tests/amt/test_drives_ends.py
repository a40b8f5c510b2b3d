"""How redirected drives end, or never come about: in words, in time, and without a loose end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from bootserver.amt.errors import (
    AmtCertificateError,
    AmtTlsError,
    AmtUnreachableError,
    AmtWrongTransportError,
    Failure,
    RedirectionError,
)
from bootserver.amt.redirection import link as link_module
from bootserver.amt.redirection.drives import redirect
from bootserver.amt.redirection.link import Patience
from bootserver.amt.redirection.media import MemoryMedium
from bootserver.amt.redirection.scsi import DriveKind
from bootserver.amt.redirection.session import Closed
from bootserver.amt.tls import Tls
from tests.fakes.amt_firmware import (
    END,
    START_OK,
    START_STORAGE,
    WELCOME,
    Firmware,
    command,
    firmware,
    open_reply,
)
from tests.fixtures.amt_tls import fingerprint, tls_server

CD = MemoryMedium(DriveKind.CD, bytes(2048 * 0x4000))  # 32 MiB: more than sockets take
READ_FIRST_BLOCK = "28 00 00000000 00 0001 00"
HURRIED = Patience(answer_s=0.3, close_s=0.2)
ATTENTIVE = Patience(silence_s=0.3, close_s=0.2)


async def attach(port: int | None, **options: object) -> None:
    """Attaches and waits for the end."""
    given: dict[str, object] = {"port": port, "patience": HURRIED, **options}
    async with (
        asyncio.timeout(20),
        redirect("127.0.0.1", "admin", "P@ssw0rd", CD, **given) as drives,  # type: ignore[arg-type]
    ):
        await drives.wait_closed()


async def silent(device: Firmware) -> None:
    """Says nothing until the console has gone."""
    with suppress(ConnectionError):
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


async def ends_as_it_opens(device: Firmware) -> None:
    await device.log_in()
    await device.send(WELCOME, open_reply(), bytes.fromhex("43 0000 00 01000000"))
    await device.read(18)
    await device.expect(END)
    await device.nothing_more()


async def cut_in_login(device: Firmware) -> None:
    await device.expect(START_STORAGE)
    await device.send(START_OK)


async def drip(device: Firmware) -> None:
    """A byte now and then, never a whole message."""
    await device.expect(START_STORAGE)
    with suppress(ConnectionError):
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
        (ends_as_it_opens, Failure.ENDED, "the device has ended the session"),
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

    async with (
        firmware(script) as port,
        redirect("127.0.0.1", "admin", "pw", CD, port=port) as drives,
    ):
        assert await drives.wait_closed() == Closed(asked=False)
        with pytest.raises(RedirectionError, match="device has ended the session"):
            await drives.wait_until(lambda stats: stats.reads == 1)


async def test_a_cut_in_mid_read_is_told_to_all_who_wait() -> None:
    async def script(device: Firmware) -> None:
        await device.attach()
        await device.send(command(2, "28 00 00000000 00 0100 00"))
        await device.read(34 + 8192)
        device.writer.transport.abort()

    async with (
        firmware(script) as port,
        redirect("127.0.0.1", "admin", "pw", CD, port=port) as drives,
    ):
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
            await attach(port, patience=ATTENTIVE)


async def test_a_device_that_lives_but_takes_nothing_is_given_up() -> None:
    async def script(device: Firmware) -> None:
        await device.attach()
        await device.send(*(command(n, "28 00 00000000 00 4000 00") for n in range(2, 18)))
        with suppress(ConnectionError):
            for number in range(18, 10_000):
                await device.send(b"\x4b\0\0\0" + number.to_bytes(4, "little"))
                await asyncio.sleep(0.02)

    async with firmware(script) as port:
        with pytest.raises(RedirectionError, match=r"device has taken nothing for 0\.3 s"):
            await attach(port, patience=ATTENTIVE)


async def test_a_close_that_nobody_answers_ends_all_the_same() -> None:
    async def script(device: Firmware) -> None:
        await device.attach()
        await device.expect(bytes.fromhex("42 0000 00 02000000"))
        await device.expect(END)
        await device.nothing_more()

    async with (
        firmware(script) as port,
        redirect("127.0.0.1", "admin", "pw", CD, port=port, patience=HURRIED) as drives,
    ):
        await drives.detach()
        assert await drives.wait_closed() == Closed(asked=True)
        with pytest.raises(RedirectionError, match="was ended from here"):
            await drives.wait_until(lambda stats: stats.reads == 1)


async def test_a_device_that_does_not_read_cannot_keep_us() -> None:
    left = asyncio.Event()

    async def script(device: Firmware) -> None:
        await device.attach()
        await device.send(*(command(n, "28 00 00000000 00 4000 00") for n in range(2, 18)))
        await left.wait()

    async with firmware(script) as port:
        async with redirect("127.0.0.1", "admin", "pw", CD, port=port, patience=HURRIED) as drives:
            await drives.wait_until(lambda stats: stats.commands > 0)
        assert await drives.wait_closed() == Closed(asked=True)
        left.set()


async def test_leaving_by_an_error_detaches_and_passes_the_error_on() -> None:
    async def script(device: Firmware) -> None:
        await device.attach()
        await device.detach(2, 2)

    async def fail(port: int) -> None:
        async with redirect("127.0.0.1", "admin", "pw", CD, port=port):
            raise ZeroDivisionError

    async with firmware(script) as port:
        with pytest.raises(ZeroDivisionError):
            await fail(port)


# ---- Ports and TLS


async def test_the_first_visit_takes_any_certificate_and_the_pin_holds(
    certificates: tuple[Path, Path],
) -> None:
    async def script(device: Firmware) -> None:
        await device.attach()
        await device.send(command(2, "28 00 00000000 00 0020 00"))
        assert await device.read_data(65536, sequence=2) == bytes(65536)
        await device.detach(3, 10)

    for pin in (None, fingerprint(certificates[0])):
        async with (
            firmware(script, tls=tls_server(certificates[0])) as port,
            redirect("127.0.0.1", "admin", "pw", CD, port=port, tls=Tls(pin_sha256=pin)) as drives,
        ):
            await drives.wait_until(lambda stats: stats.reads == 1)


async def test_a_certificate_of_the_ca_is_trusted(certificates: tuple[Path, Path]) -> None:
    async def script(device: Firmware) -> None:
        await device.attach()
        await device.send(bytes.fromhex("43 0000 00 02000000"))
        await silent(device)

    async with firmware(script, tls=tls_server(certificates[0])) as port:
        await attach(port, tls=Tls(ca_file=certificates[0]))


@pytest.mark.parametrize("by", ["pin", "ca"])
async def test_another_certificate_hears_nothing(certificates: tuple[Path, Path], by: str) -> None:
    trusted = certificates[0]
    tls = Tls(pin_sha256=fingerprint(trusted)) if by == "pin" else Tls(ca_file=trusted)
    said = bytearray()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            said.extend(await reader.read())
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0, ssl=tls_server(certificates[1]))
    async with server:
        with pytest.raises(AmtCertificateError):
            await attach(server.sockets[0].getsockname()[1], tls=tls)

    assert said == b""


async def test_old_tls_is_spoken_only_when_asked_for(certificates: tuple[Path, Path]) -> None:
    async def script(device: Firmware) -> None:
        await device.expect(START_STORAGE)
        await device.send(b"\x11\x02\0\0")

    old = tls_server(certificates[0], old=True)
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=old)
    async with server:
        with pytest.raises(AmtTlsError, match="no common TLS"):
            await attach(server.sockets[0].getsockname()[1], tls=Tls())
    async with firmware(script, tls=old) as port:
        with pytest.raises(RedirectionError, match="another console"):
            await attach(port, tls=Tls(legacy=True))


async def test_a_closed_port_is_told(closed_port: int) -> None:
    with pytest.raises(
        AmtUnreachableError, match=f"cannot be reached on port {closed_port}: Connection refused"
    ) as raised:
        await attach(closed_port)

    assert "switched off" in raised.value.hint


@pytest.mark.parametrize("tls", [None, Tls()], ids=["plain", "tls"])
async def test_the_other_port_is_told_and_hears_nothing(
    tls: Tls | None, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = bytearray()
    ended = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            said.extend(await reader.read())
        writer.close()
        ended.set()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with server:
        open_port = server.sockets[0].getsockname()[1]
        ports = (closed_port, open_port) if tls is None else (open_port, closed_port)
        monkeypatch.setattr(link_module, "PLAIN_PORT", ports[0])
        monkeypatch.setattr(link_module, "TLS_PORT", ports[1])
        words = "speaks TLS only" if tls is None else "speaks no TLS"
        with pytest.raises(AmtWrongTransportError, match=words):
            await attach(None, tls=tls)
        await ended.wait()

    assert said == b""
