"""What `mobilesam bench` measures: models exported to every installed format and precision, and exported folders."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from mobilesam import contract
from mobilesam.choices import ExportFormat, StoredPrecision
from mobilesam.errors import MissingExtraError, MobileSamError, SettingsError
from mobilesam.extras import is_installed
from mobilesam.integrity import read_card
from mobilesam.predict.runtimes import OWN_BACKENDS
from mobilesam.text import unknown

if TYPE_CHECKING:
    from mobilesam.export.agreement import Reference
    from mobilesam.model.sam import Sam

SAME_PAIR = ("sam", "anylabeling", "hub")
"""Formats whose pair is that of `onnx`."""
OWN_THREADS = "coreml: CoreML chooses its number of threads itself; --threads is not for its rows"
NO_BFLOAT16 = "openvino bfloat16: not measured: this processor does not compute in it"
REFERENCE: tuple[ExportFormat, StoredPrecision] = ("onnx", "float32")
"""Exported in every run, so that times of different environments can be compared by their ratio to its."""


@dataclass(frozen=True)
class Subject:
    """A folder to measure, and the backend to run it on."""

    model: str
    folder: Path
    form: str
    stored: str
    """Precision of the weights in the files."""
    backend: str
    """Empty if nothing here runs the files."""
    computed: str = ""
    """The precision that the backend computes in, where it is told to."""
    error: float | None = None
    """The largest difference to torch in float32, over the largest value, of the worst output."""
    iou: float | None = None
    """Mean mask IoU with float32, over a grid of clicks and the boxes of their masks on the example photos."""

    @property
    def is_reference(self) -> bool:
        """Whether this is the reference that the ratios of a run are relative to."""
        return (self.form, self.stored) == REFERENCE and self.backend == "onnx"

    @property
    def megabytes(self) -> float:
        """Size of the files, without model.json and decoder_many.onnx, which clients may leave out."""
        left_out = (contract.CARD_FILE, contract.MANY_FILE)
        files = [path for path in self.folder.rglob("*") if path.is_file() and path.name not in left_out]
        return sum(file.stat().st_size for file in files) / 1e6


@dataclass(frozen=True)
class Wanted:
    """Which exports to measure."""

    forms: Sequence[str] = ()
    """Only these formats; none: all."""
    precisions: Sequence[str] = ()
    """Only these precisions; none: all."""
    smoke: bool = False
    """Two exports only, or one of each of `forms`."""

    def check(self) -> None:
        """Check that the formats and precisions exist.

        Raises:
            SettingsError: a format or a precision is unknown, the format has the same pair as `onnx`, or one of them
                has nothing to do with the others.
        """
        known = [name for name in get_args(ExportFormat) if name not in SAME_PAIR]
        for form in self.forms:
            if form not in known:
                why = ": its pair is that of onnx, which has a row" if form in SAME_PAIR else ""
                raise SettingsError(f"format '{form}' cannot be measured{why}; these can: {', '.join(known)}")
        for precision in self.precisions:
            if precision not in get_args(StoredPrecision):
                raise SettingsError(unknown("precision", precision, get_args(StoredPrecision)))
        if self.precisions and self.smoke:
            raise SettingsError("'precisions' (--precision) does nothing in a smoke run, which has its own")
        if self.precisions and self.forms:
            self._check_pairs()

    def _check_pairs(self) -> None:
        from mobilesam.export.formats import FORMATS

        has = {form: FORMATS[cast("ExportFormat", form)].precisions for form in self.forms}
        for form, found in has.items():
            if not set(found) & set(self.precisions):
                raise SettingsError(f"format '{form}' has the precisions {', '.join(found)}; name one of them too")
        for precision in self.precisions:
            if not any(precision in found for found in has.values()):
                raise SettingsError(f"no format of {', '.join(has)} has the precision '{precision}'; leave it out")

    def pairs(self) -> list[tuple[ExportFormat, StoredPrecision]]:
        """Formats and precisions to export, the reference first."""
        from mobilesam.export.formats import FORMATS

        forms = [name for name in FORMATS if name not in SAME_PAIR and name in (self.forms or FORMATS)]
        if self.smoke:
            return [REFERENCE, *((name, "float32") for name in forms if self.forms), *([] if self.forms else [MIXED])]
        found = [(name, precision) for name in forms for precision in FORMATS[name].precisions]
        return [REFERENCE, *(pair for pair in found if pair[1] in (self.precisions or get_args(StoredPrecision)))]


MIXED: tuple[ExportFormat, StoredPrecision] = ("onnx", "mixed")


def subjects(models: Sequence[str], scratch: Path, wanted: Wanted) -> tuple[list[Subject], list[str]]:
    """Export models to what is wanted, and compare the files with torch; exported folders are taken as they are.

    Args:
        models: names, checkpoints or exported folders.
        scratch: folder for the exports.
        wanted: which of them.

    Returns:
        What can be measured, and a sentence for each combination that cannot, or not as it was asked for.

    Raises:
        SettingsError: a format or a precision is unknown, or nothing here runs it.
    """
    wanted.check()
    found: list[Subject] = []
    missing: list[str] = []
    for i, model in enumerate(models):
        if is_export(model):
            found += _as_it_is(Path(model))
        else:
            for subject in _exports(model, scratch / str(i), wanted):
                if isinstance(subject, str):
                    missing.append(subject)
                else:
                    found.append(subject)
    if any(subject.backend == "openvino" for subject in found) and not openvino_computes_bfloat16():
        missing.append(NO_BFLOAT16)
    if any(subject.backend == "coreml" for subject in found):
        missing.append(OWN_THREADS)
    return found, missing


def runner(form: str) -> str:
    """The backend that runs a format here; "" where none does: its size is still a row."""
    if form == "coreml" and platform.system() != "Darwin":
        return ""
    return OWN_BACKENDS.get(form, "onnx")


def is_export(model: str | os.PathLike[str]) -> bool:
    """Whether a model is a folder that was exported."""
    return Path(model).is_dir() and bool(read_card(model))


def _as_it_is(folder: Path) -> Iterator[Subject]:
    """An exported folder, with the agreement that was measured at its export."""
    card = read_card(folder)
    form, precision = str(card.get(contract.FORMAT, "onnx")), str(card.get(contract.PRECISION, "float32"))
    yield Subject(folder.name, folder, form, precision, runner(form), "", *_recorded(folder))


def _recorded(folder: Path) -> tuple[float | None, float | None]:
    """Largest relative error and mean mask IoU of exported files, as their export found them (CoreML: on a Mac)."""
    card = read_card(folder)
    errors, masks = card.get("verified"), card.get("masks")
    iou = float(masks["iou"]) if isinstance(masks, dict) else None
    # In another precision, a pair was compared with the rounded network, not with float32.
    if card.get(contract.PRECISION, "float32") != "float32" or not isinstance(errors, dict) or not errors:
        return None, iou
    return max(errors.values()), 1.0 if iou is None else iou


def _exports(model: str, folder: Path, wanted: Wanted) -> Iterator[Subject | str]:
    """Export one model to everything that is installed, and compare each with torch."""
    from mobilesam.export.agreement import Reference, example_photos
    from mobilesam.export.draft import Check
    from mobilesam.export.formats import compares_masks, export_as
    from mobilesam.model import checkpoint
    from mobilesam.model.backend import TorchBackend
    from mobilesam.weights import find_checkpoint

    source = find_checkpoint(model)
    exact = checkpoint.load(source).eval()
    reference = Reference.of(TorchBackend(exact), example_photos())
    for name, precision in dict.fromkeys(wanted.pairs()):
        target = folder / f"{name}-{precision}"
        try:
            sam = checkpoint.load(source)
            check = Check(force=compares_masks(name, precision))  # slow and wrong formats are rows too
            export_as(sam, target, name, licence="unknown", precision=precision, check=check)
        except (MissingExtraError, ModuleNotFoundError) as error:
            yield f"{name} {precision}: not measured: {error}"
        except MobileSamError as error:
            yield f"{name} {precision}: not exported: {error}"
        else:
            label = Path(model).stem if Path(model).exists() else model
            for backend, computed in _backends(name, precision):
                agreement = _compare(target, backend, computed, exact, reference) if backend else _recorded(target)
                yield Subject(label, target, name, precision, backend, computed, *agreement)


def _backends(form: str, precision: str) -> Iterator[tuple[str, str]]:
    """The backends that run a format, and the precision that each is told to compute in, if any."""
    yield runner(form), ""
    if (form, precision) == REFERENCE and is_installed("openvino"):
        yield "openvino", ""
        if openvino_computes_bfloat16():
            yield "openvino", "bfloat16"


def openvino_computes_bfloat16() -> bool:
    """Whether OpenVINO, which is installed, computes in bfloat16 on this processor."""
    from mobilesam.predict.openvino import has_bfloat16

    return has_bfloat16()


def _compare(folder: Path, backend: Any, computed: Any, sam: Sam, reference: Reference) -> tuple[float, float]:
    """Largest relative error and mean mask IoU of exported files against torch in float32."""
    from mobilesam.export.fixed_check import measure_errors
    from mobilesam.predict.load import load

    runner = load(folder, backend=backend, precision=computed or "float32").backend
    return max(measure_errors(runner, sam).values()), reference.agreement(runner).iou
