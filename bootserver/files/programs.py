"""Programs of others, run for what they print: without a shell, in bounded time and memory."""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

POLL_S = 0.01
NO_LIMIT = resource.RLIM_INFINITY


@dataclass(frozen=True, slots=True)
class EndedProgram:
    """How a program has ended, and what it has printed."""

    status: int  # 0 for success; below 0 the signal that has ended it
    output: str
    errors: str
    stopped_because: str  # "" if it has ended by itself


def run_program(
    arguments: Sequence[str],
    *,
    cancelled: threading.Event,
    timeout_s: float,
    folder: Path,
    stdin: str = "",
    environment: Mapping[str, str] | None = None,
    output_limit_bytes: int = NO_LIMIT,
    memory_limit_bytes: int = NO_LIMIT,
) -> EndedProgram:
    """Run a program in `folder` to its end; it is killed if it takes or prints too much.

    `environment` comes on top of ours. Blocks. Raises FileNotFoundError where it is not installed.
    """
    with (
        tempfile.TemporaryFile() as given,
        tempfile.TemporaryFile() as printed,
        tempfile.TemporaryFile() as errors,
    ):
        given.write(stdin.encode())
        given.seek(0)
        process = subprocess.Popen(
            arguments,
            stdin=given,
            stdout=printed,
            stderr=errors,
            cwd=folder,
            env=os.environ | {"LC_ALL": "C.UTF-8"} | dict(environment or {}),
        )
        with suppress(ProcessLookupError):  # it has ended
            limits = (memory_limit_bytes, memory_limit_bytes)
            resource.prlimit(process.pid, resource.RLIMIT_AS, limits)
        deadline_s = time.monotonic() + timeout_s
        reason = ""
        try:
            while process.poll() is None and not reason:
                if cancelled.wait(POLL_S):
                    reason = "that was cancelled"
                elif time.monotonic() > deadline_s:
                    reason = f"{arguments[0]} has not ended within {timeout_s:.0f} seconds"
                elif 0 <= output_limit_bytes < os.fstat(printed.fileno()).st_size:
                    reason = f"{arguments[0]} prints too much"
        finally:
            process.kill()
            process.wait()
        errors.seek(0)
        printed.seek(0)
        return EndedProgram(
            process.returncode,
            printed.read().decode(errors="replace"),
            errors.read().decode(errors="replace"),
            reason,
        )
