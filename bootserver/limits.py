"""What one server takes on at once: each limit, how much is in use, how much was refused.

A thousand machines need more file descriptors than many systems give a process at first. Each
download needs two: the connection and the file. So the soft limit is raised to the hard one. Where
even that is too little, all limits are lowered to what it allows. Some descriptors stay apart for
other files and the admin plane, which must answer when the boot plane is full.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from bootserver.config import LimitsConfig
from bootserver.errors import ServerFullError

OTHERS = 128  # descriptors for the database, open images, Intel AMT, programs that are started
PER_DOWNLOAD = 2  # its connection or socket, and its file

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Limit:
    """How many of something there may be, are, and were refused; `what` completes a sentence."""

    max: int
    what: str = ""
    hint: str = ""
    used: int = 0
    refused: int = 0

    def take(self) -> None:
        """Take one place, to be given back; raises ServerFullError if there is none."""
        if self.used >= self.max:
            self.refused += 1
            raise ServerFullError(f"{self.used} {self.what} already", hint=self.hint)
        self.used += 1

    def give_back(self) -> None:
        """Give back a place that was taken."""
        self.used -= 1

    @contextmanager
    def place(self) -> Iterator[None]:
        """One place until the end of the block; raises as `take`."""
        self.take()
        try:
            yield
        finally:
            self.give_back()


class ServerLimits:
    """All limits of a running server, by the names that they have in config.toml."""

    def __init__(self, config: LimitsConfig, max_transfers: int = 1) -> None:
        self.config = config
        self.connections = Limit(config.connections)
        self.connections_per_address = Limit(config.connections_per_address)
        self.admin_connections = Limit(config.admin_connections)
        self.watchers = Limit(config.watchers, "are watching", "close some")
        self.uploads = Limit(config.uploads, "images are being added", "wait until one has ended")
        self.transfers = Limit(max_transfers)
        self.transfers_per_address = Limit(config.transfers_per_address)
        self.unacknowledged_blocks = Limit(config.unacknowledged_blocks)

    @classmethod
    def for_process(cls, config: LimitsConfig, max_transfers: int) -> ServerLimits:
        """The limits of this process, with as many descriptors as it can have."""
        descriptors = _raise_descriptors()
        lowered, transfers = within(descriptors, config, max_transfers)
        wanted = (config.connections, config.admin_connections, max_transfers)
        if (lowered.connections, lowered.admin_connections, transfers) != wanted:
            log.warning(
                "limits.lowered",
                descriptors=descriptors,
                connections=lowered.connections,
                admin_connections=lowered.admin_connections,
                max_transfers=transfers,
                hint="let the server open more files: ulimit -Hn, or LimitNOFILE= of systemd",
            )
        return cls(lowered, transfers)

    def by_name(self) -> dict[str, Limit]:
        """Each limit by its name."""
        return {name: limit for name, limit in vars(self).items() if isinstance(limit, Limit)}


def within(descriptors: int, config: LimitsConfig, max_transfers: int) -> tuple[LimitsConfig, int]:
    """The limits, and TFTP's transfers, lowered to what so many descriptors allow."""
    rest = max(descriptors - OTHERS, 0)
    admin = min(config.admin_connections, max(rest // 8, 2))
    transfers = min(max_transfers, max(rest // 8, 1))
    for_http = rest - admin - PER_DOWNLOAD * transfers
    connections = min(config.connections, max(for_http // PER_DOWNLOAD, 1))
    # The same shares of all for one address as before.
    of_one = -(-config.connections_per_address * connections // config.connections)
    transfers_of_one = -(-config.transfers_per_address * transfers // max_transfers)
    lowered = {
        "admin_connections": admin,
        "watchers": min(config.watchers, admin // 2),  # pages and programs have the other half
        "connections": connections,
        "connections_per_address": min(config.connections_per_address, of_one),
        "transfers_per_address": min(config.transfers_per_address, transfers_of_one),
    }
    return config.model_copy(update=lowered), transfers


def _raise_descriptors() -> int:
    """Raise the soft limit of open files to the hard one; returns what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # macOS says "infinity" and allows less
        return soft
    return hard if hard != resource.RLIM_INFINITY else 1 << 30
