"""CUDA graphs: what they need of our networks and of the code around them; no GPU is needed, nor used."""

from __future__ import annotations

import copy
import pickle
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mobilesam.model import cuda_graph
from mobilesam.model.backend import TorchBackend
from mobilesam.model.config import CONFIGS, TINY, TINY_LITE, SamConfig, ViTConfig
from mobilesam.model.cuda_graph import Function, GraphRunner, Recording, Tensors
from mobilesam.model.sam import Sam

VIT = ViTConfig(embed_dim=16, depth=2, num_heads=2, global_attention_blocks=(1,))
SMALL = {config.name: config for config in (TINY, TINY_LITE, replace(TINY, name="tiny_plain_vit", encoder=VIT))}
WAITS = ("aten.nonzero", "aten._local_scalar_dense", "aten.item", "aten.lift_fresh", "aten.masked_select")
CUDA = torch.device("cuda")


class Watch(TorchDispatchMode):
    """Lists operations that a CUDA graph cannot hold: they touch another device, or wait for a result."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device, self.found = device, list[str]()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)]
        if any(tensor.device.type != self.device for tensor in tensors) or str(function).startswith(WAITS):
            self.found.append(str(function))
        return result


def inputs(config: SamConfig, device: str) -> tuple[Tensor, Tensors]:
    """A photo that needs padding, and the decoder's inputs for one prompt."""
    side, grid = config.image_size, config.grid
    shapes = ((1, config.embed_dim, grid, grid), (1, 2, 2), (1, 2), (1, 1, 4 * grid, 4 * grid), (1,))
    return torch.zeros(1, 3, side - 3, side, device=device), tuple(torch.zeros(s, device=device) for s in shapes)


# "meta" has no values: what is made on the CPU stands out, and waiting raises. What is made of numbers of Python, then
# moved to the device, shows on the CPU only.
@pytest.mark.parametrize(
    ("name", "device"), [*((name, "meta") for name in {**CONFIGS, **SMALL}), *((name, "cpu") for name in SMALL)]
)
@torch.inference_mode()
def test_no_network_leaves_its_device_or_waits_for_a_result(name: str, device: str) -> None:
    config = {**CONFIGS, **SMALL}[name]
    with torch.device(device):
        network = Sam(config).eval()
    photo, prompt = inputs(config, device)
    with Watch(device) as watch:
        network.encode(photo)
        network.decode(*prompt)
    assert not watch.found


def test_the_watch_sees_what_a_graph_cannot_hold() -> None:
    x = torch.ones(2, device="meta")
    with Watch("meta") as watch:
        x + torch.ones(2).to("meta")
    assert watch.found
    for wrong in (lambda x: x.new_tensor([1.0, 2.0]), torch.nonzero, lambda x: x.sum().item()):
        with Watch("cpu") as watch:
            wrong(torch.ones(2))
        assert watch.found


@pytest.mark.parametrize("name", SMALL)
@torch.inference_mode()
def test_a_network_is_one_graph_without_guards_on_data(name: str) -> None:
    torch.manual_seed(0)
    network = Sam(SMALL[name]).eval()
    photo, prompt = inputs(SMALL[name], "cpu")
    for function, given in ((network.encode, (photo,)), (network.decode, prompt)):
        compiled = torch.compile(function, fullgraph=True, backend="eager")
        for found, expected in zip(tree_leaves(compiled(*given)), tree_leaves(function(*given)), strict=True):
            assert torch.equal(found, expected)


class Rehearsal(Recording):
    """A recording on the CPU: fixed places for inputs and outputs, and a replay that reads and writes them."""

    made = 0

    def _record(self) -> Tensors:
        type(self).made += 1
        self.is_running = False
        return self._function(*self.inputs)

    def _replay(self) -> None:
        for place, tensor in zip(self.outputs, self._function(*self.inputs), strict=True):
            place.copy_(tensor)

    def _wait_for_last_run(self) -> None:
        assert not self.is_running, "two threads use the same places"
        self.is_running = True

    def _end_run(self) -> None:
        self.is_running = False


def double(x: Tensor, y: Tensor) -> Tensors:
    return 2 * x, x + y


def runner(function: Function = double) -> GraphRunner:
    Rehearsal.made = 0
    return GraphRunner(function, CUDA, Rehearsal)


def test_a_shape_is_recorded_at_its_second_call_and_then_replayed() -> None:
    run = runner()
    for i, made in enumerate([0, 1, 1, 1]):
        x, y = torch.full((3,), float(i)), torch.ones(3)
        found = run(x, y)
        assert torch.equal(found[0], 2 * x)
        assert torch.equal(found[1], x + y)
        assert Rehearsal.made == made
    run(torch.ones(4), torch.ones(4))
    assert Rehearsal.made == 1


def test_an_answer_is_not_changed_by_later_replays_nor_by_its_inputs() -> None:
    run = runner()
    x = torch.ones(3)
    run(x, x)
    kept = run(x, x)
    x.fill_(7)
    run(x, x)
    assert torch.equal(kept[0], torch.full((3,), 2.0))


def test_no_more_shapes_are_recorded_than_memory_is_kept_for() -> None:
    run = runner()
    for size in range(1, cuda_graph.MAX_SHAPES + 4):
        for _ in range(3):
            assert torch.equal(run(torch.ones(size), torch.ones(size))[1], torch.full((size,), 2.0))
    assert Rehearsal.made == cuda_graph.MAX_SHAPES


def test_where_recording_fails_calls_stay_ordinary_after_one_warning() -> None:
    def fail(function: Function, inputs: Tensors) -> Recording:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing")

    run = GraphRunner(double, CUDA, fail)
    run(torch.ones(1), torch.ones(1))
    with pytest.warns(RuntimeWarning, match="no CUDA graph could be recorded, .*not permitted"):
        run(torch.ones(1), torch.ones(1))
    assert run(torch.ones(1), torch.ones(1))[0] == 2


def test_threads_do_not_share_the_places_of_a_recording() -> None:
    run, wrong = runner(), list[float]()

    def work(value: float) -> None:
        for _ in range(200):
            x = torch.full((50,), value)
            if not torch.equal(run(x, x)[0], 2 * x):
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(float(i),)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_calls_on_the_cpu_are_never_recorded() -> None:
    Rehearsal.made = 0
    run = GraphRunner(double, torch.device("cpu"), Rehearsal)
    for _ in range(3):
        run(torch.ones(1), torch.ones(1))
    assert Rehearsal.made == 0


def test_a_backend_answers_the_same_from_recordings(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    plain = TorchBackend(Sam(TINY_LITE))
    graphed = copy.deepcopy(plain)
    for name in ("_run_encoder", "_run_decoder"):
        run = getattr(graphed, name)
        monkeypatch.setattr(graphed, name, GraphRunner(run._function, CUDA, Rehearsal))
    Rehearsal.made = 0
    side, rng = TINY_LITE.image_size, np.random.default_rng(0)
    for photo_hw in ((side, side), (side - 7, side), (side, side - 20)):  # all shapes share one recording
        photo = rng.uniform(0, 255, (1, 3, *photo_hw)).astype(np.float32)
        embedding = graphed.encode(photo)
        np.testing.assert_array_equal(embedding, plain.encode(photo))
        low = graphed.info.low_res
        prompt = (np.full((1, 2, 2), 9, np.float32), np.array([[1, -1]], np.float32))
        rest = (np.zeros((1, 1, low, low), np.float32), np.zeros(1, np.float32))
        for found, expected in zip(
            graphed.decode(embedding, *prompt, *rest), plain.decode(embedding, *prompt, *rest), strict=True
        ):
            np.testing.assert_array_equal(found, expected)
    assert Rehearsal.made == 2


def test_a_backend_can_be_sent_to_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mobilesam.model.backend.has_bfloat16", lambda: True)  # slow where it is not so
    torch.manual_seed(0)
    for precision in ("float32", "bfloat16"):
        backend = TorchBackend(Sam(TINY_LITE), precision=precision)
        photo = np.full((1, 3, TINY_LITE.image_size, 20), 99, np.float32)
        sent = pickle.loads(pickle.dumps(backend))
        np.testing.assert_array_equal(sent.encode(photo), backend.encode(photo))
