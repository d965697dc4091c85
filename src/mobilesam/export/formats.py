"""The table of formats that `mobilesam export` writes: what each needs, which precisions it has, and what writes it."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from mobilesam.choices import ExportFormat, StoredPrecision
from mobilesam.errors import ImageError, SettingsError
from mobilesam.export.draft import DEFAULT_CHECK, Check, drafting
from mobilesam.extras import require
from mobilesam.model.sam import Sam
from mobilesam.outputs import DEFAULT, Outputs


@dataclass(frozen=True)
class Format:
    """What one format needs, offers, and is written by."""

    writer: str
    """The module in `mobilesam.export` that writes it, imported when the format is asked for. It has `FILES`, the names
    of the files or folders except model.json, and `write_files(draft)`."""
    precisions: tuple[StoredPrecision, ...]
    """The first is the default."""
    modules: tuple[str, ...] = ("onnx",)
    """What must be installed,"""
    extra: str = "torch"
    """and the extra that brings it."""
    image_size: int | None = None
    """The only image size that the format's client feeds, in pixels."""
    compares_float32: bool = True
    """Whether masks are compared in float32 too, and not only the numbers of a pair."""
    system: str = ""
    """The only system whose runtime can compare masks, as `platform.system` names it; "" for all."""


FORMATS: dict[ExportFormat, Format] = {
    "onnx": Format("onnx", ("float32", "float16", "int8-weights", "mixed", "int8"), compares_float32=False),
    "ort": Format("ort", ("float32", "float16", "int8-weights")),
    "litert": Format(
        "litert",
        ("float32", "float16", "int8-weights", "int8"),
        ("litert_torch", "ai_edge_litert", "ai_edge_quantizer"),
        "litert",
    ),
    "executorch": Format("executorch", ("float32", "float16", "int8"), ("executorch", "torchao"), "executorch"),
    "coreml": Format("coreml", ("float16", "float32", "int8-weights"), ("coremltools",), "executorch", system="Darwin"),
    "openvino": Format("openvino", ("float32", "float16", "int8-weights"), ("openvino",), "openvino"),
    "anylabeling": Format("any_labeling", ("float32", "float16"), image_size=1024, compares_float32=False),
    "sam": Format("sam_decoder", ("float32", "float16"), compares_float32=False),
    "hub": Format("hub", ("float32", "float16"), compares_float32=False),
}


def export_as(
    sam: Sam,
    folder: Path,
    name: ExportFormat,
    *,
    licence: str,
    precision: StoredPrecision | None = None,
    image_size: int | None = None,
    outputs: Outputs = DEFAULT,
    check: Check = DEFAULT_CHECK,
) -> list[Path]:
    """Export a network in one of the formats.

    Args:
        sam: the network; its weights are rounded in place to a smaller precision, and its configuration takes the size.
        folder: made if missing.
        name: of the format.
        licence: of the weights, for the metadata.
        precision: number format of the weights in the files; None for the format's first.
        image_size: side in pixels of the square input; None for the model's own.
        outputs: the rule for what may be replaced.
        check: the photos that masks are compared on.

    Returns:
        The files that were written.

    Raises:
        SettingsError: the format has no such precision, its client feeds another image size, or `check` has photos or
            `force` where no masks are compared.
        ImageError: a photo of `check` does not exist.
        MissingExtraError: what converts to the format is not installed.
        ExportError: the files do not compute what the network computes; nothing is written.
        OutputError: another's file is there; nothing is written.
    """
    entry = FORMATS[name]
    chosen = precision or entry.precisions[0]
    if chosen not in entry.precisions:
        raise SettingsError(f"format {name} has the precisions {', '.join(entry.precisions)}, not {chosen}")
    if entry.image_size is not None:
        if image_size not in (None, entry.image_size):
            raise SettingsError(f"format {name} works at {entry.image_size} px; leave --image-size {image_size} out")
        image_size = entry.image_size
    check_wishes(name, chosen, check)
    for module in entry.modules:
        require(module, entry.extra, f"the format {name}")
    # The network of a checkpoint is the same at every size; only the configuration, which is exported, changes.
    if image_size is not None:
        sam.config = sam.config.at(image_size)
    writer: Any = import_module(f"mobilesam.export.{entry.writer}")
    settings: dict[str, Any] = {"licence": licence, "precision": chosen, "outputs": outputs, "check": check}
    with drafting(sam, folder, names=writer.FILES, form=name, **settings) as draft:
        writer.write_files(draft)
    return draft.files


def compares_masks(name: ExportFormat, precision: StoredPrecision) -> bool:
    """Whether an export compares masks with the network's, so that `Check` has an effect."""
    entry = FORMATS[name]
    return (precision != "float32" or entry.compares_float32) and entry.system in ("", platform.system())


def check_wishes(name: ExportFormat, precision: StoredPrecision, check: Check) -> None:
    """Refuse photos and `force` where they would have no effect, and photos that do not exist.

    Raises:
        SettingsError: an export to this format compares no masks.
        ImageError: there is no such photo.
    """
    for photo in check.photos:
        if not Path(photo).is_file():
            raise ImageError(f"'{photo}' does not exist; name photos that are there with --calibration")
    given = [option for option, is_given in (("--calibration", check.photos), ("--force", check.force)) if is_given]
    if given and not compares_masks(name, precision):
        system = FORMATS[name].system
        where = f"away from {system}" if system not in ("", platform.system()) else f"in {precision}"
        raise SettingsError(
            f"format {name} {where} compares no masks, so {' and '.join(given)} would have no effect; leave it out"
        )
