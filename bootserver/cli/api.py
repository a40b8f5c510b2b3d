"""The running server's REST API, for commands that ask it to do something."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from bootserver.errors import BootServerError, ServiceError

CONNECT_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 90.0
AGAIN_S = 1.0
TRIES = 30  # a server that is restarted is back by then


class RefusedError(BootServerError):
    """The server does not want to; `status` is HTTP's."""

    def __init__(self, message: str, *, hint: str = "", status: int) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class Api:
    """JSON in, JSON out; RefusedError has the server's own words."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = url

    async def get(self, path: str) -> Any:
        """What is there; asked again for a while when the server is away."""
        for left in reversed(range(TRIES)):
            try:
                return await self._ask("GET", path)
            except (aiohttp.ClientError, OSError, TimeoutError) as err:
                if not left:
                    raise self._gone(err) from err
            await asyncio.sleep(AGAIN_S)
        raise AssertionError("unreachable")

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """The answer to `body`, which is sent once."""
        return await self._once("POST", path, body)

    async def delete(self, path: str) -> Any:
        """The answer to taking it away."""
        return await self._once("DELETE", path)

    async def _once(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        try:
            return await self._ask(method, path, body)
        except (aiohttp.ClientError, OSError, TimeoutError) as err:
            raise self._gone(err) from err

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        async with self._http.request(method, f"{self._url}/api/v1{path}", json=body) as answer:
            if not answer.content_type.endswith("json"):
                raise aiohttp.ClientError(f"it answered {answer.status} {answer.reason}")
            value = await answer.json(content_type=None)
            if answer.status >= 400:
                raise RefusedError(
                    value.get("detail", f"the server answered {answer.status}"),
                    hint=value.get("hint", ""),
                    status=answer.status,
                )
            return value

    def _gone(self, err: Exception) -> ServiceError:
        return ServiceError(
            f"no bootserver answers at {self._url}: {err or 'it is silent'}",
            hint="start it: bootserver serve, or name another with --url",
        )


@asynccontextmanager
async def open_api(url: str) -> AsyncIterator[Api]:
    """The API of the server whose admin plane is at `url`."""
    timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        yield Api(http, url)
