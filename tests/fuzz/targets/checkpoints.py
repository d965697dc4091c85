"""Checkpoints and states of training runs."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from tests.fuzz.targets.common import SilentError, write


@cache
def checkpoints() -> list[bytes]:
    """The smallest network as .safetensors and as .pt; each after a line with its suffix."""
    from tempfile import TemporaryDirectory

    import torch

    from mobilesam.model import checkpoint

    with TemporaryDirectory() as folder:
        path = Path(folder) / "t.safetensors"
        checkpoint.save(network(), path)
        torch.save(network().state_dict(), path.with_suffix(".pt"))
        return [suffix + b"\n" + path.with_suffix(suffix.decode()).read_bytes() for suffix in (b".safetensors", b".pt")]


def network() -> Any:
    """The smallest network, with random weights."""
    import torch

    from mobilesam.model.config import CONFIGS
    from mobilesam.model.sam import Sam

    torch.set_num_threads(1)
    torch.manual_seed(0)
    return Sam(CONFIGS["tiny"])


def checkpoint(data: bytes, folder: Path) -> None:
    """A checkpoint; where it loads, it must hold the same weights."""
    from mobilesam.model import checkpoint as files
    from mobilesam.model.state_dict import digest

    suffix, _, content = data.partition(b"\n")
    loaded = files.load(write(folder / f"c{suffix.decode()}", content))
    if digest(loaded.state_dict()) != original_weights():
        raise SilentError("other weights")


@cache
def configs() -> list[bytes]:
    """`config.json` of a small `SamModel` of transformers, and the index of weights in parts."""
    text = (Path(__file__).parents[2] / "golden" / "sam_model.json").read_text(encoding="utf-8")
    golden = json.loads(text)
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    ours = {"model_type": "mobilesam", "mobilesam_config": network().config.to_dict()}
    return [json.dumps(one).encode() for one in (golden["config"], index, ours)]


def config(data: bytes, folder: Path) -> None:
    """A folder's `config.json`, or the index of its parts; no name of a part may lead out of the folder."""
    from mobilesam.model.hub_folder import configuration
    from mobilesam.model_folder import parts_of, read_config

    path = write(folder / "config.json", data)
    if b"weight_map" in data:
        if any("/" in name or name in ("", "..") for name in parts_of(path)):
            raise SilentError("a part outside of the folder")
        return
    configuration(read_config(folder), folder)


@cache
def original_weights() -> str:
    """Checksum of the weights of `network`."""
    from mobilesam.model.state_dict import digest

    return digest(network().state_dict())


@cache
def states() -> list[bytes]:
    """The state of a training run."""
    from tempfile import TemporaryDirectory

    from mobilesam.train import state

    with TemporaryDirectory() as folder:
        state.save(Path(folder), *trained(), 3)
        return [(Path(folder) / state.STATE_FILE).read_bytes()]


def trained() -> tuple[Any, Any]:
    """A network with its optimizer, and the recipe."""
    from mobilesam.recipe import from_dict
    from mobilesam.train.config import TrainRecipe
    from mobilesam.train.optim import Ema, build_optimizer
    from mobilesam.train.schedule import Stopwatch
    from mobilesam.train.state import Trained

    made = from_dict(TrainRecipe, {"model": "tiny", "data": {"shards": ["a.tar"]}, "run": {"steps": 1}})
    model = network()
    return Trained(model, build_optimizer(model, made.optim), Ema(model, 0.9), Stopwatch()), made


def state(data: bytes, folder: Path) -> None:
    """A run is resumed; where its state is accepted, the weights must be those that were saved."""
    from mobilesam.model.state_dict import digest
    from mobilesam.train import state as states_of_runs

    write(folder / states_of_runs.STATE_FILE, data)
    run = trained()[0]
    states_of_runs.restore(folder, run)
    if digest(run.model.state_dict()) != original_weights():
        raise SilentError("other weights")
