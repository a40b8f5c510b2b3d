"""What a machine boots, as set at run time: in the database, beside config.toml."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.exc import IntegrityError

from bootserver import clock
from bootserver.config import Config
from bootserver.database import DatabaseEngine
from bootserver.errors import DatabaseError
from bootserver.model import Machine
from bootserver.schema import PROFILES
from bootserver.selector import Selector

RETRY_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineProfile:
    """What a machine boots; "" where nothing is said."""

    image: str = ""
    entry: str = ""
    arguments: str = ""
    memdisk: str = ""


SAID = tuple(field.name for field in fields(MachineProfile))


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile(MachineProfile):
    """What the machines of a selector boot.

    A standing profile holds until it is forgotten, a one-shot one for the next boot. Setting one
    again makes a new one, with an id of its own.
    """

    id: str
    selector: Selector
    set_at: datetime
    once: bool = False


def choose(profiles: Sequence[Profile], machine: Machine) -> Profile | None:
    """The profile that holds for the machine.

    One-shot before standing, then the one that names the machine by more names, then the newest.
    """
    matching = (profile for profile in profiles if profile.selector.matches(machine))
    return max(matching, key=lambda p: (p.once, len(p.selector.names), p.set_at), default=None)


def effective(machine: Machine, config: Config, profile: Profile | None) -> MachineProfile:
    """What holds for the machine: the profile's fields, then those of its `[[machines]]` table."""
    sources = [source for source in (profile, config.machine(machine)) if source is not None]
    said = {name: [getattr(source, name) for source in sources] for name in SAID}
    return MachineProfile(**{name: next(filter(None, all), "") for name, all in said.items()})


class ProfileStore:
    """The profiles in the database; every call is one transaction.

    A selector has one standing profile at most, and one one-shot profile beside it. `boots` are
    fields of MachineProfile.
    """

    def __init__(self, engine: DatabaseEngine) -> None:
        self._engine = engine
        self._used: set[str] = set()  # ids of one-shot profiles whose boot was handed off

    async def list(self) -> list[Profile]:
        """All profiles, newest first."""
        query = select(PROFILES).order_by(PROFILES.c.set_at.desc())
        async with self._engine.connect() as connection:
            return [_profile(row) for row in await connection.execute(query)]

    async def set(self, selector: Selector, *, once: bool = False, **boots: str) -> Profile:
        """The new profile of the selector, in place of its former one of the same kind."""
        profile = _new(selector, once, boots)
        former = (PROFILES.c.selector == selector.key) & (PROFILES.c.once == once)
        async with self._engine.begin() as connection:
            await connection.execute(PROFILES.delete().where(former))
            await connection.execute(PROFILES.insert(), _row(profile))
        return profile

    async def add(self, selector: Selector, *, once: bool = False, **boots: str) -> Profile | None:
        """The new profile of the selector; None if it has one of that kind already."""
        profile = _new(selector, once, boots)
        try:
            async with self._engine.begin() as connection:
                await connection.execute(PROFILES.insert(), _row(profile))
        except IntegrityError:
            return None
        return profile

    async def replace(self, former: Profile, **boots: str) -> Profile | None:
        """The new profile in place of exactly `former`; None if that is not there any more."""
        new = _new(former.selector, former.once, boots)
        this_one = PROFILES.c.id == former.id
        async with self._engine.begin() as connection:
            replaced = await connection.execute(PROFILES.update().where(this_one).values(_row(new)))
        return new if replaced.rowcount else None

    async def drop(self, profile_id: str) -> bool:
        """Forgets exactly this profile; False if it is not there any more."""
        this_one = PROFILES.c.id == profile_id
        async with self._engine.begin() as connection:
            return bool((await connection.execute(PROFILES.delete().where(this_one))).rowcount)

    async def remove(self, selector: Selector) -> int:
        """Forgets what was set for exactly this selector; returns how many profiles that were."""
        mine = PROFILES.c.selector == selector.key
        async with self._engine.begin() as connection:
            return (await connection.execute(PROFILES.delete().where(mine))).rowcount

    async def find(self, machine: Machine) -> Profile | None:
        """The profile that holds for the machine, as choose() says."""
        unused = [p for p in await self.list() if not (p.once and p.id in self._used)]
        return choose(unused, machine)

    async def consume(self, profile_id: str) -> None:
        """Takes a one-shot profile away: its boot was handed off. A standing one stays.

        One that was set anew meanwhile has another id, and is for the boot after. What the
        database does not take now counts all the same, and is written by keep_consumed().
        """
        self._used.add(profile_id)
        await self._write_used()

    async def keep_consumed(self) -> None:
        """Writes for ever what consume() could not."""
        while True:
            await asyncio.sleep(RETRY_S)
            await self._write_used()

    async def _write_used(self) -> None:
        used = set(self._used)
        if used:
            with suppress(DatabaseError):  # the ledger, which writes all the time, says so
                async with self._engine.begin() as connection:
                    mine = PROFILES.c.id.in_(used) & PROFILES.c.once
                    await connection.execute(PROFILES.delete().where(mine))
                self._used -= used


def _new(selector: Selector, once: bool, boots: Mapping[str, str]) -> Profile:
    return Profile(
        id=secrets.token_hex(6), selector=selector, set_at=clock.now(), once=once, **boots
    )


def _row(profile: Profile) -> dict[str, Any]:
    return {
        "id": profile.id,
        "selector": profile.selector.key,
        "names": profile.selector.names,
        "once": profile.once,
        "set_at": profile.set_at.timestamp(),
    } | {name: getattr(profile, name) for name in SAID}


def _profile(row: Row[Any]) -> Profile:
    return Profile(
        id=row.id,
        selector=Selector(**row.names),
        set_at=datetime.fromtimestamp(row.set_at, UTC),
        once=row.once,
        **{name: getattr(row, name) for name in SAID},
    )
