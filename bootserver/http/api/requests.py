"""What the API takes: bodies and queries, checked strictly, all mistakes told at once."""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

from bootserver.amt.types import AmtLogin, BootMethod, BootTarget, PowerAction
from bootserver.fields import (
    AmtUser,
    Entry,
    ImageId,
    KernelArguments,
    Mac,
    MachineName,
    MemdiskArguments,
    ServerUrl,
    Uuid,
)
from bootserver.http.api.problems import ProblemError
from bootserver.http.api.services import services_of
from bootserver.images.recipes import RECIPE_NAMES
from bootserver.model import BootPhase, StubFormat
from bootserver.selector import Selector
from bootserver.sessions.profiles import SAID

PAGE_MAX = 200
TITLE_MAX = 200
URL_MAX = 4096
ENTRY = "An entry of the disc's own menu: its name, its title, or # and a number"


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("is not printable text in one line")
    return text.strip()


def _web_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
        raise ValueError("is not a URL such as https://example.org/rescue.iso")
    return text


def _recipe(text: str) -> str:
    if text and text not in RECIPE_NAMES:
        raise ValueError(f"is no recipe; one of {', '.join(sorted(RECIPE_NAMES))}")
    return text


def _ipv4(text: str) -> str:
    if text:
        ipaddress.IPv4Address(text)
    return text


def _ipv4_with_prefix(text: str) -> str:
    if text:
        ipaddress.IPv4Interface(text)
        if "/" not in text:
            raise ValueError(f"lacks its prefix length: write {text}/24, say")
    return text


def _given_server(text: str) -> str:
    if not text:
        raise ValueError("is no server URL such as http://192.0.2.10:8080")
    return text


def _in_utc(text: object) -> object:
    """A date alone is its midnight in UTC."""
    if isinstance(text, str) and len(text) == len("2026-01-31"):
        return f"{text}T00:00:00Z"
    return text


def _sha256(text: str) -> str:
    return text.lower()


Sha256 = Annotated[str, Field(pattern=r"^(|[0-9a-fA-F]{64})$"), AfterValidator(_sha256)]
OneLine = Annotated[str, Field(max_length=TITLE_MAX), AfterValidator(_one_line)]
Ipv4 = Annotated[str, AfterValidator(_ipv4)]
When = Annotated[AwareDatetime, BeforeValidator(_in_utc)]


class JsonBody(BaseModel):
    """A JSON body: exactly these members, of exactly these types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class UrlQuery(BaseModel):
    """The parameters of a URL, which are all texts."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BootQuery(UrlQuery):
    """Which boots."""

    limit: int = Field(default=50, ge=1, le=PAGE_MAX)
    before: When | None = Field(default=None, description="Boots that were created before this")
    q: str = Field(default="", max_length=200, description="In the image, machine or address")
    image: str = Field(default="", max_length=300)
    machine: str = Field(default="", max_length=100, description="A MAC, UUID, serial or asset")
    phase: list[BootPhase] = Field(default=[], description="In any of these phases")


class MachineQuery(UrlQuery):
    """Which machines."""

    limit: int = Field(default=50, ge=1, le=PAGE_MAX)
    before: When | None = Field(default=None, description="Machines that were seen before this")


class ExportQuery(UrlQuery):
    """Which boots, and in which form."""

    format: Literal["csv", "json", "openmetrics"] = "csv"
    since: When | None = Field(default=None, description="Boots that were created then or later")
    image: str = Field(default="", max_length=300)


class UploadQuery(UrlQuery):
    """What the uploaded bytes are."""

    name: OneLine = Field(min_length=1, description="The image's name; .iso or .img may end it")
    sha256: Sha256 = ""


class NewImage(JsonBody):
    """An image to download."""

    url: Annotated[str, Field(max_length=URL_MAX), AfterValidator(_web_url)]
    sha256: Sha256 = ""
    name: OneLine = ""


class NewSettings(JsonBody):
    """What the side-car is to say; the rest of it stays."""

    title: OneLine = ""
    memdisk: MemdiskArguments = ""
    arguments: KernelArguments = ""
    recipe: Annotated[str, AfterValidator(_recipe)] = ""
    entry: Entry = Field(default="", description=ENTRY)


class StubOrder(JsonBody):
    """A stub to build."""

    image: ImageId = Field(default="", description="An image's id; without one, a menu of all")
    entry: Entry = Field(default="", description=ENTRY)
    # From JSON an enum comes as text, which strict mode lets in.
    format: StubFormat = StubFormat.ISO
    static_ip: Annotated[str, AfterValidator(_ipv4_with_prefix)] = Field(
        default="", description="192.0.2.5/24 in place of DHCP"
    )
    gateway: Ipv4 = ""
    dns: Ipv4 = ""
    vlan: int | None = Field(default=None, ge=1, le=4094)
    mac: Mac = ""
    then_dhcp: bool = Field(
        default=False, description="The static address first, on the card of that MAC; then DHCP"
    )
    servers: list[Annotated[ServerUrl, AfterValidator(_given_server)]] = Field(
        default=[], max_length=8
    )


class AmtCredentials(JsonBody):
    """How AMT is spoken to this once, over what is configured; never kept, never told."""

    user: AmtUser | Literal[""] = ""
    password: SecretStr = Field(default=SecretStr(""), max_length=64)
    tls: bool | None = Field(default=None, description="TLS, or plain")
    legacy_tls: bool = Field(
        default=False, description="TLS 1.0 and 1.1 as well, for AMT that knows no TLS 1.2"
    )

    @property
    def login(self) -> AmtLogin:
        """The same for who speaks to AMT."""
        return AmtLogin(self.user, self.password.get_secret_value(), self.tls, self.legacy_tls)


class AmtPower(AmtCredentials):
    """What AMT is to do with the machine's power."""

    action: PowerAction


class AmtTarget(AmtCredentials):
    """What of its own a machine is to boot, this once."""

    to: BootTarget


class AmtKvmOrder(AmtCredentials):
    """The remote screen, switched on with a password for its viewers."""

    rfb_password: SecretStr = Field(max_length=64, description="8 characters, as AMT wants them")


class AmtBootOrder(AmtCredentials):
    """An image to boot a machine into, through its AMT."""

    image: ImageId = Field(min_length=1)
    method: BootMethod = BootMethod.AUTO
    stay: bool = Field(default=False, description="The drive is not taken away at the hand-off")
    attended: bool = Field(
        default=True, description="False fails where a consent code would have to be told"
    )
    at_once: int | None = Field(
        default=None, ge=1, description="Begin only while fewer boots go on than that"
    )


class ConsentCode(JsonBody):
    """The code that AMT shows on the machine's screen."""

    code: str = Field(pattern=r"^[0-9]{6}$")


class ProfileChange(JsonBody):
    """What the machines of a profile boot from now on."""

    image: ImageId = ""
    entry: Entry = Field(default="", description=ENTRY)
    arguments: KernelArguments = ""
    memdisk: MemdiskArguments = ""

    @property
    def boots(self) -> dict[str, str]:
        """What it says, by the names of MachineProfile."""
        return {name: getattr(self, name) for name in SAID}

    @model_validator(mode="after")
    def _says_something(self) -> ProfileChange:
        if not any(self.boots.values()):
            raise ValueError("give image, entry, arguments or memdisk")
        return self


class NewProfile(ProfileChange):
    """What machines of these names boot; all names that are given must match."""

    mac: Mac = ""
    uuid: Uuid = ""
    serial: MachineName = ""
    asset: MachineName = ""
    once: bool = Field(default=False, description="For the next boot only")

    @model_validator(mode="after")
    def _names_a_machine(self) -> NewProfile:
        if not self.selector.names:
            raise ValueError("give a mac, uuid, serial or asset that names the machine")
        return self

    @property
    def selector(self) -> Selector:
        """The machines that it is about."""
        return Selector(self.mac, self.uuid, self.serial, self.asset)


_Model = TypeVar("_Model", bound=BaseModel)

JSON_TYPE = "application/json"
UPLOAD_TYPE = "application/octet-stream"


async def read_body(request: web.Request, model: type[_Model]) -> _Model:
    """The JSON body as `model`; ProblemError 415 for another type, 422 with all its mistakes.

    408 where it takes too long to come, 400 where it is none.
    """
    require_type(request, JSON_TYPE)
    body_s = services_of(request).limits.config.body_s
    try:
        async with asyncio.timeout(body_s):
            data = await request.read()
    except TimeoutError as err:
        raise ProblemError(408, f"the body has not come within {body_s:g} seconds") from err
    except web.RequestPayloadError as err:
        raise ProblemError(400, "the body is not sent as HTTP has it") from err
    try:
        json.loads(data)
    except (ValueError, RecursionError) as err:
        raise ProblemError(400, f"the body is not JSON: {err}") from err
    return _checked(lambda: model.model_validate_json(data), "body")


def read_query(request: web.Request, model: type[_Model]) -> _Model:
    """The URL's parameters as `model`; ProblemError 400 with all their mistakes."""
    values: dict[str, Any] = {}
    for name in request.query:
        given = request.query.getall(name)
        field = model.model_fields.get(name)
        is_list = field is not None and "list" in str(field.annotation)
        values[name] = given if is_list else given[-1]
    return _checked(lambda: model.model_validate(values), "query", status=400)


def require_type(request: web.Request, *types: str) -> None:
    """Refuses with 415 a body of another media type: what a page's form could send."""
    if hdrs.CONTENT_TYPE not in request.headers or request.content_type not in types:
        raise ProblemError(
            415,
            f"the body must be {' or '.join(types)}",
            hint=f"send the header Content-Type: {types[0]}",
            headers={"Accept-Post": ", ".join(types)} if request.method == "POST" else None,
        )


def _checked(read: Callable[[], _Model], what: str, *, status: int = 422) -> _Model:
    try:
        return read()
    except ValidationError as err:
        errors = [
            {"field": ".".join(map(str, e["loc"])), "message": _sentence(e["msg"])}
            for e in err.errors()
        ]
        told = "; ".join(f"{e['field']}: {e['message']}".removeprefix(": ") for e in errors)
        raise ProblemError(status, f"the {what} has mistakes: {told}", errors=errors) from err


def _sentence(message: str) -> str:
    return message.removeprefix("Value error, ")


def utc_text(at: datetime) -> str:
    """A time as it goes into a URL: without a plus sign, which would be a blank there."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def next_link(following: str | None) -> dict[str, str]:
    """The header that says where the next page is (RFC 8288); none after the last."""
    return {"Link": f'<{following}>; rel="next"'} if following else {}
