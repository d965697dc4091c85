"""Twenty `kill -9` at random moments: what is left, continued, is what an undisturbed run leaves, to the bit."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mobilesam.distill.run import distill
from mobilesam.shards import worker
from tests.helpers.distilling import embed_here, store_bytes

KILLS = 10  # of each of the two stages


@pytest.fixture(scope="module")
def context() -> Any:
    """Processes that start with everything imported, so that kills fall into work and not into imports."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mobilesam.distill.run", "tests.helpers.distilling"])
    return context


def run_whole(context: Any, target: Callable[..., Any], recipe: Any, **kwargs: Any) -> float:
    """Seconds of an undisturbed process."""
    start = time.perf_counter()
    process = context.Process(target=target, args=(recipe,), kwargs=kwargs)
    process.start()
    process.join()
    assert process.exitcode == 0
    return time.perf_counter() - start


def run_killed(context: Any, delay: float, target: Callable[..., Any], recipe: Any, **kwargs: Any) -> None:
    """Kill the process after a while, unless it is done by then."""
    process = context.Process(target=target, args=(recipe,), kwargs=kwargs)
    process.start()
    process.join(delay)
    process.kill()
    process.join()


def embed_often(recipe: Any) -> None:
    """Embed, without setting a shard aside whose workers died three times."""
    worker.MAX_TRIES = 2 * KILLS
    embed_here(recipe)


def test_killed_again_and_again_store_and_weights_end_bit_identical(context, recipes, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole, killed, timed = (
        recipes(
            name,
            store={"path": str(tmp_path / f"{name}-store"), "views": 6, "shard_photos": 2},
            teacher={"batch_size": 1},
        )
        for name in ("whole", "killed", "timed")
    )
    run_whole(context, embed_often, whole)  # the first start pays for the imports
    seconds = run_whole(context, embed_often, timed)
    for _ in range(KILLS):
        run_killed(context, rng.uniform(0, seconds), embed_often, killed)
    run_whole(context, embed_often, killed)
    assert store_bytes(tmp_path / "whole-store") == store_bytes(tmp_path / "killed-store")

    seconds = run_whole(context, distill, whole, show_progress=False)
    folder = tmp_path / "killed"
    for _ in range(KILLS):
        run_killed(context, rng.uniform(0, seconds), distill, killed, resume=folder.exists(), show_progress=False)
    run_whole(context, distill, killed, resume=folder.exists(), show_progress=False)
    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "killed")]
    assert weights[0] == weights[1]
    states = [torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("whole", "killed")]
    for key, value in states[0]["model"].items():
        assert torch.equal(value, states[1]["model"][key]), key
