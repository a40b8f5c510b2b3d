"""WS-MAN as data: requests to Intel AMT as bytes, and its answers as instances.

Theory of operation. A request is one SOAP envelope. Its header names the action, the class, perhaps
selectors, and a number of its own. Its body has the instance to Put or the input of a method. The
answer is an envelope with an instance, the output of a method, or a fault. A method's ReturnValue
says whether it was done. Enumerate gives a context; Pull takes the next instances with it, until
EndOfSequence.

Nothing is kept, and there are no sockets and no clock. Answers are bounded in size and depth, and
have no DTD. An answer that is none is an AmtAnswerError, a fault an AmtFaultError, another return
value than success an AmtRefusedError.

Names of classes are those of the CIM schemas (`CIM_BootService`, `AMT_BootSettingData`,
`IPS_OptInService`). The prefix tells the schema, so callers write no URIs.
"""

import re
from collections.abc import Mapping
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from bootserver.amt.errors import AmtAnswerError, AmtError, AmtFaultError
from bootserver.amt.wsman.return_values import JOB_METHODS, JOB_STARTED, refusal
from bootserver.amt.wsman.values import (
    ADDRESSING,
    ANONYMOUS,
    EndpointReference,
    Instance,
    Nested,
    Plain,
    Value,
    read_back,
    short_name,
)

# DSP0226 (WS-Management 1.0) §5 to §9, over SOAP 1.2 and WS-Addressing 2004/08.
SOAP = "http://www.w3.org/2003/05/soap-envelope"
WSMAN = "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd"
TRANSFER = "http://schemas.xmlsoap.org/ws/2004/09/transfer"
ENUMERATION = "http://schemas.xmlsoap.org/ws/2004/09/enumeration"
NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"

SCHEMAS = {
    "CIM": "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/",
    "AMT": "http://intel.com/wbem/wscim/1/amt-schema/1/",
    "IPS": "http://intel.com/wbem/wscim/1/ips-schema/1/",
}

MAX_ANSWER_BYTES = 1024 * 1024  # the largest known, a full event log, is a tenth of it
MAX_DEPTH = 32
PULL_ITEMS = 999


def resource_uri(class_name: str) -> str:
    """The URI of a class, by its prefix."""
    schema, underscore, _ = class_name.partition("_")
    if not underscore or schema not in SCHEMAS:
        raise ValueError(f"{class_name} is of none of the schemas {', '.join(SCHEMAS)}")
    return SCHEMAS[schema] + class_name


def pointer(class_name: str, **selectors: str) -> EndpointReference:
    """A pointer to an instance, to be passed to a method."""
    return EndpointReference(resource_uri(class_name), selectors)


# --- building -----------------------------------------------------------------------------------


def get(class_name: str, message_id: str, selectors: Mapping[str, str] | None = None) -> bytes:
    """The request for one instance."""
    return _envelope(f"{TRANSFER}/Get", resource_uri(class_name), message_id, "", selectors)


def put(instance: Instance, message_id: str) -> bytes:
    """The request to replace an instance by this one."""
    name = short_name(instance.resource)
    body = f'<r:{name} xmlns:r="{instance.resource}">{_written(instance.properties)}</r:{name}>'
    return _envelope(f"{TRANSFER}/Put", instance.resource, message_id, body)


def enumerate_(class_name: str, message_id: str) -> bytes:
    """The request to begin going through all instances of a class."""
    body = f'<e:Enumerate xmlns:e="{ENUMERATION}"/>'
    return _envelope(f"{ENUMERATION}/Enumerate", resource_uri(class_name), message_id, body)


def pull(class_name: str, message_id: str, context: str) -> bytes:
    """The request for the next instances of an enumeration."""
    body = (
        f'<e:Pull xmlns:e="{ENUMERATION}">'
        f"<e:EnumerationContext>{_escaped(context)}</e:EnumerationContext>"
        f"<e:MaxElements>{PULL_ITEMS}</e:MaxElements></e:Pull>"
    )
    return _envelope(f"{ENUMERATION}/Pull", resource_uri(class_name), message_id, body)


def invoke(
    class_name: str,
    method: str,
    message_id: str,
    parameters: Mapping[str, Plain] | None = None,
) -> bytes:
    """The request to run a method; parameters are written in the order given."""
    uri = resource_uri(class_name)
    body = f'<r:{method}_INPUT xmlns:r="{uri}">{_written(parameters or {})}</r:{method}_INPUT>'
    return _envelope(f"{uri}/{method}", uri, message_id, body)


def _envelope(
    action: str,
    resource: str,
    message_id: str,
    body: str,
    selectors: Mapping[str, str] | None = None,
) -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<s:Envelope xmlns:s="{SOAP}" xmlns:a="{ADDRESSING}" xmlns:w="{WSMAN}"><s:Header>'
        f"<a:Action>{action}</a:Action><a:To>/wsman</a:To>"
        f"<w:ResourceURI>{resource}</w:ResourceURI><a:MessageID>{message_id}</a:MessageID>"
        f"<a:ReplyTo><a:Address>{ANONYMOUS}</a:Address></a:ReplyTo>"
        f"<w:OperationTimeout>PT60S</w:OperationTimeout>{_selector_set(selectors)}"
        f"</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    ).encode()


def _selector_set(selectors: Mapping[str, str] | None) -> str:
    if not selectors:
        return ""
    rows = (
        f"<w:Selector Name={quoteattr(name)}>{_escaped(value)}</w:Selector>"
        for name, value in selectors.items()
    )
    return f"<w:SelectorSet>{''.join(rows)}</w:SelectorSet>"


def _written(properties: Mapping[str, Plain]) -> str:
    return "".join(_element(f"r:{name}", "", value) for name, value in properties.items())


def _element(name: str, declaration: str, value: Plain) -> str:
    match read_back(value):
        case None:
            return ""
        case tuple(items):
            return "".join(_element(name, declaration, item) for item in items)
        case EndpointReference(resource, selectors, address):
            inner = (
                f"<a:Address>{_escaped(address)}</a:Address><a:ReferenceParameters>"
                f"<w:ResourceURI>{_escaped(resource)}</w:ResourceURI>{_selector_set(selectors)}"
                "</a:ReferenceParameters>"
            )
        case Nested(children):
            inner = "".join(_nested(tag, child) for tag, child in children)
        case str(text):
            inner = _escaped(text)
    return f"<{name}{declaration}>{inner}</{name}>"


def _nested(tag: str, value: Value) -> str:
    namespace, _, local = tag.removeprefix("{").rpartition("}")
    return _element(f"n:{local}", f" xmlns:n={quoteattr(namespace)}", value)


# XML 1.0 §2.2: characters that no document holds, escaped or not.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _escaped(text: str) -> str:
    if _NOT_XML.search(text):
        # The text itself may be a password.
        raise AmtError("a text for AMT holds a control character, which XML cannot carry")
    return escape(text, {"\r": "&#13;"})


# --- parsing ------------------------------------------------------------------------------------


def parse_instance(answer: bytes) -> Instance:
    """The instance in the answer to Get."""
    return _instance(_content(answer))


def parse_put(answer: bytes) -> None:
    """Nothing, when AMT took the instance; whether it answers with the new one is its choice."""
    body = _body(answer)
    if len(body):
        _raise_fault(body[0])


def parse_output(answer: bytes, method: str) -> Instance:
    """What the method put out; AmtRefusedError when its ReturnValue says that it failed."""
    output = parse_instance(answer)
    if short_name(output.resource) != f"{method}_OUTPUT":
        raise AmtAnswerError(f"AMT answered {method} with {short_name(output.resource)}")
    return_value = output.number("ReturnValue")
    if return_value == 0 or (return_value == JOB_STARTED and method in JOB_METHODS):
        return output
    raise refusal(method, return_value)


def parse_enumerate(answer: bytes) -> str:
    """The context to pull with."""
    return _required(_content(answer), f"{{{ENUMERATION}}}EnumerationContext")


def parse_pull(answer: bytes) -> tuple[list[Instance], str | None]:
    """One batch of instances, and the context to ask for the next; None at the end."""
    content = _content(answer)
    if content.tag != f"{{{ENUMERATION}}}PullResponse":
        raise AmtAnswerError(f"AMT answered Pull with {_local(content.tag)}")
    items = content.find(f"{{{ENUMERATION}}}Items")
    ended = content.find(f"{{{ENUMERATION}}}EndOfSequence") is not None
    return (
        [_instance(item) for item in items] if items is not None else [],
        None if ended else _required(content, f"{{{ENUMERATION}}}EnumerationContext"),
    )


def _content(answer: bytes) -> Element:
    """The one element in the answer's body, which is not a fault."""
    body = _body(answer)
    if len(body) != 1:
        raise AmtAnswerError(f"AMT's answer has {len(body)} elements in its body, and not one")
    _raise_fault(body[0])
    return body[0]


def _body(answer: bytes) -> Element:
    envelope = parse_xml(answer)
    body = envelope.find(f"{{{SOAP}}}Body")
    if envelope.tag != f"{{{SOAP}}}Envelope" or body is None:
        raise AmtAnswerError("AMT's answer is not a SOAP envelope")
    return body


def _raise_fault(element: Element) -> None:
    if element.tag == f"{{{SOAP}}}Fault":
        raise _fault(element)


def _instance(element: Element) -> Instance:
    namespace, local = _split(element.tag)
    # A class's namespace is its URI; a method's output stands in the namespace of its class.
    resource = namespace if short_name(namespace) == local else f"{namespace}/{local}"
    return Instance(resource, {_local(tag): value for tag, value in _children(element)})


def _children(element: Element) -> tuple[tuple[str, Value], ...]:
    """The values below an element; several of one name become one tuple in the first's place."""
    values: dict[str, list[Value]] = {}
    for child in element:
        values.setdefault(child.tag, []).append(_value(child))
    return tuple(
        (tag, found[0] if len(found) == 1 else tuple(found)) for tag, found in values.items()
    )


def _value(element: Element) -> Value:
    if element.get(NIL) in ("true", "1"):
        return None
    parameters = element.find(f"{{{ADDRESSING}}}ReferenceParameters")
    if parameters is not None:
        selectors = parameters.iterfind(f"{{{WSMAN}}}SelectorSet/{{{WSMAN}}}Selector")
        return EndpointReference(
            _required(parameters, f"{{{WSMAN}}}ResourceURI"),
            {selector.get("Name", ""): selector.text or "" for selector in selectors},
            _required(element, f"{{{ADDRESSING}}}Address"),
        )
    return Nested(_children(element)) if len(element) else element.text or ""


def parse_xml(document: bytes) -> Element:
    """The document's tree. No DTD, so no entities; bounded in size and depth."""
    if len(document) > MAX_ANSWER_BYTES:
        raise AmtAnswerError(f"AMT's answer is longer than {MAX_ANSWER_BYTES} bytes")
    tree = TreeBuilder()
    depth = 0

    def refuse_doctype(*_: object) -> None:
        raise AmtAnswerError("AMT's answer brings a DTD, which no WS-MAN answer has")

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise AmtAnswerError(f"AMT's answer is nested more than {MAX_DEPTH} deep")
        tree.start(_clark(name), {_clark(key): text for key, text in attributes.items()})

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        tree.end(_clark(name))

    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = refuse_doctype
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = tree.data
    try:
        parser.Parse(document, True)
    except (expat.ExpatError, LookupError, ValueError) as err:  # the latter two: its encoding
        raise AmtAnswerError(f"AMT's answer is not XML: {err}") from err
    return tree.close()


def _clark(name: str) -> str:
    """`{namespace}name`, of expat's `namespace}name`."""
    return "{" + name if "}" in name else name


def _split(tag: str) -> tuple[str, str]:
    namespace, _, local = tag.removeprefix("{").rpartition("}")
    return namespace, local


def _local(tag: str) -> str:
    return _split(tag)[1]


def _required(element: Element, tag: str) -> str:
    text = element.findtext(tag)
    if text is None:
        raise AmtAnswerError(f"{_local(element.tag)} in AMT's answer lacks {_local(tag)}")
    return text


# --- faults -------------------------------------------------------------------------------------

# DSP0226 §14: what the subcode means, and what to do.
FAULTS: dict[str, tuple[str, str]] = {
    "AccessDenied": (
        "this AMT user may not do that",
        "give the user the realm in AMT's user settings, or use the administrator",
    ),
    "DestinationUnreachable": ("this machine's AMT has no such thing", ""),
    "ActionNotSupported": ("this AMT version cannot do that", ""),
    "UnsupportedFeature": ("this AMT version cannot do that", ""),
    "InvalidSelectors": ("this machine's AMT has no such instance", ""),
    "SchemaValidationError": ("AMT refuses the form of the request", ""),
    "InvalidParameter": ("AMT refuses a parameter of the request", ""),
    "InvalidRepresentation": ("AMT refuses the values of the request", ""),
    "Concurrency": ("AMT is at work on another request", "try again in some seconds"),
    "QuotaLimit": ("AMT has too many requests at once", "try again in some seconds"),
    "TimedOut": ("AMT gave up on the request", "try again in some seconds"),
    "InternalError": ("AMT had an error of its own", "try again; a power cut resets AMT"),
    "InvalidEnumerationContext": ("AMT has dropped the enumeration", "try again"),
}


def _fault(fault: Element) -> AmtFaultError:
    code = fault.findtext(f"{{{SOAP}}}Code/{{{SOAP}}}Subcode/{{{SOAP}}}Value")
    if code is None:
        code = fault.findtext(f"{{{SOAP}}}Code/{{{SOAP}}}Value", "")
    subcode = code.strip().rpartition(":")[2][:60]
    reason = " ".join(fault.findtext(f"{{{SOAP}}}Reason/{{{SOAP}}}Text", "").split())[:200]
    sentence, hint = FAULTS.get(subcode, ("AMT answered with a fault", ""))
    said = f"{subcode}: {reason}" if reason else subcode
    return AmtFaultError(f"{sentence} ({said})", subcode=subcode, hint=hint)
