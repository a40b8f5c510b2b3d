"""The WS-MAN port: HTTP with digest login, one envelope per request, closed after each answer.

Theory of operation. A request without a proof gets 401 and a new nonce. One with a proof is parsed
to the letter, and its action is done. The answer is 200, or 400 with a fault. The port keeps the
last MessageIDs, each good once per login. It keeps up to eight enumerations that are not at their
end.
"""

from __future__ import annotations

import itertools
import ssl
from collections import deque
from xml.etree.ElementTree import Element

import structlog
from aiohttp import web

from bootserver.bench.fake_amt import soap
from bootserver.bench.fake_amt.instances import can_enumerate, instance_of, instances_of
from bootserver.bench.fake_amt.login import HttpLogin
from bootserver.bench.fake_amt.methods import Hardware, Input, invoke, login_failed, put
from bootserver.bench.fake_amt.soap import (
    ENUMERATION,
    TRANSFER,
    FaultError,
    Request,
    schema_violation,
    uri_of,
)
from bootserver.bench.fake_amt.state import DeviceState

log = structlog.get_logger()

PATH = "/wsman"
_MESSAGE_IDS_KEPT = 256
_CONTEXTS_KEPT = 8


class WsmanPort:
    """Answers WS-MAN for one device. `asked` has every action taken, in order."""

    def __init__(self, state: DeviceState, hardware: Hardware) -> None:
        self.asked: list[str] = []
        self._state = state
        self._hardware = hardware
        self._login = HttpLogin(state.spec.user, state.spec.password, state.realm)
        self._numbers = itertools.count(1)
        self._requests = itertools.count(1)
        self._seen_ids: deque[tuple[str, str]] = deque(maxlen=_MESSAGE_IDS_KEPT)
        self._contexts: dict[str, list[str]] = {}  # instances not pulled yet, as XML
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self, context: ssl.SSLContext | None) -> None:
        """Listen; `port` is then the port's number."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        spec = self._state.spec
        await web.TCPSite(self._runner, spec.host, spec.wsman_port, ssl_context=context).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner:
            await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        version = self._state.spec.version
        headers = {"Server": f"Intel(R) Active Management Technology {version}"}
        every = self._state.spec.wsman_manners.unavailable_every
        if every and next(self._requests) % every == 0:
            return self._closing(web.Response(status=503, headers=headers))
        authorization = request.headers.get("Authorization", "")
        nonce = self._login.admits(authorization, request.method, request.path)
        if not nonce:
            if authorization:
                login_failed(self._state)
            headers["WWW-Authenticate"] = self._login.challenge()
            return self._closing(web.Response(status=401, headers=headers))
        if request.path != PATH:
            return self._closing(web.Response(status=404, headers=headers))
        if request.method != "POST" or request.content_length is None:
            # AMT takes no chunked requests.
            return self._closing(web.Response(status=400, headers=headers))
        headers["Content-Type"] = "application/soap+xml; charset=UTF-8"
        status, text, name = await self._answer(await request.read(), nonce)
        if name in self._state.spec.wsman_manners.lost_answers:
            if request.transport:
                request.transport.close()
            return web.Response(status=500)
        response = web.StreamResponse(status=status, headers=headers)
        data = text.encode()
        if self._state.spec.wsman_manners.chunked:
            response.enable_chunked_encoding()
        else:
            response.content_length = len(data)
        self._closing(response)
        await response.prepare(request)
        for start in range(0, len(data), 1000):
            await response.write(data[start : start + 1000])
        await response.write_eof()
        return response

    def _closing(self, response: web.StreamResponse) -> web.StreamResponse:
        # A client that has not proven itself is always sent away.
        if not self._state.spec.wsman_manners.stays_open or response.status == 401:
            response.force_close()
        return response

    async def _answer(self, data: bytes, login: str) -> tuple[int, str, str]:
        """Status, envelope, and what was asked in a few words."""
        request: Request | None = None
        number = next(self._numbers)
        name = ""
        try:
            request = soap.parse_request(data)
            if request.action == "Identify":
                self.asked.append("Identify")
                return 200, soap.identified(self._state.spec.version), "Identify"
            name = _name(request)
            self.asked.append(name)
            if (login, request.message_id) in self._seen_ids:
                raise FaultError("wsa:InvalidMessageInformationHeader", "that MessageID again")
            self._seen_ids.append((login, request.message_id))
            body = await self._perform(request)
        except FaultError as err:
            log.info("fake_amt.fault", asked=name, subcode=err.subcode, reason=err.reason)
            return err.status, soap.fault(request, number, err), name
        return 200, soap.reply(request, number, body), name

    async def _perform(self, request: Request) -> str:
        state, class_name = self._state, request.class_name
        match request.action:
            case soap.GET:
                if request.body is not None:
                    raise schema_violation("a Get has an empty Body")
                return soap.instance(class_name, instance_of(state, class_name, request.selectors))
            case soap.PUT:
                instance_of(state, class_name, request.selectors)
                inputs = _input(request, class_name)
                await put(state, self._hardware, class_name, inputs)
                return soap.instance(class_name, instance_of(state, class_name, request.selectors))
            case soap.ENUMERATE:
                return self._enumerate(request)
            case soap.PULL:
                return self._pull(request)
        method = request.action.rpartition("/")[2]
        if request.action != f"{uri_of(class_name)}/{method}":
            raise FaultError("wsa:ActionNotSupported", request.action)
        instance_of(state, class_name, request.selectors)
        inputs = _input(request, f"{method}_INPUT")
        output = await invoke(state, self._hardware, class_name, method, inputs)
        return soap.output(method, output)

    def _enumerate(self, request: Request) -> str:
        if not can_enumerate(self._state, request.class_name):
            raise FaultError("wsman:InternalError", f"{request.class_name} is not enumerated")
        _body(request, f"{{{ENUMERATION}}}Enumerate")
        instances = instances_of(self._state, request.class_name)
        context = f"{len(self.asked):08X}-0000-0000-0000-000000000000"
        self._contexts[context] = [
            soap.instance(request.class_name, properties) for properties in instances
        ]
        while len(self._contexts) > _CONTEXTS_KEPT:
            self._contexts.pop(next(iter(self._contexts)))
        return (
            f"<d:EnumerateResponse><d:EnumerationContext>{context}</d:EnumerationContext>"
            f"</d:EnumerateResponse>"
        )

    def _pull(self, request: Request) -> str:
        body = _body(request, f"{{{ENUMERATION}}}Pull")
        context = (body.findtext(f"{{{ENUMERATION}}}EnumerationContext") or "").strip()
        most = (body.findtext(f"{{{ENUMERATION}}}MaxElements") or "1").strip()
        if context not in self._contexts:
            raise FaultError("wsman:InvalidEnumerationContext", "no such enumeration is open")
        if not most.isdecimal() or int(most) < 1:
            raise schema_violation("MaxElements is a number from 1 on")
        waiting = self._contexts.pop(context)
        items, rest = waiting[: int(most)], waiting[int(most) :]
        if rest:
            self._contexts[context] = rest
            end = f"<d:EnumerationContext>{context}</d:EnumerationContext>"
        else:
            end = ""
        return (
            f"<d:PullResponse>{end}<d:Items>{''.join(items)}</d:Items>"
            f"{'' if rest else '<d:EndOfSequence></d:EndOfSequence>'}</d:PullResponse>"
        )


def _name(request: Request) -> str:
    """An action in a few words: "Get CIM_Chassis", "ChangeBootOrder"."""
    verb = request.action.rpartition("/")[2]
    is_method = not request.action.startswith((TRANSFER, ENUMERATION))
    return verb if is_method else f"{verb} {request.class_name}"


def _body(request: Request, tag: str) -> Element:
    if request.body is None or request.body.tag != tag:
        raise schema_violation(f"the Body must have {tag.rpartition('}')[2]}")
    return request.body


def _input(request: Request, name: str) -> Input:
    uri = uri_of(request.class_name)
    return Input(soap.read_properties(_body(request, f"{{{uri}}}{name}"), uri))
