"""A machine's serial line over a WebSocket (RFC 6455): its screen comes, keys go.

docs/api.md has the messages. The viewer sends a login first, which may be empty: a password has no
place in a URL. Then its keys go to the machine in their order.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, TypeVar

import structlog
from aiohttp import WSCloseCode, WSMessage, WSMsgType, web
from pydantic import BaseModel, Field

from bootserver.amt.hosts import UnknownMachineError
from bootserver.amt.serial.consoles import Consoles, LineState, LineStatus, Viewer
from bootserver.amt.serial.keys import Keyboard, UnknownKeyError, key_bytes, text_bytes
from bootserver.amt.types import AmtLogin
from bootserver.errors import DatabaseError, ServerFullError
from bootserver.http.api.amt import AmtCredentials
from bootserver.http.api.operations import Operations
from bootserver.http.api.requests import JsonBody
from bootserver.http.api.services import services_of
from bootserver.http.errors import ForeignPageError, NoWebSocketError

MESSAGE_BYTES_MAX = 64 << 10
KEYS_MAX = 1000  # of one message
LOGIN_S = 30.0
HEARTBEAT_S = 20.0
BETWEEN_SENDS_S = 0.04  # a screen that changes more often cannot be read

_ENDS = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR)
_Model = TypeVar("_Model", bound=BaseModel)

CONSOLES = web.AppKey("consoles", Consoles)

log = structlog.get_logger(__name__)


class ConsoleMessage(JsonBody):
    """Keys by their names, or a text that was pasted; or the consent code, where that is wanted."""

    keys: list[str] = Field(default=[], max_length=KEYS_MAX)
    text: str = Field(default="", max_length=MESSAGE_BYTES_MAX)
    keyboard: Keyboard = Keyboard.XTERM
    code: str = Field(default="", pattern=r"^([0-9]{6})?$")


operations = Operations()


@operations.add(
    "GET",
    "/amt/hosts/{host}/console",
    ForeignPageError,
    UnknownMachineError,
    NoWebSocketError,
    ServerFullError,
    DatabaseError,
    statuses=(101,),
)
async def watch_console(request: web.Request) -> web.StreamResponse:
    """The machine's serial line and its keys, over a WebSocket."""
    host = await services_of(request).amt_hosts.resolve(request.match_info["host"])
    consoles = request.config_dict[CONSOLES]
    socket = web.WebSocketResponse(heartbeat=HEARTBEAT_S, max_msg_size=MESSAGE_BYTES_MAX)
    if not socket.can_prepare(request):
        raise NoWebSocketError(
            "a machine's serial line comes over a WebSocket",
            hint="connect with one, or use bootserver amt console",
            headers={"Upgrade": "websocket"},
        )
    with services_of(request).limits.watchers.place():
        await socket.prepare(request)
        try:
            login = await _login(socket)
            if login is not None:
                async with consoles.view(host, login) as viewer:
                    await _both_ways(socket, viewer)
            await socket.close()
        except _ConsoleMistakeError as err:
            log.info("console.mistake", client=request.remote, mistake=str(err))
            await _send(socket, {"status": LineStatus(LineState.ENDED, str(err)).as_json()})
            await socket.close(code=WSCloseCode.POLICY_VIOLATION)
        except (TimeoutError, ConnectionError):
            if request.transport is not None:
                request.transport.abort()  # or what is unsent would be waited for
    return socket


class _ConsoleMistakeError(Exception):
    """A message makes no sense: the sentence goes to its sender."""


async def _login(socket: web.WebSocketResponse) -> AmtLogin | None:
    """What is given for this visit; None if the viewer has left without a word."""
    message = await socket.receive(timeout=LOGIN_S)
    if message.type in _ENDS:
        return None
    return _read(AmtCredentials, message).login


async def _both_ways(socket: web.WebSocketResponse, viewer: Viewer) -> None:
    """Returns when the viewer leaves, or has been told that the line has ended."""
    ways = {asyncio.create_task(_tell(socket, viewer)), asyncio.create_task(_hear(socket, viewer))}
    try:
        done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
    for way in done:
        way.result()


async def _tell(socket: web.WebSocketResponse, viewer: Viewer) -> None:
    while True:
        news = await viewer.news()
        await _send(socket, news.as_json())
        if news.status and news.status.state is LineState.ENDED:
            return
        await asyncio.sleep(BETWEEN_SENDS_S)


async def _hear(socket: web.WebSocketResponse, viewer: Viewer) -> None:
    async for message in socket:
        typed = _read(ConsoleMessage, message)
        if typed.code:
            viewer.give_code(typed.code)
        try:
            keys = [
                key_bytes(key, typed.keyboard, application_keys=viewer.wants_application_keys)
                for key in typed.keys
            ]
        except UnknownKeyError as err:
            raise _ConsoleMistakeError(str(err)) from err
        await viewer.send(b"".join(keys) + text_bytes(typed.text))


async def _send(socket: web.WebSocketResponse, value: Any) -> None:
    await socket.send_str(json.dumps(value, separators=(",", ":")))


def _read(model: type[_Model], message: WSMessage) -> _Model:
    """The message as `model`; an error repeats nothing of it, for it may have a password."""
    try:
        if message.type is not WSMsgType.TEXT:
            raise ValueError
        return model.model_validate_json(message.data)
    except ValueError as err:  # pydantic's is one
        raise _ConsoleMistakeError("that message is none that a console understands") from err
