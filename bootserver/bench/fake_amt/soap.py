"""WS-MAN's messages from the device's side: requests read strictly, replies and faults written.

SOAP 1.2, WS-Addressing 2004/08 and WS-Management 1.x (DSP0226), with AMT's own habits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element, ParseError, fromstring
from xml.sax.saxutils import escape, quoteattr

SOAP = "http://www.w3.org/2003/05/soap-envelope"
ADDRESSING = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
WSMAN = "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd"
IDENTITY = "http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd"
ENUMERATION = "http://schemas.xmlsoap.org/ws/2004/09/enumeration"
TRANSFER = "http://schemas.xmlsoap.org/ws/2004/09/transfer"
ANONYMOUS = f"{ADDRESSING}/role/anonymous"
GET, PUT = f"{TRANSFER}/Get", f"{TRANSFER}/Put"
ENUMERATE, PULL = f"{ENUMERATION}/Enumerate", f"{ENUMERATION}/Pull"

CIM = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/"
AMT = "http://intel.com/wbem/wscim/1/amt-schema/1/"
IPS = "http://intel.com/wbem/wscim/1/ips-schema/1/"

_SCHEMAS = {"CIM": CIM, "AMT": AMT, "IPS": IPS}
_DURATION = re.compile(r"PT(?=\d)(\d+H)?(\d+M)?(\d+(\.\d+)?S)?")


@dataclass(frozen=True, slots=True)
class Reference:
    """An endpoint reference: another instance as a value."""

    class_name: str
    selectors: Mapping[str, str] = field(default_factory=dict)


PropertyValue = str | Reference
Properties = Mapping[str, PropertyValue | Sequence[PropertyValue]]


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks: the action, of what, with what."""

    action: str
    message_id: str
    class_name: str = ""
    selectors: Mapping[str, str] = field(default_factory=dict)
    body: Element | None = None


class FaultError(Exception):
    """The answer is a SOAP fault, by its subcode; AMT sends them with HTTP status 400."""

    def __init__(self, subcode: str, reason: str, *, status: int = 400) -> None:
        super().__init__(reason)
        self.subcode = subcode
        self.reason = reason
        self.status = status


def schema_violation(reason: str) -> FaultError:
    """What AMT answers to XML that does not follow its schemas."""
    return FaultError("wsman:SchemaValidationError", reason)


def flag_text(value: bool) -> str:
    """A truth value as properties have it."""
    return "true" if value else "false"


def uri_of(class_name: str) -> str:
    """The resource URI of a class."""
    return _SCHEMAS[class_name.partition("_")[0]] + class_name


def class_of(uri: str) -> str:
    """The class of a resource URI; raises FaultError for one that no device has."""
    class_name = uri.rpartition("/")[2]
    if uri != _SCHEMAS.get(class_name.partition("_")[0], "?") + class_name:
        raise FaultError("wsa:DestinationUnreachable", f"no resource {uri}")
    return class_name


def parse_request(data: bytes) -> Request:
    """What that envelope asks; raises FaultError when it is not to the letter."""
    if b"<!" in data:
        raise schema_violation("document types and comments are not taken")
    try:
        envelope = fromstring(data)  # noqa: S314 - without a document type nothing can expand
    except (ParseError, LookupError, ValueError) as err:
        raise schema_violation(f"not XML: {err}") from err
    if envelope.tag != f"{{{SOAP}}}Envelope":
        raise schema_violation("not a SOAP 1.2 envelope")
    parts = list(envelope)
    if [part.tag for part in parts] != [f"{{{SOAP}}}Header", f"{{{SOAP}}}Body"]:
        raise schema_violation("an envelope has a Header and a Body")
    header, body = parts
    if len(body) > 1:
        raise schema_violation("more than one element in the Body")
    content = body[0] if len(body) else None
    if content is not None and content.tag == f"{{{IDENTITY}}}Identify":
        return Request(action="Identify", message_id="")
    return _addressed(header, content)


def _addressed(header: Element, content: Element | None) -> Request:
    action = _text(header, ADDRESSING, "Action")
    uri = _text(header, WSMAN, "ResourceURI")
    message_id = _text(header, ADDRESSING, "MessageID")
    _text(header, ADDRESSING, "To")
    reply_to = _one(header, ADDRESSING, "ReplyTo")
    if _text(reply_to, ADDRESSING, "Address") != ANONYMOUS:
        raise FaultError("wsman:UnsupportedFeature", "replies go back over the connection only")
    timeout = header.find(f"{{{WSMAN}}}OperationTimeout")
    if timeout is not None and not _DURATION.fullmatch((timeout.text or "").strip()):
        raise schema_violation("OperationTimeout is not a duration")
    class_name = class_of(uri)
    if not action.startswith((f"{TRANSFER}/", f"{ENUMERATION}/", f"{uri}/")):
        raise FaultError("wsa:ActionNotSupported", f"{action} is no action of {uri}")
    selector_set = header.find(f"{{{WSMAN}}}SelectorSet")
    selectors = {} if selector_set is None else _selectors(selector_set)
    return Request(action, message_id, class_name, selectors, content)


def read_properties(element: Element, uri: str) -> dict[str, list[PropertyValue]]:
    """The children of an instance or of a method's input, each with its values in order."""
    properties: dict[str, list[PropertyValue]] = {}
    for child in element:
        namespace, _, name = child.tag[1:].partition("}")
        if namespace != uri:
            raise schema_violation(f"{child.tag} is not of {uri}")
        properties.setdefault(name, []).append(_value(child))
    return properties


def _value(element: Element) -> PropertyValue:
    if len(element) == 0:
        return (element.text or "").strip()
    if _text(element, ADDRESSING, "Address") == "":
        raise schema_violation("an endpoint reference has an Address")
    parameters = _one(element, ADDRESSING, "ReferenceParameters")
    class_name = class_of(_text(parameters, WSMAN, "ResourceURI"))
    return Reference(class_name, _selectors(_one(parameters, WSMAN, "SelectorSet")))


def _selectors(selector_set: Element) -> dict[str, str]:
    selectors: dict[str, str] = {}
    for selector in selector_set:
        # Name has no namespace in DSP0226. PyPI's amt gives it WS-Management's, and so did
        # OpenStack's driver, whose requests AMT took for years.
        name = selector.attrib.get("Name") or selector.attrib.get(f"{{{WSMAN}}}Name")
        if selector.tag != f"{{{WSMAN}}}Selector" or not name:
            raise schema_violation("a SelectorSet has Selectors with Names")
        selectors[name] = (selector.text or "").strip()
    return selectors


def _one(parent: Element, namespace: str, name: str) -> Element:
    found = parent.findall(f"{{{namespace}}}{name}")
    if len(found) != 1:
        raise schema_violation(f"{len(found)} {name} where one must be")
    return found[0]


def _text(parent: Element, namespace: str, name: str) -> str:
    text = (_one(parent, namespace, name).text or "").strip()
    if not text:
        raise schema_violation(f"an empty {name}")
    return text


def instance(class_name: str, properties: Properties) -> str:
    """An instance as XML, its values in the order given."""
    return f"<g:{class_name}>{_values(properties)}</g:{class_name}>"


def output(method: str, properties: Properties) -> str:
    """What a method returns, as XML."""
    return f"<g:{method}_OUTPUT>{_values(properties)}</g:{method}_OUTPUT>"


def _values(properties: Properties) -> str:
    written = []
    for name, values in properties.items():
        for value in [values] if isinstance(values, str | Reference) else values:
            inner = escape(value) if isinstance(value, str) else _reference(value)
            written.append(f"<g:{name}>{inner}</g:{name}>")
    return "".join(written)


def _reference(reference: Reference) -> str:
    selectors = "".join(
        f"<c:Selector Name={quoteattr(name)}>{escape(value)}</c:Selector>"
        for name, value in reference.selectors.items()
    )
    return (
        f"<b:Address>/wsman</b:Address><b:ReferenceParameters>"
        f"<c:ResourceURI>{uri_of(reference.class_name)}</c:ResourceURI>"
        f"<c:SelectorSet>{selectors}</c:SelectorSet></b:ReferenceParameters>"
    )


def reply(request: Request, number: int, body: str) -> str:
    """The envelope around what answers `request`; `number` counts our messages."""
    uri = uri_of(request.class_name)
    header = (
        f"<b:Action>{request.action}Response</b:Action>{_related(request, number)}"
        f"<c:ResourceURI>{uri}</c:ResourceURI>"
    )
    return _envelope(header, body, uri)


def identified(version: str) -> str:
    """What answers Identify (DSP0226 §11)."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><a:Envelope xmlns:a="{SOAP}" xmlns:b="{IDENTITY}">'
        f"<a:Header></a:Header><a:Body><b:IdentifyResponse>"
        f"<b:ProtocolVersion>{WSMAN}</b:ProtocolVersion>"
        f"<b:ProductVendor>Intel(r)</b:ProductVendor>"
        f"<b:ProductVersion>AMT {escape(version)}</b:ProductVersion>"
        f"</b:IdentifyResponse></a:Body></a:Envelope>"
    )


def fault(request: Request | None, number: int, error: FaultError) -> str:
    """The envelope of a fault; the request may have been unreadable."""
    prefix, _, name = error.subcode.partition(":")
    namespace = ADDRESSING if prefix == "wsa" else WSMAN
    related = _related(request, number) if request else _numbered(number)
    header = f"<b:Action>{namespace}/fault</b:Action>{related}"
    body = (
        f"<a:Fault><a:Code><a:Value>a:Sender</a:Value><a:Subcode>"
        f'<a:Value xmlns:f="{namespace}">f:{name}</a:Value></a:Subcode></a:Code>'
        f'<a:Reason><a:Text xml:lang="en-US">{escape(error.reason)}</a:Text></a:Reason></a:Fault>'
    )
    return _envelope(header, body, "")


def _related(request: Request, number: int) -> str:
    return f"<b:RelatesTo>{escape(request.message_id)}</b:RelatesTo>{_numbered(number)}"


def _numbered(number: int) -> str:
    return f"<b:MessageID>uuid:00000000-8086-8086-8086-{number:012X}</b:MessageID>"


def _envelope(header: str, body: str, uri: str) -> str:
    own = f' xmlns:g="{uri}"' if uri else ""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>'
        f'<a:Envelope xmlns:a="{SOAP}" xmlns:b="{ADDRESSING}" xmlns:c="{WSMAN}" '
        f'xmlns:d="{ENUMERATION}"{own}>'
        f"<a:Header><b:To>{ANONYMOUS}</b:To>{header}</a:Header><a:Body>{body}</a:Body></a:Envelope>"
    )
