"""Validation during training: the same prompts on the same held-out photos every time.

Numbers are intersections over union at the resolution of the mask logits, quick enough to be taken often; a published
score comes from `mobilesam evaluate`, which compares at the photo's own pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mobilesam import boxes, draw
from mobilesam.contract import LABEL_BOX_BOTTOM_RIGHT, LABEL_BOX_TOP_LEFT, LABEL_OBJECT, LABEL_PADDING, PATCH_SIZE
from mobilesam.data.decoded import DecodedPhoto
from mobilesam.data.geometry import pad_square, shrink
from mobilesam.data.store_format import covered_cells
from mobilesam.image import Rgb, resize_long_side
from mobilesam.masks import deepest_pixel
from mobilesam.model.sam import Sam
from mobilesam.train.interactive import Prompts, best_scored
from mobilesam.train.prompts import CELL, low_res_target
from mobilesam.train.run_config import ValidationConfig
from mobilesam.train.square import in_photo

# V photos, N objects of them, S side of the square, L = S/4, C channels, g grid


class Look(NamedTuple):
    """Result of one validation: numbers and a picture."""

    numbers: dict[str, float]
    picture: Rgb
    """Some photos with their masks, side by side."""


class Answers(NamedTuple):
    """Embeddings and masks of one model for all prompts."""

    embedding: Tensor
    """(V, C, g, g)"""
    box: Tensor
    """(N, L, L) bool"""
    click: Tensor
    """(N, L, L) bool"""


class Validation:
    """Evaluates a model on fixed prompts on the held-out photos.

    Args:
        photos: (V) held out.
        image_size: S.
        config: objects per photo, pictures.
        teacher: to agree with; None where there is none.
    """

    def __init__(
        self, photos: list[DecodedPhoto], image_size: int, config: ValidationConfig, teacher: Sam | None = None
    ):
        self.size = image_size
        self.num_pictures = config.pictures
        self.rgb = [resize_long_side(photo.rgb, image_size) for photo in photos]
        found = [(i, m) for i, photo in enumerate(photos) for m in largest_masks(photo, self.rgb[i], config)]
        covered = torch.tensor([covered_cells((rgb.shape[0], rgb.shape[1])) for rgb in self.rgb])
        self.cells = in_photo(covered, image_size // PATCH_SIZE)  # (V, 1, g, g)
        self.owner = torch.tensor([i for i, _ in found])  # (N,) which photo
        truth = [mask.astype(bool) for _, mask in found]
        squares = np.stack([pad_square(mask[None], image_size)[0] for mask in truth])
        self.target = low_res_target(torch.from_numpy(squares))  # (N, L, L)
        self.boxes = torch.tensor([boxes.from_mask(mask) for mask in truth]).float()  # (N, 4)
        self.points = torch.tensor([deepest_pixel(mask)[0] for mask in truth]).float()  # (N, 2)
        self.teacher = self.ask(teacher) if teacher is not None else None

    def __call__(self, model: Sam) -> Look:
        """Evaluate one state of the network: numbers and a picture."""
        answers = self.ask(model)
        truth = self.target > 0.5
        numbers = {"box_iou": mean_iou(answers.box, truth), "click_iou": mean_iou(answers.click, truth)}
        if self.teacher is not None:
            numbers["box_agreement"] = mean_iou(answers.box, self.teacher.box)
            numbers["click_agreement"] = mean_iou(answers.click, self.teacher.click)
            error = (answers.embedding - self.teacher.embedding).square().mean(1, keepdim=True)  # (V, 1, g, g)
            numbers["embedding_mse"] = float(error[self.cells].mean())
        return Look(numbers, self.draw(answers))

    @torch.inference_mode()
    def ask(self, model: Sam) -> Answers:
        """Run all prompts through a model, on the device where it is."""
        device = next(model.parameters()).device
        embeddings = [
            model.encode(torch.from_numpy(rgb.transpose(2, 0, 1).copy())[None].float().to(device)) for rgb in self.rgb
        ]
        n = len(self.owner)
        nothing = torch.zeros(n, 2)
        point_labels = torch.tensor([[LABEL_OBJECT, LABEL_PADDING]]).expand(n, 2).float()
        box_labels = torch.tensor([[LABEL_BOX_TOP_LEFT, LABEL_BOX_BOTTOM_RIGHT]]).expand(n, 2).float()
        clicks = Prompts(torch.stack([self.points, nothing], dim=1), point_labels, torch.ones(n, dtype=torch.bool))
        corners = Prompts(self.boxes.view(n, 2, 2), box_labels, torch.zeros(n, dtype=torch.bool))
        embedding = torch.cat(embeddings)
        return Answers(embedding.cpu(), self.decode(model, embedding, corners), self.decode(model, embedding, clicks))

    def decode(self, model: Sam, embedding: Tensor, prompts: Prompts) -> Tensor:
        """Decode the best-scored mask for each prompt, one photo at a time: (N, L, L) bool."""
        device, side = embedding.device, self.target.shape[-1]
        shown = []
        for i in range(len(self.rgb)):
            coords, labels, is_point = (field[self.owner == i].to(device) for field in prompts)
            none = torch.zeros(len(coords), 1, side, side, device=device)
            logits, scores = model.decode(embedding[i : i + 1], coords, labels, none, none[:, 0, 0, 0])
            shown.append(best_scored(logits, scores, is_point) > 0)
        return torch.cat(shown).cpu()

    def draw(self, answers: Answers) -> Rgb:
        """Draw the first object of the first photos: its box and mask above, the click and its mask below."""
        columns = []
        for i in range(min(self.num_pictures, len(self.rgb))):
            n = int((self.owner == i).nonzero()[0, 0])
            x, y = self.points[n].tolist()
            x0, y0, x1, y1 = self.boxes[n].tolist()
            upper = draw.overlay(self.rgb[i], [self.enlarge(answers.box[n], i)], box=(x0, y0, x1, y1))
            lower = draw.overlay(self.rgb[i], [self.enlarge(answers.click[n], i)], points=[(x, y)])
            rows = [pad_square(row.transpose(2, 0, 1), self.size).transpose(1, 2, 0) for row in (upper, lower)]
            columns.append(np.concatenate(rows))
        return np.concatenate(columns, axis=1)

    def enlarge(self, mask: Tensor, photo: int) -> NDArray[np.bool_]:
        """Enlarge a mask from the logits' square to the size of the resized photo."""
        h, w = self.rgb[photo].shape[:2]
        large = mask.numpy().astype(np.uint8).repeat(CELL, axis=0).repeat(CELL, axis=1)
        return cv2.medianBlur(large, 5)[:h, :w].astype(bool)


def largest_masks(photo: DecodedPhoto, rgb: Rgb, config: ValidationConfig) -> list[NDArray[np.uint8]]:
    """Masks of the largest objects of a photo, resized to the resized photo; at least one."""
    order = np.argsort([-area for area in photo.areas], kind="stable")[: config.masks_per_photo]
    masks = [shrink(photo.mask(int(i)), (rgb.shape[0], rgb.shape[1])) for i in order]
    return [mask for mask in masks if mask.any()] or [np.ones(rgb.shape[:2], np.uint8)]


def mean_iou(masks: Tensor, truth: Tensor) -> float:
    """Mean IoU over (N, L, L) pairs of masks; two empty masks count as 1."""
    intersection = (masks & truth).sum((1, 2))
    union = (masks | truth).sum((1, 2))
    return float(torch.where(union > 0, intersection / union.clamp(min=1), 1.0).mean())
