"""Supervised training on annotated masks: the training step and the data of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mobilesam.data.cached import open_stores
from mobilesam.data.split import hold_out
from mobilesam.data.survey import Survey
from mobilesam.errors import SettingsError
from mobilesam.model.backend import weights_sha256
from mobilesam.model.sam import Sam
from mobilesam.train import lora
from mobilesam.train.build import build_model, freeze
from mobilesam.train.config import TrainRecipe
from mobilesam.train.data import MaskPhotos
from mobilesam.train.epochs import EpochPhotos, Needs
from mobilesam.train.interactive import Draws, Prompts, StepResult, interactive_loss
from mobilesam.train.loop import Job
from mobilesam.train.photos import find_photos, input_files
from mobilesam.train.prompts import first_prompts, low_res_target
from mobilesam.train.validation import Validation

# B photos, M masks per photo, N = B*M prompts, S input side


class SupervisedStep(nn.Module):
    """Training step on annotated masks, as one forward pass so that DDP sees every parameter in use."""

    def __init__(self, model: Sam, recipe: TrainRecipe) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe

    def forward(self, batch: dict[str, Any], draws: Draws) -> StepResult:
        """Compute the interactive loss of a batch, over all masks and prompt rounds.

        Args:
            batch: `masks` (B, M, S, S) bool, and `image` (B, 3, S, S) uint8 or a cached `embedding` (B, C, g, g).
        """
        masks = batch["masks"]
        embedding = batch["embedding"] if "embedding" in batch else self.encode(batch["image"])
        embedding = embedding.repeat_interleave(masks.shape[1], dim=0)  # (N, C, g, g)
        masks = masks.flatten(0, 1)  # (N, S, S)
        prompts = Prompts(*first_prompts(masks, self.recipe.prompts, draws.own))
        loss = self.recipe.loss
        target, fine = low_res_target(masks), low_res_target(masks, loss.scale)
        return interactive_loss(self.model, embedding, prompts, target, draws, loss, fine)

    def encode(self, images: Tensor) -> Tensor:
        """Encode a batch of photos: (B, 3, S, S) uint8 → (B, C, g, g)."""
        # The same memory format as the encoder's weights (train/loop.py says why).
        layout = torch.contiguous_format if images.is_cuda else torch.channels_last
        return self.model.encode(images.float().contiguous(memory_format=layout), side=images.shape[-1])


def inputs(recipe: TrainRecipe) -> list[str | Path]:
    """The files and folders that a recipe reads; errors are those of `photos.input_files`."""
    start = recipe.start_from
    return input_files(recipe.data, start.values() if isinstance(start, dict) else [start], [recipe.store])


def supervised_job(recipe: TrainRecipe) -> Job:
    """Build the network, the training step and the photos of a recipe.

    Raises:
        SettingsError: parts or names that do not exist, or a store without a frozen encoder.
        DataError: the data cannot be used.
    """
    model = build_model(recipe.model, recipe.start_from, recipe.image_size)
    check_sides(recipe, model)
    identity = weights_sha256(model) if recipe.store else ""
    freeze(model, recipe.freeze)
    lora.add(model, recipe.lora)
    held_out, rest = hold_out(find_photos(recipe.data), recipe.validation.photos)
    validation = Validation(held_out, model.config.image_size, recipe.validation) if held_out else None
    size, seed = model.config.image_size, recipe.run.seed
    if recipe.store:
        dataset: Any = cached_photos(recipe, rest, size, identity)
    else:
        dataset = MaskPhotos(rest, recipe.data, size, seed)
    return Job(model, SupervisedStep(model, recipe), dataset, rest.summary(), validation, recipe.phases, rest.problems)


def check_sides(recipe: TrainRecipe, model: Sam) -> None:
    """Refuse phases whose settings the network or the cached embeddings do not allow.

    Raises:
        SettingsError: a side that the encoder does not take, or sides of phases beside cached embeddings of one side.
    """
    for phase in recipe.phases:
        for side in phase.sides:
            model.config.at(side)
        if recipe.store and phase.changes_photos:
            raise SettingsError(
                "phases may not change side or crops of cached embeddings: drop store, or those settings"
            )


def cached_photos(recipe: TrainRecipe, photos: Survey, image_size: int, identity: str) -> EpochPhotos:
    """Make the data set of cached embeddings of a frozen encoder, used instead of the photos themselves.

    Raises:
        SettingsError: the encoder is not frozen.
        DataError: the store is another model's, or lacks photos.
    """
    if "image_encoder" not in recipe.freeze:
        raise SettingsError('a store holds what a frozen encoder says: add "image_encoder" to freeze, or drop store')
    stores = open_stores(Path(recipe.store), photos, teacher=identity)
    first = next(iter(stores.values())).header
    return EpochPhotos(
        photos.without({photo.id for photo in photos.photos} - stores.keys()),
        recipe.data,
        image_size,
        recipe.run.seed,
        stores=stores,
        views=first.views,
        view_seed=first.view_seed,
        needs=Needs(image=False, masks=True),
    )
