"""The dashboard's pages over HTTP, on real services."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from sqlalchemy import event

from bootserver.amt.boot.boots import AmtBoots
from bootserver.amt.boot.remote_boot import BootServices
from bootserver.amt.hosts import AmtHosts
from bootserver.config import Config
from bootserver.database import open_database
from bootserver.http.admin_app import make_admin_app
from bootserver.http.api.services import AdminServices
from bootserver.http.connections import Connections
from bootserver.http.port import HttpPort
from bootserver.http.view_data import is_live
from bootserver.images.decide import Site
from bootserver.images.library import Library
from bootserver.images.prepared import PreparedDiscs
from bootserver.limits import ServerLimits
from bootserver.model import (
    BootEvent,
    BootPhase,
    BootPlan,
    BootSession,
    Machine,
    Method,
    Transfer,
    Way,
)
from bootserver.sessions.bus import Bus
from bootserver.sessions.ledger import Ledger
from bootserver.sessions.profiles import ProfileStore
from bootserver.sessions.store import SessionStore
from bootserver.stub.registry import StubRegistry
from bootserver.tls.authority import SiteAuthority
from bootserver.windows.drivers import DriverLibrary
from bootserver.windows.inspect import WinPeFindings

NOW = datetime.now(UTC)


def session(number: int, phase: BootPhase = BootPhase.OS_UP, ago_s: float = 600) -> BootSession:
    """A boot, so long ago; higher numbers are older."""
    at = NOW - timedelta(seconds=ago_s + number)
    return BootSession(
        id=f"{number:012x}",
        key=f"{number:032x}",
        token="t",
        image="rescue",
        created_at=at,
        machine=Machine(mac=f"52:54:00:00:00:{number:02x}"),
        phase=phase,
        phase_at=at,
    )


@dataclass
class Dashboard:
    """Pages of a running admin plane."""

    url: str
    http: aiohttp.ClientSession
    store: SessionStore
    statements: list[str]
    library: Library

    async def save(self, *sessions: BootSession) -> None:
        """Put boots into the ledger."""
        events = [BootEvent(s.id, BootPhase.STUB_STARTED, s.created_at) for s in sessions]
        await self.store.save(sessions, [], events)

    async def page(self, path: str, status: int = 200) -> str:
        """A page's text."""
        async with self.http.get(self.url + path) as answer:
            assert answer.status == status
            return await answer.text()


@pytest.fixture
async def dashboard(config: Config) -> AsyncIterator[Dashboard]:
    config.state.path.mkdir(exist_ok=True)
    statements: list[str] = []
    async with (
        open_database(config.state.database_url) as engine,
        Library(config.images.path, engine, settle_s=0) as library,
        aiohttp.ClientSession() as http,
    ):
        store, bus = SessionStore(engine), Bus()
        issued = StubRegistry(engine, config.state.path)
        hosts, authority = AmtHosts(config, engine), SiteAuthority(config)
        ledger = Ledger(store, expire_after=timedelta(days=1), bus=bus)
        remote = BootServices(config, Site.of(config), library, issued, ledger, hosts, authority)
        services = AdminServices(
            *(config, library, ledger, bus, ProfileStore(engine), issued),
            *(hosts, AmtBoots(remote, bus), ServerLimits(config.limits)),
            winpe := WinPeFindings(),
            PreparedDiscs(DriverLibrary.of(config), winpe),
        )
        connections = Connections(config.limits, services.limits.admin_connections)
        port = HttpPort(make_admin_app(services), connections, grace_s=60)
        number = await port.start("127.0.0.1", 0)
        event.listen(
            engine.engine.sync_engine,
            "before_cursor_execute",
            lambda _c, _cursor, statement, *_rest: statements.append(statement),
        )
        yield Dashboard(f"http://127.0.0.1:{number}", http, store, statements, library)
        await port.stop()


@pytest.mark.parametrize("path", ["/", "/images", "/machines", "/drivers", "/amt"])
async def test_an_empty_server_says_what_comes_next(dashboard: Dashboard, path: str):
    text = await dashboard.page(path)

    assert 'class="empty"' in text
    assert "<script>" not in text
    assert " style=" not in text


async def test_an_empty_library_says_what_lies_in_it_and_is_no_image(
    dashboard: Dashboard, config: Config
):
    (config.images.path / "debian.iso.xz").touch()
    await dashboard.library.scan()

    text = await dashboard.page("/images")

    assert "No images yet" in text
    assert "<code>debian.iso.xz</code> is compressed: run bootserver images add " in text


async def test_pages_allow_no_inline_script_and_no_other_site(dashboard: Dashboard):
    amt = ("/amt", "/amt/pc-17/console")
    for path in ("/", "/images", "/machines", "/drivers", "/boots/0", *amt, "/static/app.css"):
        async with dashboard.http.get(dashboard.url + path) as answer:
            policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'self';")
        assert "unsafe" not in policy


async def test_the_number_of_queries_does_not_grow_with_the_boots(dashboard: Dashboard):
    await dashboard.save(session(1), session(2, BootPhase.FETCHING))
    await dashboard.page("/")  # the status is made once and held
    dashboard.statements.clear()
    await dashboard.page("/")
    few = len(dashboard.statements)

    await dashboard.save(*map(session, range(3, 40)))
    await dashboard.save(*(session(n, BootPhase.FETCHING) for n in range(40, 60)))
    dashboard.statements.clear()
    await dashboard.page("/")

    assert len(dashboard.statements) == few


async def test_a_long_boot_is_shown_however_many_others_were_handed_off_meanwhile(
    dashboard: Dashboard,
):
    slow = session(900, BootPhase.FETCHING)
    await dashboard.save(slow, *(session(n, BootPhase.HANDED_OFF) for n in range(1, 300)))

    text = await dashboard.page("/")

    assert f'id="boot-{slow.id}"' in text


async def test_a_system_that_fetches_its_root_is_shown_until_it_has_it(dashboard: Dashboard):
    started = replace(
        session(1, BootPhase.HANDED_OFF),
        plan=BootPlan("debian-live", Way(Method.KERNEL), image_bytes=20_000_000),
        sent_bytes=20_000_000,
    )
    root = Transfer(
        started.id, 1, "tree/root.squashfs", "http", NOW, 900_000_000, NOW, sent_bytes=300_000_000
    )
    await dashboard.save(started)
    await dashboard.store.save([], [], [], [root])

    fetching = await dashboard.page("/")
    await dashboard.store.save([], [], [], [replace(root, ended_at=NOW, outcome="complete")])
    quiet = await dashboard.page("/")

    assert f'id="boot-{started.id}"' in fetching
    assert ">300.0 MB</span> of <span" in fetching
    assert f'id="boot-{started.id}"' not in quiet


async def test_the_history_goes_on_on_the_next_page_until_its_end(dashboard: Dashboard):
    await dashboard.save(*map(session, range(1, 121)))
    seen: list[str] = []
    path = "/"

    for _ in range(3):
        text = await dashboard.page(path)
        rows = text.split("<tbody>")[1].split("</tbody>")[0]
        seen += [part[:12] for part in rows.split('<tr data-key="')[1:]]
        path = text.partition('" rel="next"')[0].rpartition('href="')[2].replace("&amp;", "&")

    assert seen == [f"{number:012x}" for number in range(1, 121)]
    assert 'rel="next"' not in text


async def test_machines_go_on_on_the_next_page_until_the_last(dashboard: Dashboard):
    macs = [f"52:54:00:00:{n >> 8:02x}:{n & 255:02x}" for n in range(450)]
    await dashboard.save(
        *(replace(session(n), machine=Machine(mac=mac)) for n, mac in enumerate(macs))
    )
    seen: list[str] = []
    path = "/machines"

    for _ in range(3):
        text = await dashboard.page(path)
        seen += re.findall(r'<tr data-key="([0-9a-f:]+)">', text.partition('id="machines"')[2])
        path = text.partition('" rel="next"')[0].rpartition('href="')[2]

    assert seen == macs
    assert 'rel="next"' not in text


@pytest.mark.parametrize(
    "query", ["phase=nonsense", "before=yesterday", "before=2026-01-01", "x=1"]
)
async def test_a_query_without_sense_counts_as_none(dashboard: Dashboard, query: str):
    await dashboard.save(session(1))

    assert "52:54:00:00:00:01" in await dashboard.page(f"/?{query}")


async def test_a_missing_loader_is_told_on_every_page(dashboard: Dashboard, config: Config):
    (config.stub.build / "memdisk").unlink()

    for path in ("/", "/images", "/machines"):
        text = await dashboard.page(path)
        assert 'class="notice"' in text
        assert "memdisk is missing" in text


async def test_an_unknown_boot_is_a_page_with_a_way_back(dashboard: Dashboard):
    text = await dashboard.page("/boots/ffffffffffff", 404)

    assert "No such boot" in text
    assert 'href="/"' in text


async def test_the_error_of_a_boot_is_told_with_its_phases(dashboard: Dashboard):
    boot = replace(session(7, BootPhase.FAILED), error="the <disc> was wet")
    await dashboard.save(boot)

    text = await dashboard.page(f"/boots/{boot.id}")

    assert "Why it ended." in text
    assert "the &lt;disc&gt; was wet" in text


async def test_a_boot_that_has_just_begun_shows_the_time_it_took_so_far(dashboard: Dashboard):
    boot = replace(session(1, BootPhase.STUB_STARTED), created_at=datetime.now(UTC))
    await dashboard.save(boot)

    card = await dashboard.page("/")
    page = await dashboard.page(f"/boots/{boot.id}")

    [took] = re.findall(r'class="number took">([\d.]+) s<', card)
    [length] = re.findall(r'data-show="length">([\d.]+) s<', page)
    lasted_s = (datetime.now(UTC) - boot.created_at).total_seconds()
    assert 0 < float(took) <= float(length) <= lasted_s + 0.01


@pytest.mark.parametrize(
    ("phase", "ago_s", "stalled", "live"),
    [
        (BootPhase.CREATED, 10, "", True),
        (BootPhase.FETCHING, 7000, "", True),
        (BootPhase.FETCHING, 600, "no cable", True),
        (BootPhase.FETCHING, 7000, "no cable", False),
        (BootPhase.HANDED_OFF, 60, "", True),
        (BootPhase.HANDED_OFF, 600, "", False),
        (BootPhase.OS_UP, 1, "", False),
        (BootPhase.FAILED, 1, "", False),
    ],
)
def test_what_goes_on_is_what_a_person_would_say_goes_on(
    phase: BootPhase, ago_s: float, stalled: str, live: bool
):
    assert is_live(replace(session(0, phase, ago_s), stalled=stalled), NOW) is live
