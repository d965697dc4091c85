"""Bursts may wait; under lasting overload who is accepted is served almost as if alone."""

from __future__ import annotations

import heapq
import random

import numpy as np
import pytest

from mobilesam.serve.admission import Admission
from mobilesam.serve.settings import ServeSettings

WORK = 0.01  # seconds of a request


class Simulated:
    """A service with slots and a queue in time that is only counted: nothing here depends on the machine."""

    def __init__(self, slots: int, queue: int) -> None:
        self.now, self.slots = 0.0, slots
        self.admission = Admission(slots, queue, lambda: self.now)
        self.ends: list[float] = []
        self.waiting: list[float] = []
        self.times: list[float] = []
        self.refused = 0

    def begin(self, came: float) -> None:
        self.admission.start(len(self.waiting))
        heapq.heappush(self.ends, self.now + WORK)
        self.times.append(self.now + WORK - came)

    def finish_until(self, until: float) -> None:
        while self.ends and self.ends[0] <= until:
            self.now = heapq.heappop(self.ends)
            self.admission.finish(WORK)
            if self.waiting:
                self.begin(self.waiting.pop(0))
        self.now = until

    def arrive(self, at: float) -> None:
        self.finish_until(at)
        self.admission.arrive()
        if len(self.ends) + len(self.waiting) >= self.slots + self.admission.places:
            self.refused += 1
        elif len(self.ends) < self.slots:
            self.begin(at)
        else:
            self.waiting.append(at)

    def load(self, share: float, seconds: float) -> None:
        """Requests at random times, at a share of the capacity."""
        chance = random.Random(0)
        at, end = self.now, self.now + seconds
        while (at := at + chance.expovariate(share * self.slots / WORK)) < end:
            self.arrive(at)


def test_at_three_times_the_capacity_the_accepted_keep_their_time_and_no_slot_is_idle() -> None:
    for slots in (1, 4):
        service = Simulated(slots, 4 * slots)
        service.load(3, 60)
        assert np.quantile(service.times, 0.99) < 2 * WORK
        capacity = 60 * slots / WORK
        assert len(service.times) > 0.7 * capacity
        assert service.refused > 1.9 * capacity


def test_at_half_the_capacity_hardly_anybody_is_refused() -> None:
    service = Simulated(1, 4)
    service.load(0.5, 60)
    assert service.refused < 0.02 * len(service.times)


def test_at_four_fifths_of_the_capacity_most_are_answered() -> None:
    service = Simulated(1, 4)
    service.load(0.8, 60)
    assert service.refused < 0.2 * len(service.times)


def test_after_an_overload_bursts_may_wait_again() -> None:
    service = Simulated(1, 4)
    service.load(3, 5)
    assert service.admission.is_overloaded
    service.load(0.5, 2)
    assert not service.admission.is_overloaded
    service.finish_until(service.now + 1)  # type: ignore[unreachable]
    before = service.refused
    for _ in range(5):
        service.arrive(service.now)
    assert service.refused == before, "one computes and four wait"


def test_a_burst_as_long_as_the_queue_is_no_overload() -> None:
    service = Simulated(2, 8)
    for _ in range(3):
        for _ in range(10):
            service.arrive(service.now)
        service.finish_until(service.now + 20 * WORK)
    assert service.refused == 0
    assert not service.admission.is_overloaded


@pytest.mark.parametrize(
    ("processors", "workers", "slots", "threads"), [(1, 1, 1, 1), (2, 1, 1, 1), (8, 1, 7, 1), (8, 2, 3, 1)]
)
def test_one_processor_is_left_for_receiving_and_answering(
    monkeypatch: pytest.MonkeyPatch, processors: int, workers: int, slots: int, threads: int
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: processors)
    settings = ServeSettings(workers=workers)
    assert (settings.num_slots, settings.num_threads) == (slots, threads)
    assert ServeSettings(slots=1, workers=workers).num_threads == max(1, processors // (2 * workers))
