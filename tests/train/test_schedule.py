from __future__ import annotations

import time
from dataclasses import replace

import pytest

from mobilesam.errors import SettingsError
from mobilesam.train.config import TrainRecipe
from mobilesam.train.photo_config import PromptConfig
from mobilesam.train.run_config import PhaseConfig, RunConfig
from mobilesam.train.schedule import Schedule, Stopwatch

PHASES = (
    PhaseConfig(until=0.25, sides=(256, 320), side_weights=(0.8, 0.2), round_weights=(1.0,)),
    PhaseConfig(until=1.0, sides=(384,), object_crop_probability=0.5),
)


def schedule(run: RunConfig, phases: tuple[PhaseConfig, ...] = PHASES, wall: float = 0.0) -> Schedule:
    recipe = TrainRecipe(run=run, phases=phases, prompts=PromptConfig(round_weights=(0.0, 0.0, 1.0)))
    return Schedule(recipe, phases, 512, Stopwatch(wall=wall))


def test_only_what_lies_between_resume_and_the_steps_end_counts() -> None:
    clock = Stopwatch(wall=10.0, waiting=1.0)
    time.sleep(0.02)
    clock.resume()
    clock.data_arrived()
    clock.step_ended()
    assert 10 <= clock.wall < 10.02
    assert 1 <= clock.waiting <= clock.wall


def test_in_steps_every_batch_has_the_side_and_rounds_of_its_phase_whoever_asks_when() -> None:
    run = RunConfig(steps=400, accumulate=2, seed=3)
    first, resumed = schedule(run), schedule(run)
    resumed.advance(150)
    asked = [first.ask(number) for number in range(800)]
    assert asked == [resumed.ask(number) for number in range(800)]
    early, late = asked[:200], asked[200:]
    assert {crops for _, crops in early} == {None}
    assert set(late) == {(384, 0.5)}
    assert 0.7 < [side for side, _ in early].count(256) / 200 < 0.9
    assert {first.rounds(n) for n in range(200)} == {1}
    assert {first.rounds(n) for n in range(200, 800)} == {3}
    assert asked != [schedule(replace(run, seed=4)).ask(n) for n in range(800)]


def test_by_the_clock_the_phase_follows_the_seconds_of_training() -> None:
    by_clock = schedule(RunConfig(minutes=1))
    assert by_clock.ask(1_000_000)[0] in (256, 320)
    by_clock.clock.wall = 30.0
    by_clock.advance(7)
    assert by_clock.progress == 0.5
    assert by_clock.ask(0) == (384, 0.5)
    by_clock.clock.wall = 60.0
    by_clock.advance(8)
    assert by_clock.is_over


def test_a_resumed_clock_goes_on_where_it_was() -> None:
    assert schedule(RunConfig(minutes=1), wall=45.0).progress == 0.75


def test_without_phases_every_batch_has_the_models_side() -> None:
    assert schedule(RunConfig(steps=10), ()).ask(3) == (512, None)


def test_a_run_must_know_how_long_it_is() -> None:
    with pytest.raises(SettingsError, match=r"set run\.steps or run\.minutes"):
        schedule(RunConfig())
    with pytest.raises(SettingsError, match="both say how long"):
        RunConfig(steps=3, minutes=1.0)


def test_phases_in_the_wrong_order_and_weights_that_do_not_fit_are_refused() -> None:
    with pytest.raises(SettingsError, match="until must not fall"):
        TrainRecipe(phases=PHASES[::-1])
    with pytest.raises(SettingsError, match="one weight for each of the 2 sides, found 1"):
        PhaseConfig(sides=(256, 320), side_weights=(1.0,))
