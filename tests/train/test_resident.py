from __future__ import annotations

import json
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mobilesam.data.decoded import read_photo
from mobilesam.train import loop, resident
from mobilesam.train.config import TrainRecipe
from mobilesam.train.data import MaskPhotos
from mobilesam.train.drawing import facts_of
from mobilesam.train.learning_config import OptimConfig
from mobilesam.train.optim import learning_rate
from mobilesam.train.photo_config import DataConfig
from mobilesam.train.photos import find_photos
from mobilesam.train.resident import Plans, ResidentPhotos, count_objects, estimate_bytes
from mobilesam.train.run_config import PhaseConfig, RunConfig
from mobilesam.train.schedule import Ask
from tests.helpers.scenes import write_shard
from tests.helpers.training import recipe, train

EVERYTHING = DataConfig(
    masks_per_photo=3,
    crop_probability=0.5,
    object_crop_probability=0.4,
    rotate_probability=0.5,
    paste_probability=0.5,
    min_area=0.002,
)


@pytest.fixture(scope="module")
def photos(shard: Path) -> MaskPhotos:
    config = replace(EVERYTHING, shards=(str(shard),))
    return MaskPhotos(find_photos(config), config, 128, seed=0)


@pytest.fixture(scope="module")
def on_device(photos: MaskPhotos) -> ResidentPhotos:
    counts = [count_objects(photo) for photo in photos.photos]
    return ResidentPhotos(photos.photos, counts, 96, torch.device("cpu"), workers=0)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))


def test_photos_and_masks_come_back_from_bytes_and_bits(photos: MaskPhotos, on_device: ResidentPhotos) -> None:
    for i, reference in enumerate(photos.photos[:3]):
        photo = read_photo(reference)
        facts, expected = on_device.facts[i], facts_of(photo)
        assert facts.hw == expected.hw
        np.testing.assert_array_equal(facts.areas, expected.areas)
        np.testing.assert_array_equal(facts.boxes, expected.boxes)
        np.testing.assert_array_equal(on_device.rgb[i].permute(1, 2, 0).numpy(), photo.rgb)
        masks = on_device.masks(torch.from_numpy(on_device.first[i] + np.array([[0, 1]])))
        np.testing.assert_array_equal(masks[0, 0].numpy(), photo.mask(0))
        np.testing.assert_array_equal(masks[0, 1].numpy(), photo.mask(1))
    assert not on_device.masks(torch.tensor([[-1]])).any()


@pytest.mark.parametrize("side", [64, 128, 192])
def test_the_device_makes_of_a_plan_what_opencv_makes_of_it(
    photos: MaskPhotos, on_device: ResidentPhotos, side: int
) -> None:
    """Shrinking, as it is and enlarging; crops, turns, flips, pasted objects and colours."""
    plans, compared = Plans(photos, on_device.facts), 0
    errors, overlaps = [], []
    for i in range(40):
        asked_side, plan = plans[Ask(i, side)]
        item, batch = photos[Ask(i, side)], on_device.batch([plan], asked_side, 3, photos.config.min_area)
        if item["name"] != batch["name"][0] or not batch["masks"].any():
            continue  # the first plan left no usable mask: OpenCV's path drew another
        compared += 1
        errors.append((item["image"].float() - batch["image"][0].float()).abs().mean().item())
        pairs = zip(item["masks"].numpy(), batch["masks"][0].numpy(), strict=True)
        overlaps += [iou(a, b) for a, b in pairs]
    assert compared >= 35
    assert np.mean(errors) < 2.5
    assert np.mean(overlaps) > 0.98
    assert np.quantile(overlaps, 0.05) > 0.9


def test_a_photo_without_a_usable_mask_is_replaced_by_another_of_the_batch(
    photos: MaskPhotos, on_device: ResidentPhotos
) -> None:
    plans = [Plans(photos, on_device.facts)[Ask(i, 64)][1] for i in range(3)]
    plans[0] = replace(plans[0], masks=(), paste=None, order=())
    batch = on_device.batch(plans, 64, 3, photos.config.min_area)
    assert torch.equal(batch["image"][0], batch["image"][1])
    assert torch.equal(batch["masks"][0], batch["masks"][1])
    assert batch["masks"].flatten(2).any(2).all()


class Copies(TorchDispatchMode):
    """Notes which copies to a device without data, "meta", would make the CPU wait if it were a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        arrives = isinstance(out, torch.Tensor) and out.device.type == "meta"
        leaves = any(isinstance(a, torch.Tensor) and a.device.type == "cpu" and a.ndim for a in tree_leaves(args))
        if arrives and leaves and not kwargs.get("non_blocking"):
            self.waiting.append(str(func))
        return out


def test_a_batch_is_made_without_waiting_for_the_device(photos: MaskPhotos, on_device: ResidentPhotos) -> None:
    elsewhere = copy(on_device)
    elsewhere.rgb, elsewhere.bits = on_device.rgb.to("meta"), on_device.bits.to("meta")
    plans = [Plans(photos, on_device.facts)[i][1] for i in range(4)]
    with Copies() as copies:
        batch = elsewhere.batch(plans, 64, 3, photos.config.min_area)
    assert batch["image"].device.type == "meta"
    assert copies.waiting == []


def test_a_run_from_the_devices_memory_is_resumed_bit_identically(
    shard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resident_recipe(name: str) -> TrainRecipe:
        plain = recipe(shard, tmp_path / name, steps=6)
        run = replace(plain.run, resident=True, resident_side=96)
        return replace(plain, model="tiny_lite", run=run, phases=(PhaseConfig(sides=(64, 256)),))

    def interrupted(step: int, progress: float, config: OptimConfig) -> float:
        if step == 4:
            raise KeyboardInterrupt
        return learning_rate(step, progress, config)

    whole = train(resident_recipe("whole"))
    with monkeypatch.context() as patch:
        patch.setattr(loop, "learning_rate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(resident_recipe("parts"))
    parts = train(resident_recipe("parts"), resume=True)
    states = [torch.load(p.parent / "state.pt", weights_only=True)["model"] for p in (whole, parts)]
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]), key


def test_photos_that_do_not_fit_are_streamed_and_said_so(
    shard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    monkeypatch.setattr(resident, "free_bytes", lambda _: 1e5)
    monkeypatch.setattr("mobilesam.train.log.Log.say", lambda _, text: said.append(text))
    plain = recipe(shard, tmp_path / "run", steps=1)
    train(replace(plain, run=replace(plain.run, resident=True)))
    assert any("streamed: 11 photos and 22 masks at 448 px" in text for text in said)
    record = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert record["resident"] in said


def test_bytes_are_estimated_before_anything_is_read() -> None:
    assert estimate_bytes(10_000, 45_000, 448) == pytest.approx(7.15e9, rel=0.01)
    assert RunConfig().resident == "auto"


def test_larger_photos_are_reduced(tmp_path: Path) -> None:
    config = replace(EVERYTHING, shards=(str(write_shard(tmp_path / "s.tar", 2)),))
    references = find_photos(config).photos
    small = ResidentPhotos(references, [2, 2], 48, torch.device("cpu"), workers=0)
    assert small.facts[0].hw == (48, 48)
    full = ResidentPhotos(references, [2, 2], 96, torch.device("cpu"), workers=0)
    np.testing.assert_allclose(small.facts[0].areas * 4, full.facts[0].areas, rtol=0.1)
