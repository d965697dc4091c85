"""Bounded work: a fixed number of computing slots, a queue before them, and counters of what is in progress."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TypeVar

from mobilesam.serve.admission import Admission
from mobilesam.serve.problems import Busy

T = TypeVar("T")


class Abandoned(Exception):  # noqa: N818 - it is no error
    """Raised in a thread whose caller no longer waits for the result."""


class Caller:
    """Tells a computing thread whether the caller still waits for the result."""

    def __init__(self) -> None:
        self._gone = Event()

    def leave(self) -> None:
        """Record that the caller has gone."""
        self._gone.set()

    def check(self) -> None:
        """Stop the computation if its caller has gone.

        Raises:
            Abandoned: the caller has gone.
        """
        if self._gone.is_set():
            raise Abandoned


class Gate:
    """Runs functions in a fixed number of threads; callers beyond the queue are refused at once.

    Args:
        slots: number of threads.
        queue: number of callers that may wait for one in a burst; under lasting overload nobody waits.
    """

    def __init__(self, slots: int, queue: int) -> None:
        self._pool = ThreadPoolExecutor(slots, thread_name_prefix="mobilesam")
        self._free = asyncio.Semaphore(slots)
        self._slots, self._computing = slots, 0
        self.admission = Admission(slots, queue)
        """How many callers may wait."""
        self.inside = 0
        """Callers that compute or wait."""

    @property
    def is_full(self) -> bool:
        """Whether one more caller would be refused."""
        return self.inside >= self._slots + self.admission.places

    def check(self) -> None:
        """Refuse a caller for whom there is no place.

        Raises:
            Busy: the queue is full.
        """
        if self.is_full:
            self.admission.arrive()
            raise Busy("the service is busy: all slots compute and nobody else may wait")

    async def run(self, function: Callable[[Caller], T]) -> T:
        """Run a function in a slot.

        A caller that is cancelled while it waits leaves the queue. A thread cannot be stopped from outside, so one
        whose caller is cancelled keeps its slot until the function returns or calls `Caller.check`.

        Raises:
            Busy: the queue is full.
        """
        self.check()
        self.admission.arrive()
        self.inside += 1
        try:
            await self._free.acquire()
        except BaseException:
            self.inside -= 1
            raise
        self._computing += 1
        self.admission.start(self.inside - self._computing)
        caller, start = Caller(), time.monotonic()
        future = asyncio.get_running_loop().run_in_executor(self._pool, function, caller)
        future.add_done_callback(lambda done: self._leave(done, time.monotonic() - start))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            caller.leave()
            raise

    def _leave(self, future: asyncio.Future[T], seconds: float) -> None:
        self.inside -= 1
        self._computing -= 1
        self.admission.finish(seconds)
        self._free.release()
        if not future.cancelled():
            future.exception()  # whoever asked may be gone; its error must not be reported as never retrieved

    def close(self) -> None:
        """Let running functions end and start no other."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class Uploads:
    """Counts requests in progress, and the bytes of their bodies.

    Args:
        max_requests: number of requests at the same time.
        max_buffered: bytes of all their bodies together.
    """

    def __init__(self, max_requests: int, max_buffered: int) -> None:
        self._max_requests, self._max_buffered = max_requests, max_buffered
        self.requests = 0
        self.buffered = 0

    def enter(self) -> None:
        """Count a request.

        Raises:
            Busy: there are too many.
        """
        if self.requests >= self._max_requests:
            raise Busy(f"the service is busy: {self.requests} requests are in progress")
        self.requests += 1

    def take(self, count: int) -> None:
        """Count bytes that were received.

        Raises:
            Busy: there is no memory left for them.
        """
        if self.buffered + count > self._max_buffered:
            raise Busy("the service is busy: too many uploads are in progress")
        self.buffered += count

    def leave(self, count: int) -> None:
        """Forget a request and the bytes it held."""
        self.requests -= 1
        self.buffered -= count
