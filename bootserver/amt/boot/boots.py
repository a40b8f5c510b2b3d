"""The boots over AMT that this server runs: some at once, each watched by any number of clients."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace

import structlog

from bootserver import clock
from bootserver.amt.boot.progress import BootProgress, BootStep
from bootserver.amt.boot.remote_boot import BootOrder, BootServices, RemoteBoot
from bootserver.amt.boot.turns import Turns
from bootserver.amt.errors import AmtError
from bootserver.errors import BootServerError
from bootserver.json_values import to_json
from bootserver.sessions.bus import Bus

ACTIVE_MAX = 512
ENDED_KEPT = 200
CLOSE_S = 10.0

log = structlog.get_logger(__name__)


class NoSuchBootError(AmtError):
    """No boot over AMT has that id, in this run of the server."""


class HostIsBusyError(AmtError):
    """A machine is booted by one at a time."""


class NoCodeWantedError(AmtError):
    """No consent code is awaited."""


class TooManyBootsError(AmtError):
    """More boots are waiting than any site has machines for."""


class AmtBoots:
    """Runs boots over AMT; ended ones are kept for a while."""

    def __init__(self, services: BootServices, bus: Bus) -> None:
        self._services = services
        self._bus = bus
        self._boots: dict[str, BootProgress] = {}  # in the order they came
        self._running: dict[str, tuple[RemoteBoot, asyncio.Task[None]]] = {}
        self._turns = Turns(services.config.amt.boots_at_once)

    def list(self) -> list[BootProgress]:
        """All that are known, newest first."""
        return list(self._boots.values())[::-1]

    def get(self, boot_id: str) -> BootProgress:
        """How far that boot is; NoSuchBootError if there is none."""
        if boot_id not in self._boots:
            raise NoSuchBootError(
                f"there is no boot {boot_id[:40]!r}", hint="see: bootserver amt boots --all"
            )
        return self._boots[boot_id]

    def start(self, order: BootOrder) -> BootProgress:
        """A new boot, which begins when its turn comes.

        Raises HostIsBusyError if that machine is being booted already.
        """
        if len(self._running) >= ACTIVE_MAX:
            raise TooManyBootsError(
                f"{len(self._running)} machines are being booted already",
                hint="wait until some have ended",
            )
        for progress in self._boots.values():
            if progress.is_active and progress.host == order.host:
                raise HostIsBusyError(
                    f"{order.host} is being booted already, into {progress.image}",
                    hint=f"end that first: bootserver amt stop {progress.host}",
                )
        progress = BootProgress(
            secrets.token_hex(6), order.host, order.image, order.method, clock.now()
        )
        self._publish(progress)
        ended = [boot.id for boot in self._boots.values() if not boot.is_active]
        for boot_id in ended[:-ENDED_KEPT]:
            del self._boots[boot_id]
        boot = RemoteBoot(order, self._services, self._turns, progress, self._publish)
        task = asyncio.create_task(self._run(boot), name=f"amt-boot-{progress.id}")
        self._running[progress.id] = (boot, task)
        return progress

    def give_code(self, boot_id: str, code: str) -> None:
        """The consent code that is on the machine's screen; or NoCodeWantedError."""
        self.get(boot_id)
        boot, _ = self._running.get(boot_id, (None, None))
        if boot is None or not boot.wants_code:
            raise NoCodeWantedError(
                "this boot does not wait for a consent code",
                hint="look first what it does: bootserver amt boots",
            )
        boot.give_code(code)

    async def stop(self, boot_id: str) -> BootProgress:
        """The boot, given up or, if its drive was to stay, brought to its end."""
        self.get(boot_id)
        if boot_id in self._running:
            boot, task = self._running[boot_id]
            await asyncio.sleep(0)  # a task that has not begun could not note its own end
            boot.stop(task)
            await asyncio.wait({task})
        return self._boots[boot_id]

    async def ended(self, boot_id: str) -> BootProgress:
        """The boot, at its end."""
        if boot_id in self._running:
            await asyncio.wait({self._running[boot_id][1]})
        return self.get(boot_id)

    async def close(self) -> None:
        """Gives up all, at once; a machine that does not answer is not waited for long."""
        await asyncio.sleep(0)  # as in `stop`
        tasks = []
        for boot, task in self._running.values():
            boot.stop(task)
            tasks.append(task)
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_S)

    async def _run(self, boot: RemoteBoot) -> None:
        step, problem = BootStep.FAILED, None
        try:
            await boot.run()
            step = BootStep.DONE
        except asyncio.CancelledError:
            step = BootStep.CANCELLED
        except BootServerError as err:
            problem = err
        except Exception:
            log.exception("amt.boot_failed", boot=boot.progress.id)
            problem = BootServerError("the server failed", hint="its log says how")
        del self._running[boot.progress.id]
        sentence = boot.progress.sentence
        if problem is not None:
            sentence = problem.message
        elif step is BootStep.CANCELLED:
            sentence = "given up"
        ended = replace(
            boot.progress,
            step=step,
            sentence=sentence,
            problem=problem,
            ended_at=clock.now(),
        )
        log.info(
            "amt.boot_ended",
            host=ended.host,
            image=ended.image,
            outcome=step.value,
            way=ended.taken.value if ended.taken else "",
            session=ended.boot,
            reads=ended.reads,
            redirected_bytes=ended.redirected_bytes,
            **({"reason": problem.message} if problem else {}),
        )
        self._publish(ended)

    def _publish(self, progress: BootProgress) -> None:
        self._boots[progress.id] = progress
        self._bus.publish({"type": "amt_boot", "amt_boot": to_json(progress)})
