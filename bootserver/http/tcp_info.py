"""What TCP knows of a connection: Linux's struct tcp_info, as far as the ledger asks."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from collections.abc import Callable

from bootserver.sessions.diagnosis import TcpFacts

# offset  size  member of struct tcp_info (linux/tcp.h); the kernel only ever adds at the end
#      3     1  tcpi_probes
#     16     4  tcpi_snd_mss
#     24     4  tcpi_unacked
#     56     4  tcpi_last_ack_recv, ms ago
#    100     4  tcpi_total_retrans
#    228     4  tcpi_snd_wnd, from Linux 5.4 on
_HEAD = struct.Struct("=3xB12xI4xI28xI40xI")
_WINDOW = struct.Struct("=I")
_WINDOW_AT = 228
_ASK_BYTES = _WINDOW_AT + _WINDOW.size


def tcp_facts(transport: asyncio.Transport) -> Callable[[], TcpFacts | None]:
    """A look at that connection: None if it is gone, or where nothing is told."""
    connection = transport.get_extra_info("socket")

    def look() -> TcpFacts | None:
        if connection is None or not sys.platform.startswith("linux"):
            return None
        try:
            return parse_tcp_info(
                connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ASK_BYTES)
            )
        except OSError:
            return None

    return look


def parse_tcp_info(info: bytes) -> TcpFacts | None:
    """The facts in as much of a struct tcp_info as this kernel has."""
    if len(info) < _HEAD.size:
        return None
    probes, mss_bytes, unacknowledged, acknowledged_ms_ago, retransmits = _HEAD.unpack_from(info)
    window = _WINDOW.unpack_from(info, _WINDOW_AT)[0] if len(info) >= _ASK_BYTES else None
    return TcpFacts(
        unacknowledged_segments=unacknowledged,
        probes=probes,
        retransmits=retransmits,
        acknowledged_s_ago=acknowledged_ms_ago / 1000,
        mss_bytes=mss_bytes,
        window_bytes=window,
    )
