"""The page: static files that run the model in a browser, and the folder that any web host can serve."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from mobilesam import contract
from mobilesam.errors import ModelError, SettingsError
from mobilesam.files import make_folder
from mobilesam.integrity import check_files, read_card
from mobilesam.weights import EMBEDDED, get_spec, pair_folder

MODEL_FOLDER = "model"
"""Where the page looks for the model's files, relative to its own address."""
MODEL_FILES = (contract.ENCODER_FILE, contract.DECODER_FILE, contract.CARD_FILE)
VENDOR = "vendor"
NO_WEBGPU = b'<meta name="webgpu" content="" />'
"""Where the page reads whether the runtime for graphics cards lies beside the other."""
MANY_FILES = (contract.MANY_FILE,)
"""What the page uses for "everything" where the model has it."""
SIDES = (384, 512)
"""Sides in pixels at which the page encodes photos: for hovering, and for results."""


def static_folder() -> Path:
    """The folder of the page's files, without the model: index.html, scripts, the runtime and two example photos."""
    return Path(__file__).parent / "static"


def write_page(
    output: str | os.PathLike[str],
    pair: str | os.PathLike[str] | None = None,
    webgpu: Mapping[str, bytes] | None = None,
) -> list[Path]:
    """Write the page and a model into a folder that any web host can serve without a program of its own.

    Args:
        output: the folder; made if missing. Files of an earlier page are replaced, others are left alone.
        pair: folder of an exported pair; None for the embedded model.
        webgpu: files of the runtime for graphics cards, from `mobilesam.web.webgpu.read_runtime`; None: without it.

    Returns:
        The files written, index.html last, so that a folder that has it holds the whole page.

    Raises:
        ModelError: a file of the pair is missing or damaged.
        SettingsError: the model does not take photos of the sides that the page encodes.
        OSError: the folder cannot be written.
    """
    source = Path(pair) if pair is not None else pair_folder(get_spec(EMBEDDED))
    check_pair(source)
    output = Path(output)
    make_folder(output)
    files = {path.relative_to(static_folder()): path for path in page_files()}
    names = [*MODEL_FILES, *(MANY_FILES if (source / contract.MANY_FILE).is_file() else ())]
    files |= {Path(MODEL_FOLDER, name): source / name for name in names}
    order = sorted(files, key=lambda name: (name == Path("index.html"), name))
    with tempfile.TemporaryDirectory(dir=output, prefix=".page-") as scratch:
        for name in order:
            target = Path(scratch, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(files[name], target)
        if webgpu is not None:
            order = [*_write_webgpu(Path(scratch), webgpu), *order]
        for name in order:
            (output / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(Path(scratch, name), output / name)
    return [output / name for name in order]


def _write_webgpu(folder: Path, runtime: Mapping[str, bytes]) -> list[Path]:
    """Write the runtime for graphics cards beside the other, and the page's word that it is there."""
    for name, content in runtime.items():
        (folder / VENDOR / name).write_bytes(content)
    index = folder / "index.html"
    index.write_bytes(index.read_bytes().replace(NO_WEBGPU, NO_WEBGPU.replace(b'""', b'"yes"')))
    return [Path(VENDOR, name) for name in runtime]


def page_files() -> list[Path]:
    """All files of the page, without the model."""
    static = static_folder()
    return sorted(
        path for path in static.rglob("*") if path.is_file() and MODEL_FOLDER not in path.relative_to(static).parts
    )


def check_pair(folder: Path) -> None:
    """Check that the page can run an exported pair.

    Raises:
        ModelError: a file is missing or damaged.
        SettingsError: the model does not take photos of the sides that the page encodes.
    """
    for name in MODEL_FILES:
        if not (folder / name).is_file():
            raise ModelError(f"{folder} has no {name}; export the model again: mobilesam export MODEL -o FOLDER")
    check_files(folder, [contract.ENCODER_FILE, contract.DECODER_FILE])
    card = read_card(folder)
    sides = contract.read_sides(card.get(contract.IMAGE_SIZES, ""))
    if not all(side in sides for side in SIDES):
        raise SettingsError(
            f"the page encodes photos at {' and '.join(map(str, SIDES))} px, which {card.get('name', folder)} does not "
            "take; use a model with a convolutional encoder, such as the embedded one"
        )
