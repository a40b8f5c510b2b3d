"""One machine booted through AMT, from the first question to its hand-off: the main path."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

from bootserver.amt.access import AmtAccess
from bootserver.amt.boot.forecast import foresee
from bootserver.amt.boot.plan import RemoteBootPlan, choose_method, order_for_machine
from bootserver.amt.boot.progress import BootProgress, BootStep, NoCallError
from bootserver.amt.boot.recorded_drive import RecordedDrive
from bootserver.amt.boot.turns import Turns
from bootserver.amt.boot.watching import (
    BootSigns,
    has_handed_over,
    judge,
    what_goes_on,
)
from bootserver.amt.control.boot_options import (
    boot_from_https,
    boot_from_redirected_cd,
)
from bootserver.amt.control.consent import ConsentPrompt
from bootserver.amt.control.event_log import read_event_log
from bootserver.amt.control.facts import AmtFacts
from bootserver.amt.control.power import request_power, switch_on, wake
from bootserver.amt.control.redirection_switch import enable_redirection
from bootserver.amt.control.trust_anchor import push_root_certificate
from bootserver.amt.errors import AmtConsentRequiredError, AmtError
from bootserver.amt.hosts import AmtHosts
from bootserver.amt.redirection.drives import RedirectedDrives, redirect
from bootserver.amt.redirection.media import Medium, MemoryMedium, blank_floppy, open_cd
from bootserver.amt.redirection.scsi import DriveKind
from bootserver.amt.types import AmtLogin, BootMethod, PowerAction
from bootserver.amt.wsman.client import WsmanClient
from bootserver.config import Config
from bootserver.errors import BootServerError, ImageNotReadyError
from bootserver.images.decide import Site
from bootserver.images.library import Library
from bootserver.model import BootPhase, BootSession, Image, Machine
from bootserver.sessions.ledger import Ledger
from bootserver.sessions.tracker import is_before
from bootserver.stub.registry import StubRegistry
from bootserver.stub.site import plan_for_site
from bootserver.stub.write import master
from bootserver.tls.authority import SiteAuthority

LOOK_S = 0.5
DIRECT_QUIET_S = 30.0  # a small disc of which nothing was read for so long is in memory
FIRST_WITH_USB = 11  # the AMT whose redirected drives are USB drives
LOG_CLOCK_SPARE = timedelta(minutes=5)  # AMT's clock is its own


@dataclass(frozen=True, slots=True)
class BootOrder:
    """What is to be booted, and where.

    `stays`: the drive is not taken away at the end. `attended`: a person can be asked for the
    consent code. `at_once`: it begins only while fewer boots go on; None is as config.toml has it.
    """

    host: str
    image: str
    method: BootMethod = BootMethod.AUTO
    stays: bool = False
    attended: bool = True
    at_once: int | None = None
    login: AmtLogin = field(default_factory=AmtLogin)


@dataclass(frozen=True, slots=True)
class BootServices:
    """The services of a server that boots machines through AMT."""

    config: Config
    site: Site
    library: Library
    stubs: StubRegistry
    ledger: Ledger
    hosts: AmtHosts
    authority: SiteAuthority


class RemoteBoot:
    """One boot over AMT; `on_progress` gets its progress whenever that changes.

    `run` ends when the machine needs us no more. If the boot fails, `run` takes back what it can of
    what it had set, and raises BootServerError.
    """

    def __init__(
        self,
        order: BootOrder,
        services: BootServices,
        turns: Turns,
        progress: BootProgress,
        on_progress: Callable[[BootProgress], None],
    ) -> None:
        self._order = order
        self._services = services
        self._turns = turns
        self._on_progress = on_progress
        self._consent = ConsentPrompt(partial(self._report, BootStep.CONSENT))
        self._taken_away = asyncio.Event()
        self.progress = progress

    @property
    def wants_code(self) -> bool:
        """True while the code on the machine's screen is awaited."""
        return self._consent.is_open

    def give_code(self, code: str) -> None:
        """The code that AMT shows on the machine's screen."""
        self._consent.answer(code)

    def stop(self, task: asyncio.Task[None]) -> None:
        """Take the drive away if it stays as asked; else give the boot up."""
        if self.progress.step is BootStep.ATTACHED:
            self._taken_away.set()
        else:
            task.cancel()

    async def run(self) -> None:
        """Boot the machine."""
        image = self._image()
        hosts, host = self._services.hosts, self._order.host
        async with AsyncExitStack() as opened:
            async with self._turns.asking:
                self._report(BootStep.PROBING, f"AMT on {host} is asked what it can do")
                client, access = await opened.enter_async_context(
                    hosts.client(host, self._order.login)
                )
                facts = await hosts.probe(client)
            self._report(BootStep.WAITING, "AMT has answered; other boots come first")
            async with self._turns.booting(self._order.at_once):
                plan = await self._prepare(image, facts)
                await self._get_consent(client, facts)
                async with self._recorded(plan, facts) as session:
                    if plan.method is BootMethod.ONE_CLICK_RECOVERY:
                        await self._boot_by_https(client, facts, plan, session)
                    else:
                        await self._boot_redirected(client, access, facts, plan, session)

    # ---- Before anything is changed at the machine ----

    def _image(self) -> Image:
        image = self._services.library.get(self._order.image)
        if image.problem:
            raise AmtError(f"{image.id} cannot be booted: {image.problem}")
        if not image.sha256:
            raise ImageNotReadyError(f"{image.id} has just arrived and is being checked")
        return image

    async def _prepare(self, image: Image, facts: AmtFacts) -> RemoteBootPlan:
        self._report(BootStep.PREPARING, "the stub is built")
        services, host = self._services, self._order.host
        spec = order_for_machine(services.config, image.id, host, facts)
        stub = await services.stubs.issue(spec)
        stub_plan = await asyncio.to_thread(plan_for_site, services.config, stub)
        forecasts = foresee(
            image,
            services.site,
            max(stub_plan.read_bytes.values()),
            await services.hosts.line_speeds(host),
            address_is_known=bool(spec.network.address),
        )
        method = choose_method(
            self._order.method,
            facts,
            forecasts,
            prefers_recovery=services.config.amt.prefer_one_click_recovery,
        )
        self._change(forecasts=forecasts, taken=method)
        return RemoteBootPlan(image, method, forecasts, stub, stub_plan)

    async def _get_consent(self, client: WsmanClient, facts: AmtFacts) -> None:
        """Have a user at the machine consent, where AMT demands that."""
        if not facts.consent_needed:
            return
        if not self._order.attended:
            raise AmtConsentRequiredError(
                f"AMT on {self._order.host} wants a user's consent, and no user can be asked",
                hint="boot it from a terminal or the dashboard, with a person at the machine",
            )
        await switch_on(client, self._report_powering)  # a dark screen shows no code
        await self._consent.ask(client)

    # ---- In the ledger ----

    @asynccontextmanager
    async def _recorded(self, plan: RemoteBootPlan, facts: AmtFacts) -> AsyncIterator[BootSession]:
        """The boot's place in the ledger; what ends the block early is why it failed."""
        ledger, network = self._services.ledger, facts.network
        machine = Machine(uuid=facts.uuid or "", mac=network.mac if network else "")
        address = (network.address if network else "") or ""
        session = ledger.open(plan.stub.token, plan.image.id, machine, address)
        self._change(boot=session.id)
        ledger.advance(session.key, BootPhase.STUB_BUILT)
        try:
            yield session
        except asyncio.CancelledError:
            ledger.advance(session.key, BootPhase.FAILED, "the boot was given up")
            raise
        except Exception as err:
            reason = err.message if isinstance(err, BootServerError) else "the server failed"
            ledger.advance(session.key, BootPhase.FAILED, reason)
            raise

    # ---- Over redirection ----

    async def _boot_redirected(
        self,
        client: WsmanClient,
        access: AmtAccess,
        facts: AmtFacts,
        plan: RemoteBootPlan,
        session: BootSession,
    ) -> None:
        await switch_on(client, self._report_powering)
        self._report(BootStep.ATTACHING, "the drive is attached")
        await enable_redirection(client, ider=True)
        async with self._medium(plan) as medium, attached(access, medium, facts) as drives:
            self._services.ledger.advance(session.key, BootPhase.ATTACHED)
            name, size_bytes = "stub.iso", max(plan.stub_plan.read_bytes.values())
            if plan.method is BootMethod.DIRECT:
                name, size_bytes = "image.iso", plan.image.size_bytes
            drive = RecordedDrive(drives, self._services.ledger, session, name, size_bytes)
            try:
                # What a boot has used, AMT has cleared itself.
                async with self._services.hosts.arming(
                    client,
                    lambda: boot_from_redirected_cd(
                        client, facts, enforce_secure_boot=self._loaders_are_signed
                    ),
                    lambda: drive.reads > 0,
                ) as enforced:
                    await self._start(client, facts, session)
                    await self._watch(session, plan, drive, enforces_secure_boot=enforced)
                await self._settle(plan, drive)
            finally:
                self._look_at(drive)
                drive.close()
        if rate := drive.bytes_per_s:
            await self._services.hosts.remember_speed(self._order.host, rate)

    @asynccontextmanager
    async def _medium(self, plan: RemoteBootPlan) -> AsyncIterator[Medium]:
        """What lies in the drive: the stub, or the image itself."""
        if plan.method is BootMethod.DIRECT:
            async with open_cd(Path(plan.image.path)) as cd:
                yield cd
        else:
            yield MemoryMedium(DriveKind.CD, await asyncio.to_thread(master, plan.stub_plan))

    async def _settle(self, plan: RemoteBootPlan, drive: RecordedDrive) -> None:
        """Keep the drive where the machine still needs it, or where that was asked for."""
        is_direct = plan.method is BootMethod.DIRECT
        look = partial(self._look_at, drive)
        if self._order.stays or (is_direct and not plan.forecasts.reads_once):
            self._report(BootStep.ATTACHED, "the drive stays attached until it is taken away")
            await drive.until_closed(self._taken_away, look)
            self._change(sentence="the drive was taken away, as asked")
        elif is_direct:
            self._report(BootStep.WATCHING, "the machine reads the disc")
            await drive.until_quiet(DIRECT_QUIET_S, look)
            self._change(sentence="the machine has all that it wanted of the disc")

    # ---- By One-Click Recovery ----

    async def _boot_by_https(
        self, client: WsmanClient, facts: AmtFacts, plan: RemoteBootPlan, session: BootSession
    ) -> None:
        self._report(BootStep.ATTACHING, "AMT is told where the stub is")
        authority = self._services.authority
        url = f"{authority.https_url()}/b/{plan.stub.token}/stub.efi"
        await push_root_certificate(client, await asyncio.to_thread(authority.root_der))
        await wake(client, self._report_powering)
        began_at = datetime.now(UTC)
        async with self._services.hosts.arming(
            client,
            lambda: boot_from_https(
                client, facts, url, enforce_secure_boot=self._loaders_are_signed
            ),
        ) as enforced:
            try:
                await self._start(client, facts, session)
                await self._watch(session, plan, None, enforces_secure_boot=enforced)
            except NoCallError as err:
                raise await _with_log_entry(err, client, began_at) from err

    # ---- Both ways ----

    @property
    def _loaders_are_signed(self) -> bool:
        stub = self._services.config.stub
        return stub.signing.pair is not None or stub.shim is not None

    async def _start(self, client: WsmanClient, facts: AmtFacts, session: BootSession) -> None:
        """Start the firmware, which finds the boot options."""
        self._report_powering("the machine is started")
        change = await request_power(client, PowerAction.BOOT)
        self._services.ledger.advance(
            session.key, BootPhase.POWERED, f"{change.asked}, it was {facts.power.in_words}"
        )

    async def _watch(
        self,
        session: BootSession,
        plan: RemoteBootPlan,
        drive: RecordedDrive | None,
        *,
        enforces_secure_boot: bool,
    ) -> None:
        """Returns at the hand-off, or when the disc is read directly; raises when hope is gone."""
        no_reads_s = self._services.config.amt.no_reads_s
        powered_at = moved_at = monotonic()
        last: tuple[object, ...] = ()
        while True:
            now, ledger = monotonic(), self._services.ledger
            session = await ledger.latest(session)
            movement: tuple[object, ...] = (session.phase, session.sent_bytes)
            if drive is not None:
                if not is_before(session, BootPhase.STUB_STARTED):
                    drive.noted()
                movement = (*movement, drive.reads, drive.resets)
            if movement != last:
                last, moved_at = movement, now
            signs = BootSigns(
                session,
                reads=drive.reads if drive else 0,
                resets=drive.resets if drive else 0,
                since_power_s=now - powered_at,
                silent_s=now - moved_at,
                redirected=drive is not None,
            )
            if has_handed_over(signs):
                sentence = (
                    f"{session.image} runs from memory: the machine needs nothing more from here"
                )
                self._change(sentence=sentence)
                return
            if plan.method is BootMethod.DIRECT and signs.reads:
                ledger.advance(session.key, BootPhase.HANDED_OFF, "the disc's own loader reads it")
                self._change(sentence="the machine boots from the redirected disc")
                return
            judge(signs, no_reads_s, enforces_secure_boot=enforces_secure_boot)
            if drive is not None:
                drive.require_open()
                self._look_at(drive)
            self._report(BootStep.WATCHING, what_goes_on(signs))
            await asyncio.sleep(LOOK_S)

    # ---- Progress ----

    def _report_powering(self, sentence: str) -> None:
        self._report(BootStep.POWERING, sentence)

    def _look_at(self, drive: RecordedDrive) -> None:
        self._change(reads=drive.reads, redirected_bytes=drive.read_bytes)

    def _report(self, step: BootStep, sentence: str) -> None:
        self._change(step=step, sentence=sentence)

    def _change(self, **values: Any) -> None:
        changed = replace(self.progress, **values)
        if changed != self.progress:
            self.progress = changed
            self._on_progress(changed)


def attached(
    access: AmtAccess, medium: Medium, facts: AmtFacts
) -> AbstractAsyncContextManager[RedirectedDrives]:
    """The medium in the machine's redirected CD drive, while the block lasts.

    USB redirection (AMT 11 and newer) boots some machines only with a floppy beside the CD.
    """
    has_usb = (facts.major_version or 0) >= FIRST_WITH_USB
    return redirect(
        access.host,
        access.user,
        access.password,
        medium,
        floppy=blank_floppy() if has_usb else None,
        port=access.redirection_port,
        tls=access.tls,
    )


async def _with_log_entry(err: NoCallError, client: WsmanClient, began_at: datetime) -> NoCallError:
    """The error with the newest entry about the recovery in AMT's log, if there is one."""
    try:
        events = await read_event_log(client)
    except BootServerError:
        return err
    recovery = (e for e in events if e.recovery and e.at and e.at >= began_at - LOG_CLOCK_SPARE)
    newest = next(recovery, None)
    if newest is None:
        return err
    return NoCallError(f"{err.message}; AMT's log says last: {newest.text}", hint=err.hint)
