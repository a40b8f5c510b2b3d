"""Many watchers of one event stream, as a program: `watchers URL COUNT BOOTS`.

Says `ready` once all are connected, and at the end how many saw that many boots handed off.
"""

from __future__ import annotations

import asyncio
import re
import sys
from urllib.parse import urlsplit

HANDED_OFF = re.compile(rb'data: {"id":"([0-9a-f]+)"[^\n]*?"phase":"handed_off","phase_at"')


async def watch(url: str, boots: int, connected: asyncio.Semaphore) -> bool:
    """True once that many boots were seen handed off; False if the stream ended before."""
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    writer.write(f"GET {place.path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
    seen: set[bytes] = set()
    unread = b""
    while data := await reader.read(1 << 20):
        if not seen and not unread:
            connected.release()
        *events, unread = (unread + data).split(b"\n\n")
        unread = unread or b"\n"
        for event in events:
            if found := HANDED_OFF.search(event):
                seen.add(found[1])
        if len(seen) == boots:
            writer.close()
            return True
    return False


async def main(url: str, count: int, boots: int) -> None:
    """Watch, and say what was seen."""
    connected = asyncio.Semaphore(0)
    watching = [asyncio.create_task(watch(url, boots, connected)) for _ in range(count)]
    for _ in range(count):
        await connected.acquire()
    print("ready", flush=True)
    print(sum(await asyncio.gather(*watching)), "saw all", flush=True)


asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
