"""Free ports of 127.0.0.1 for servers that are to start soon, without races between processes.

Each process owns a block of ports until it ends. The kernel arbitrates. A block is an abstract Unix
socket's name (unix(7)): one process can have it, and it goes with the process. The blocks lie below
the ports that the kernel gives to sockets without one (ip_local_port_range: 32768 and up).
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from functools import cache
from itertools import cycle

from bootserver.errors import ServiceError

BLOCK_PORTS = 128

_FIRST, _LAST = 16384, 32768


def free_port() -> int:
    """A port on which nothing listens, over TCP and UDP, and which no other process gets here."""
    ports = _own_ports()
    for _ in range(BLOCK_PORTS):
        if _is_free(port := next(ports)):
            return port
    raise ServiceError("no port is free in this process's block", hint="end servers on 127.0.0.1")


@cache
def _own_ports() -> Iterator[int]:
    """The block of this process, over and over."""
    starts = range(_FIRST, _LAST, BLOCK_PORTS)
    for start in random.sample(starts, len(starts)):
        owner = socket.socket(socket.AF_UNIX)
        try:
            owner.bind(f"\0bootserver-ports-{start}")
        except OSError:
            owner.close()  # another process has this block
            continue
        owner.detach()  # open until the process ends
        return cycle(range(start, start + BLOCK_PORTS))
    raise ServiceError("no block of ports is free", hint="end other tests or benchmarks")


def _is_free(port: int) -> bool:
    try:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_INET, kind) as probe:
                probe.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True
