"""A training recipe: a TOML file read into frozen dataclasses.

An unknown key is an error, so that a misspelt setting never trains the wrong thing for a day.
"""

from __future__ import annotations

import dataclasses
import difflib
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar, get_args, get_origin, get_type_hints

from mobilesam.errors import SettingsError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")


@dataclass(frozen=True)
class DataConfig:
    """Which photos, how often, and what is done to them."""

    shards: tuple[str, ...] = ()
    """Tar shards in the SA-1B schema; shell patterns are expanded, relative to the working directory."""
    coco: tuple[str, ...] = ()
    """COCO instance annotation files."""
    photos: str = ""
    """Folder of the COCO files' photos; looked for beside them when empty."""
    only_sources: tuple[str, ...] = ()
    """Sources to take; all when empty."""
    fraction: float = 1.0
    """Share of the photos to use, the same ones in every run and nested: the 25 % are part of the 50 %."""
    source_weights: dict[str, float] = field(default_factory=dict)
    """How often a source is drawn, relative to the others; a source that is not named gets `other_weight`."""
    other_weight: float = 0.5
    masks_per_photo: int = 4
    min_area: float = 0.001
    """Masks smaller than this fraction of the input square are not asked for."""
    crop_probability: float = 0.6
    min_crop: float = 0.45
    """Smallest side of a random crop, as a fraction of the photo's."""
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
    iou: float = 1.0


@dataclass(frozen=True)
class OptimConfig:
    """AdamW, linear warm-up, cosine decay, EMA."""

    lr: float = 6e-4
    weight_decay: float = 0.05
    warmup_steps: int = 300
    min_lr_ratio: float = 0.01
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    freeze_batch_norm: bool = False
    """Keep the batch statistics as they are: for small batches, and to make two processes equal one."""


@dataclass(frozen=True)
class RunConfig:
    """How long, on what, and where to."""

    output: str = "runs/train"
    steps: int = 1000
    batch_size: int = 16
    """Photos per forward and process."""
    accumulate: int = 1
    """Forwards whose gradients are averaged into one step, where memory holds no larger batch."""
    seed: int = 0
    precision: str = "32-true"
    """As Lightning Fabric names it; "bf16-mixed" is faster on most hardware."""
    accelerator: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    workers: int = 1
    """Processes that prepare photos; 0 does it in the training process."""
    log_every: int = 20
    checkpoint_every: int = 250
    report: bool = True
    """Write report.md and its curves at the end."""


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
    """A name in `mobilesam.model.config.CONFIGS`, used when `start_from` is empty."""
    start_from: str = ""
    """A checkpoint, a run's folder or an exported pair whose weights and architecture training goes on from."""
    freeze: tuple[str, ...] = ()
    """Parts that stay as they are: image_encoder, prompt_encoder, mask_decoder."""
    store: str = ""
    """Cached embeddings of a frozen image encoder (`mobilesam distill embed`), so that it never runs."""
    lora: LoraConfig = field(default_factory=LoraConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    data: DataConfig = field(default_factory=DataConfig)
    prompts: PromptConfig = field(default_factory=PromptConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    run: RunConfig = field(default_factory=RunConfig)


class Recipe(Protocol):
    """What every kind of recipe has: how to step, for how long, and what to look at meanwhile."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def optim(self) -> OptimConfig:
        """How the weights move."""
        ...

    @property
    def run(self) -> RunConfig:
        """How long, on what, and where to."""
        ...

    @property
    def validation(self) -> ValidationConfig:
        """What is looked at meanwhile."""
        ...


def load_recipe(path: Path, cls: type[T], overrides: list[str] | None = None) -> T:
    """Read a TOML recipe of kind `cls` and apply `a.b=value` overrides (the value in TOML syntax, or bare text).

    Raises:
        SettingsError: the file is no TOML, or a key or a value does not fit.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such recipe") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not valid TOML: {error}") from None
    for override in overrides or []:
        _apply_override(data, override)
    return from_dict(cls, data)


def _apply_override(data: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals:
        raise SettingsError(f"--set takes key.path=value, found '{override}'")
    *parents, last = path.strip().split(".")
    for parent in parents:
        data = data.setdefault(parent, {})
    try:
        data[last] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        data[last] = text


def from_dict(cls: type[T], data: dict[str, Any], where: str = "") -> T:
    """Build a (nested) dataclass from plain data, strictly.

    Raises:
        SettingsError: names the key, the nearest known key, or the type that was expected.
    """
    hints = get_type_hints(cls)
    for key in data:
        if key not in hints:
            near = difflib.get_close_matches(key, hints, n=1)
            advice = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(hints)}"
            raise SettingsError(f"unknown key '{where}{key}'; {advice}")
    missing = [f.name for f in dataclasses.fields(cls) if _is_required(f) and f.name not in data]  # type: ignore[arg-type]
    if missing:
        raise SettingsError(f"'{where.rstrip('.') or 'the recipe'}' lacks {', '.join(missing)}")
    return cls(**{key: _convert(value, hints[key], where + key) for key, value in data.items()})


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _convert(value: Any, kind: Any, where: str) -> Any:
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        return from_dict(kind, value, where + ".")  # type: ignore[arg-type]
    origin = get_origin(kind)
    if origin is tuple and isinstance(value, str):
        value = [value]  # one shard needs no brackets
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_convert(item, get_args(kind)[0], where) for item in value)
    if origin is dict and isinstance(value, dict):
        return {str(k): _convert(v, get_args(kind)[1], f"{where}.{k}") for k, v in value.items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if origin is None and isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    name = getattr(kind, "__name__", str(kind))
    raise SettingsError(f"'{where}' must be {name}, found {value!r}")
