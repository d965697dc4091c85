from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from mobilesam import processor
from mobilesam.errors import MissingExtraError, MobileSamError, ModelError, SettingsError
from mobilesam.model import checkpoint
from mobilesam.train import devices, memory, state
from mobilesam.train.config import TrainRecipe
from mobilesam.train.devices import count_processes, own_error, share
from mobilesam.train.learning_config import OptimConfig
from mobilesam.train.loop import fit
from mobilesam.train.run_config import RunConfig, TrainPrecision
from mobilesam.train.supervised import supervised_job
from tests.helpers.training import recipe, train


def test_auto_is_a_process_to_a_thread_where_batch_statistics_are_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
    assert count_processes(RunConfig(batch_size=12), batch_statistics_are_frozen=True) == 6
    assert count_processes(RunConfig(batch_size=16), batch_statistics_are_frozen=True) == 4
    assert count_processes(RunConfig(batch_size=16), batch_statistics_are_frozen=False) == 1
    assert count_processes(RunConfig(batch_size=16, devices=2), batch_statistics_are_frozen=False) == 2


def test_a_cpu_without_bfloat16_trains_in_float32(
    monkeypatch: pytest.MonkeyPatch, shard: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted: tuple[TrainPrecision, ...] = ("32-true", "bf16-mixed", "16-mixed")
    monkeypatch.setattr(devices, "has_bfloat16", lambda: True)
    assert [devices.precision_here(precision, on_cpu=True) for precision in wanted] == list(wanted)
    monkeypatch.setattr(devices, "has_bfloat16", lambda: False)
    assert [devices.precision_here(precision, on_cpu=True) for precision in wanted] == [
        "32-true",
        "32-true",
        "16-mixed",
    ]
    assert devices.precision_here("bf16-mixed", on_cpu=False) == "bf16-mixed"
    plain = recipe(shard, tmp_path / "plain", steps=2)
    mixed = recipe(shard, tmp_path / "mixed", steps=2)
    mixed = replace(mixed, run=replace(mixed.run, precision="bf16-mixed"))
    weights = [fit(r, partial(supervised_job, r)).read_bytes() for r in (plain, mixed)]
    assert weights[0] == weights[1]
    assert capsys.readouterr().out.count("torch has no fast bfloat16 on this processor; training in float32") == 1
    recorded = [json.loads((tmp_path / name / "recipe.json").read_text()) for name in ("plain", "mixed")]
    assert [(one["precision"], one["recipe"]["run"]["precision"]) for one in recorded] == [
        ("32-true", "32-true"),
        ("32-true", "bf16-mixed"),
    ]
    assert recorded[0]["machine"].startswith(processor.describe())


def test_under_torchrun_it_is_as_many_as_torchrun_has_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchrun leaves each process one thread, of which "auto" would make one process."""
    asked: list[int] = []

    class NoFabric:
        def launch(self) -> None:
            pass

    def note(_: RunConfig, processes: int, *_rest: object) -> NoFabric:
        asked.append(processes)
        return NoFabric()

    monkeypatch.setattr(devices, "make_fabric", note)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    run = RunConfig(batch_size=12, accelerator="cpu")
    assert devices.start(TrainRecipe(run=run, optim=OptimConfig(freeze_batch_norm=True)), lambda _: "done") == "done"
    assert asked == [3]


def test_a_batch_that_does_not_divide_is_refused() -> None:
    assert share(8, 2) == 4
    with pytest.raises(SettingsError, match="multiple of 3"):
        share(8, 3)
    with pytest.raises(SettingsError, match="auto"):
        RunConfig(devices="many")


def test_two_processes_started_from_python_share_every_step(shard: Path, tmp_path: Path) -> None:
    """The photos are those of one process; the prompts are drawn by each, so the weights only nearly agree."""
    one = recipe(shard, tmp_path / "one", steps=3)
    one = replace(one, optim=OptimConfig(freeze_batch_norm=True, warmup_steps=2))
    two = replace(one, run=replace(one.run, output=str(tmp_path / "two"), devices=2))
    fit(two, partial(supervised_job, two), show_progress=False)
    a, b = (checkpoint.load(p).state_dict() for p in (train(one), tmp_path / "two" / "weights.safetensors"))
    for key, value in a.items():
        torch.testing.assert_close(b[key], value, rtol=0.05, atol=5e-3)
    resumed = replace(two, run=replace(two.run, steps=5))
    fit(resumed, partial(supervised_job, resumed), resume=True, show_progress=False)
    assert torch.load(tmp_path / "two" / "state.pt", weights_only=True)["step"] == 5


def test_an_error_in_a_process_arrives_as_itself(shard: Path, tmp_path: Path) -> None:
    broken = recipe(shard, tmp_path / "run")
    broken = replace(broken, freeze=("tail",), run=replace(broken.run, devices=2))
    with pytest.raises(SettingsError, match="freeze names 'tail', which begins no parameter's name") as caught:
        fit(broken, partial(supervised_job, broken), show_progress=False)
    assert "Traceback" not in str(caught.value)


ORPHAN = """
import os, signal, sys, time
from mobilesam.train.devices import end_with_parent
if os.fork() == 0:
    end_with_parent(every=0.01)
    print(os.getpid(), flush=True)
    time.sleep(60)
time.sleep(60)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_ends_when_the_one_that_started_it_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", ORPHAN], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        int(parent.stdout.readline())
        parent.kill()
        assert parent.stdout.read() == "", "its end of the pipe closes when the child has ended"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("mobilesam.errors.ModelError: no good;\ntwo lines", ModelError),
        ("mobilesam.errors.MissingExtraError: install it", MobileSamError),
    ],
)
def test_errors_are_read_from_the_traceback(text: str, kind: type[Exception]) -> None:
    error = own_error(RuntimeError(f"-- Process 1 --\nTraceback:\n{text}\n"))
    assert type(error) is kind
    assert not isinstance(error, MissingExtraError)
    assert str(error) == text.split(": ", 1)[1]


def test_a_run_on_a_gpu_names_it_and_logs_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two calls of torch are stood in for: what they give on a GPU is in docs/training.md."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"card of {device}")
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 17_000_000_000)
    gpu, cpu = torch.device("cuda", 1), torch.device("cpu")
    assert (state.gpu(gpu), state.gpu(cpu)) == (", card of cuda:1", "")
    assert (memory.peak(gpu), memory.peak(cpu)) == ({"gpu_memory_gb": 17.0}, {})
