"""UDP sockets that know at which of our addresses a request came in.

A host with two networks must answer from the address that the client wrote to. Firmware drops what
comes from another. Linux tells it with each datagram (ip(7) IP_PKTINFO, RFC 3542 §6).
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bootserver.errors import ServiceError
from bootserver.tftp.packets import REQUEST_BYTES_MAX

_ON_LINUX = sys.platform == "linux"
_RECEIVE_BYTES = 4 << 20  # 5,000 requests at once, at the 768 bytes that the kernel counts for each
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h; beyond net.core.rmem_max, with CAP_NET_ADMIN
_IP_PKTINFO = 8  # linux/in.h; Python's socket module does not name it
_IN_PKTINFO = struct.Struct("@I4s4s")  # interface, our address, the datagram's destination
_IN6_PKTINFO = struct.Struct("@16sI")  # the datagram's destination, interface
_ANCILLARY_BYTES = socket.CMSG_SPACE(_IN6_PKTINFO.size)

SocketAddress = tuple[Any, ...]  # (host, port), or (host, port, flow, scope) for IPv6


@dataclass(frozen=True, slots=True)
class Arrival:
    """A datagram, who sent it, and our own address that it was sent to ("" if not known)."""

    datagram: bytes
    client: SocketAddress
    local_address: str = ""
    interface: int = 0


class RequestSocket:
    """A bound, non-blocking UDP socket on which first requests come in."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.address: SocketAddress = sock.getsockname()

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        self._sock.close()

    def receive(self) -> Arrival | None:
        """The next datagram, cut off a byte past the longest request; None if there is none."""
        try:
            datagram, ancillary, _flags, client = self._sock.recvmsg(
                REQUEST_BYTES_MAX + 1, _ANCILLARY_BYTES
            )
        except OSError:  # nothing there, or what an earlier answer met with on its way
            return None
        for level, kind, data in ancillary:
            if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
                interface, ours, _destination = _IN_PKTINFO.unpack(data[: _IN_PKTINFO.size])
                return Arrival(datagram, client, socket.inet_ntoa(ours), interface)
            if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
                destination, interface = _IN6_PKTINFO.unpack(data[: _IN6_PKTINFO.size])
                if not ipaddress.IPv6Address(destination).is_multicast:
                    ours6 = socket.inet_ntop(socket.AF_INET6, destination)
                    return Arrival(datagram, client, ours6, interface)
        return Arrival(datagram, client)

    def reply(self, arrival: Arrival, datagram: bytes) -> None:
        """Sends one datagram back, from the address that was written to; it may get lost."""
        ancillary = []
        if arrival.local_address and self._sock.family == socket.AF_INET:
            info = _IN_PKTINFO.pack(0, socket.inet_aton(arrival.local_address), bytes(4))
            ancillary = [(socket.IPPROTO_IP, _IP_PKTINFO, info)]
        elif arrival.local_address:
            ours = socket.inet_pton(socket.AF_INET6, arrival.local_address)
            info = _IN6_PKTINFO.pack(ours, arrival.interface)
            ancillary = [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, info)]
        with contextlib.suppress(OSError):
            self._sock.sendmsg([datagram], ancillary, 0, arrival.client)

    def connect(self, arrival: Arrival) -> socket.socket:
        """A new socket, our end of one transfer (RFC 1350 §4: a TID of its own).

        It is connected, so the kernel drops what others send to it and tells when the client's
        port is closed.
        """
        sock = socket.socket(self._sock.family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            host = arrival.local_address or self.address[0]
            if sock.family == socket.AF_INET6:
                scope = arrival.interface if host.startswith("fe80:") else 0
                sock.bind((host, 0, 0, scope))
            else:
                sock.bind((host, 0))
            sock.connect(arrival.client)
        except OSError:
            sock.close()
            raise
        return sock


def bind_request_sockets(hosts: Sequence[str] | None, port: int) -> list[RequestSocket]:
    """One socket for each address; None is every address, of IPv6 too where the host has it.

    With port 0 all get the port that the first one was given. Raises ServiceError.
    """
    bound: list[RequestSocket] = []
    try:
        for host in ("0.0.0.0", "::") if hosts is None else hosts:
            try:
                found = socket.getaddrinfo(
                    host, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
                )
                bound.append(_bind(found[0][0], found[0][4]))
            except OSError as err:
                if hosts is None and bound:  # a kernel without IPv6
                    continue
                raise ServiceError(
                    f"TFTP cannot listen on {host} port {port}: {err}",
                    hint=_hint(err),
                ) from err
            port = bound[0].address[1]
    except ServiceError:
        for request_socket in bound:
            request_socket.close()
        raise
    return bound


def _bind(family: int, address: SocketAddress) -> RequestSocket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
        if _ON_LINUX:
            with contextlib.suppress(PermissionError):
                sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BYTES)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        elif _ON_LINUX:
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return RequestSocket(sock)


def _hint(err: OSError) -> str:
    if isinstance(err, PermissionError):
        return "ports below 1024 need the right CAP_NET_BIND_SERVICE, or set [tftp] port"
    return "another TFTP server may be running; see [tftp] in config.toml"
