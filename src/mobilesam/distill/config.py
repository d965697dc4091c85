"""A distillation recipe: one kind for caching the teacher's embeddings and for learning from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from mobilesam.data.store import Dtype
from mobilesam.errors import SettingsError
from mobilesam.model.config import CONFIGS, MOBILE_SAM, EncoderConfig, TinyViTConfig
from mobilesam.recipe import Count, CountOrZero, PositiveOrZero, Settings, SideOrZero
from mobilesam.train.config import DataConfig, LossConfig, OptimConfig, PromptConfig, RunConfig, ValidationConfig

Method = Literal["decoupled", "semi-coupled", "coupled"]


@dataclass(frozen=True, kw_only=True)
class TeacherConfig(Settings):
    """Who is imitated."""

    checkpoint: str = "sam_vit_h"
    """A checkpoint, a run's folder, an exported pair, or a name of `mobilesam models`."""
    image_size: SideOrZero = 0
    """Side in pixels at which it embeds, and its student learns; 0 for its own. Attention leaves no choice."""
    batch_size: Count = 8
    """Photos that it embeds at once."""
    device: str = "auto"
    """Where it embeds: "cpu", "cuda", or "auto": a GPU where there is one."""


@dataclass(frozen=True, kw_only=True)
class StoreConfig(Settings):
    """Its answers on disk."""

    path: str = "runs/embeddings"
    """Folder with one file per data set."""
    dtype: Dtype = "float16"
    """float16, or int8 with a scale per channel and photo: half the bytes."""
    views: Count = 1
    """Embeddings per photo: the whole photo, then mirrored crops."""
    view_seed: CountOrZero = 0
    """Of the crops."""
    keep_padding: bool = False
    """Also keep the cells of the grid that the photo does not cover."""
    live: bool = False
    """No store: the teacher runs at every step, and each epoch shows another view when `views` is above 1."""


@dataclass(frozen=True, kw_only=True)
class EmbeddingLossConfig(Settings):
    """Weights of the terms between two embeddings. The paper's is the mean squared error (section 3.2)."""

    mse: PositiveOrZero = 1.0
    """Mean squared error."""
    l1: PositiveOrZero = 0.0
    """Mean absolute error."""
    huber: PositiveOrZero = 0.0
    """Squared where the error is small, absolute where it is large."""
    cosine: PositiveOrZero = 0.0
    """1 - cosine of the angle between the two vectors of a cell."""
    padding: bool = False
    """Count the cells outside the photo too, as the paper's plain error does; needs store.keep_padding."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not any((self.mse, self.l1, self.huber, self.cosine)):
            raise SettingsError("'mse' and every other weight of the loss is 0: nothing would be learnt")


@dataclass(frozen=True, kw_only=True)
class DistillRecipe(Settings):
    """Everything `mobilesam distill` needs to know."""

    method: Method = "decoupled"
    """decoupled: the student's embedding imitates the teacher's; its decoder is the teacher's, untouched.
    semi-coupled: the loss is on masks, through the teacher's decoder, copied and frozen.
    coupled: the loss is on masks, and the decoder learns too: from nothing, or from `start_from`."""
    student: TinyViTConfig = MOBILE_SAM.encoder  # type: ignore[assignment]
    """Any encoder of the TinyViT family; MobileSAM's by default."""
    student_model: str = ""
    """A name in `mobilesam.model.config.CONFIGS`, whose encoder is the student instead."""
    start_from: str = ""
    """A student to go on from; fine-tuning is a mask method that starts from a decoupled run."""
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    """Who is imitated."""
    store: StoreConfig = field(default_factory=StoreConfig)
    """Where the teacher's embeddings lie."""
    data: DataConfig = field(default_factory=DataConfig)
    """Which photos."""
    embedding_loss: EmbeddingLossConfig = field(default_factory=EmbeddingLossConfig)
    """What the decoupled method minimises."""
    prompts: PromptConfig = field(default_factory=PromptConfig)
    """How masks become prompts, for the methods with a loss on masks."""
    loss: LossConfig = field(default_factory=LossConfig)
    """What those methods minimise."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """How the weights move."""
    run: RunConfig = field(default_factory=RunConfig)
    """How long, on what, and where to."""
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    """What is looked at meanwhile."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.student_model and self.student_model not in CONFIGS:
            raise SettingsError(f"'student_model' must be one of {', '.join(CONFIGS)}, found {self.student_model!r}")

    @property
    def encoder(self) -> EncoderConfig:
        """The student's."""
        return CONFIGS[self.student_model].encoder if self.student_model else self.student
