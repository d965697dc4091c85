"""Writing of a model for a runtime with fixed shapes: both files and model.json, kept only if the masks are torch's."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any, get_args

from torch import Tensor, fx

from mobilesam import contract
from mobilesam.choices import ExportPrecision
from mobilesam.errors import SettingsError
from mobilesam.export.agreement import Agreement
from mobilesam.export.constants import fold_constants
from mobilesam.export.fixed import FixedDecoder, FixedEncoder
from mobilesam.integrity import HASHES, file_sha256
from mobilesam.model.backend import describe
from mobilesam.model.sam import Sam
from mobilesam.outputs import Outputs, marked, note
from mobilesam.predict.backend import ModelInfo
from mobilesam.predict.fixed import FORMAT
from mobilesam.temporaries import folder_in, sweep


@dataclass(frozen=True)
class FixedGraph:
    """A graph to convert."""

    name: str
    """"encoder" or "decoder"."""
    module: fx.GraphModule
    """With all constants computed."""
    inputs: dict[str, Tensor]
    """An example of each."""
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Format:
    """How a runtime's files are made and checked."""

    name: str
    title: str
    """As its makers write it."""
    suffix: str
    precisions: tuple[ExportPrecision, ...]
    convert: Callable[[FixedGraph, Path, dict[str, str], str], None]
    """Graph, file, metadata, precision: write the file."""
    verify: Callable[[Path, Sam], Agreement | None]
    """Folder, network: compare the files with torch; None where the runtime cannot run here."""


def export_fixed(sam: Sam, folder: Path, made: Format, *, licence: str, precision: str, outputs: Outputs) -> list[Path]:
    """Convert a network for a runtime with fixed shapes, and keep the files if that runtime gives torch's masks.

    Args:
        sam: the network; the files take photos at its configuration's image size.
        folder: made if missing.
        made: the format.
        licence: of the weights, for the metadata.
        precision: one of the format's.
        outputs: the rule for what may be replaced.

    Returns:
        The files written; model.json comes last.

    Raises:
        SettingsError: the format has no such precision.
        ExportError: the runtime and torch disagree; nothing is left in the folder.
        OutputError: another's file is there; nothing is written.
    """
    check_precision(made, precision)
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    names = [f"encoder{made.suffix}", f"decoder{made.suffix}", contract.CARD_FILE]
    for name in names:
        check_output(folder / name, outputs)
    info = replace(describe(sam.eval(), licence), image_sizes="")  # the shapes are fixed
    with folder_in(folder) as partial:
        card = describe_files(sam, info, made, precision)
        metadata = {key: value if isinstance(value, str) else json.dumps(value) for key, value in card.items()}
        for graph in graphs(sam):
            with quietly():
                made.convert(graph, partial / f"{graph.name}{made.suffix}", metadata, precision)
        write_card(partial, card)
        agreement = made.verify(partial, sam)
        if agreement is not None:
            agreement.check(precision, made.title)
            card |= {"verified": agreement.errors}
            card |= {"mask_iou": agreement.mask_iou, "lowest_mask_iou": agreement.lowest_mask_iou}
        write_card(partial, card)
        move(partial, folder, names, outputs)
    return [folder / name for name in names]


def graphs(sam: Sam) -> Iterator[FixedGraph]:
    """The two graphs of a network, one after the other, so that only one needs memory."""
    for name, build, inputs, outputs in (
        ("encoder", FixedEncoder, contract.FIXED_ENCODER_INPUTS, (contract.ENCODER_OUTPUT,)),
        ("decoder", FixedDecoder, contract.DECODER_INPUTS, contract.DECODER_OUTPUTS),
    ):
        module = build(sam)
        example = module.example()
        yield FixedGraph(name, fold_constants(module, example), dict(zip(inputs, example, strict=True)), outputs)


def describe_files(sam: Sam, info: ModelInfo, made: Format, precision: str) -> dict[str, Any]:
    """The entries of model.json that a client needs, and what the files were made from."""
    return {
        **asdict(info),
        "contract_version": contract.VERSION,
        "model_name": info.name,
        FORMAT: made.name,
        "precision": precision,
        "num_points": contract.FIXED_POINTS,
        "pixel_mean": list(contract.PIXEL_MEAN),
        "pixel_std": list(contract.PIXEL_STD),
        "config": sam.config.to_dict(),
    }


def check_precision(made: Format, precision: str) -> None:
    """Refuse a precision that a format does not have.

    Raises:
        SettingsError: says which it has.
    """
    if precision not in made.precisions:
        known = "known" if precision not in get_args(ExportPrecision) else "it has"
        raise SettingsError(f"{made.title} is not offered in '{precision}'; {known}: {', '.join(made.precisions)}")


def write_card(folder: Path, card: dict[str, Any]) -> None:
    """Write model.json with the sha256 of every other file of a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != contract.CARD_FILE)
    hashes = {path.relative_to(folder).as_posix(): file_sha256(path) for path in files}
    text = json.dumps(marked({**card, HASHES: hashes}), indent=2)
    (folder / contract.CARD_FILE).write_text(text + "\n", encoding="utf-8")


def move(partial: Path, folder: Path, names: list[str], outputs: Outputs) -> None:
    """Move finished files to their folder; model.json goes first and comes last, so that it stands for a whole model.

    Raises:
        OutputError: another's file is there.
    """
    for name in names:
        check_output(folder / name, outputs)
    (folder / contract.CARD_FILE).unlink(missing_ok=True)
    for name in names:
        source, target = partial / name, folder / name
        if source.is_dir():
            shutil.rmtree(target, ignore_errors=True)
        else:
            note(target, source)
        os.replace(source, target)


def check_output(path: Path, outputs: Outputs) -> None:
    """Check that a file, or a folder that counts as one file, may be written.

    Raises:
        OutputError: it is an input, or this package did not write it.
    """
    if path.suffix == PACKAGE and path.is_dir() and not path.is_symlink():
        for file in path.rglob("*"):
            if file.name == PACKAGE_MODEL:
                outputs.check(file)
        return
    outputs.check(path)


PACKAGE, PACKAGE_MODEL = ".mlpackage", "model.mlmodel"
"""CoreML writes a folder; this file in it holds our metadata."""


@contextmanager
def quietly() -> Iterator[None]:
    """Keep what converters print from what the command prints."""
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        yield
