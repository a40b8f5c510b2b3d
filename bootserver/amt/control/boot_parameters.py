"""What One-Click Recovery tells the BIOS: where to fetch the image, and whom to trust for it.

A list of parameters, each
| offset | size | meaning |
| 0 | 2 | vendor, 8086h |
| 2 | 2 | type |
| 4 | 4 | length of the value |
| 8 | … | value |
all little-endian, in base64 in AMT_BootSettingData.UefiBootParametersArray.
"""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass, field
from enum import IntEnum

from bootserver.amt.errors import AmtError

INTEL = 0x8086
MAX_URL_BYTES = 300
MAX_SERVER_NAME_BYTES = 256
MAX_LOGIN_BYTES = 16
MAX_TIMEOUT_S = 0xFFFF


class Type(IntEnum):
    """The parameters that are used here, of those that there are."""

    URL = 1
    IMAGE_SHA256 = 4
    TRUST_ROOTS_OF_AMT = 20
    SERVER_NAME = 21
    SERVER_NAME_COMPARED = 22
    SERVER_CERTIFICATE_SHA256 = 23
    TIMEOUT_S = 30
    USER = 40
    PASSWORD = 41


_WHOLE_NAME = 1  # of SERVER_NAME_COMPARED


@dataclass(frozen=True)
class RecoveryParameters:
    """An image at an HTTPS URL. Raises AmtError where it holds what AMT cannot carry.

    `image_sha256` lets an unsigned image start where Secure Boot is enforced. The server is
    trusted by a root certificate in AMT (`trust_amt_roots`), by its certificate's SHA-256, or
    both. `timeout_s` 0 is the firmware's default.
    """

    url: str
    image_sha256: bytes | None = None
    trust_amt_roots: bool = True
    server_name: str | None = None
    server_certificate_sha256: bytes | None = None
    timeout_s: int = 0
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.url.startswith("https://"):
            raise AmtError(
                f"{self.url[:80]!r} is no HTTPS URL, and One-Click Recovery takes nothing else",
                hint="serve the image over HTTPS",
            )
        _check_text("the URL", self.url, MAX_URL_BYTES)
        _check_text("the server's name", self.server_name, MAX_SERVER_NAME_BYTES)
        _check_text("the user for the URL", self.user, MAX_LOGIN_BYTES)
        _check_text("the password for the URL", self.password, MAX_LOGIN_BYTES)
        if (self.user is None) != (self.password is None):
            raise AmtError("user and password for the URL come together, or not at all")
        _check_digest("the image's", self.image_sha256)
        _check_digest("the server certificate's", self.server_certificate_sha256)
        if not 0 <= self.timeout_s <= MAX_TIMEOUT_S:
            raise AmtError(f"the timeout for the URL is to be 0 to {MAX_TIMEOUT_S} seconds")
        if not self.trust_amt_roots and self.server_certificate_sha256 is None:
            raise AmtError(
                "nothing says how the BIOS is to trust the HTTPS server",
                hint="push a root certificate to AMT, or give the server certificate's SHA-256",
            )


def encode(parameters: RecoveryParameters) -> tuple[str, int]:
    """The parameters in base64, and how many there are."""
    values: list[tuple[Type, bytes]] = [(Type.URL, parameters.url.encode())]
    if parameters.image_sha256 is not None:
        values.append((Type.IMAGE_SHA256, parameters.image_sha256))
    if parameters.trust_amt_roots:
        values.append((Type.TRUST_ROOTS_OF_AMT, b"\1"))
    if parameters.server_name is not None:
        values.append((Type.SERVER_NAME, parameters.server_name.encode()))
        values.append((Type.SERVER_NAME_COMPARED, struct.pack("<H", _WHOLE_NAME)))
    if parameters.server_certificate_sha256 is not None:
        values.append((Type.SERVER_CERTIFICATE_SHA256, parameters.server_certificate_sha256))
    values.append((Type.TIMEOUT_S, struct.pack("<H", parameters.timeout_s)))
    if parameters.user is not None and parameters.password is not None:
        values.append((Type.USER, parameters.user.encode()))
        values.append((Type.PASSWORD, parameters.password.encode()))
    block = b"".join(struct.pack("<HHI", INTEL, kind, len(value)) + value for kind, value in values)
    return base64.b64encode(block).decode(), len(values)


def _check_text(what: str, text: str | None, limit_bytes: int) -> None:
    if text is None:
        return
    # The text may be the password, so it is not shown.
    if not text or not text.isascii() or not text.isprintable():
        raise AmtError(f"{what} is to be printable ASCII for One-Click Recovery")
    if len(text) > limit_bytes:
        raise AmtError(f"{what} has {len(text)} bytes; One-Click Recovery carries {limit_bytes}")


def _check_digest(what: str, digest: bytes | None) -> None:
    if digest is not None and len(digest) != 32:
        raise AmtError(f"{what} SHA-256 is to be 32 bytes, not {len(digest)}")
