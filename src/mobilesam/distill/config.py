"""The distillation recipe, shared by caching the teacher's embeddings and by training the student."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from mobilesam.data.store_format import Dtype
from mobilesam.errors import SettingsError
from mobilesam.model.config import CONFIGS, MOBILE_SAM, EncoderConfig, TinyViTConfig
from mobilesam.settings import Count, CountOrZero, PositiveOrZero, Settings, SideOrZero
from mobilesam.train.learning_config import LossConfig, OptimConfig
from mobilesam.train.photo_config import DRAWING, DataConfig, PromptConfig
from mobilesam.train.run_config import RunConfig, ValidationConfig

Method = Literal["decoupled", "semi-coupled", "coupled"]


@dataclass(frozen=True, kw_only=True)
class TeacherConfig(Settings):
    """The teacher network, and how it is run."""

    checkpoint: str = "sam_vit_h"
    """A checkpoint, a run's folder, an exported pair, or a name of `mobilesam models`."""
    image_size: SideOrZero = 0
    """Input side in pixels for teacher and student; 0 for the teacher's own, the only one if it has attention."""
    batch_size: Count = 8
    """Photos per batch when embedding."""
    device: str = "auto"
    """Device to embed on: "cpu", "cuda", or "auto": a GPU where there is one."""


@dataclass(frozen=True, kw_only=True)
class StoreConfig(Settings):
    """The store of the teacher's embeddings on disk."""

    path: str = "runs/embeddings"
    """Folder of the run that embeds; training reads all stores in it and in its subfolders."""
    shard_photos: Count = 256
    """Most photos in a store, the unit that is written, resumed and retried."""
    dtype: Dtype = "float16"
    """float16, or int8 with a scale per channel and photo: half the bytes."""
    views: Count = 1
    """Embeddings per photo: the whole photo, then mirrored crops."""
    view_seed: CountOrZero = 0
    """Random seed of the crops."""
    keep_padding: bool = False
    """Also keep the cells of the grid that the photo does not cover."""
    live: bool = False
    """Use no store: run the teacher at every step, on another view in each epoch if `views` is above 1."""

    def needs(self, name: str) -> str | None:
        """What a key lacks to have an effect."""
        is_stored = name in ("path", "shard_photos", "dtype", "keep_padding")
        return "live = false" if is_stored and self.live else None


@dataclass(frozen=True, kw_only=True)
class EmbeddingLossConfig(Settings):
    """Weights of the terms of the loss between embeddings. The paper uses the mean squared error (section 3.2)."""

    mse: PositiveOrZero = 1.0
    """Mean squared error."""
    l1: PositiveOrZero = 0.0
    """Mean absolute error."""
    huber: PositiveOrZero = 0.0
    """Smooth L1 loss: squared where the error is small, absolute where it is large."""
    cosine: PositiveOrZero = 0.0
    """1 - cosine similarity of the two vectors of a cell."""
    padding: bool = False
    """Count the cells outside the photo too, as the paper's plain error does; needs store.keep_padding."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not any((self.mse, self.l1, self.huber, self.cosine)):
            raise SettingsError("'mse' and every other weight of the loss is 0: nothing would be learnt")


@dataclass(frozen=True, kw_only=True)
class DistillRecipe(Settings):
    """All settings of `mobilesam distill`."""

    method: Method = "decoupled"
    """decoupled: the student's embedding imitates the teacher's; its decoder is the teacher's, untouched.
    semi-coupled: the loss is on masks, through the teacher's decoder, copied and frozen.
    coupled: the loss is on masks, and the decoder is trained too: from random weights, or from `start_from`."""
    student: TinyViTConfig = MOBILE_SAM.encoder  # type: ignore[assignment]
    """Any encoder of the TinyViT family; MobileSAM's by default."""
    student_model: str = ""
    """A name in `mobilesam.model.config.CONFIGS`, whose encoder is the student instead."""
    start_from: str = ""
    """A student to continue from; to fine-tune, use a method with a loss on masks after a decoupled run."""
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    """The teacher."""
    store: StoreConfig = field(default_factory=StoreConfig)
    """The store of the teacher's embeddings."""
    data: DataConfig = field(default_factory=DataConfig)
    """The photos to train on."""
    embedding_loss: EmbeddingLossConfig = field(default_factory=EmbeddingLossConfig)
    """Loss of the decoupled method."""
    prompts: PromptConfig = field(default_factory=PromptConfig)
    """How prompts are drawn from masks, for the methods with a loss on masks."""
    loss: LossConfig = field(default_factory=LossConfig)
    """Loss of the methods with a loss on masks."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """Optimizer and learning rate."""
    run: RunConfig = field(default_factory=RunConfig)
    """Length, hardware and output folder of the run."""
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    """Validation on held-out photos during the run."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.student_model and self.student_model not in CONFIGS:
            raise SettingsError(f"'student_model' must be one of {', '.join(CONFIGS)}, found {self.student_model!r}")

    def needs(self, name: str) -> str | None:
        """What a key lacks to have an effect."""
        section, _, key = name.partition(".")
        is_decoupled = self.method == "decoupled"
        if section == "student" and self.student_model:
            return "a recipe without student_model"
        if section == "data" and key in DRAWING:
            return "`mobilesam train` without a store"
        if is_decoupled and (section in ("loss", "prompts") or name in ("data.masks_per_photo", "data.min_area")):
            return 'method = "semi-coupled" or "coupled"'
        return 'method = "decoupled"' if section == "embedding_loss" and not is_decoupled else None

    @property
    def encoder(self) -> EncoderConfig:
        """The configuration of the student's image encoder."""
        return CONFIGS[self.student_model].encoder if self.student_model else self.student
