"""A distillation recipe: one kind for caching the teacher's embeddings and for learning from them."""

from __future__ import annotations

from dataclasses import dataclass, field

from mobilesam.data.store import DTYPES
from mobilesam.errors import SettingsError
from mobilesam.model.config import CONFIGS, MOBILE_SAM, EncoderConfig, TinyViTConfig
from mobilesam.train.config import DataConfig, LossConfig, OptimConfig, PromptConfig, RunConfig, ValidationConfig

METHODS = ("decoupled", "semi-coupled", "coupled")


@dataclass(frozen=True)
class TeacherConfig:
    """Who is imitated."""

    checkpoint: str = "sam_vit_h"
    """A checkpoint, a run's folder, an exported pair, or a name of `mobilesam models`."""
    image_size: int = 0
    """Side in pixels at which it embeds, and its student learns; 0 for its own. Attention leaves no choice."""
    batch_size: int = 8
    device: str = "auto"
    """Where it embeds: "cpu", "cuda", or "auto": a GPU where there is one."""


@dataclass(frozen=True)
class StoreConfig:
    """Its answers on disk."""

    path: str = "runs/embeddings"
    """Folder with one file per data set."""
    dtype: str = "float16"
    """float16, or int8 with a scale per channel and photo: half the bytes."""
    views: int = 1
    """Embeddings per photo: the whole photo, then mirrored crops."""
    view_seed: int = 0
    keep_padding: bool = False
    """Also keep the cells of the grid that the photo does not cover."""
    live: bool = False
    """No store: the teacher runs at every step, and each epoch shows another view when `views` is above 1."""

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise SettingsError(f"store.dtype must be one of {', '.join(DTYPES)}, not '{self.dtype}'")
        if self.views < 1:
            raise SettingsError(f"store.views must be at least 1, not {self.views}")


@dataclass(frozen=True)
class EmbeddingLossConfig:
    """Weights of the terms between two embeddings. The paper's is the mean squared error (section 3.2)."""

    mse: float = 1.0
    l1: float = 0.0
    huber: float = 0.0
    cosine: float = 0.0
    """1 - cosine of the angle between the two vectors of a cell."""
    padding: bool = False
    """Count the cells outside the photo too, as the paper's plain error does; needs store.keep_padding."""


@dataclass(frozen=True)
class DistillRecipe:
    """Everything `mobilesam distill` needs to know."""

    method: str = "decoupled"
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
    store: StoreConfig = field(default_factory=StoreConfig)
    data: DataConfig = field(default_factory=DataConfig)
    embedding_loss: EmbeddingLossConfig = field(default_factory=EmbeddingLossConfig)
    prompts: PromptConfig = field(default_factory=PromptConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    run: RunConfig = field(default_factory=RunConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise SettingsError(f"method must be one of {', '.join(METHODS)}, not '{self.method}'")
        if self.student_model and self.student_model not in CONFIGS:
            raise SettingsError(f"unknown student_model '{self.student_model}'; known: {', '.join(CONFIGS)}")

    @property
    def encoder(self) -> EncoderConfig:
        """The student's."""
        return CONFIGS[self.student_model].encoder if self.student_model else self.student
