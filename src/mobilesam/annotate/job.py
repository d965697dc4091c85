"""A planned annotation run, and the model that its workers load."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, cast

from mobilesam import contract
from mobilesam.annotate.settings import AnnotateSettings
from mobilesam.choices import BackendName, Precision
from mobilesam.errors import ModelError
from mobilesam.predict.identity import numbers_stored, precision_of
from mobilesam.predict.load import load
from mobilesam.predict.predictor import Predictor
from mobilesam.recipe import from_dict
from mobilesam.settings import Settings
from mobilesam.shards.job import Job

SUFFIX = {"sa1b": ".tar", "parquet": ".parquet"}


STORED = "stored"
"""Entry of a plan's model: `predict.identity.numbers_stored`; plans of versions that did not note it lack it."""


@dataclass(frozen=True, kw_only=True)
class ModelChoice(Settings):
    """How each worker loads the model; see `mobilesam.load`."""

    model: str
    backend: str
    precision: str = "float32"
    computed: str = ""
    """The precision in which the processor that planned the run computes, and every worker must; "" in early plans."""
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
            precision=cast("Precision", self.computed or self.precision),
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
            ModelError: it is another one than the plan was made with, or computes in another precision here.
        """
        predictor = self.model_choice.load(threads)
        here = identify(predictor)
        if any(here[key] != self.model[key] for key in ("weights_sha256", STORED) if key in self.model):
            raise ModelError(
                f"'{self.model_choice.model}' is not the model that '{self.folder}' was planned with, which was "
                f"'{self.model['name']}'{stored_as(self.model)}; give this worker the same files"
            )
        if self.model_choice.computed not in ("", precision_of(predictor.backend)):
            raise ModelError(
                f"'{self.folder}' is computed in {self.model_choice.computed}, which this processor does not compute "
                "in; leave the run to machines like the one that planned it, or begin another one in float32"
            )
        return predictor


def identify(predictor: Predictor) -> dict[str, Any]:
    """What a plan says of its model: all of it that decides results."""
    info = predictor.info
    model = {"name": info.name, "weights_sha256": info.weights_sha256, "image_size": info.image_size}
    return {**model, STORED: numbers_stored(predictor.backend)}


def stored_as(model: dict[str, Any]) -> str:
    """How the files of a plan's model store its weights, in words; "" where it goes without saying."""
    stored = model.get(STORED)
    return f", stored as {stored[contract.FORMAT]} in {stored[contract.PRECISION]}" if stored else ""
