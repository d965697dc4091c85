"""Admission: how many callers may wait for a slot, so that under overload the accepted ones are still served soon."""

from __future__ import annotations

import time
from collections.abc import Callable

WINDOW = 0.5  # seconds over which the load is judged before callers may wait again
CALM = 0.9  # share of the slots' time that the asked work may take for that


class Admission:
    """Lets bursts wait, and nobody while more work comes than is done.

    A queue helps with a burst: it empties again. One that never empties makes every answer later and no more of them,
    so once three times as many callers as it holds have started with others still behind them, the service counts as
    overloaded and only callers that find a free slot are accepted. This ends when the work that was asked for, the
    refused included, would have left the slots idle for a tenth of the time.

    Args:
        slots: number of callers that compute at a time.
        queue: number of callers that may wait during a burst.
        clock: seconds; another one for tests.
    """

    def __init__(self, slots: int, queue: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._slots, self._queue, self._clock = slots, queue, clock
        self._followed = 0  # callers in a row that started with others behind them
        self._seconds = 0.0  # of a caller's work, a running mean
        self._since = 0.0
        self._arrivals = 0
        self.is_overloaded = False
        """Whether nobody may wait."""

    @property
    def places(self) -> int:
        """Number of callers that may wait at present."""
        return 0 if self.is_overloaded else self._queue

    def arrive(self) -> None:
        """Note that a caller came, whether or not it was accepted."""
        if not self.is_overloaded:
            return
        elapsed = self._clock() - self._since
        if elapsed >= WINDOW:
            self.is_overloaded = self._arrivals * self._seconds > CALM * elapsed * self._slots
            self._open_window()
        self._arrivals += 1

    def start(self, waiting: int) -> None:
        """Note that a caller got its slot.

        Args:
            waiting: number of callers behind it.
        """
        self._followed = self._followed + 1 if waiting else 0
        if not self.is_overloaded and self._followed > 3 * self._queue:
            self.is_overloaded = True
            self._open_window()

    def finish(self, seconds: float) -> None:
        """Note how long a caller's work took."""
        self._seconds = 0.9 * self._seconds + 0.1 * seconds if self._seconds else seconds

    def _open_window(self) -> None:
        self._since, self._arrivals, self._followed = self._clock(), 0, 0
