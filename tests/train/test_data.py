from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mobilesam.data.photo import PhotoId
from mobilesam.errors import SettingsError
from mobilesam.train.config import TrainRecipe
from mobilesam.train.data import FromStep, MaskPhotos, make_loader
from mobilesam.train.devices import share_workers
from mobilesam.train.photo_config import DataConfig
from mobilesam.train.photos import find_photos
from mobilesam.train.run_config import PhaseConfig, RunConfig
from mobilesam.train.schedule import Ask, Schedule, Stopwatch


@pytest.fixture
def config(shard: Path) -> DataConfig:
    return DataConfig(shards=(str(shard),), masks_per_photo=3)


def photos(config: DataConfig, image_size: int, seed: int) -> MaskPhotos:
    return MaskPhotos(find_photos(config), config, image_size, seed)


def test_an_item_has_the_promised_shapes_even_with_fewer_objects(config: DataConfig) -> None:
    item = photos(config, 64, seed=0)[0]
    assert item["image"].shape == (3, 64, 64)
    assert item["image"].dtype == torch.uint8
    assert item["masks"].shape == (3, 64, 64)
    assert item["masks"].dtype == torch.bool
    assert item["masks"].flatten(1).any(1).all()


def test_photo_i_is_a_function_of_seed_and_i_alone(config: DataConfig) -> None:
    dataset = photos(config, 64, seed=1)
    first = dataset[7]
    dataset[3]
    for other in (dataset[7], photos(config, 64, seed=1)[7]):
        assert torch.equal(first["image"], other["image"])
        assert torch.equal(first["masks"], other["masks"])
    assert not torch.equal(first["image"], dataset[8]["image"])
    assert not torch.equal(first["image"], photos(config, 64, seed=2)[7]["image"])


def test_sources_are_drawn_by_weight(config: DataConfig) -> None:
    dataset = photos(replace(config, source_weights={"a": 1.0}, other_weight=0.0), 64, seed=0)
    assert [name for name, _ in dataset.sources.groups] == ["a", "b"]
    assert dataset.sources.probabilities.tolist() == [1.0, 0.0]


def test_a_large_source_is_drawn_more_often_by_a_power_of_its_size(config: DataConfig) -> None:
    photos_of_b = find_photos(config).without(
        PhotoId("synthetic", f"photo_{i:02}") for i in (0, 2, 4, 6)
    )  # 2 of a, 6 of b
    dataset = MaskPhotos(photos_of_b, replace(config, size_power=0.5), 64, 0)
    assert dataset.sources.probabilities[1] == pytest.approx(3**0.5 / (1 + 3**0.5))


def test_the_side_asked_for_changes_the_square_and_nothing_that_was_drawn(config: DataConfig) -> None:
    dataset = photos(config, 64, seed=0)
    small, large = dataset[Ask(5, 64)], dataset[Ask(5, 128)]
    assert large["image"].shape == (3, 128, 128)
    assert large["name"] == small["name"]
    shares = [item["masks"].float().mean((1, 2)) for item in (small, large)]
    torch.testing.assert_close(shares[0], shares[1], atol=0.01, rtol=0)


def test_crops_around_objects_make_them_large(config: DataConfig) -> None:
    plain = replace(config, crop_probability=0, paste_probability=0)
    dataset = photos(plain, 64, seed=0)
    whole, near = ([dataset[Ask(i, 64, p)]["masks"].float().mean() for i in range(12)] for p in (0.0, 1.0))
    assert torch.stack(near).mean() > 2 * torch.stack(whole).mean()


def test_specks_are_not_asked_for(config: DataConfig) -> None:
    masks = [photos(replace(config, min_area=0.02), 64, seed=0)[i]["masks"] for i in range(6)]
    assert torch.cat(masks).float().mean((1, 2)).min() >= 0.02


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_that_starts_later_gives_the_same_batches(config: DataConfig, workers: int) -> None:
    dataset = photos(config, 64, seed=0)
    run = RunConfig(steps=4, batch_size=2, workers=workers)
    schedule = steps_of(run, (PhaseConfig(sides=(64, 96)),))
    whole = list(make_loader(dataset, run, schedule, 0, 0, 1))
    rest = list(make_loader(dataset, run, schedule, 2, 0, 1))
    assert len(whole) == 4
    assert {batch["image"].shape[-1] for batch in whole} == {64, 96}
    assert len(rest) == 2
    for a, b in zip(whole[2:], rest, strict=True):
        assert torch.equal(a["image"], b["image"])
        assert torch.equal(a["masks"], b["masks"])


def test_only_batches_for_a_gpu_are_pinned(config: DataConfig) -> None:
    run = RunConfig(steps=1, batch_size=2, workers=0)
    dataset = photos(config, 64, seed=0)
    assert make_loader(dataset, run, steps_of(run), 0, 0, 1, pin_memory=True).pin_memory
    assert not make_loader(dataset, run, steps_of(run), 0, 0, 1).pin_memory


def test_processes_share_each_step_without_overlap() -> None:
    schedule = steps_of(RunConfig(steps=3))
    ranks = [list(FromStep(schedule, 1, 4, rank, 2)) for rank in (0, 1)]
    assert ranks == [[[4, 5], [8, 9]], [[6, 7], [10, 11]]]
    assert list(FromStep(schedule, 1, 4)) == [[4, 5, 6, 7], [8, 9, 10, 11]]
    with pytest.raises(SettingsError, match="choose a multiple of 2"):
        FromStep(schedule, 0, 5, 0, 2)


def test_phases_that_change_only_the_prompts_ask_for_numbers() -> None:
    """Cached embeddings know no other request."""
    prompts, sides = PhaseConfig(until=0.5, round_weights=(1.0,)), PhaseConfig(sides=(64,))
    assert list(FromStep(steps_of(RunConfig(steps=2), (prompts, PhaseConfig())), 0, 2)) == [[0, 1], [2, 3]]
    asked = list(FromStep(steps_of(RunConfig(steps=2), (prompts, sides)), 0, 1))
    assert asked == [[Ask(0, 64)], [Ask(1, 64)]]


def test_the_processes_of_a_machine_share_its_workers(config: DataConfig) -> None:
    run = RunConfig(steps=2, batch_size=8, workers=8)
    assert [share_workers(run, processes) for processes in (1, 2, 8, 16)] == [8, 4, 1, 1]
    assert share_workers(replace(run, workers=0), 4) == 0
    assert share_workers(replace(run, num_nodes=2), 4) == 4
    run = replace(run, workers=2)  # loaders that this machine's two cores may have
    assert make_loader(photos(config, 64, seed=0), run, steps_of(run), 0, 0, 2).num_workers == 1


def steps_of(run: RunConfig, phases: tuple[PhaseConfig, ...] = ()) -> Schedule:
    return Schedule(TrainRecipe(run=run), phases, 64, Stopwatch())
