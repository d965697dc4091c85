"""Data augmentation of a whole batch of photos and masks on the device, with torch.

The plans are those of `drawing.py`, and the result is that of `augment.py` except for the interpolation: all steps are
one mapping from the square to the photo, whose pixels are sampled at twice the resolution and averaged. Photos are at
most a few times as large as the square, so this is enough against aliasing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mobilesam.contract import PIXEL_MEAN
from mobilesam.train.drawing import Plan, are_usable
from mobilesam.train.square import in_photo

# B photos, R side of the square they lie in, S side of the network's square, T = 2S, M masks, K = 1 + M

FINER = 2  # samples of a pixel, in each direction
HALF = 127 / 255  # coverage above which a pixel is object: the same as the OpenCV path's threshold in bytes


class Numbers(NamedTuple):
    """Augmentation plans of a batch as tensors (B, ...) on the device."""

    window: Tensor
    """(B, 4) crop windows y, x, height, width."""
    turn: Tensor
    """(B, 2) cosine and sine of the rotation."""
    hw: Tensor
    """(B, 2) size (h, w) of the window in the input square."""
    photo_hw: Tensor
    """(B, 2)"""
    flip: Tensor
    """(B,) bool"""
    colour: Tensor
    """(B, 3, 4)"""
    cut: Tensor
    """(B, 4) y0, x0, y1, x1 of the object to paste, in its photo."""
    place: Tensor
    """(B, 4) y, x, height, width in the window; height 0 where nothing is pasted."""
    cut_flip: Tensor
    """(B,) bool"""
    order: Tensor
    """(B, K) mask channels in the order in which they are prompted; those that do not exist come last."""
    exists: Tensor
    """(B, K) bool"""
    photo: Tensor
    """(B,) int64, which."""
    other: Tensor
    """(B,) int64, which one the object to paste is in; the photo itself where nothing is pasted."""
    own_masks: Tensor
    """(B, M) int64 among the masks of all photos; -1 for none."""
    cut_mask: Tensor
    """(B, 1) int64, the pasted object's; -1 for none."""
    mean: Tensor
    """(3,) the colour of padding."""


def to_numbers(
    plans: list[Plan],
    photo_hw: list[tuple[int, int]],
    first: NDArray[np.int64],
    masks_per_photo: int,
    device: torch.device,
) -> Numbers:
    """Convert plans to tensors, copied to the device without waiting for it.

    Args:
        plans: of a batch.
        photo_hw: size of each plan's photo.
        first: (n + 1,) number of each photo's first mask among the masks of all.
        masks_per_photo: M.
        device: where to.
    """
    none = np.eye(3, 4, dtype=np.float32)
    pastes = [plan.paste for plan in plans]
    orders = [channel_order(plan, 1 + masks_per_photo) for plan in plans]
    columns = [
        [(p.window.y, p.window.x, p.window.height, p.window.width) for p in plans],
        [(np.cos(p.window.angle), np.sin(p.window.angle)) for p in plans],
        [p.hw for p in plans],
        photo_hw,
        [p.flip for p in plans],
        [none if p.colour is None else p.colour.matrix() for p in plans],
        [(0, 0, 1, 1) if p is None else (p.box[1], p.box[0], p.box[3], p.box[2]) for p in pastes],
        [(0, 0, 0, 0) if p is None else (p.y, p.x, *p.hw) for p in pastes],
        [p is not None and p.flip for p in pastes],
        [order for order, _ in orders],
        [exists for _, exists in orders],
        [p.photo for p in plans],
        [p.photo if p.paste is None else p.paste.photo for p in plans],
        [[*(first[p.photo] + i for i in p.masks)] + [-1] * (masks_per_photo - len(p.masks)) for p in plans],
        [[-1 if p is None else first[p.photo] + p.mask] for p in pastes],
        PIXEL_MEAN,
    ]
    dtypes = [torch.float32] * 4 + [torch.bool] + [torch.float32] * 3 + [torch.bool, torch.int64, torch.bool]
    dtypes += [torch.int64] * 4 + [torch.float32]
    tensors = [torch.tensor(np.array(c), dtype=dtype) for c, dtype in zip(columns, dtypes, strict=True)]
    if device.type == "cuda":
        tensors = [tensor.pin_memory() for tensor in tensors]  # otherwise each copy would wait for the GPU
    return Numbers(*(tensor.to(device, non_blocking=True) for tensor in tensors))


def channel_order(plan: Plan, channels: int) -> tuple[list[int], list[bool]]:
    """The order of a plan as mask channels, where 0 is the pasted object's, and whether each channel exists."""
    shift = 0 if plan.paste is not None else 1
    asked = [slot + shift for slot in plan.order]
    return asked + [c for c in range(channels) if c not in asked], [c in asked for c in range(channels)]


def carry_out(
    numbers: Numbers, photos: Tensor, masks: Tensor, others: Tensor, cuts: Tensor, side: int
) -> tuple[Tensor, Tensor]:
    """Apply augmentation plans to a batch.

    Args:
        numbers: the plans.
        photos: (B, 3, R, R) uint8, each in the upper left corner.
        masks: (B, M, R, R) of 0 and 1.
        others: (B, 3, R, R) uint8, the photos that objects are taken from.
        cuts: (B, 1, R, R) of 0 and 1, those objects.
        side: S.

    Returns:
        image (B, 3, S, S) uint8; masks (B, K, S, S) bool, the pasted object's first.
    """
    at = window_coordinates(numbers, side)
    mean = numbers.mean.round().view(1, 3, 1, 1)
    y, x = photo_coordinates(numbers, *at)
    inside = contains(y, x, numbers.photo_hw)[:, None]  # (B, 1, T, T)
    seen = look_up(torch.cat([photos.float() - mean, masks.float()], dim=1), y, x, numbers.photo_hw) * inside
    found = look_up(torch.cat([others.float() - mean, cuts.float()], dim=1), *cut_coordinates(numbers, *at))
    # The border of a cut-out is soft because it lies between pixels; OpenCV's path blurs its own on purpose.
    alpha = found[:, 3:] * on_paste(numbers, *at)[:, None]
    rgb = seen[:, :3] * (1 - alpha) + found[:, :3] * alpha  # (B, 3, T, T)
    pooled = F.avg_pool2d(torch.cat([rgb, alpha, seen[:, 3:] * (1 - alpha)], dim=1), FINER)  # (B, 3 + K, S, S)
    inside_square = in_photo(numbers.hw, side)  # (B, 1, S, S)
    rgb = change_colours(pooled[:, :3] + mean, numbers.colour)
    rgb = torch.where(inside_square, rgb, mean)
    return rgb.round().clamp(0, 255).to(torch.uint8), (pooled[:, 3:] > HALF) & inside_square


def window_coordinates(numbers: Numbers, side: int) -> tuple[Tensor, Tensor]:
    """Map samples of the input square to the window: y and x (B, T, T), in pixels from the window's corner."""
    device = numbers.hw.device
    at = (torch.arange(side * FINER, device=device) + 0.5) / FINER  # (T,) pixels of the square
    height, width = numbers.window[:, 2], numbers.window[:, 3]
    y = at[None, :] * (height / numbers.hw[:, 0])[:, None]  # (B, T)
    x = at[None, :] * (width / numbers.hw[:, 1])[:, None]
    x = torch.where(numbers.flip[:, None], width[:, None] - x, x)
    t = side * FINER
    return y[:, :, None].expand(-1, t, t), x[:, None, :].expand(-1, t, t)


def photo_coordinates(numbers: Numbers, y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Map places in the window to places in the photo, rotated about the window's centre."""
    top, left, height, width = (v[:, None, None] for v in numbers.window.unbind(1))
    cos, sin = (v[:, None, None] for v in numbers.turn.unbind(1))
    u, v = x - width / 2, y - height / 2
    return top + height / 2 + sin * u + cos * v, left + width / 2 + cos * u - sin * v


def cut_coordinates(numbers: Numbers, y: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Map places in the window to the photo of the pasted object; also the lower right end of the object's box."""
    top, left, height, width = (v[:, None, None] for v in numbers.place.unbind(1))
    y0, x0, y1, x1 = (v[:, None, None] for v in numbers.cut.unbind(1))
    down, right = (y - top) / height.clamp(min=1), (x - left) / width.clamp(min=1)
    right = torch.where(numbers.cut_flip[:, None, None], 1 - right, right)
    return y0 + down * (y1 - y0), x0 + right * (x1 - x0), numbers.cut[:, 2:]


def on_paste(numbers: Numbers, y: Tensor, x: Tensor) -> Tensor:
    """Whether a place in the window lies in the pasted object's box: (B, T, T) of 0 and 1."""
    top, left, height, width = (v[:, None, None] for v in numbers.place.unbind(1))
    return ((y >= top) & (y < top + height) & (x >= left) & (x < left + width)).float()


def contains(y: Tensor, x: Tensor, hw: Tensor) -> Tensor:
    """Whether places lie in photos of (B, 2) sizes: (B, T, T) of 0 and 1."""
    h, w = (v[:, None, None] for v in hw.unbind(1))
    return ((y >= 0) & (y < h) & (x >= 0) & (x < w)).float()


def look_up(images: Tensor, y: Tensor, x: Tensor, hw: Tensor) -> Tensor:
    """Interpolate (B, C, R, R) at (B, T, T) places; beyond (B, 2) sizes the outermost pixels are repeated."""
    h, w = (v[:, None, None] for v in hw.unbind(1))
    y, x = torch.minimum(y.clamp(min=0.5), h - 0.5), torch.minimum(x.clamp(min=0.5), w - 0.5)
    grid = torch.stack([x, y], dim=-1) * (2 / images.shape[-1]) - 1  # (B, T, T, 2) in -1..1, edge to edge
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def change_colours(rgb: Tensor, matrices: Tensor) -> Tensor:
    """Apply a (3, 4) colour matrix to each photo of a batch (B, 3, S, S)."""
    flat = rgb.flatten(2)  # (B, 3, S*S)
    return (matrices[:, :, :3] @ flat + matrices[:, :, 3:]).view_as(rgb).clamp(0, 255)


def choose(numbers: Numbers, masks: Tensor, min_area: float, count: int) -> tuple[Tensor, Tensor]:
    """Choose the masks to prompt as `drawing.choose` does, without waiting for the device.

    A photo that has no usable mask left is replaced by the first that has one.

    Returns:
        Which photo of the batch stands at each place (B,), and its masks (B, M, S, S).
    """
    areas = masks.float().mean((2, 3))
    usable = numbers.exists & are_usable(areas, min_area)  # (B, K)
    in_order = usable.gather(1, numbers.order)
    positions = torch.arange(masks.shape[1], device=masks.device)
    first_usable = torch.where(in_order, positions, positions + len(positions)).argsort(dim=1)  # (B, K)
    total = in_order.sum(1, keepdim=True)  # (B, 1)
    nth = torch.arange(count, device=masks.device)[None] % total.clamp(min=1)  # (B, M)
    channels = numbers.order.gather(1, first_usable.gather(1, nth))
    has_some = total[:, 0] > 0
    own = torch.arange(len(masks), device=masks.device)
    photo = torch.where(has_some, own, has_some.float().argmax())
    return photo, masks[photo[:, None], channels[photo]]
