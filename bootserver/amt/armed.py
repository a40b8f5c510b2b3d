"""Which machines will boot otherwise the next time: a record that outlives a crash.

There is a file per host in the state directory. It is made before the machine is armed, and deleted
once that has been used or taken back. The process that made it holds a lock on it, which ends with
the process, however that ends. So a record that no process holds is left over.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote, unquote

import structlog

from bootserver.amt.errors import AmtError
from bootserver.fields import parse_host
from bootserver.files.atomic import sync_directory
from bootserver.files.locks import is_at, lock

log = structlog.get_logger(__name__)


class BeingArmedError(AmtError):
    """Another process, or another boot of this one, is about to boot the machine."""


class ArmedRecord:
    """The record of one host, held by this process; `drop` it once there is nothing left to do."""

    def __init__(self, path: Path) -> None:
        self.host = unquote(path.name)
        self._path = path

    def drop(self) -> None:
        """Nothing is armed at the machine any more. A record that stays does no harm."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as err:
            log.warning("amt.record_stays", path=str(self._path), reason=err.strerror)


class ArmedRecords:
    """The records in a directory, which is made when it is needed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @contextmanager
    def hold(self, host: str) -> Iterator[ArmedRecord]:
        """The host's record, made if need be; what the block does not drop stays.

        Raises BeingArmedError where it is held already, AmtError where it cannot be written.
        """
        path = self._directory / quote(host, safe="")
        try:
            fd = self._locked(path)
            sync_directory(self._directory)
        except BlockingIOError as err:
            raise BeingArmedError(
                f"{host} is being told what to boot by another boot or command",
                hint="wait until that has ended: bootserver amt boots",
            ) from err
        except OSError as err:
            raise AmtError(
                f"{path} cannot be written: {err.strerror}",
                hint="check [state] path in config.toml, and who may write there",
            ) from err
        try:
            yield ArmedRecord(path)
        finally:
            os.close(fd)

    def _locked(self, path: Path) -> int:
        """The file, open and locked; raises OSError."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                without_locks = lock(fd)
            except BlockingIOError:
                os.close(fd)
                raise
            if without_locks:  # held would look like left over
                log.warning("amt.not_recorded", path=str(path), reason=without_locks.strerror)
                path.unlink(missing_ok=True)
                return fd
            if is_at(path, fd):
                return fd
            os.close(fd)  # its holder has dropped it since it was opened: there is a new one

    def left(self) -> list[str]:
        """The hosts that have a record, held or not."""
        try:
            names = sorted(unquote(path.name) for path in self._directory.iterdir())
        except OSError:  # mostly: nothing was ever armed
            return []
        hosts = []
        for name in names:
            with suppress(ValueError):  # NFS and editors leave files, too
                if parse_host(name) == name:
                    hosts.append(name)
        return hosts
