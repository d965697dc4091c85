from __future__ import annotations

from pathlib import Path

import pytest

from mobilesam.annotate.claims import Claims


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def two(tmp_path: Path, clock: Clock) -> tuple[Claims, Claims]:
    return Claims(tmp_path, clock, worker="first"), Claims(tmp_path, clock, worker="second")


def test_one_shard_has_one_worker(two) -> None:
    first, second = two
    assert first.take("s")
    assert not second.take("s")
    assert not first.take("s")
    first.release("s")
    assert second.take("s")


def test_a_claim_without_signs_of_life_is_taken_over(two, clock) -> None:
    first, second = two
    first.take("s")
    clock.now += 59
    assert not second.take("s")
    first.beat("s")
    clock.now += 59
    assert not second.take("s")
    clock.now += 2
    assert second.take("s")
    assert not first.take("s")
    assert (first.is_mine("s"), second.is_mine("s"), second.tries("s")) == (False, True, 2)


def test_a_worker_that_was_thought_dead_does_not_free_the_claim_of_its_successor(two, clock) -> None:
    first, second = two
    first.take("s")
    clock.now += 61
    second.take("s")
    first.release("s")
    assert second.is_mine("s")


def test_an_interrupted_start_is_no_try(two) -> None:
    first, _ = two
    for _ in range(3):
        first.take("s")
        first.release("s", counts=False)
    assert first.tries("s") == 0
    first.take("s")
    first.release("s")
    assert first.tries("s") == 1


def test_the_claims_of_a_dead_process_are_freed_at_once(tmp_path) -> None:
    mine = Claims(tmp_path)
    mine.take("s")
    mine.bury(-5)
    assert mine.is_mine("s")
    mine.bury(int(mine.worker.split("-")[-2]))
    assert Claims(tmp_path, worker="other").take("s")


def test_held_says_whose_worker_lives(two, clock) -> None:
    first, second = two
    first.take("old")
    clock.now += 61
    second.take("new")
    assert first.held() == {"old": False, "new": True}


def test_signs_of_life_are_given_while_work_goes_on(tmp_path) -> None:
    import os
    import time

    claims = Claims(tmp_path, stale_after=0.4)
    claims.take("s")
    with claims.holding("s"):
        os.utime(tmp_path / "s", (0, 0))
        limit = time.monotonic() + 10
        while claims.is_stale(tmp_path / "s") and time.monotonic() < limit:
            time.sleep(0.02)
        assert not claims.is_stale(tmp_path / "s")
