"""A console on the host's serial line (Serial over LAN).

Theory of operation. The console starts SOL with its settings, and the device repeats them. Then
both speak when they have something, without acknowledgements. The session keeps up to 64 KiB that
the host printed and the console has not taken. The oldest is lost. It ends with END_SESSION, with
the connection, at a message that SOL does not have, and after `rx_timeout` of silence.

Every message has the header of IDE-R: id, three bytes 0, sequence number (4). The console's numbers
are not checked: of those in the field amtterm sends zeros, and MeshCentral counts from 1.

| id | who     | body from offset 8                                                        |
|----|---------|---------------------------------------------------------------------------|
| 20 | console | most bytes at once, then timeouts in ms: transmit, overflow, receive,      |
|    |         | flush, heartbeat (2 each); 4 bytes 0                                       |
| 21 | device  | the same six numbers, 3 bytes 0; byte 1 of the header is a status, 0 good  |
| 27 | console | 6 bytes of controls                                                        |
| 28 | console | length (2), data for the host                                              |
| 29 | device  | 2 bytes of controls                                                        |
| 2A | device  | length (2), data of the host                                               |
| 2B | both    | nothing: a sign of life                                                    |
| 22 | console | nothing: the end; 23 answers it                                            |
| 24 | both    | nothing: a ping; 25 answers it                                             |
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable

from bootserver.bench.fake_amt import redirection
from bootserver.bench.fake_amt.link import ConsoleLink
from bootserver.bench.fake_amt.redirection import ViolationError
from bootserver.bench.fake_amt.spec import RedirectionManners, Segments

_WAITING_BYTES = 1 << 16


class SolSession:
    """One SOL session: what the console types goes to `type`, and `show` goes to the console."""

    def __init__(
        self, link: ConsoleLink, manners: RedirectionManners, type_: Callable[[bytes], None]
    ) -> None:
        self._link = link
        self._manners = manners
        self._type = type_
        self._sent = 0
        self._most_bytes = 0
        self._rx_timeout_s = manners.rx_timeout_s or 30.0
        self._waiting = bytearray()
        self._has_output = asyncio.Event()

    def show(self, data: bytes) -> None:
        """Send what the host printed; the oldest is lost when the console does not keep up."""
        self._waiting += data
        del self._waiting[:-_WAITING_BYTES]
        self._has_output.set()

    async def run(self, login_reply: bytes) -> None:
        """Serve the session from the end of the login to its own."""
        first = self._header(0x2B) if self._manners.segments is Segments.JOINED else b""
        await self._link.send(login_reply + first)
        heartbeat_s = await self._start()
        tasks = [asyncio.create_task(self._print())]
        if heartbeat_s:
            tasks.append(asyncio.create_task(self._beat(heartbeat_s)))
        try:
            await self._receive()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _start(self) -> float:
        message = await self._link.next(self._rx_timeout_s)
        if message is None:
            return 0.0
        if message[0] != redirection.SOL_START:
            raise ViolationError(f"message 0x{message[0]:02X} before SOL is started")
        numbers = struct.unpack_from("<6H", message, 8)
        self._most_bytes, rx_timeout_ms, heartbeat_ms = numbers[0], numbers[3], numbers[5]
        if not self._most_bytes:
            raise ViolationError("SOL with room for no byte")
        if rx_timeout_ms and not self._manners.rx_timeout_s:
            self._rx_timeout_s = rx_timeout_ms / 1000
        await self._link.send(self._header(0x21) + struct.pack("<6H3x", *numbers))
        wished = self._manners.heartbeat_s
        return heartbeat_ms / 1000 if wished is None else wished

    async def _receive(self) -> None:
        while message := await self._link.next(self._rx_timeout_s):
            match message[0]:
                case redirection.SOL_TO_HOST:
                    self._type(message[10:])
                case redirection.SOL_CONTROLS:
                    await self._link.send(self._header(0x29) + b"\0\0")
                case redirection.SOL_PING:
                    await self._link.send(self._header(0x25))
                case redirection.SOL_PONG | redirection.SOL_HEARTBEAT:
                    pass
                case redirection.SOL_END:
                    await self._link.send(self._header(0x23))
                case redirection.END_SESSION:
                    return
                case _:
                    raise ViolationError(f"message 0x{message[0]:02X} during SOL")

    async def _print(self) -> None:
        while True:
            await self._has_output.wait()
            self._has_output.clear()
            while self._waiting:
                data = bytes(self._waiting[: self._most_bytes])
                del self._waiting[: len(data)]
                await self._link.send(self._header(0x2A) + struct.pack("<H", len(data)) + data)

    async def _beat(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            await self._link.send(self._header(0x2B))

    def _header(self, kind: int) -> bytes:
        header = struct.pack("<BxxxI", kind, self._sent)
        self._sent += 1
        return header
