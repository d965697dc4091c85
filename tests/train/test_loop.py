from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric

from mobilesam import processes
from mobilesam.errors import ModelError, OutOfMemoryError, OutputError, SettingsError
from mobilesam.model import checkpoint
from mobilesam.model.config import TINY
from mobilesam.model.sam import Sam
from mobilesam.recipe import load_recipe
from mobilesam.train import state
from mobilesam.train.config import TrainRecipe
from mobilesam.train.interactive import StepResult
from mobilesam.train.learning_config import OptimConfig
from mobilesam.train.loop import Runner, is_guarded, make_draws
from mobilesam.train.optim import Ema, Guard, build_optimizer
from mobilesam.train.run_config import PhaseConfig, RunConfig
from mobilesam.train.schedule import Schedule, Stopwatch
from mobilesam.train.supervised import SupervisedStep
from tests.helpers.scenes import save_picture
from tests.helpers.training import phased, recipe, train

ROOT = Path(__file__).parents[2]


SIGNALLED_RUN = """
import os, signal, sys
from pathlib import Path
from mobilesam.train import loop
from tests.helpers.training import phased, recipe, train

original = loop.learning_rate
def lethal(step, steps, config):
    if step == 7:  # after the checkpoint of step 6, in the middle of the next three
        os.kill(os.getpid(), signal.{signal})
    return original(step, steps, config)

loop.learning_rate = lethal
train(phased(recipe(Path({shard!r}), Path({output!r}))))
"""


def run_signalled(shard: Path, output: Path, name: str) -> int:
    """Train in a process that sends itself a signal in step 7; its exit code."""
    code = SIGNALLED_RUN.format(shard=str(shard), output=str(output), signal=name)
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ | threads, check=False).returncode


def steps_done(run: Path) -> int:
    return int(torch.load(run / "state.pt", weights_only=True)["step"])


def check_bit_identical(run: Path, other: Path) -> None:
    """The same weights, and the same state to go on from."""
    a, b = (checkpoint.load(folder / "weights.safetensors").state_dict() for folder in (run, other))
    assert all(torch.equal(a[key], b[key]) for key in a)
    states = [torch.load(folder / "state.pt", weights_only=True)["model"] for folder in (run, other)]
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]), key


def test_a_run_killed_and_resumed_ends_bit_identical(shard: Path, tmp_path: Path) -> None:
    train(phased(recipe(shard, tmp_path / "whole")))
    assert run_signalled(shard, tmp_path / "killed", "SIGKILL") == -signal.SIGKILL
    assert steps_done(tmp_path / "killed") == 6
    train(phased(recipe(shard, tmp_path / "killed")), resume=True)
    check_bit_identical(tmp_path / "whole", tmp_path / "killed")


def test_sigterm_ends_a_run_after_its_step_with_a_checkpoint(shard: Path, tmp_path: Path) -> None:
    train(phased(recipe(shard, tmp_path / "whole")))
    assert run_signalled(shard, tmp_path / "ended", "SIGTERM") == processes.TERMINATED
    assert steps_done(tmp_path / "ended") == 8  # the eighth is step 7, since they count from 0
    train(phased(recipe(shard, tmp_path / "ended")), resume=True)
    check_bit_identical(tmp_path / "whole", tmp_path / "ended")


def test_a_run_by_the_clock_goes_on_at_the_progress_it_had(
    shard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every step takes ten seconds of a clock of this test's."""
    sides: list[int] = []

    def ten_seconds(clock: Stopwatch) -> None:
        clock.wall += 10

    def note(self: SupervisedStep, images: torch.Tensor) -> torch.Tensor:
        sides.append(images.shape[-1])
        if len(sides) == 5:
            raise KeyboardInterrupt
        return original(self, images)

    original = SupervisedStep.encode
    monkeypatch.setattr(Stopwatch, "step_ended", ten_seconds)
    monkeypatch.setattr(SupervisedStep, "encode", note)
    by_clock = recipe(shard, tmp_path / "run", steps=0)
    run = replace(by_clock.run, minutes=1.0, checkpoint_every=2)
    phases = (PhaseConfig(until=0.5, sides=(64,)), PhaseConfig(sides=(256,)))
    by_clock = replace(by_clock, model="tiny_lite", run=run, phases=phases)
    with pytest.raises(KeyboardInterrupt):
        train(by_clock)
    train(by_clock, resume=True)
    # Steps 0 to 3, the interrupted 4, and 4 and 5 again: by the clock 40 s lay behind.
    assert sides == [64, 64, 64, 256, 256, 256, 256]
    assert torch.load(tmp_path / "run" / "state.pt", weights_only=True)["clock"][0] == 60


def test_running_out_of_memory_is_not_called_a_bad_gradient(
    shard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Fabric, "clip_gradients", no_memory)
    with pytest.raises(OutOfMemoryError, match="CUDA out of memory"):
        train(recipe(shard, tmp_path / "run"))


def test_a_gradient_that_is_not_finite_stops_a_run_on_a_cpu_and_names_the_photos(
    shard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Fabric, "clip_gradients", lambda *_, **__: torch.tensor(torch.nan))
    with pytest.raises(ModelError, match=r"gradient is NaN or infinite at step 0, photos synthetic/photo_\d+"):
        train(recipe(shard, tmp_path / "run"))


def test_training_learns_the_synthetic_scene(shard: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(recipe(shard, tmp_path / "run", steps=60))
    events = EventAccumulator(str(tmp_path / "run" / "logs"))
    events.Reload()
    losses = [e.value for e in events.Scalars("loss")]
    assert set(events.Tags()["scalars"]) == {
        "loss",
        "iou",
        "lr",
        "photos_per_second",
        "waiting",
        "validation/box_iou",
        "validation/click_iou",
    }
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_the_resolved_recipe_and_versions_are_saved_beside_the_weights(shard: Path, tmp_path: Path) -> None:
    train(recipe(shard, tmp_path / "run", steps=1))
    record = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert record["recipe"]["optim"]["weight_decay"] == OptimConfig().weight_decay
    assert record["data"] == "11 photos"  # the twelfth is held out
    assert record["versions"]["torch"] in (torch.__version__, torch.__version__.split("+")[0])


def test_a_run_starts_from_a_checkpoint(shard: Path, tmp_path: Path, tiny_checkpoint: Path) -> None:
    started = replace(recipe(shard, tmp_path / "run", steps=1), start_from=str(tiny_checkpoint))
    tuned = checkpoint.load(train(replace(started, optim=OptimConfig(lr=1e-9))))
    for key, value in checkpoint.load(tiny_checkpoint).named_parameters():
        torch.testing.assert_close(dict(tuned.named_parameters())[key], value, atol=1e-4, rtol=1e-3)


def test_the_recipe_of_the_score_head_changes_no_other_weight_and_so_no_mask(
    shard: Path, tmp_path: Path, tiny_checkpoint: Path
) -> None:
    published = load_recipe(TrainRecipe, ROOT / "recipes" / "embedded_score.toml")
    small = replace(recipe(shard, tmp_path / "run", steps=2), start_from=str(tiny_checkpoint))
    before = checkpoint.load(tiny_checkpoint).state_dict()
    after = checkpoint.load(train(replace(small, freeze=published.freeze, loss=published.loss))).state_dict()
    changed = {key for key, value in before.items() if not torch.equal(value, after[key])}
    assert {key.rsplit(".layers.", 1)[0] for key in changed} == {"mask_decoder.iou_prediction_head"}


def test_an_existing_run_is_not_overwritten_and_a_missing_one_not_resumed(shard: Path, tmp_path: Path) -> None:
    train(recipe(shard, tmp_path / "run", steps=1))
    with pytest.raises(SettingsError, match="--resume"):
        train(recipe(shard, tmp_path / "run", steps=1))
    with pytest.raises(SettingsError, match="nothing to resume"):
        train(recipe(shard, tmp_path / "none"), resume=True)


@pytest.mark.parametrize("content", [b"no pickle at all", b"\x80\x02}q\x00.", b""])
def test_a_damaged_checkpoint_is_named(shard: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "state.pt").write_bytes(content)
    with pytest.raises(ModelError, match=r"state\.pt: not a checkpoint of this recipe"):
        train(recipe(shard, tmp_path / "run"), resume=True)


def test_a_checkpoint_of_another_model_is_not_resumed(shard: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    torch.save({"step": 1, "model": {}}, tmp_path / "run" / "state.pt")
    with pytest.raises(ModelError, match="not a checkpoint of this recipe"):
        train(recipe(shard, tmp_path / "run"), resume=True)


def trained(optim: OptimConfig, *, fused: bool = False) -> state.Trained:
    torch.manual_seed(0)
    model = Sam(TINY)
    return state.Trained(model, build_optimizer(model, optim, fused=fused), Ema(model, 0.9), Stopwatch())


def take_step(one: state.Trained) -> None:
    for number, parameter in enumerate(one.model.parameters()):
        parameter.grad = torch.full_like(parameter, 1e-3 * (1 + number))
    one.optimizer.step()


def test_a_resumed_run_has_its_own_kernel_rates_and_decay_and_the_moments_of_before(tmp_path: Path) -> None:
    """As a run of a CPU goes on on a GPU. The other scale puts the groups in another order."""
    old = OptimConfig(lr_scale={"image_encoder": 0.25})
    new = OptimConfig(lr_scale={"image_encoder": 2.0, "mask_decoder": 0.5}, weight_decay=0.2)
    before, after = trained(old), trained(new, fused=True)
    take_step(before)
    state.save(tmp_path, before, TrainRecipe(optim=old), step=1)
    assert state.restore(tmp_path, after) == 1
    groups = after.optimizer.param_groups
    assert {group["lr_scale"] for group in groups} == {0.5, 1.0, 2.0}
    assert {group["weight_decay"] for group in groups} == {0.0, 0.2}
    assert all(group["fused"] for group in groups)
    for a, b in zip(before.model.parameters(), after.model.parameters(), strict=True):
        for key, value in before.optimizer.state[a].items():
            assert torch.equal(value, after.optimizer.state[b][key]), key
    guard = Guard(after.optimizer, torch.device("cpu"))
    guard.watch(torch.tensor(torch.nan))
    take_step(after)  # left out, which only a fused optimizer can
    assert torch.equal(next(after.model.parameters()), next(before.model.parameters()))


def test_only_an_optimizer_that_fabric_can_clip_is_fused() -> None:
    precisions = ("32-true", "bf16-mixed", "16-mixed")
    recipes = [TrainRecipe(run=RunConfig(steps=1, precision=precision)) for precision in precisions]
    assert [is_guarded(torch.device("cuda"), r) for r in recipes] == [True, True, False]
    assert not any(is_guarded(torch.device("cpu"), r) for r in recipes)


def test_with_a_guard_a_run_ends_when_every_step_was_left_out_and_not_for_one_loss(tmp_path: Path) -> None:
    one, settings = trained(OptimConfig(), fused=True), TrainRecipe(run=RunConfig(steps=9, log_every=3))
    schedule = Schedule(settings, (), 64, one.clock)
    runner = Runner(Fabric(accelerator="cpu", devices=1), one.model, one, settings, schedule)
    bad, good = StepResult(torch.tensor(torch.nan), {}), StepResult(torch.tensor(1.0), {})
    with pytest.raises(ModelError, match="NaN or infinite at step 2"):
        runner.check(bad, 3)
    runner.guard = Guard(one.optimizer, torch.device("cpu"))
    for _ in range(2):
        runner.guard.watch(torch.tensor(torch.nan))
    runner.check(bad, 3)
    runner.guard.watch(torch.tensor(torch.nan))
    with pytest.raises(ModelError, match="NaN or infinite at step 2"):
        runner.check(good, 3)


class Watched(torch.Tensor):
    """A loss that notes when it is read: that is when a GPU is waited for."""

    events: ClassVar[list[str]] = []

    def item(self) -> float:
        self.events.append("read")
        return float(super().item())


def test_the_device_is_waited_for_before_the_clock_stops(
    shard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, step = Watched.events, Runner.step

    def watched(self: Runner, *arguments: Any) -> tuple[StepResult, float]:
        result, rate = step(self, *arguments)
        return StepResult(result.loss.detach().as_subclass(Watched), result.numbers), rate

    events.clear()
    monkeypatch.setattr(Runner, "step", watched)
    monkeypatch.setattr(Stopwatch, "step_ended", lambda _: events.append("end"))
    plain = recipe(shard, tmp_path / "run", steps=5)  # numbers every 2, a checkpoint after 3
    train(replace(plain, validation=replace(plain.validation, photos=0)))
    assert events == ["end", "read", "end", "read", "read", "end", "read", "end", "read", "read", "end", "read"]


def test_wrong_settings_fail_before_any_photo_is_read(
    shard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mobilesam.train.supervised.find_photos", lambda _: pytest.fail("the photos were read"))
    plain = recipe(shard, tmp_path / "run")
    with pytest.raises(SettingsError, match=r"'model' must be one of tiny, .*, found 'giant'"):
        replace(plain, model="giant")
    with pytest.raises(SettingsError, match=r"set run\.steps or run\.minutes"):
        train(replace(plain, run=replace(plain.run, steps=0)))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has a total capacity of ..."
        ),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] . DefaultCPUAllocator: can't allocate memory: you tried ..."),
        RuntimeError("MPS backend out of memory (MPS allocated: 2.00 GB, other allocations: 1.00 GB)"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError("Unable to allocate 3.00 GiB for an array"),
    ],
)
def test_out_of_memory_says_what_to_lower(
    shard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*_: Any) -> None:
        raise error

    monkeypatch.setattr(Runner, "step", full)
    with pytest.raises(OutOfMemoryError) as caught:
        train(recipe(shard, tmp_path / "run"))
    message = str(caught.value)
    assert str(error).splitlines()[0] in message
    assert "lower run.batch_size (now 4)" in message
    assert "run.accumulate" in message
    assert "image_size" in message
    assert "optim.lr" not in message
    assert "total capacity" not in message


def test_any_other_runtime_error_passes_through(shard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(Runner, "step", broken)
    with pytest.raises(RuntimeError, match=r"^shapes do not match$"):
        train(recipe(shard, tmp_path / "run"))


def test_a_run_killed_before_its_first_checkpoint_starts_anew(shard: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "history.jsonl").write_text('{"step": 2, "loss": 1.0}\n')
    train(recipe(shard, tmp_path / "run", steps=2), resume=True)
    steps = [json.loads(line)["step"] for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    assert steps == [0, 2, 2]  # the first look, the log line, the last look


def test_a_kill_between_the_two_files_of_the_last_checkpoint_costs_nothing(
    shard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(recipe(shard, tmp_path / "whole", steps=6)).read_bytes()
    interrupted = recipe(shard, tmp_path / "run", steps=6)
    writes = itertools.count(1)

    def fourth_fails(original: Any) -> Any:
        def write(*arguments: Any, **options: Any) -> Any:
            if next(writes) == 4:  # two checkpoints of two files: the second file of the last
                raise KeyboardInterrupt
            return original(*arguments, **options)

        return write

    with monkeypatch.context() as patch:
        patch.setattr(state, "describe", lambda *_: None)
        patch.setattr(state, "replacing", fourth_fails(state.replacing))
        patch.setattr(state.checkpoint, "save", fourth_fails(state.checkpoint.save))
        with pytest.raises(KeyboardInterrupt):
            train(interrupted)
    assert train(interrupted, resume=True).read_bytes() == whole


def test_a_run_replaces_no_file_of_others(shard: Path, tmp_path: Path) -> None:
    for name in ("weights.safetensors", "recipe.json", "history.jsonl", "report.md"):
        output = tmp_path / name.replace(".", "_")
        output.mkdir()
        (output / name).write_text("{}")
        with pytest.raises(OutputError, match=name):
            train(recipe(shard, output))
        assert [p.name for p in output.iterdir()] == [name]
        assert (output / name).read_text() == "{}"


def test_overwrite_replaces_files_of_others_but_no_run_and_no_input(run, shard: Path, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(
        f'model = "tiny"\n[data]\npaths = ["{shard}"]\n'
        '[run]\nsteps = 1\nbatch_size = 1\nworkers = 0\naccelerator = "cpu"\nreport = false\n[validation]\nphotos = 0\n'
    )
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "recipe.json").write_text("{}")
    (tmp_path / "out" / "pictures").mkdir()
    (tmp_path / "out" / "pictures" / "0000001.jpg").write_bytes(b"mine")
    code, _, err = run("train", "r.toml", "-o", "out")
    assert (code, "recipe.json" in err, "--overwrite" in err) == (1, True, True)
    (tmp_path / "out" / "recipe.json").unlink()
    code, _, err = run("train", "r.toml", "-o", "out")
    assert (code, "0000001.jpg" in err) == (1, True)
    code, _, err = run("train", "r.toml", "-o", "out", "--overwrite")
    assert (code, (tmp_path / "out" / "state.pt").is_file()) == (0, True), err
    code, _, err = run("train", "r.toml", "-o", "out", "--overwrite")
    assert (code, "already holds a run" in err) == (2, True)

    # The weights that a run starts from stay, though they are ours and the folder is a run's.
    (tmp_path / "out" / "state.pt").unlink()
    before = (tmp_path / "out" / "weights.safetensors").read_bytes()
    for start in ("out", "out/weights.safetensors"):
        code, _, err = run("train", "r.toml", "-o", "out", "--set", f"start_from='{start}'", "--overwrite")
        assert (code, "would overwrite the input" in err) == (1, True), err
    assert (tmp_path / "out" / "weights.safetensors").read_bytes() == before


def test_a_run_in_a_folder_of_data_replaces_no_annotation(run, tmp_path: Path) -> None:
    for name in ("recipe", "b"):
        save_picture(tmp_path / "set" / f"{name}.jpg", np.full((40, 40, 3), 99, np.uint8))
        shape = {"label": "x", "shape_type": "polygon", "points": [[1, 1], [30, 1], [30, 30]]}
        (tmp_path / "set" / f"{name}.json").write_text(json.dumps({"shapes": [shape]}))
    before = (tmp_path / "set" / "recipe.json").read_text()
    (tmp_path / "r.toml").write_text('model = "tiny"\ndata.paths = ["set"]\nrun.steps = 1\n')
    for more in ((), ("--overwrite",)):
        code, _, err = run("train", "r.toml", "-o", "set", *more)
        assert (code, "lies in the input folder 'set'" in err) == (1, True), err
    assert (tmp_path / "set" / "recipe.json").read_text() == before


@pytest.mark.parametrize("seed", [0, 10**10, 2**63 - 1])
def test_every_seed_that_a_recipe_may_have_gives_draws_of_its_own(seed: int) -> None:
    fabric: Any = SimpleNamespace(device="cpu", global_rank=0)
    schedule: Any = SimpleNamespace(rounds=lambda number: 1)
    draws = [make_draws(given, 3, fabric, schedule) for given in (seed, seed, abs(seed - 1))]
    one, again, other = (torch.rand(4, generator=draw.own).tolist() for draw in draws)
    assert one == again != other
