"""What a machine boots, as somebody set it at run time: in the database, beside config.toml."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.exc import IntegrityError

from bootserver import clock
from bootserver.config import Config
from bootserver.database import PROFILES, DatabaseEngine
from bootserver.errors import DatabaseError
from bootserver.model import Machine
from bootserver.selector import Selector

RETRY_S = 2.0


@dataclass(frozen=True, slots=True)
class Profile:
    """What the machines of a selector boot; "" where nothing is said.

    A standing profile holds until it is forgotten, a one-shot one for the next boot. Setting one
    again makes a new one, with an id of its own.
    """

    id: str
    selector: Selector
    set_at: datetime
    image: str = ""
    arguments: str = ""
    memdisk: str = ""
    once: bool = False


@dataclass(frozen=True, slots=True)
class MachineProfile:
    """What is in force for one machine; "" where nothing was said about it."""

    image: str = ""
    arguments: str = ""
    memdisk: str = ""


def choose(profiles: Sequence[Profile], machine: Machine) -> Profile | None:
    """The profile that holds for the machine.

    One-shot before standing, then the one that names the machine by more names, then the newest.
    """
    matching = (profile for profile in profiles if profile.selector.matches(machine))
    return max(matching, key=lambda p: (p.once, len(p.selector.names), p.set_at), default=None)


def effective(machine: Machine, config: Config, profile: Profile | None) -> MachineProfile:
    """What holds for the machine: the profile's fields, then those of its `[[machines]]` table."""
    sources = [source for source in (profile, config.machine(machine)) if source is not None]
    return MachineProfile(
        image=next((s.image for s in sources if s.image), ""),
        arguments=next((s.arguments for s in sources if s.arguments), ""),
        memdisk=next((s.memdisk for s in sources if s.memdisk), ""),
    )


class ProfileStore:
    """The profiles in the database; every call is one transaction.

    A selector has one standing profile at most, and one one-shot profile beside it.
    """

    def __init__(self, engine: DatabaseEngine) -> None:
        self._engine = engine
        self._used: set[str] = set()  # ids of one-shot profiles whose boot was handed off

    async def list(self) -> list[Profile]:
        """All profiles, newest first."""
        query = select(PROFILES).order_by(PROFILES.c.set_at.desc())
        async with self._engine.connect() as connection:
            return [_profile(row) for row in await connection.execute(query)]

    async def set(
        self,
        selector: Selector,
        *,
        image: str = "",
        arguments: str = "",
        memdisk: str = "",
        once: bool = False,
    ) -> Profile:
        """The new profile of the selector, in place of its former one of the same kind."""
        now = clock.now()
        profile = Profile(secrets.token_hex(6), selector, now, image, arguments, memdisk, once)
        former = (PROFILES.c.selector == selector.key) & (PROFILES.c.once == once)
        async with self._engine.begin() as connection:
            await connection.execute(PROFILES.delete().where(former))
            await connection.execute(PROFILES.insert(), _row(profile))
        return profile

    async def add(
        self,
        selector: Selector,
        *,
        image: str = "",
        arguments: str = "",
        memdisk: str = "",
        once: bool = False,
    ) -> Profile | None:
        """The new profile of the selector; None if it has one of that kind already."""
        now = clock.now()
        profile = Profile(secrets.token_hex(6), selector, now, image, arguments, memdisk, once)
        try:
            async with self._engine.begin() as connection:
                await connection.execute(PROFILES.insert(), _row(profile))
        except IntegrityError:
            return None
        return profile

    async def replace(
        self, former: Profile, *, image: str = "", arguments: str = "", memdisk: str = ""
    ) -> Profile | None:
        """The new profile in place of exactly `former`; None if that is not there any more."""
        now = clock.now()
        new = Profile(
            secrets.token_hex(6), former.selector, now, image, arguments, memdisk, former.once
        )
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


def _row(profile: Profile) -> dict[str, Any]:
    return {
        "id": profile.id,
        "selector": profile.selector.key,
        "names": profile.selector.names,
        "image": profile.image,
        "arguments": profile.arguments,
        "memdisk": profile.memdisk,
        "once": profile.once,
        "set_at": profile.set_at.timestamp(),
    }


def _profile(row: Row[Any]) -> Profile:
    return Profile(
        id=row.id,
        selector=Selector(**row.names),
        set_at=datetime.fromtimestamp(row.set_at, UTC),
        image=row.image,
        arguments=row.arguments,
        memdisk=row.memdisk,
        once=row.once,
    )
