"""Server-sent events of a job."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator

from mobilesam.serve.jobs import ENDS, Jobs

POLL = 0.05  # seconds between looks for new events
HEARTBEAT = 10.0  # seconds after which a comment shows proxies that the connection lives


async def stream(jobs: Jobs, key: str, offset: int) -> AsyncIterator[bytes]:
    """The events of a job from a byte on, as they come, until the last; a client resumes by the id of an event."""
    last = time.monotonic()
    while True:
        found = await asyncio.to_thread(jobs.read, key, offset)
        if found is None:
            return
        events, end = found
        for i, event in enumerate(events):
            # An id is the offset of what follows; only that of the last event of a block is known.
            head = f"id: {end}\n" if i == len(events) - 1 else ""
            told = {name: value for name, value in event["data"].items() if name != "pid"}
            data = json.dumps(told, separators=(",", ":"))
            yield f"{head}event: {event['event']}\ndata: {data}\n\n".encode()
        if events and events[-1]["event"] in ENDS:
            return
        now = time.monotonic()
        if events:
            last = now
        elif now - last > HEARTBEAT:
            last = now
            yield b": alive\n\n"
        offset = end
        await asyncio.sleep(POLL)
