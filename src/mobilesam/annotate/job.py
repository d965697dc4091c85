"""A planned annotation run, and the model that its workers load."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, cast

from mobilesam.annotate.settings import AnnotateSettings
from mobilesam.choices import BackendName, Precision
from mobilesam.errors import ModelError
from mobilesam.predict.load import load
from mobilesam.predict.predictor import Predictor
from mobilesam.recipe import from_dict
from mobilesam.settings import Settings
from mobilesam.shards.job import Job

SUFFIX = {"sa1b": ".tar", "parquet": ".parquet"}


@dataclass(frozen=True, kw_only=True)
class ModelChoice(Settings):
    """How each worker loads the model; see `mobilesam.load`."""

    model: str
    backend: str
    precision: str = "float32"
    image_size: int | None = None
    device: str = "cpu"
    threads: int | None = None
    """Of every worker, where results depend on it: torch adds in another order with each number of threads."""

    def load(self, threads: int | None) -> Predictor:
        """Load the model.

        Args:
            threads: per operator, unless the choice itself says; None lets the runtime choose.
        """
        return load(
            self.model,
            backend=cast("BackendName", self.backend),
            precision=cast("Precision", self.precision),
            image_size=self.image_size,
            device=self.device,
            threads=self.threads or threads,
        )


class AnnotateJob(Job):
    """A planned annotation run."""

    kind: ClassVar[str] = "annotate"

    @cached_property
    def settings(self) -> AnnotateSettings:
        """What to ask and how to write."""
        return AnnotateSettings.from_record(self.asked["settings"])

    @cached_property
    def model_choice(self) -> ModelChoice:
        """How each worker loads the model."""
        return from_dict(ModelChoice, self.choice)

    def open_model(self, threads: int | None) -> Predictor:
        """Load the model of the run.

        Raises:
            ModelError: it is another one than the plan was made with.
        """
        predictor = self.model_choice.load(threads)
        if predictor.info.weights_sha256 != self.model["weights_sha256"]:
            raise ModelError(
                f"'{self.model_choice.model}' is not the model that '{self.folder}' was planned with; "
                "give this worker the same"
            )
        return predictor


def backend_name(predictor: Predictor) -> str:
    """The backend that a model was loaded with, by the name that `load` takes."""
    module = type(predictor.backend).__module__.rpartition(".")[2]
    return "torch" if module == "backend" else module
