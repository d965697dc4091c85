"""Drawing prompts from masks, on the device and for a whole batch at once (arXiv 2304.02643, appendix A).

Points are drawn on the grid of the mask logits (a quarter of the input) and jittered inside their cell.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from mobilesam.contract import (
    LABEL_BACKGROUND,
    LABEL_BOX_BOTTOM_RIGHT,
    LABEL_BOX_TOP_LEFT,
    LABEL_OBJECT,
    LABEL_PADDING,
)
from mobilesam.train.photo_config import PromptConfig

# N prompts, S side of the network's square, L = S/4 side of the logits, P points

CELL = 4  # input pixels per logit
MAX_JITTER = 1 - 2**-12  # in cells: the sum of a cell's number and float32's largest number below 1 is the next cell's


def low_res_target(masks: Tensor, scale: int = 1) -> Tensor:
    """Reduce masks (N, S, S) bool to the logits' resolution: (N, scale·L, scale·L) coverage in 0-1."""
    return F.avg_pool2d(masks[:, None].float(), CELL // scale)[:, 0]


def random_points(weights: Tensor, generator: Generator) -> Tensor:
    """Draw one point per row, in proportion to (N, L, L) weights: (N, 2) (x, y) in input pixels."""
    n, _, width = weights.shape
    index = torch.multinomial(weights.flatten(1) + 1e-12, 1, generator=generator)[:, 0]
    xy = torch.stack([index % width, index // width], dim=-1).float()
    jitter = torch.rand(n, 2, generator=generator, device=weights.device).clamp(max=MAX_JITTER)
    return (xy + jitter) * CELL - 0.5


def inside_points(target: Tensor, deep: Tensor, generator: Generator) -> Tensor:
    """Draw one point inside each object: (N, 2). Rows where `deep` is True prefer the middle of the object."""
    inside = target * (target >= target.amax(dim=(1, 2), keepdim=True).clamp(max=0.5))
    depth = F.avg_pool2d(target[:, None], 9, stride=1, padding=4)[:, 0]  # neighbourhood inside the object
    preferred = inside * (depth / depth.amax(dim=(1, 2), keepdim=True).clamp(min=1e-6)) ** 8
    return random_points(torch.where(deep[:, None, None], preferred, inside), generator)


def jittered_boxes(masks: Tensor, config: PromptConfig, generator: Generator) -> Tensor:
    """Draw boxes around (N, S, S) masks with SAM's noise: (N, 2, 2) corners, (x, y) in input pixels."""
    size = masks.shape[-1]
    rows, columns = masks.any(dim=2).float(), masks.any(dim=1).float()  # (N, S) each
    low = torch.stack([columns.argmax(1), rows.argmax(1)], dim=-1)
    high = size - torch.stack([columns.flip(1).argmax(1), rows.flip(1).argmax(1)], dim=-1)
    corners = torch.stack([low, high], dim=1).float()  # (N, 2, 2), edges rather than pixel centres
    side = (high - low).float()[:, None]
    noise = torch.randn(corners.shape, generator=generator, device=masks.device) * config.box_jitter * side
    bound = config.box_jitter_max * size
    return (corners + noise.clamp(-bound, bound)).clamp(0, size)


def first_prompts(masks: Tensor, config: PromptConfig, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Draw a point or a box for every mask.

    Args:
        masks: (N, S, S) bool.

    Returns:
        coords (N, 2, 2) in input pixels, labels (N, 2), is_point (N,) bool: the ambiguous rows.
    """
    n, device = masks.shape[0], masks.device
    draws = torch.rand(2, n, generator=generator, device=device)
    is_point = draws[0] < config.point_probability
    points = inside_points(low_res_target(masks), draws[1] < config.deep_probability, generator)
    points = torch.stack([points, torch.zeros_like(points)], dim=1)  # a point and a padding row
    boxes = jittered_boxes(masks, config, generator)
    coords = torch.where(is_point[:, None, None], points, boxes)
    # From plain numbers: a tensor made of a list would be copied to a GPU, and that waits for it.
    first = torch.where(is_point, float(LABEL_OBJECT), float(LABEL_BOX_TOP_LEFT))
    second = torch.where(is_point, float(LABEL_PADDING), float(LABEL_BOX_BOTTOM_RIGHT))
    return coords, torch.stack([first, second], dim=1), is_point


def corrective_points(logits: Tensor, target: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Draw a point where (N, L, L) logits are wrong: coords (N, 1, 2), labels (N, 1).

    Rows without an error get another point inside the object.
    """
    predicted, truth = logits > 0, target > 0.5
    error = predicted ^ truth
    perfect = ~error.flatten(1).any(dim=1)
    weights = torch.where(perfect[:, None, None], target, error.float())
    coords = random_points(weights, generator)
    cell = ((coords + 0.5) / CELL).long()  # the cell it was drawn from, whatever the jitter
    hit = truth[torch.arange(len(truth), device=truth.device), cell[:, 1], cell[:, 0]]
    labels = torch.where(hit, LABEL_OBJECT, LABEL_BACKGROUND).float()
    return coords[:, None], labels[:, None]
