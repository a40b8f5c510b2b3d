"""The JSON that the API answers with. Handlers make it, openapi.json describes it, tests compare.

What a boot looks like is decided in bootserver.sessions.shape; `Boot` says the same in a schema.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from bootserver.amt.boot.progress import BootStep
from bootserver.amt.control.facts import ConsentPolicy, ConsentState, ControlMode
from bootserver.amt.types import BootMethod, PowerAction, PowerState
from bootserver.model import BootPhase, EntryKind, Firmware, StubFormat, TransferEnd


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
    protocol: Literal["http", "tftp", "redirection"]
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
    stub: bool  # a stub of it boots some machines


class IgnoredFile(Shape):
    """A file in the library's directory that may be meant as an image, and is none."""

    file: str  # its path in the library
    reason: str  # why, and what to do with it


class ImageList(Shape):
    """The library."""

    images: list[Image]
    ignored: list[IgnoredFile]


class Outlook(Shape):
    """What happens on one kind of firmware; either `method` or `refusal` is empty."""

    method: str  # "choose" where a person chooses an entry at the machine's screen
    entry: str  # the title of the entry of the disc's own menu that is taken, or ""
    sentence: str
    ram_bytes: int
    refusal: str
    verified: bool


class MenuEntry(Shape):
    """An entry of a disc's own boot menu."""

    number: int  # from 1
    title: str
    kind: EntryKind
    name: str  # GRUB's id, syslinux's label, the file of a systemd-boot entry
    parents: list[str]  # titles of the submenus that it is in
    kernel: str
    initrds: list[str]
    arguments: list[str]
    unread: str  # what of it cannot be told, or ""


class DiscMenu(Shape):
    """A boot menu that a disc shows on machines with these kinds of firmware."""

    source: str
    loader: str
    firmware: list[Firmware]
    entries: list[MenuEntry]
    default: int  # the number of the entry that starts by itself, 0 where that is not known
    doubt: str  # why it is not known, or ""
    unread: list[str]


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
    menus: list[DiscMenu]


class ImageSettings(Shape):
    """What the side-car of an image says; "" for nothing."""

    title: str
    memdisk: str
    arguments: str
    recipe: str
    entry: str


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
    entry: str
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
    entry: str
    arguments: str
    memdisk: str
    once: bool
    set_at: datetime
    warning: str  # why it may be for more machines than meant, or ""


class ProfileList(Shape):
    """Profiles, newest first."""

    profiles: list[Profile]


class AmtForecast(Shape):
    """What is expected of one way to boot."""

    seconds: float
    slow_bytes: int  # over redirection
    fast_bytes: int  # over HTTP
    sentence: str


class AmtExpectation(Shape):
    """Both ways; null before that is known, and for an image that no drive boots."""

    two_stage: AmtForecast | None = Field(alias="two-stage")
    direct: AmtForecast | None


class AmtBoot(Shape):
    """A boot over AMT, and what it is doing; `boot` is its id in the ledger, or ""."""

    id: str
    host: str
    image: str
    asked: BootMethod
    taken: BootMethod | None
    doing: BootStep
    sentence: str
    expected: AmtExpectation
    boot: str
    reads: int  # READs of the redirected drive
    redirected_bytes: int
    failure: str  # one word for programs, or ""
    error: str
    hint: str
    created_at: datetime
    ended_at: datetime | None


class AmtBootList(Shape):
    """Newest first."""

    amt_boots: list[AmtBoot]


class AmtRedirection(Shape):
    """What is switched on of storage and serial redirection."""

    ider_enabled: bool
    sol_enabled: bool
    listener_enabled: bool | None


class AmtKvm(Shape):
    """The remote screen."""

    available: bool
    enabled: bool


class AmtBootCapabilities(Shape):
    """What the firmware can be told to boot."""

    ider: bool | None
    sol: bool | None
    pxe: bool | None
    hard_drive: bool | None
    cd: bool | None
    https: bool | None
    bios_setup: bool | None


class AmtRecovery(Shape):
    """One-Click Recovery, and in words what stands in its way."""

    ready: bool
    obstacles: list[str]
    switched_on: bool


class AmtNetwork(Shape):
    """AMT's wired port."""

    mac: str
    link_up: bool | None
    dhcp: bool | None
    address: str | None
    netmask: str | None
    gateway: str | None
    dns: list[str]


class AmtFacts(Shape):
    """What AMT says of its machine; null where it does not say."""

    amt_version: str | None
    sku: str | None
    uuid: str | None
    host_name: str | None
    control_mode: ControlMode | None
    consent_policy: ConsentPolicy | None
    consent_state: ConsentState | None
    consent_needed: bool
    redirection: AmtRedirection | None
    kvm: AmtKvm
    boot: AmtBootCapabilities | None
    recovery: AmtRecovery
    secure_boot_control: bool | None
    power: PowerState
    network: AmtNetwork | None


class AmtHost(Shape):
    """AMT on a host: what config.toml calls its machine, and what was met there."""

    host: str
    names: dict[str, str]
    certificate_sha256: str  # pinned; "" where nothing is
    facts: AmtFacts | None
    bytes_per_s: int  # of redirection, the last time; 0 where that is unknown
    seen_at: datetime | None


class AmtHostList(Shape):
    """Those of config.toml first."""

    hosts: list[AmtHost]


class AmtPowerChange(Shape):
    """What was asked of the machine's power, and what it did before."""

    before: PowerState
    asked: PowerAction


class AmtScreen(Shape):
    """Where the remote screen is; any VNC viewer does with `vnc`, else one that knows AMT."""

    host: str
    port: int
    vnc: bool
