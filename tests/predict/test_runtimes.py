"""Which backend opens a folder of which format, by its model.json; real files of each are opened in tests/export."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

import mobilesam
from mobilesam import contract
from mobilesam.choices import BackendName, ExportFormat
from mobilesam.errors import MissingExtraError, ModelError
from mobilesam.extras import is_installed
from mobilesam.integrity import file_sha256, read_card
from mobilesam.predict.runtimes import OWN_BACKENDS, own_backend
from mobilesam.weights import MODELS, pair_folder

FILES = {
    "ort": ["encoder.ort", "decoder.ort"],
    "openvino": ["encoder.xml", "encoder.bin", "decoder.xml", "decoder.bin"],
    "litert": ["encoder.tflite", "decoder.tflite"],
    "executorch": ["encoder.pte", "decoder.pte"],
    "coreml": ["encoder.mlpackage/weights", "decoder.mlpackage/weights"],
}
needs_openvino = pytest.mark.skipif(not is_installed("openvino"), reason="needs the extra openvino")


def exported(folder: Path, form: str) -> Path:
    """A folder whose model.json says that it was exported in a format; its files are no graphs."""
    for name in FILES.get(form, []):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"no graph")
    sums = {name: file_sha256(folder / name) for name in FILES.get(form, [])}
    card = {**read_card(pair_folder(MODELS["embedded"])), contract.FORMAT: form, "sha256": sums}
    (folder / contract.CARD_FILE).write_text(json.dumps(card))
    return folder


@pytest.mark.parametrize("form", get_args(ExportFormat))
def test_a_folder_has_the_backend_of_its_format(tmp_path: Path, form: str) -> None:
    expected = {"ort": "onnx", "onnx": None, "sam": None, "anylabeling": None, "hub": None}.get(form, form)
    assert own_backend(exported(tmp_path, form)) == expected
    assert expected is None or expected in get_args(BackendName)


def test_a_folder_of_no_known_format_may_be_a_pair(tmp_path: Path) -> None:
    for form in ("another", ["list"]):
        (tmp_path / contract.CARD_FILE).write_text(json.dumps({contract.FORMAT: form}))
        assert own_backend(tmp_path) is None
    assert own_backend(tmp_path / "none") is None


@pytest.mark.parametrize("quick_start", [False, True])
@pytest.mark.parametrize(
    ("form", "file"), [("ort", r"encoder\.ort"), pytest.param("openvino", r"encoder\.xml", marks=needs_openvino)]
)
def test_auto_opens_the_files_that_are_there(tmp_path: Path, form: str, file: str, quick_start: bool) -> None:
    with pytest.raises(ModelError, match=f"{file} is damaged or not an"):  # and not that encoder.onnx is missing
        mobilesam.load(exported(tmp_path, form), quick_start=quick_start)


@pytest.mark.parametrize("form", ["openvino", "litert", "executorch"])
def test_auto_names_the_extra_of_a_runtime_that_is_not_installed(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mobilesam.extras.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=rf"the {form} backend needs .*\[{form}\]"):
        mobilesam.load(exported(tmp_path, form), quick_start=True)


@pytest.mark.parametrize("backend", ["auto", "coreml"])
def test_coreml_elsewhere_than_on_macos_is_refused_in_words(
    tmp_path: Path, backend: BackendName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    with pytest.raises(ModelError, match=r"CoreML runs on macOS only.*mobilesam export MODEL"):
        mobilesam.load(exported(tmp_path, "coreml"), backend=backend)


def test_the_command_names_what_is_missing(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    (tmp_path / "m").mkdir()
    photo = Path(__file__).parents[2] / "examples" / "coffee.png"
    code, _, err = run("segment", photo, "-m", exported(tmp_path / "m", "coreml"), "--point", "3,3")
    assert code != 0
    assert "CoreML runs on macOS only" in err


@pytest.mark.parametrize("backend", ["onnx", pytest.param("openvino", marks=needs_openvino)])
@pytest.mark.parametrize("form", FILES)
def test_a_backend_that_cannot_run_the_files_names_the_one_that_does(
    tmp_path: Path, form: str, backend: BackendName
) -> None:
    if (own := OWN_BACKENDS[form]) == backend:
        return
    said = f"in the format {form}, which the backend {own} runs, not {backend}; .*mobilesam export"
    with pytest.raises(ModelError, match=said):
        mobilesam.load(exported(tmp_path, form), backend=backend)


class Package:
    """CoreML's side of a package: answers of the right shapes."""

    def __init__(self, path: str) -> None:
        self.name = Path(path).name

    def predict(self, feed: dict[str, Any]) -> dict[str, Any]:
        if self.name == "encoder.mlpackage":
            assert isinstance(feed["image"], Image.Image)
            assert feed["image"].size == (512, 512)
            return {"embedding": np.full((1, 256, 32, 32), np.asarray(feed["image"])[0, 0, 0], np.float16)}
        return {"low_res_masks": np.ones((1, 4, 128, 128)), "iou_predictions": np.array([[0.1, 0.2, 0.9, 0.3]])}


@pytest.fixture
def on_a_mac(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """macOS with coremltools, as far as the backend sees."""
    tools = ModuleType("coremltools")
    tools.__spec__ = ModuleSpec("coremltools", None)
    tools.models = type("models", (), {"MLModel": Package})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "coremltools", tools)
    monkeypatch.delitem(sys.modules, "mobilesam.predict.coreml", raising=False)
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    yield
    sys.modules.pop("mobilesam.predict.coreml", None)  # it holds what stood in for coremltools


@pytest.mark.parametrize("backend", ["auto", "coreml"])
def test_coreml_runs_its_packages_on_macos(on_a_mac: None, tmp_path: Path, backend: BackendName) -> None:
    sam = mobilesam.load(exported(tmp_path, "coreml"), backend=backend)
    assert type(sam.backend).__name__ == "CoreMlBackend"
    image = sam.embed(np.full((300, 512, 3), 7, np.uint8))
    assert (image.array == 7).all()
    found = image.predict(points=[(100, 100)])
    assert found.masks.all()
    with pytest.raises(ModelError, match="runs on the CPU here"):
        mobilesam.load(tmp_path, backend="coreml", device="cuda")


@pytest.mark.parametrize("form", ["openvino", "litert", "executorch", "coreml"])
def test_files_whose_runtime_is_not_here_are_verified_by_sha256_alone(
    run: Any, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mobilesam.extras.find_spec", lambda name: None)
    monkeypatch.setattr("platform.system", lambda: "Linux")
    (tmp_path / "m").mkdir()
    folder = exported(tmp_path / "m", form)
    code, out, _ = run("models", "verify", folder)
    assert code == 0
    assert FILES[form][0] in out
    why = "CoreML runs on macOS only" if form == "coreml" else f"the {form} backend needs an optional dependency"
    assert f"have the sha256 that model.json gives, but were not opened: {why}" in " ".join(out.split())
    (folder / FILES[form][-1]).write_bytes(b"changed")
    code, out, _ = run("models", "verify", folder)
    assert code == 1
    assert "is damaged or replaced" in out


@pytest.mark.parametrize("form", ["ort", pytest.param("openvino", marks=needs_openvino)])
def test_verify_opens_the_files_in_their_own_runtime(run: Any, tmp_path: Path, form: str) -> None:
    (tmp_path / "m").mkdir()
    code, out, _ = run("models", "verify", exported(tmp_path / "m", form))
    assert code == 1
    assert f"{FILES[form][0]} is damaged or not an" in " ".join(out.split())


def test_verify_opens_the_packages_of_coreml_on_macos(on_a_mac: None, run: Any, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    code, out, _ = run("models", "verify", exported(tmp_path / "m", "coreml"))
    assert code == 0
    assert out.rstrip().endswith("and load")
