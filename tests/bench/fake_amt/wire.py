"""A WS-MAN client and a redirection console of the tests' own, written out by hand."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import re
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from bootserver.bench.fake_amt import FakeAmtDevice

WAIT_S = 30

CIM = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/"
AMT = "http://intel.com/wbem/wscim/1/amt-schema/1/"
IPS = "http://intel.com/wbem/wscim/1/ips-schema/1/"
TRANSFER = "http://schemas.xmlsoap.org/ws/2004/09/transfer"
ENUMERATION = "http://schemas.xmlsoap.org/ws/2004/09/enumeration"
ADDRESSING = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
ANONYMOUS = f"{ADDRESSING}/role/anonymous"


def md5(*parts: str) -> str:
    return hashlib.md5(":".join(parts).encode()).hexdigest()


# ---------------------------------------------------------------- WS-MAN


@dataclass
class Reply:
    status: int
    head: str
    body: str

    def texts(self, name: str) -> list[str]:
        """The texts of all elements of that name, whatever their namespace."""
        root = ET.fromstring(self.body)
        return [e.text or "" for e in root.iter() if e.tag.rpartition("}")[2] == name]

    def text(self, name: str) -> str:
        (text,) = self.texts(name)
        return text

    @property
    def returned(self) -> int:
        assert self.status == 200, self.body
        return int(self.text("ReturnValue"))

    @property
    def fault(self) -> str:
        assert self.status == 400
        return self.texts("Value")[1].rpartition(":")[2]


def uri_of(class_name: str) -> str:
    return {"CIM": CIM, "AMT": AMT, "IPS": IPS}[class_name[:3]] + class_name


def envelope(
    action: str,
    uri: str,
    body: str = "",
    *,
    message_id: str = "uuid:1",
    selectors: str = "",
    header: str = "",
) -> str:
    chosen = f"<w:SelectorSet>{selectors}</w:SelectorSet>" if selectors else ""
    return (
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" '
        f'xmlns:a="{ADDRESSING}" xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd">'
        f"<s:Header><a:Action>{action}</a:Action><a:To>/wsman</a:To>"
        f"<w:ResourceURI>{uri}</w:ResourceURI><a:MessageID>{message_id}</a:MessageID>"
        f"<a:ReplyTo><a:Address>{ANONYMOUS}</a:Address></a:ReplyTo>"
        f"<w:OperationTimeout>PT60S</w:OperationTimeout>{chosen}{header}</s:Header>"
        f"<s:Body>{body}</s:Body></s:Envelope>"
    )


def reference(class_name: str, **selectors: str) -> str:
    """The inside of a parameter that refers to an instance."""
    chosen = "".join(f'<w:Selector Name="{n}">{t}</w:Selector>' for n, t in selectors.items())
    return (
        f"<a:Address>{ANONYMOUS}</a:Address><a:ReferenceParameters>"
        f"<w:ResourceURI>{uri_of(class_name)}</w:ResourceURI>"
        f"<w:SelectorSet>{chosen}</w:SelectorSet></a:ReferenceParameters>"
    )


class Wsman:
    """Asks one device, each time over a connection of its own, with a login of its own."""

    def __init__(self, device: FakeAmtDevice, password: str | None = None) -> None:
        self._device = device
        self._password = password or device.spec.password
        self._ids = itertools.count(1)

    async def get(self, class_name: str, **selectors: str) -> Reply:
        chosen = "".join(f'<w:Selector Name="{n}">{t}</w:Selector>' for n, t in selectors.items())
        return await self.ask(
            envelope(f"{TRANSFER}/Get", uri_of(class_name), selectors=chosen, message_id=self._id())
        )

    async def put(self, class_name: str, **properties: str) -> Reply:
        uri = uri_of(class_name)
        inside = "".join(f"<r:{name}>{text}</r:{name}>" for name, text in properties.items())
        body = f'<r:{class_name} xmlns:r="{uri}">{inside}</r:{class_name}>'
        return await self.ask(envelope(f"{TRANSFER}/Put", uri, body, message_id=self._id()))

    async def invoke(self, class_name: str, method: str, inside: str = "") -> Reply:
        uri = uri_of(class_name)
        body = f'<r:{method}_INPUT xmlns:r="{uri}">{inside}</r:{method}_INPUT>'
        return await self.ask(envelope(f"{uri}/{method}", uri, body, message_id=self._id()))

    def _id(self) -> str:
        return f"uuid:{next(self._ids)}"

    async def ask(self, xml: str) -> Reply:
        refused = await self.send(xml, "")
        assert refused.status == 401
        return await self.send(xml, self.authorization(refused))

    def authorization(self, refused: Reply, *, count: str = "00000001", uri: str = "/wsman") -> str:
        """The header that answers a 401."""
        (realm,) = re.findall(r'realm="([^"]+)"', refused.head)
        (nonce,) = re.findall(r'nonce="([^"]+)"', refused.head)
        user = self._device.spec.user
        response = md5(
            md5(user, realm, self._password), nonce, count, "c0ffee", "auth", md5("POST", uri)
        )
        return (
            f'Digest username="{user}",realm="{realm}",nonce="{nonce}",uri="{uri}",'
            f'qop=auth,nc={count},cnonce="c0ffee",response="{response}"'
        )

    async def send(self, xml: str, authorization: str, *, chunked: bool = False) -> Reply:
        """One request over one connection, which the device must close."""
        data = xml.encode()
        login = f"Authorization: {authorization}\r\n" if authorization else ""
        length = f"Content-Length: {len(data)}"
        if chunked:
            length = "Transfer-Encoding: chunked"
            data = f"{len(data):x}\r\n".encode() + data + b"\r\n0\r\n\r\n"
        head = f"POST /wsman HTTP/1.1\r\nHost: x\r\n{login}{length}\r\n\r\n"
        return await self.exchange(head.encode() + data)

    async def exchange(self, request: bytes) -> Reply:
        reader, writer = await asyncio.open_connection(self._device.host, self._device.wsman_port)
        try:
            writer.write(request)
            answer = await asyncio.wait_for(reader.read(), WAIT_S)
        finally:
            writer.close()
        return parse_reply(answer)


def parse_reply(answer: bytes) -> Reply:
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"chunked" in head:
        pieces = b""
        while True:
            size, _, body = body.partition(b"\r\n")
            if int(size, 16) == 0:
                break
            pieces, body = pieces + body[: int(size, 16)], body[int(size, 16) + 2 :]
        body = pieces
    return Reply(int(head.split()[1]), head.decode(), body.decode())


# What the whole order consists of; a test takes one away, or puts it elsewhere.
SETTINGS = {
    "InstanceID": "Intel(r) AMT:BootSettingData 0",
    "BootMediaIndex": "0",
    "IDERBootDevice": "1",
    "UseIDER": "true",
    "UseSOL": "false",
}
CONFIGURATION = "Intel(r) AMT: Boot Configuration 0"
SYSTEM = {"CreationClassName": "CIM_ComputerSystem", "Name": "ManagedSystem"}


async def order(wsman: Wsman, source: str = "") -> Reply:
    inside = ""
    if source:
        inside = f"<r:Source>{reference('CIM_BootSourceSetting', InstanceID=source)}</r:Source>"
    return await wsman.invoke("CIM_BootConfigSetting", "ChangeBootOrder", inside)


async def role(wsman: Wsman, number: int = 1) -> Reply:
    config = reference("CIM_BootConfigSetting", InstanceID=CONFIGURATION)
    inside = f"<r:BootConfigSetting>{config}</r:BootConfigSetting><r:Role>{number}</r:Role>"
    return await wsman.invoke("CIM_BootService", "SetBootConfigRole", inside)


async def power(wsman: Wsman, state: int) -> Reply:
    system = reference("CIM_ComputerSystem", **SYSTEM)
    inside = f"<r:PowerState>{state}</r:PowerState><r:ManagedElement>{system}</r:ManagedElement>"
    return await wsman.invoke("CIM_PowerManagementService", "RequestPowerStateChange", inside)


async def order_cd(wsman: Wsman) -> None:
    """All of the order but the power."""
    assert (await order(wsman)).returned == 0
    assert (await wsman.put("AMT_BootSettingData", **SETTINGS)).status == 200
    assert (await role(wsman)).returned == 0
    assert (await order(wsman)).returned == 0


# ---------------------------------------------------------------- redirection


class Console:
    """A console on the redirection port: sends what a test says, and reads what comes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._peeked = b""
        self._sent = 0

    def send(self, *messages: bytes) -> None:
        self._writer.write(b"".join(messages))

    async def expect(self, size: int, *, timeout_s: float = WAIT_S) -> bytes:
        peeked, self._peeked = self._peeked, b""
        rest = self._reader.readexactly(size - len(peeked))
        return peeked + await asyncio.wait_for(rest, timeout_s)

    async def peek(self) -> bytes:
        """The first byte of what `expect` will return, however long it takes to come."""
        self._peeked = self._peeked or await self._reader.readexactly(1)
        return self._peeked

    async def has_been_left(self) -> bool:
        try:
            return await asyncio.wait_for(self._reader.read(), WAIT_S) == b""
        except ConnectionResetError:
            return True

    def leave(self) -> None:
        self._writer.close()

    def header(self, kind: int, attributes: int = 0) -> bytes:
        """The header of our next IDE-R message."""
        self._sent += 1
        return struct.pack("<BxxBI", kind, attributes, self._sent - 1)

    async def log_in(self, device: FakeAmtDevice, tag: bytes = b"IDER", password: str = "") -> int:
        """The status of the login."""
        self.send(b"\x10\0\0\0" + tag)
        assert await self.expect(13) == b"\x11\0\0\0" + b"\x01\0\x01\0" + b"\x57\x01\0\0" + b"\0"
        self.send(b"\x13\0\0\0\0\0\0\0\0")
        assert await self.expect(11) == b"\x14\0\0\0\0\x02\0\0\0\x03\x04"
        self.send(b"\x13\0\0\0\x04\x20\0\0\0\x05admin\0\0\x13/RedirectionService\0\0\0\0")
        realm_line = f"{device.state.realm}".encode()
        head = await self.expect(9 + 1 + len(realm_line) + 1 + 32 + 5)
        size = len(realm_line) + 39
        assert head[:9] == b"\x14\x01\0\0\x04" + struct.pack("<I", size)
        assert head[9:].startswith(bytes([len(realm_line)]) + realm_line + b"\x20")
        assert head.endswith(b"\x04auth")
        nonce = head[-37:-5].decode()
        realm = device.state.realm
        proof = md5(
            md5("admin", realm, password or device.spec.password),
            *(nonce, "00000002", "0123456789abcdef", "auth"),
            md5("POST", "/RedirectionService"),
        )
        fields = ["admin", realm, nonce, "/RedirectionService", "0123456789abcdef", "00000002"]
        data = b"".join(bytes([len(f)]) + f.encode() for f in [*fields, proof, "auth"])
        self.send(b"\x13\0\0\0\x04" + struct.pack("<I", len(data)) + data)
        reply = await self.expect(9)
        assert (reply[0], reply[2:]) == (0x14, b"\0\0\x04\0\0\0\0")
        return reply[1]

    async def open(self, *, rx_timeout_ms: int = 30000, heartbeat_ms: int = 0) -> bytes:
        body = struct.pack("<HHHI", rx_timeout_ms, 0, heartbeat_ms, 1)
        self.send(self.header(0x40) + body)
        return await self.expect(30)

    async def switch(self, value: int) -> bytes:
        self.send(self.header(0x48) + b"\x03" + struct.pack("<I", value))
        return await self.expect(13)

    def good(self) -> bytes:
        """The end of a command of the CD without data."""
        return self.header(0x51, 2) + bytes(12) + bytes.fromhex("C5 00 03 00 00 00 B0 50 00 00 00")

    def refused(self, key: int, code: int, qualifier: int) -> bytes:
        registers = bytes([0x87, key << 4, 3, 0, 0, 0, 0xB0, 0x51, key, code, qualifier])
        return self.header(0x51, 2) + bytes(12) + registers

    def data(self, data: bytes, *, last: bool = True) -> bytes:
        """Data of the CD, by DMA."""
        size = struct.pack("<H", len(data))
        before = b"\0" + size + b"\0\xb4\0\x02\0\0\0\xb0\x58"
        after = bytes.fromhex("85 00 03 00 00 00 B0 50" if last else "00" * 8)
        return self.header(0x54, 3 if last else 1) + before + after + bytes(6) + data


@asynccontextmanager
async def console(device: FakeAmtDevice) -> AsyncIterator[Console]:
    connection = await asyncio.open_connection(device.host, device.redirection_port)
    one = Console(*connection)
    try:
        yield one
    finally:
        one.leave()


@asynccontextmanager
async def attached(device: FakeAmtDevice, value: int = 0x19) -> AsyncIterator[Console]:
    """A console that has logged in and switched its drives on: now, or as `value` says."""
    async with console(device) as one:
        assert await one.log_in(device) == 0
        await one.open()
        assert (await one.switch(value))[8:] == b"\x03\x01\0\0\0"
        yield one


async def serve(one: Console, disc: bytes) -> None:
    """Be the CD drive with that disc in it, until the device leaves."""
    while True:
        try:
            kind = (await one.peek())[0]
        except asyncio.IncompleteReadError:
            return
        if kind == 0x46:
            await one.expect(9)
            one.send(one.header(0x47))
            continue
        command = await one.expect(28)
        cdb = command[16:]
        if cdb[0] == 0x25:
            one.send(one.data(struct.pack(">II", len(disc) // 2048 - 1, 2048)))
        else:
            assert cdb[0] == 0x28
            first, count = struct.unpack_from(">IxH", cdb, 2)
            data = disc[2048 * first : 2048 * (first + count)]
            pieces = [data[at : at + 8192] for at in range(0, len(data), 8192)]
            last = len(pieces) - 1
            one.send(*(one.data(piece, last=at == last) for at, piece in enumerate(pieces)))
