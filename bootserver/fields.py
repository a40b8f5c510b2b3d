"""What a field of config.toml or of a side-car may hold: texts, checked once, at the edge.

Each parser returns the one way in which its text is written, and raises ValueError with a sentence.
"""

from __future__ import annotations

import ipaddress
import re
import uuid
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

from bootserver.quoting import ipxe_arguments

NAME_LIMIT = 80  # of what a machine says of itself
ENTRY_LIMIT = 200
ARGUMENTS_LIMIT = 1000  # the kernel's own limit is 2,048 for all that is on its command line


def parse_mac(text: str) -> str:
    """A MAC address as lower-case hex with colons; takes colons, dashes, dots or none; "" is ""."""
    digits = re.sub(r"[:.\-]", "", text).lower()
    if not digits:
        return ""
    if not re.fullmatch(r"[0-9a-f]{12}", digits):
        raise ValueError(f"{text!r} is not a MAC address such as 52:54:00:12:34:56")
    return ":".join(digits[i : i + 2] for i in range(0, 12, 2))


def parse_uuid(text: str) -> str:
    """A UUID as lower-case hex with dashes; "" is ""."""
    try:
        return str(uuid.UUID(text)) if text else ""
    except ValueError:
        raise ValueError(
            f"{text!r} is not a UUID such as 00112233-4455-6677-8899-aabbccddeeff"
        ) from None


def parse_name(text: str) -> str:
    """A serial number or asset tag without the blanks around it, as machines tell theirs."""
    name = text.strip()
    if not name.isprintable() or len(name) > NAME_LIMIT:
        raise ValueError(f"{text!r} is not a printable text of at most {NAME_LIMIT} characters")
    return name


def parse_server_url(text: str) -> str:
    """An http(s) URL without path, query or trailing slash, or ""."""
    parts = re.fullmatch(r"https?://(\[[^][]+\]|[^][:/]+)(?::([0-9]{1,5}))?/?", text)
    if text and not (parts and _is_server(parts[1]) and 1 <= int(parts[2] or 80) <= 65535):
        raise ValueError(f"{text!r} is not a server URL such as http://192.0.2.10:8080")
    return text.rstrip("/")


def _is_server(host: str) -> bool:
    """True for a name, or an address that one machine can have; IPv6 ones stand in brackets."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return not host.startswith("[") and _is_host_name(host)
    in_brackets = host.startswith("[")
    return in_brackets == (address.version == 6) and not is_no_machine(address)


def is_no_machine(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """True for an address that no single machine has."""
    everybody = ipaddress.IPv4Address("255.255.255.255")
    return address.is_unspecified or address.is_multicast or address == everybody


def parse_memdisk_arguments(text: str) -> str:
    """memdisk's arguments."""
    if not re.fullmatch(r"[A-Za-z0-9=,. _-]*", text):
        raise ValueError(f"{text!r} has characters that are no part of memdisk's arguments")
    return text


def parse_kernel_arguments(text: str) -> str:
    """Kernel arguments that iPXE can pass on, without the blanks around them."""
    if len(text) > ARGUMENTS_LIMIT:
        raise ValueError(f"has {len(text):,} characters, more than {ARGUMENTS_LIMIT:,}")
    ipxe_arguments(text)
    return text.strip()


def parse_entry(text: str) -> str:
    """The entry of a disc's menu: its name, its title, or `#` and a number."""
    if len(text) > ENTRY_LIMIT or not text.isprintable():
        raise ValueError(f"an entry is one line of at most {ENTRY_LIMIT} characters")
    return text.strip()


def parse_host(text: str) -> str:
    """A host name (RFC 1123 §2.1) in lower case, or an IP address, without port or scheme."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        if not _is_host_name(text):
            raise ValueError(f"{text[:80]!r} is neither a host name nor an IP address") from None
    return text.lower().removesuffix(".")


def _is_host_name(text: str) -> bool:
    labels = text.lower().removesuffix(".").split(".")
    return (
        len(text) <= 253
        and not labels[-1].isdecimal()  # or it is an address with a mistake in it
        and all(re.fullmatch(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", label) for label in labels)
    )


def _amt_user(text: str) -> str:
    """An AMT digest user, as far as AMT's realm of names goes."""
    if not re.fullmatch(r"[\x21-\x7e]{1,32}", text) or ":" in text:
        raise ValueError(f"{text[:80]!r} is not an AMT user: 1 to 32 ASCII characters, no colon")
    return text


def _image_id(text: str) -> str:
    """What can be an image's id; whether there is one of that id is the library's to say."""
    if not text.isprintable() or (text and {"", ".", ".."} & set(text.split("/"))):
        raise ValueError(
            f"{text!r} is not the id of an image: its file's name without .iso, behind the folders "
            "that it is in"
        )
    return text


def _interface(text: str) -> str:
    """`*` or the address of an interface."""
    if text != "*":
        ipaddress.ip_address(text)
    return text


def _network(text: str) -> str:
    """One address, or a network such as 10.0.0.0/8."""
    return str(ipaddress.ip_network(text))


def _loopback(text: str) -> str:
    if not ipaddress.ip_address(text).is_loopback:
        raise ValueError(
            f"{text} is not a loopback address. The admin plane has no login yet, so it stays on "
            "127.0.0.1 or ::1. Reach it from elsewhere through an ssh tunnel"
        )
    return text


def _second_stage(text: str) -> str:
    """The name of an EFI program in shim's own directory, other than shim's."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}\.efi", text, re.IGNORECASE):
        raise ValueError(f"{text!r} is not the name of an EFI program such as grubx64.efi")
    if text.lower() == "bootx64.efi":
        raise ValueError("bootx64.efi is shim itself")
    return text


Mac = Annotated[str, AfterValidator(parse_mac)]
Uuid = Annotated[str, AfterValidator(parse_uuid)]
MachineName = Annotated[str, AfterValidator(parse_name)]
ServerUrl = Annotated[str, AfterValidator(parse_server_url)]
AmtHost = Annotated[str, AfterValidator(parse_host)]
AmtUser = Annotated[str, AfterValidator(_amt_user)]
Interface = Annotated[str, AfterValidator(_interface)]
Network = Annotated[str, AfterValidator(_network)]
Loopback = Annotated[str, AfterValidator(_loopback)]
MemdiskArguments = Annotated[str, AfterValidator(parse_memdisk_arguments)]
Entry = Annotated[str, AfterValidator(parse_entry)]
KernelArguments = Annotated[str, AfterValidator(parse_kernel_arguments)]
ImageId = Annotated[str, AfterValidator(_image_id)]
SecondStage = Annotated[str, AfterValidator(_second_stage)]
OptionalPath = Annotated[
    Path | None,
    BeforeValidator(lambda path: path or None),  # TOML has no null: "" is no file
    PlainSerializer(lambda path: "" if path is None else str(path), return_type=str),
]
Port = Annotated[int, Field(ge=0, le=65535)]
