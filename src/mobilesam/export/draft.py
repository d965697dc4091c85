"""The folder of an export while it is written: temporary files, model.json, and the check of its masks.

Every format uses it, so that a folder that has a model.json is complete, and describes itself in the same way.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

from torch import Tensor

from mobilesam import contract
from mobilesam.choices import ExportFormat, StoredPrecision
from mobilesam.errors import ExportError
from mobilesam.export.agreement import Agreement, Reference, example_photos
from mobilesam.export.fixed_check import check_errors, measure_errors
from mobilesam.export.placing import check_places, place
from mobilesam.files import make_folder
from mobilesam.integrity import HASHES, file_sha256
from mobilesam.model.backend import TorchBackend, describe
from mobilesam.model.sam import Sam
from mobilesam.outputs import DEFAULT, Outputs, marked
from mobilesam.predict.backend import Backend
from mobilesam.temporaries import folder_in, sweep

README = "README.md"
"""A model card, which people complete after the export: model.json lists no sha256 of it."""
INPUT = "RGB float32 0-255; the files subtract the mean and divide by the deviation themselves"
_LEAST = {"float32": 0.995, "float16": 0.98}
MIN_IOU = {precision: _LEAST.get(precision, 0.95) for precision in get_args(StoredPrecision)}
"""Lowest mean mask IoU with the network in float32 at which an export is kept."""


@dataclass(frozen=True)
class Check:
    """How the masks of an export are compared with those of the network in float32."""

    photos: Sequence[str | os.PathLike[str]] = ()
    """Photos to compare masks on, and to calibrate int8 on; none: the two example photos."""
    force: bool = False
    """Keep files whose masks agree too little."""


DEFAULT_CHECK = Check()


@dataclass
class Draft:
    """One export that is being written."""

    sam: Sam
    folder: Path
    """The temporary folder: write the files here, under their final names."""
    form: ExportFormat
    precision: StoredPrecision
    licence: str
    check: Check
    metadata: dict[str, str] = field(default_factory=dict)
    """The contract's metadata, for formats that can hold text; model.json has it in any case."""
    card: dict[str, Any] = field(default_factory=dict)
    """model.json; add what the format has besides, or otherwise, such as `card[contract.NUM_POINTS] = 5`."""
    files: list[Path] = field(default_factory=list)
    """The files of the export, after the block has ended."""

    @cached_property
    def photos(self) -> list[Path]:
        """The photos that masks are compared on."""
        return [Path(photo) for photo in self.check.photos] or example_photos()

    @cached_property
    def reference(self) -> Reference:
        """Prompts, and the masks that the network in float32 answers; made before the weights are rounded."""
        return Reference.of(TorchBackend(self.sam), self.photos)

    def describe(self) -> None:
        """Set the entries that describe the network; again, after its weights were rounded."""
        info = describe(self.sam, self.licence)
        common = {"contract_version": contract.VERSION, contract.FORMAT: self.form, contract.PRECISION: self.precision}
        known = {**asdict(info), "config": json.dumps(self.sam.config.to_dict()), "model_name": info.name, **common}
        keys = (*contract.METADATA_KEYS, *contract.OPTIONAL_KEYS, "config", contract.FORMAT, contract.PRECISION)
        inputs = {
            contract.NUM_POINTS: contract.ANY_POINTS,
            contract.PIXEL_MEAN_KEY: in_digits(self.sam.pixel_mean),
            contract.PIXEL_STD_KEY: in_digits(self.sam.pixel_std),
            contract.NORMALISATION: contract.INSIDE,
        }
        self.metadata |= {key: str(known[key]) for key in keys} | {key: str(value) for key, value in inputs.items()}
        self.card |= {**asdict(info), **common, "input": INPUT, **inputs}

    def beside(self, folder: Path) -> Draft:
        """A draft in another folder of the same network, for files that are converted from there."""
        card = dict(self.card)  # what is measured of files there does not hold for what is made of them
        return Draft(self.sam, folder, self.form, self.precision, self.licence, self.check, dict(self.metadata), card)

    def seal(self) -> None:
        """Write model.json for the files as they are, so that a backend can open the folder."""
        left_out = (contract.CARD_FILE, README)
        files = sorted(path for path in self.folder.rglob("*") if path.is_file() and path.name not in left_out)
        sums = {path.relative_to(self.folder).as_posix(): file_sha256(path) for path in files}
        text = json.dumps(marked({**self.card, HASHES: sums}), indent=2) + "\n"
        (self.folder / contract.CARD_FILE).write_text(text, encoding="utf-8")

    def check_numbers(self, backend: Backend, runtime: str) -> None:
        """Record the errors of a backend that runs the files, against the network.

        Raises:
            ExportError: the files are in float32, and differ from the network by more than rounding.
        """
        self.card["verified"] = errors = measure_errors(backend, self.sam)
        if self.precision == "float32":
            check_errors(errors, runtime)

    def check_masks(self, backend: Backend) -> Agreement:
        """Compare the masks of a backend that runs the files with the network's, and record the result.

        Raises:
            ExportError: the masks agree too little, and `check.force` is not set.
        """
        found = self.reference.agreement(backend)
        self.card["masks"] = {**asdict(found), "photos": len(self.photos)}
        least = MIN_IOU[self.precision]
        if not found.iou >= least and not self.check.force:  # also refuses NaN
            advice = "the runtime computes something else"
            if self.precision != "float32":
                advice = "choose another --precision, give --calibration photos like yours, or keep it with --force"
            what = f"masks of the {self.precision} files have IoU {found.iou:.3f} with the network's, below {least}"
            raise ExportError(f"{what}: {advice}")
        return found


def in_digits(values: Tensor) -> list[float]:
    """Numbers of float32 with as few digits as identify them: 123.675, not 123.67500305175781."""
    return [float(str(value)) for value in values.flatten().cpu().numpy()]


@contextmanager
def drafting(
    sam: Sam,
    folder: str | os.PathLike[str],
    *,
    names: Sequence[str],
    form: ExportFormat,
    precision: StoredPrecision,
    licence: str,
    outputs: Outputs = DEFAULT,
    check: Check = DEFAULT_CHECK,
) -> Iterator[Draft]:
    """Yield a draft whose files, with model.json, move into `folder` when the block ends without an error.

    Args:
        sam: the network; put in eval mode.
        folder: made if missing.
        names: the files or folders that will be written, except model.json, to refuse early to replace another's.
        form: name of the format.
        precision: number format of the weights.
        licence: of the weights, for the metadata.
        outputs: the rule for what may be replaced.
        check: the photos that masks are compared on.

    Raises:
        OutputError: another's file is there, or one of an earlier export that was changed; nothing is written.
    """
    folder = Path(folder)
    make_folder(folder)
    sweep(folder)
    check_places(folder, (*names, contract.CARD_FILE), outputs)
    sam.eval()
    with folder_in(folder) as partial:
        draft = Draft(sam, partial, form, precision, licence, check)
        draft.describe()
        if precision != "float32":
            _ = draft.reference  # now, before the weights are rounded
        yield draft
        draft.seal()
        draft.files = place(partial, folder, outputs)
