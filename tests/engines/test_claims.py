from __future__ import annotations

from pathlib import Path

import pytest

from mobilesam.engines.claims import Claims, Pauses


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


def test_the_claim_of_a_process_of_this_machine_that_died_is_free_at_once(tmp_path) -> None:
    import subprocess
    import sys

    code = "import sys; from pathlib import Path; from mobilesam.engines.claims import Claims\n"
    code += "print(Claims(Path(sys.argv[1])).take('s'))"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
    assert Claims(tmp_path).held() == {"s": False}
    assert Claims(tmp_path).take("s")


def test_the_claim_of_another_machine_is_not_judged_by_process_numbers(tmp_path) -> None:
    Claims(tmp_path, worker="elsewhere-999999-0123").take("s")
    assert not Claims(tmp_path).take("s")


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


NAMES = [f"s{i}" for i in range(640)]


def test_workers_try_different_shards(tmp_path) -> None:
    todo = list(range(640))
    one, two = (set(Claims(tmp_path).choose(NAMES, todo)) for _ in range(2))
    assert len(one) == len(two) == 64
    assert len(one & two) < 32
    assert sorted(Claims(tmp_path).choose(NAMES, todo[:3])) == todo[:3]


def test_held_shards_are_tried_only_when_no_other_is_left_and_only_the_stale_ones(two, clock) -> None:
    first, second = two
    first.take("s0")
    assert list(second.choose(NAMES, [0, 1])) == [1]
    assert list(second.choose(NAMES, [0])) == []
    clock.now += 61
    assert list(second.choose(NAMES, [0])) == [0]


def test_pauses_grow_up_to_half_of_what_makes_a_claim_stale() -> None:
    pauses = Pauses()
    assert [pauses.next() for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
