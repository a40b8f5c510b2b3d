"""The server: one process, one loop, every task owned by one TaskGroup."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web

from bootserver.amt.boot.boots import AmtBoots
from bootserver.amt.boot.remote_boot import BootServices
from bootserver.amt.hosts import AmtHosts
from bootserver.boot.service import BootService
from bootserver.config import Config
from bootserver.database import open_database
from bootserver.errors import BootServerError, ServiceError, StubError
from bootserver.http.admin_app import make_admin_app
from bootserver.http.api.services import AdminServices
from bootserver.http.boot_app import make_boot_app
from bootserver.http.connections import Connections
from bootserver.http.port import HttpPort
from bootserver.images.decide import Site
from bootserver.images.library import Library
from bootserver.images.optimize.write import sweep_workshop
from bootserver.images.part import sweep_library
from bootserver.images.prepared import PreparedDiscs
from bootserver.images.tree import ImageTrees
from bootserver.images.winpe import keep_looking_into
from bootserver.limits import ServerLimits
from bootserver.quoting import url_host
from bootserver.sessions.bus import Bus
from bootserver.sessions.ledger import Ledger
from bootserver.sessions.profiles import ProfileStore
from bootserver.sessions.retention import keep_pruned
from bootserver.sessions.store import SessionStore
from bootserver.state import held_state
from bootserver.stub.loaders import problems
from bootserver.stub.registry import StubRegistry
from bootserver.stub.spec import own_url, stub_spec
from bootserver.tftp.content import open_content
from bootserver.tftp.options import TftpLimits
from bootserver.tftp.server import TftpServer
from bootserver.tls.authority import SiteAuthority
from bootserver.windows.drivers import DriverLibrary
from bootserver.windows.inspect import WinPeFindings

log = structlog.get_logger(__name__)

ADMIN_GRACE_S = 1.0
FIRST_LOOK_S = 5.0  # how long the announcement waits for images that have just come
NOWHERE = "http://localhost"
OVER_HTTPS = "boot plane over HTTPS"
ENDING = (signal.SIGTERM, signal.SIGINT)
IGNORED = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)

Announce = Callable[[Mapping[str, str]], None]
Stop = Callable[[], Awaitable[None]]


async def run(config: Config, announce: Announce) -> None:
    """Serve until SIGTERM or SIGINT, then let running downloads end; a second signal hurries.

    `announce` gets what a person wants to know once all is up: what -> where.
    Raises ServiceError when no machine could be served.
    """
    _ignore_what_is_no_end()
    _make_library(config.images.path)
    limits = ServerLimits.for_process(config.limits, config.tftp.max_transfers)
    for problem in problems(config.stub):
        log.warning("loader.missing", problem=problem)
    for warning in config.warnings:
        log.warning("config.warning", problem=warning)
    async with AsyncExitStack() as parts:
        parts.enter_context(held_state(config.state.path))
        if swept := await asyncio.to_thread(sweep_library, config.images.path):
            log.info("images.swept", files=[path.name for path in swept])
        await asyncio.to_thread(sweep_workshop, config.state.path)
        engine = await parts.enter_async_context(
            open_database(config.state.database_url, looked_after=True)
        )
        sessions = SessionStore(engine)
        bus = Bus()
        expire_after = timedelta(hours=config.boot.expire_h)
        ledger = Ledger(sessions, expire_after=expire_after, bus=bus)
        await ledger.load()
        parts.push_async_callback(ledger.flush)

        stubs = StubRegistry(engine, config.state.path)
        engine.on_new += [stubs.write_anew, ledger.write_anew]
        library = await parts.enter_async_context(Library(config.images.path, engine))
        await library.scan()

        trees = ImageTrees()
        parts.callback(trees.close)
        profiles = ProfileStore(engine)
        address = _own_address(config)
        open_stub = None
        if config.boot.open_menu:  # its machines go on calling where they have called already
            open_stub = await stubs.issue(stub_spec(config, servers=[address or NOWHERE]))
        winpe = WinPeFindings()
        prepared = PreparedDiscs(DriverLibrary.of(config), winpe)
        boot_service = BootService(
            config, library, trees, stubs, ledger, profiles, prepared, open_stub
        )
        authority = SiteAuthority(config)
        hosts = AmtHosts(config, engine)
        remote = BootServices(config, Site.of(config), library, stubs, ledger, hosts, authority)
        admin_app = make_admin_app(
            AdminServices(
                config,
                library,
                ledger,
                bus,
                profiles,
                stubs,
                hosts,
                AmtBoots(remote, bus),
                limits,
                winpe,
                prepared,
            )
        )
        stops = await _start_planes(config, boot_service, authority, admin_app, limits)
        signals = _ends()
        async with asyncio.TaskGroup() as tasks:
            places = _places(config, address, authority, stops)
            background = [
                tasks.create_task(_announce_settled(library, announce, places)),
                tasks.create_task(library.watch(config.images.scan_interval_s)),
                tasks.create_task(keep_looking_into(library, winpe)),
                tasks.create_task(ledger.run()),
                tasks.create_task(engine.keep()),
                tasks.create_task(profiles.keep_consumed()),
                tasks.create_task(authority.keep_current()),
                tasks.create_task(hosts.keep_taking_back()),
                tasks.create_task(
                    keep_pruned(sessions, ledger, config.state.keep_boots, config.state.keep_days)
                ),
            ]
            await _serve_until_told(signals, stops, config.server.grace_s)
            for task in background:
                task.cancel()


async def _start_planes(
    config: Config,
    boot_service: BootService,
    authority: SiteAuthority,
    admin_app: web.Application,
    limits: ServerLimits,
) -> dict[str, Stop]:
    """Start all that can be started; what cannot is one line. Returns how to stop each."""
    server = config.server
    connections = Connections(
        limits.config, limits.connections, limits.connections_per_address, server.trusted_proxies
    )
    admins = Connections(limits.config, limits.admin_connections)
    boot = HttpPort(make_boot_app(boot_service), connections, grace_s=server.grace_s)
    admin = HttpPort(admin_app, admins, grace_s=ADMIN_GRACE_S)
    starts = {
        "boot plane": _serve_http(boot, server.address, server.boot_port),
        "dashboard": _serve_http(admin, server.admin_address, server.admin_port),
    }
    if server.https_port:
        starts[OVER_HTTPS] = _serve_https(config, boot_service, authority, connections)
    if config.tftp.enabled:
        starts["tftp"] = _serve_tftp(config, boot_service, limits)
    stops: dict[str, Stop] = {}
    for name, start in starts.items():
        try:
            stops[name] = await start
        except BootServerError as err:
            log.error(
                f"{name.lower().replace(' ', '_')}.not_served", reason=err.message, hint=err.hint
            )
    if not stops.keys() & {"boot plane", "tftp"}:
        for stop in stops.values():
            await stop()
        raise ServiceError(
            "no machine can be served: neither HTTP nor TFTP has its port",
            hint="set [server] boot_port to a free port, or end the program that has it",
        )
    return stops


async def _serve_https(
    config: Config, boot_service: BootService, authority: SiteAuthority, connections: Connections
) -> Stop:
    """Serve the boot plane once more, for firmware that fetches over HTTPS only."""
    server = config.server
    tls = await asyncio.to_thread(authority.server_context)  # the first time, it makes keys
    for problem in authority.problems():
        log.warning("certificate.problem", problem=problem)
    port = HttpPort(make_boot_app(boot_service), connections, grace_s=server.grace_s, tls=tls)
    return await _serve_http(port, server.address, server.https_port)


async def _serve_http(port: HttpPort, address: str, number: int) -> Stop:
    """Serve there; returns how to stop it."""
    try:
        await port.start(address, number)
    except OSError as err:
        raise ServiceError(
            f"port {number} cannot be had: {(err.strerror or str(err)).lower()}",
            hint="end the program that has it, or choose another port in config.toml",
        ) from err
    return port.stop


async def _serve_tftp(config: Config, boot_service: BootService, limits: ServerLimits) -> Stop:
    tftp = config.tftp
    server = TftpServer(
        partial(open_content, boot_service),
        hosts=None if config.server.address == "*" else [config.server.address],
        port=tftp.port,
        limits=TftpLimits(
            blksize_max=tftp.max_blksize,
            windowsize_max=tftp.max_windowsize,
            timeout_s=tftp.timeout_s,
            retries=tftp.retries,
        ),
        transfers=limits.transfers,
        transfers_per_address=limits.transfers_per_address,
        unacknowledged_blocks=limits.unacknowledged_blocks,
    )
    await server.start()
    return partial(server.stop, config.server.grace_s)


async def _announce_settled(
    library: Library, announce: Announce, places: Mapping[str, str]
) -> None:
    with suppress(TimeoutError):  # what takes longer is announced in the log
        async with asyncio.timeout(FIRST_LOOK_S):
            await library.settled()
    announce(places)


async def _serve_until_told(
    signals: asyncio.Queue[str], stops: Mapping[str, Stop], grace_s: float
) -> None:
    """Wait for a signal, then for running downloads; another signal ends them as well."""
    name = await signals.get()
    log.info("server.stopping", signal=name, grace_s=grace_s)
    stopping = asyncio.gather(*(stop() for stop in stops.values()))
    again = asyncio.ensure_future(signals.get())
    both: set[asyncio.Future[Any]] = {stopping, again}
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    again.cancel()
    if not stopping.done():
        log.warning("server.hurried")
        stopping.cancel()
    await asyncio.gather(stopping, return_exceptions=True)
    log.info("server.stopped")


def _own_address(config: Config) -> str:
    """The URL by which machines reach this server; "", and a line in the log, if none is known."""
    try:
        return own_url(config)
    except StubError as err:
        log.warning("server.address_unknown", reason=err.message, hint=err.hint)
        return ""


def _places(
    config: Config, address: str, authority: SiteAuthority, stops: Mapping[str, Stop]
) -> dict[str, str]:
    """Where a person finds what."""
    server = config.server
    places = {}
    if "dashboard" in stops:
        places["dashboard"] = f"http://{url_host(server.admin_address)}:{server.admin_port}/"
    if "boot plane" in stops:
        places["machines call"] = address or "an unknown address: set [server] url in config.toml"
    if OVER_HTTPS in stops:
        places["over HTTPS"] = authority.https_url()
    places["make a stub"] = "bootserver stub build IMAGE"
    places["images"] = f"{config.images.path}/"
    return places


def _make_library(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise ServiceError(
            f"{directory} cannot be made: {err.strerror}", hint="check [images] path in config.toml"
        ) from err


def _ignore_what_is_no_end() -> None:
    """What a closed terminal or a log rotation sends is a line in the log, and no end.

    It was held back until now (bootserver.__main__). Python itself ignores SIGPIPE and SIGXFSZ;
    SIGQUIT stays the way to end a process that hangs.
    """
    loop = asyncio.get_running_loop()
    for number in IGNORED:
        loop.add_signal_handler(number, _ignore, number.name)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, IGNORED)


def _ends() -> asyncio.Queue[str]:
    """The names of SIGTERM and SIGINT as they come; until then they cancelled the start."""
    queue: asyncio.Queue[str] = asyncio.Queue()
    for number in ENDING:
        asyncio.get_running_loop().add_signal_handler(number, queue.put_nowait, number.name)
    return queue


def _ignore(name: str) -> None:
    log.warning("server.signal_ignored", signal=name, hint="a restart takes up a new config.toml")
