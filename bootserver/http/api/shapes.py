"""The JSON that the API answers with. Handlers make it, openapi.json describes it, tests compare.

What a boot looks like is decided in bootserver.sessions.shape; `Boot` says the same in a schema.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from bootserver.model import BootPhase, Firmware, StubFormat, TransferEnd


class Shape(BaseModel):
    """A JSON object with exactly these members."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FieldError(Shape):
    """One mistake in a body or a query."""

    field: str  # its path, such as `servers.0`; "" for the whole
    message: str


class Problem(Shape):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    hint: str  # what to do next, or ""
    errors: list[FieldError] = Field(default_factory=list, description="All mistakes at once")


class Machine(Shape):
    """A PC as it described itself; "" and null where it did not."""

    name: str  # as the site calls it, else what there is
    mac: str
    uuid: str
    serial: str
    asset: str
    manufacturer: str
    product: str
    firmware: Firmware | None
    architecture: str
    memory_mib: int | None


class Phase(Shape):
    """A phase that a boot came to, and the seconds since the one before."""

    phase: BootPhase
    at: datetime
    seconds: float
    detail: str


class Transfer(Shape):
    """A file that a boot fetched, or is fetching."""

    name: str
    protocol: Literal["http", "tftp"]
    started_at: datetime
    seconds: float
    size_bytes: int
    sent_bytes: int
    bytes_per_s: int
    outcome: TransferEnd | Literal[""]  # "" = under way
    stalled_s: float
    retransmits: int
    link: str


class Boot(Shape):
    """One boot of one machine, with all that was measured of it."""

    id: str
    image: str
    recipe: str
    method: str
    machine: Machine
    address: str
    created_at: datetime
    phase: BootPhase
    phase_at: datetime | None
    image_bytes: int
    sent_bytes: int
    bytes_per_s: int
    seconds_left: float | None
    error: str
    stalled: str
    phases: list[Phase]
    transfers: list[Transfer]
    total_seconds: float


class BootPage(Shape):
    """Boots, newest first."""

    boots: list[Boot]
    next: str | None  # the URL of the next page


class Status(Shape):
    """The server as a whole."""

    version: str
    started_at: datetime
    uptime_s: float
    own_url: str  # where stubs call; "" if that is unknown
    open_menu: bool
    problems: list[str]
    images: int
    boots: int
    boots_in_progress: int
    boots_stalled: int
    jobs_running: int
    watchers: int


class Progress(Shape):
    """How much of a file is done."""

    done_bytes: int
    total_bytes: int


class Image(Shape):
    """An image in the library."""

    id: str
    title: str
    size_bytes: int
    sha256: str  # "" until the file is read
    recipe: str
    firmware: list[Firmware]  # the kinds that boot it
    problem: str
    modified_at: datetime
    progress: Progress | None  # while it is read
    stub: bool  # its standing stub is on disk


class ImageList(Shape):
    """The library."""

    images: list[Image]


class Outlook(Shape):
    """What happens on one kind of firmware; either `method` or `refusal` is empty."""

    method: str
    sentence: str
    ram_bytes: int
    refusal: str
    verified: bool


class Explanation(Shape):
    """What an image is, and what will come of booting it."""

    image: str
    recipe: str
    title: str
    reasons: list[str]
    bios: Outlook
    uefi: Outlook
    ram_bytes: int
    caveats: list[str]


class ImageSettings(Shape):
    """What the side-car of an image says; "" for nothing."""

    title: str
    memdisk: str
    arguments: str
    recipe: str


class JobKind(StrEnum):
    """How an image comes into the library."""

    DOWNLOAD = "download"
    UPLOAD = "upload"


class JobState(StrEnum):
    """How far a job is; the last three are ends."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Job(Shape):
    """An image that is being added."""

    id: str
    kind: JobKind
    source: str  # the URL without its secrets, or the name of the uploaded file
    image: str  # its id; "" for a download until it is done
    state: JobState
    done_bytes: int
    total_bytes: int | None
    bytes_per_s: float | None
    error: str
    hint: str
    created_at: datetime
    ended_at: datetime | None


class JobList(Shape):
    """Jobs, newest first."""

    jobs: list[Job]


class StubUrls(Shape):
    """What the stub's machine calls; `image` and `tree` are "" for a menu."""

    script: str
    image: str
    tree: str
    stub: str


class Stub(Shape):
    """A stub that was built."""

    token: str
    image: str
    format: StubFormat
    size_bytes: int
    sha256: str
    digest: str
    read_bytes: dict[Firmware, int]  # what goes over redirection
    urls: StubUrls
    download: str
    file_name: str


class SeenMachine(Shape):
    """A machine that has been here, with its last boot."""

    machine: Machine
    name: str
    address: str
    seen_at: datetime
    session: str
    image: str


class ConfiguredMachine(Shape):
    """A `[[machines]]` table of config.toml."""

    mac: str
    uuid: str
    serial: str
    asset: str
    image: str
    arguments: str
    memdisk: str


class MachineList(Shape):
    """Machines, the last seen first, and what config.toml says of some."""

    machines: list[SeenMachine]
    next: str | None  # the URL of the next page
    configured: list[ConfiguredMachine]


class Profile(Shape):
    """What the machines of these names boot, as set at run time."""

    id: str
    etag: str  # for If-Match
    mac: str
    uuid: str
    serial: str
    asset: str
    image: str
    arguments: str
    memdisk: str
    once: bool
    set_at: datetime


class ProfileList(Shape):
    """Profiles, newest first."""

    profiles: list[Profile]
