"""The C++ example finds Python's masks; the Kotlin and Swift ones are only read here, by what every one must hold."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

import mobilesam
from mobilesam import contract
from mobilesam.weights import find_checkpoint

EXAMPLES = Path(__file__).parents[2] / "examples"
SOURCES = {"cpp": "segment.cpp", "android": "Segmenter.kt", "ios": "Segmenter.swift"}
HEADER = "onnxruntime_cxx_api.h"


def missing() -> str:
    """What the C++ example needs to be built and is not here; empty if all is."""
    if not shutil.which("cmake") or not (shutil.which("c++") or shutil.which("g++")):
        return "cmake and a C++ compiler are not installed"
    if not headers():
        return f"no {HEADER}: install libonnxruntime-dev, or set ONNXRUNTIME to the folder of ONNX Runtime's release"
    return "" if library() else "the installed onnxruntime has no library that a program can be linked with"


def headers() -> Path | None:
    """The folder of ONNX Runtime's headers."""
    bases = [Path(os.environ.get("ONNXRUNTIME", "/usr")), Path("/usr"), Path("/usr/local"), Path("/opt/homebrew")]
    places = [base / include for base in bases for include in ("include", "include/onnxruntime")]
    return next((place for place in places if (place / HEADER).is_file()), None)


def library() -> Path | None:
    """The library inside Python's onnxruntime, which newer headers than its own do not fit."""
    found = sorted(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime*1.*"))
    return next((path for path in found if re.search(r"libonnxruntime\.(so\.)?[\d.]+(dylib)?$", path.name)), None)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built C++ example."""
    if why := missing():
        (pytest.fail if "ONNXRUNTIME" in os.environ else pytest.skip)(why)  # who names a folder wants it tested
    build = tmp_path_factory.mktemp("build")
    found = library()
    assert found
    for name in (found.name, "libonnxruntime.so", "libonnxruntime.so.1"):  # the last is what a program asks for
        (build / name).symlink_to(found)
    places = [f"-DONNXRUNTIME_INCLUDE={headers()}", f"-DONNXRUNTIME_LIBRARY={build / found.name}"]
    strict = "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror"
    for words in (["-S", str(EXAMPLES / "cpp"), "-B", str(build), strict, *places], ["--build", str(build)]):
        done = subprocess.run(["cmake", *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return build / "segment"


def run(
    program: Path, photo: Path, x: float, y: float, mask: Path, model: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """The C++ example on a photo, with the embedded model."""
    words = [str(program), str(model or find_checkpoint("embedded")), str(photo), str(x), str(y), str(mask)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("name", "size", "point"),
    [
        ("coffee", None, (300, 180)),
        ("coffee", None, (60.5, 350)),
        ("chelsea", None, (220, 150)),
        ("chelsea", (1801, 1199), (900, 600)),  # shrunk, for which the encoder's input averages
        ("coffee", (150, 100), (75, 45)),  # enlarged; the logits are then shrunk to the photo
    ],
)
def test_the_cpp_example_finds_the_mask_that_python_finds(
    program: Path, tmp_path: Path, name: str, size: tuple[int, int] | None, point: tuple[float, float]
) -> None:
    photo = Image.open(EXAMPLES / f"{name}.png").convert("RGB")
    photo = photo.resize(size) if size else photo
    photo.save(tmp_path / "photo.ppm")
    done = run(program, tmp_path / "photo.ppm", *point, tmp_path / "mask.pgm")
    assert done.returncode == 0, done.stderr
    found = np.array(Image.open(tmp_path / "mask.pgm")) > 0
    expected = mobilesam.load("embedded", backend="onnx").embed(photo).predict(points=[point], zoom=False).best.array
    np.testing.assert_array_equal(found, expected)


def test_the_cpp_example_opens_the_mobile_format(program: Path, tmp_path: Path) -> None:
    Image.open(EXAMPLES / "coffee.png").convert("RGB").save(tmp_path / "photo.ppm")
    model = tmp_path / "model"
    model.mkdir()
    for half in ("encoder", "decoder"):  # as `mobilesam export --format ort` does it, which needs torch
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(model / f"{half}.ort")
        options.add_session_config_entry("session.save_model_format", "ORT")
        onnxruntime.InferenceSession(str(Path(find_checkpoint("embedded")) / f"{half}.onnx"), options)
    masks = []
    for name in (None, model):
        done = run(program, tmp_path / "photo.ppm", 300, 180, tmp_path / "mask.pgm", name)
        assert done.returncode == 0, done.stderr
        masks.append(np.array(Image.open(tmp_path / "mask.pgm")) > 0)
    assert (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum() >= 0.999


def test_the_cpp_example_says_what_is_wrong(program: Path, tmp_path: Path) -> None:
    (tmp_path / "photo.ppm").write_bytes(b"P6 4 4 255\n123")
    for photo, words in ((tmp_path / "photo.ppm", "cut off"), (EXAMPLES / "coffee.png", "no 8-bit PPM")):
        done = run(program, photo, 1, 1, tmp_path / "mask.pgm")
        assert done.returncode == 1
        assert words in done.stderr


@pytest.mark.parametrize("kind", SOURCES)
def test_every_example_is_short_and_names_the_contract(kind: str) -> None:
    text = (EXAMPLES / kind / SOURCES[kind]).read_text(encoding="utf-8")
    assert 100 <= len(text.splitlines()) <= 150
    names = [contract.ENCODER_INPUT, contract.ENCODER_OUTPUT, *contract.DECODER_INPUTS, *contract.DECODER_OUTPUTS]
    assert all(f'"{name}"' in text for name in names)


@pytest.mark.parametrize("kind", ["android", "ios"])
def test_an_example_that_was_not_run_on_a_device_says_so(kind: str) -> None:
    assert "not run on a device" in (EXAMPLES / kind / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", SOURCES)
def test_the_export_command_of_an_example_has_options_that_help_shows(kind: str) -> None:
    (words,) = re.findall(r"mobilesam export ([^`\n]*)", (EXAMPLES / kind / "README.md").read_text(encoding="utf-8"))
    command = [sys.executable, "-m", "mobilesam", "export", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert all(option in shown for option in re.findall(r"--[\w-]+", words))
