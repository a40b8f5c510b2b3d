"""Free ports: what one process gets no other does, for as long as the first one lives."""

from __future__ import annotations

import socket
import subprocess
import sys

from bootserver.bench.ports import BLOCK_PORTS, free_port

PICKER = f"""
from bootserver.bench.ports import free_port
print(*(free_port() for _ in range({BLOCK_PORTS})), flush=True)
input()
"""


def test_no_two_processes_get_one_port():
    own = {free_port() for _ in range(BLOCK_PORTS)}
    command = [sys.executable, "-c", PICKER]
    pickers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    picked = []
    for picker in pickers:
        assert picker.stdout is not None
        picked.append(set(map(int, picker.stdout.readline().split())))
    for picker in pickers:
        picker.communicate("\n")

    assert all(picked)
    assert sum(map(len, picked)) + len(own) == len(own.union(*picked))


def test_a_port_that_is_taken_is_not_picked():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", free_port()))

        picked = {free_port() for _ in range(BLOCK_PORTS)}

        assert taken.getsockname()[1] not in picked
