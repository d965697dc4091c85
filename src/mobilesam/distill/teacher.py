"""The teacher of a distillation: the network whose embeddings and masks a student imitates."""

from __future__ import annotations

import torch
from torch import Tensor

from mobilesam.data.store_format import Embedding, StoreHeader, covered_cells
from mobilesam.distill.config import DistillRecipe, TeacherConfig
from mobilesam.image import Rgb
from mobilesam.model.backend import weights_sha256
from mobilesam.model.sam import Sam
from mobilesam.train.build import load_model, pick_device

TORCH_MB, ACTIVATION_MB = 700.0, 2500.0  # a process with torch; a photo of 1024 px in a large transformer

# B views in a batch, C channels, g grid, gh gw cells that the photo covers


def load_teacher(config: TeacherConfig) -> Sam:
    """Load the teacher at the input side that the recipe sets, in eval mode.

    Raises:
        ModelError: there is no such file, or it does not load.
        SettingsError: its encoder cannot take that side.
    """
    teacher = load_model(config.checkpoint)
    if config.image_size:
        teacher.config = teacher.config.at(config.image_size)
    return teacher


def store_header(model: Sam, recipe: DistillRecipe, shard: str = "") -> StoreHeader:
    """Make the header of a store.

    Args:
        model: the teacher.
        recipe: says how embeddings are stored.
        shard: name of the data set, a space, and the checksum of the names and sizes of its photos.
    """
    return StoreHeader(
        teacher=weights_sha256(model),
        image_size=model.config.image_size,
        embed_dim=model.config.embed_dim,
        shard=shard,
        dtype=recipe.store.dtype,
        views=recipe.store.views,
        view_seed=recipe.store.view_seed,
        keeps_padding=recipe.store.keep_padding,
        unclear_frame=recipe.data.unclear_frame,
        value_range=recipe.data.value_range,
    )


def memory_mb(model: Sam, batch_size: int) -> float:
    """Memory in megabytes that a process may take that embeds; generous, since a few attentions decide it."""
    weights = sum(one.numel() * one.element_size() for one in model.parameters())
    return TORCH_MB + weights / 2**20 + ACTIVATION_MB * batch_size * (model.config.image_size / 1024) ** 2


class Teacher:
    """The frozen teacher network, which computes the target embeddings."""

    def __init__(self, model: Sam, recipe: DistillRecipe) -> None:
        self.keeps_padding, self.batch_size = recipe.store.keep_padding, recipe.teacher.batch_size
        self.header = store_header(model, recipe)
        self.device = pick_device(recipe.teacher.device)
        self.model = model.to(self.device).requires_grad_(False)
        # Convolutions on a CPU are about twice as fast with the channels last, as in training.
        self.layout = torch.channels_last if self.device.type == "cpu" else torch.contiguous_format
        self.model.image_encoder.to(memory_format=self.layout)  # type: ignore[call-overload]

    @torch.inference_mode()
    def embed(self, photos: list[Rgb]) -> Tensor:
        """Compute the embeddings of resized photos (h, w, 3): (B, C, g, g)."""
        tensors = [torch.from_numpy(rgb.transpose(2, 0, 1).copy())[None].to(self.device) for rgb in photos]
        batch = torch.cat([self.model.preprocess(t.float()) for t in tensors])
        return self.model.image_encoder(batch.contiguous(memory_format=self.layout))

    def crop(self, embedding: Embedding, rgb: Rgb) -> Embedding:
        """Drop the cells that the photo does not cover, unless the recipe keeps them."""
        if self.keeps_padding:
            return embedding
        h, w = covered_cells((rgb.shape[0], rgb.shape[1]))
        return embedding[:, :h, :w]
