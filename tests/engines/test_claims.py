from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from benchmarks.scale_simulation import simulate
from mobilesam.engines import claims
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
    assert not second.take("s")  # from here on it is watched
    clock.now += 59
    assert not second.take("s")
    first.beat("s")
    clock.now += 59
    assert not second.take("s")
    assert not second.take("s")  # it has moved, so this is the first look of another watch
    clock.now += 59
    assert not second.take("s")
    clock.now += 2
    assert second.take("s")
    assert not first.take("s")
    assert (first.is_mine("s"), second.is_mine("s"), second.tries("s")) == (False, True, 2)


def test_a_worker_that_was_thought_dead_does_not_free_the_claim_of_its_successor(two, clock) -> None:
    first, second = two
    first.take("s")
    second.take("s")
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


@pytest.mark.parametrize("skew", [-7200, 7200])
def test_a_living_claim_of_a_machine_whose_clock_is_wrong_is_never_taken_over(
    skew, two, clock, tmp_path, monkeypatch
) -> None:
    first, second = Claims(tmp_path, lambda: clock.now + skew), two[1]
    now = time.time_ns()
    monkeypatch.setattr(claims.time, "time_ns", lambda: now + int((skew + clock.now) * 1e9))
    first.take("s")
    for _ in range(100):
        clock.now += 10
        first.beat("s")
        assert not second.take("s")
    assert first.is_mine("s")


@pytest.mark.parametrize("skew", [-7200, 7200])
def test_a_dead_claim_of_a_machine_whose_clock_is_wrong_is_taken_over(skew, two, clock, tmp_path) -> None:
    first, second = two
    first.take("s")
    os.utime(tmp_path / "s", (time.time() + skew,) * 2)
    assert not second.take("s")
    clock.now += 61
    assert second.take("s")


def test_held_says_whose_worker_seems_to_live(two, tmp_path) -> None:
    first, second = two
    first.take("old")
    os.utime(tmp_path / "old", (time.time() - 61,) * 2)
    second.take("new")
    assert first.held() == {"old": False, "new": True}


@pytest.mark.skipif(not Path("/proc/self/ns/pid").exists(), reason="containers of Linux")
@pytest.mark.parametrize("other", ["boot", "container"])
def test_process_numbers_of_another_container_or_start_of_the_machine_mean_nothing_here(
    other, tmp_path, monkeypatch
) -> None:
    """Containers of a pod, or of one image, can share the host name; nobody here has the number of the first one."""
    with monkeypatch.context() as there:
        if other == "container":
            there.setattr(claims.os, "readlink", lambda _: "pid:[1]")
        else:
            there.setattr(claims.Path, "read_text", lambda *_: "0123456789abcdef\n")
        there.setattr(claims.os, "getpid", lambda: 2**22 + 5)  # above the largest number there can be
        first = Claims(tmp_path)
    first.take("s")
    assert not Claims(tmp_path).take("s")
    monkeypatch.setattr(claims.os, "getpid", lambda: 2**22 + 5)
    Claims(tmp_path).take("here")
    assert Claims(tmp_path).take("here")


def test_signs_of_life_are_given_while_work_goes_on(tmp_path) -> None:
    held, watcher = (Claims(tmp_path, stale_after=0.4) for _ in range(2))
    held.take("s")
    with held.holding("s"):
        limit = time.monotonic() + 1.2
        while time.monotonic() < limit:
            assert not watcher.take("s")
            time.sleep(0.02)


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


def test_claims_that_stand_still_stay_watched_and_those_that_move_make_room_for_others(two, clock) -> None:
    """Eight of forty are looked at first, at random; a few looks later the one dead worker is found."""
    first, second = two
    for name in NAMES[:40]:
        first.take(name)
    found: list[int] = []
    for _ in range(40):
        found += second.choose(NAMES, list(range(40)))
        clock.now += 15
        for name in NAMES[1:40]:
            first.beat(name)
        assert len(second.still) <= 32
    assert set(found) == {0}


def test_pauses_grow_up_to_half_of_what_makes_a_claim_stale() -> None:
    pauses = Pauses()
    assert [pauses.next() for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]


def test_the_simulation_of_many_workers_finishes_all_but_what_kills_every_worker(tmp_path) -> None:
    """The real claims on a fake clock: a deadly shard is begun three times, set aside, and nothing of it stays."""
    found = simulate(12, 40, 150.0, 50.0, 60.0, 2, tmp_path)
    assert (found["aside"], found["left"], found["twice"]) == (2, 0, 0)
    assert found["deaths"] >= 6
    assert len(list((tmp_path / "done").iterdir())) == len(list((tmp_path / "shards").iterdir())) == 38
    assert len(list((tmp_path / "failed").iterdir())) == 2
