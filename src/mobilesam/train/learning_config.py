"""Settings of a recipe for what is learnt and how: losses, optimizer, adapters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from mobilesam.errors import SettingsError
from mobilesam.settings import (
    CountOrZero,
    Positive,
    PositiveOrZero,
    Probability,
    Settings,
)

LoraPart = Literal["image_encoder", "mask_decoder"]


@dataclass(frozen=True, kw_only=True)
class LossConfig(Settings):
    """Weights of the loss terms. SAM's 20 focal : 1 dice suits fine-tuning; from scratch it stalls and BCE works."""

    bce: PositiveOrZero = 2.0
    """Binary cross-entropy over all logits."""
    focal: PositiveOrZero = 0.0
    """Focal loss, which gives uncertain logits the most weight."""
    dice: PositiveOrZero = 1.0
    """1 - Dice coefficient of the mask."""
    boundary: PositiveOrZero = 0.0
    """An additional BCE over the pixels near the target's edge only."""
    scale: Literal[1, 2, 4] = 1
    """2 computes the mask terms at twice the resolution of the logits, where errors of single logits count in full."""
    iou: PositiveOrZero = 1.0
    """The squared error of the predicted IoU."""
    rank: PositiveOrZero = 0.0
    """Ranking loss of the three masks for a click: the best one must lead the others in predicted IoU by as much as
    it does in true IoU."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not any((self.bce, self.focal, self.dice, self.boundary, self.iou, self.rank)):
            raise SettingsError("'bce' and every other weight of the loss is 0: nothing would be learnt")


@dataclass(frozen=True, kw_only=True)
class OptimConfig(Settings):
    """AdamW, linear warm-up, cosine decay, EMA."""

    lr: Positive = 6e-4
    """The learning rate after the warm-up."""
    lr_scale: dict[str, PositiveOrZero] = field(default_factory=dict)
    """Prefixes of parameter names → factor of the learning rate; the longest matching prefix counts. A pretrained body
    learns slowly beside its new neck with { image_encoder = 0.25, "image_encoder.neck" = 1.0 }."""
    weight_decay: PositiveOrZero = 0.05
    """AdamW's, of weight matrices and kernels; norms, biases, tokens and position tables are not decayed."""
    warmup_steps: CountOrZero = 300
    """Steps in which the learning rate rises to `lr`."""
    min_lr_ratio: Probability = 0.01
    """The learning rate at the end, as a fraction of `lr`."""
    clip_norm: Positive = 1.0
    """Largest norm of the gradient; longer ones are scaled down to it."""
    ema_decay: Probability = 0.999
    """Decay of the exponential moving average of the weights; the average is what a run saves as its result."""
    freeze_batch_norm: bool = False
    """Do not update batch statistics: for small batches, and so that two processes compute the same as one."""


@dataclass(frozen=True, kw_only=True)
class LoraConfig(Settings):
    """Low-rank adapters (arXiv 2106.09685), trained in place of the layers they sit on, merged at the end."""

    rank: CountOrZero = 0
    """Rank of the adapters; 0 for no adapters."""
    alpha: Positive = 8.0
    """The adapter's product is scaled by alpha / rank."""
    parts: tuple[LoraPart, ...] = ("image_encoder", "mask_decoder")
    """Which parts of the network get adapters."""

    def needs(self, name: str) -> str | None:
        """What a key lacks to have an effect."""
        return "a rank above 0" if name in ("alpha", "parts") and not self.rank else None
