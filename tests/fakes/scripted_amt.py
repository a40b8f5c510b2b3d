"""An AMT that answers what a test wrote down, and keeps what it was asked, word for word.

It judges nothing: whether a request is right is for the test to say, or for the fake device.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from bootserver.amt.wsman.client import WsmanClient

SOAP = "http://www.w3.org/2003/05/soap-envelope"
ENUMERATION = "http://schemas.xmlsoap.org/ws/2004/09/enumeration"
SCHEMAS = {
    "CIM": "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/",
    "AMT": "http://intel.com/wbem/wscim/1/amt-schema/1/",
    "IPS": "http://intel.com/wbem/wscim/1/ips-schema/1/",
}
LOST = "the connection is cut after the request was heard"
BUSY = "HTTP 503: AMT cannot answer now"
WRONG_PASSWORD = "HTTP 401: AMT takes this login no more"
HANGS = "no answer comes as long as the test lasts"
NOTHING_THERE = "DestinationUnreachable"


def fault(subcode: str) -> str:
    return (
        "<s:Fault><s:Code><s:Value>s:Sender</s:Value><s:Subcode>"
        f"<s:Value>w:{subcode}</s:Value></s:Subcode></s:Code></s:Fault>"
    )


def returns(value: int, rest: str = "") -> str:
    """A method's output, to be wrapped in its element."""
    return f"{rest}<g:ReturnValue>{value}</g:ReturnValue>"


@dataclass
class ScriptedAmt:
    """Answers by what is asked: `Get CLASS`, `Put CLASS`, `Enumerate CLASS`, `CLASS.Method`.

    An answer is the properties of the instance or output; several are given one after the other,
    and the last one from then on. Of what is not written down there is no instance, and methods
    return 0. `heard` is what was asked and the body, with `r:` for the class's namespace.
    """

    answers: dict[str, str | list[str]] = field(default_factory=dict)
    heard: list[tuple[str, str]] = field(default_factory=list)
    selectors: dict[str, str] = field(default_factory=dict)  # by what was asked
    closes_after: str = ""  # after this, nothing listens any more
    hanging: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0
    site: web.TCPSite | None = None

    @property
    def asked(self) -> list[str]:
        """What was asked, in order."""
        return [what for what, _ in self.heard]

    @property
    def changes(self) -> list[tuple[str, str]]:
        """What was asked, without reading."""
        return [one for one in self.heard if not one[0].startswith(("Get ", "Enumerate "))]

    def body(self, what: str) -> str:
        """The body of the one request of that name."""
        (body,) = (body for heard, body in self.heard if heard == what)
        return body

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if "Authorization" not in request.headers:
            challenge = 'Digest realm="Digest:00", nonce="0", qop="auth"'
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})
        text = (await request.read()).decode()
        action, resource, body = (
            _between(text, f"<{tag}>", f"</{tag}>")
            for tag in ("a:Action", "w:ResourceURI", "s:Body")
        )
        name, verb = resource.rpartition("/")[2], action.rpartition("/")[2]
        if verb == "Pull":
            return _answer(self._pulled(name))
        what = f"{verb} {name}" if verb in ("Get", "Put", "Enumerate") else f"{name}.{verb}"
        self.heard.append((what, body.replace(f' xmlns:r="{resource}"', "")))
        self.selectors[what] = _between(
            text.partition("<s:Body>")[0], "<w:SelectorSet>", "</w:SelectorSet>"
        )
        answer = self._next(what, verb)
        if what == self.closes_after and self.site is not None:
            await self.site.stop()
        if answer == HANGS:
            self.hanging.set()
            await self.over.wait()
            return web.Response()
        if answer == LOST:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if answer == BUSY:
            return web.Response(status=503)
        if answer == WRONG_PASSWORD:
            return web.Response(status=401)
        if "<s:Fault>" in answer:
            return _answer(answer, status=400)
        if verb == "Enumerate":
            return _answer(
                f'<e:EnumerateResponse xmlns:e="{ENUMERATION}"><e:EnumerationContext>7'
                "</e:EnumerationContext></e:EnumerateResponse>"
            )
        if verb == "Put":
            return _answer("")
        element = name if verb == "Get" else f"{verb}_OUTPUT"
        return _answer(f'<g:{element} xmlns:g="{resource}">{answer}</g:{element}>')

    def _next(self, what: str, verb: str) -> str:
        given = self.answers.get(what)
        if given is None:
            return fault(NOTHING_THERE) if verb in ("Get", "Enumerate") else returns(0)
        if isinstance(given, str):
            return given
        if verb == "Enumerate":
            return ""  # all of it comes with the pull
        return given.pop(0) if len(given) > 1 else given[0]

    def _pulled(self, name: str) -> str:
        given = self.answers[f"Enumerate {name}"]
        uri = SCHEMAS[name[:3]] + name
        items = "".join(
            f'<g:{name} xmlns:g="{uri}">{one}</g:{name}>'
            for one in (given if isinstance(given, list) else [given])
        )
        return (
            f'<e:PullResponse xmlns:e="{ENUMERATION}"><e:Items>{items}</e:Items>'
            "<e:EndOfSequence/></e:PullResponse>"
        )


def _between(text: str, before: str, after: str) -> str:
    found = re.search(f"{re.escape(before)}(.*?){re.escape(after)}", text)
    return found[1] if found else ""


def _answer(body: str, status: int = 200) -> web.Response:
    envelope = f'<s:Envelope xmlns:s="{SOAP}"><s:Header/><s:Body>{body}</s:Body></s:Envelope>'
    return web.Response(status=status, body=envelope.encode())


@asynccontextmanager
async def scripted(amt: ScriptedAmt) -> AsyncIterator[WsmanClient]:
    """A client of the scripted AMT."""
    app = web.Application()
    app.router.add_post("/wsman", amt.handle)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    amt.site = web.TCPSite(runner, "127.0.0.1", 0)
    await amt.site.start()
    amt.port = runner.addresses[0][1]
    try:
        async with WsmanClient("127.0.0.1", "admin", "P@ssw0rd", port=amt.port) as client:
            yield client
    finally:
        amt.over.set()
        await runner.cleanup()
