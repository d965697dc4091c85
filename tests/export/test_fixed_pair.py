"""Export for fixed shapes and its backend, with torch in the place of a phone's runtime."""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mobilesam
from mobilesam import contract
from mobilesam.errors import ExportError, MissingExtraError, ModelError, OutputError, PromptError, SettingsError
from mobilesam.export.draft import drafting
from mobilesam.export.fixed_pair import FixedGraph, Runtime, write_fixed
from mobilesam.model import checkpoint
from mobilesam.model.sam import Sam
from mobilesam.outputs import DEFAULT, Outputs
from mobilesam.predict.backend import Floats
from mobilesam.predict.fixed import FixedBackend, five_points
from mobilesam.predict.predictor import Predictor
from tests.helpers.closeness import assert_same_function, assert_same_masks

GRAPHS: dict[str, Any] = {}
"""What the files of this "runtime" hold, by the text that they consist of."""


class TorchFixed(FixedBackend[Any]):
    """Runs the graphs in torch."""

    name, suffix = "litert", ".tflite"

    def _open(self, path: Path) -> Any:
        return GRAPHS[path.read_text()]

    def _run(self, graph: Any, inputs: dict[str, Floats], outputs: tuple[str, ...]) -> list[Floats]:
        with torch.inference_mode():
            answer = graph(*(torch.from_numpy(np.array(array)) for array in inputs.values()))
        return [array.numpy() for array in ([answer] if len(outputs) == 1 else answer)]


def save(graph: FixedGraph, path: Path, metadata: dict[str, str], precision: str) -> None:
    path.write_text(secrets.token_hex(8))
    GRAPHS[path.read_text()] = graph.module


RUNTIME = Runtime("Torch", ".tflite", save, TorchFixed)


def export(sam: Sam, folder: Path, runtime: Runtime = RUNTIME) -> None:
    with drafting(sam, folder, names=runtime.files, form="litert", precision="float32", licence="Apache-2.0") as draft:
        write_fixed(draft, runtime)


@pytest.fixture(scope="module")
def folder(tiny_lite_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fixed")
    export(checkpoint.load(tiny_lite_checkpoint), path)
    return path


@pytest.fixture(scope="module")
def ours(folder: Path) -> Predictor:
    return Predictor(TorchFixed(folder))


@pytest.fixture(scope="module")
def theirs(tiny_lite_pair: Path) -> Predictor:
    return mobilesam.load(tiny_lite_pair, backend="onnx", image_size=64)


def test_the_folder_describes_itself(folder: Path, theirs: Predictor) -> None:
    card = json.loads((folder / "model.json").read_text())
    assert sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) == [
        "decoder.tflite",
        "encoder.tflite",
        "model.json",
    ]
    assert (card["format"], card["precision"], card["num_points"], card["licence"]) == (
        "litert",
        "float32",
        5,
        "Apache-2.0",
    )
    assert card["image_sizes"] == "", "other sizes do not fit the shapes"
    assert card["weights_sha256"] == theirs.info.weights_sha256, "embeddings of either fit both"
    assert card["pixel_mean"] == list(contract.PIXEL_MEAN)
    assert card["normalisation"] == "inside"
    assert set(card["sha256"]) == {"decoder.tflite", "encoder.tflite"}
    assert max(card["verified"].values()) < 1e-4
    assert card["masks"]["iou"] > 0.999


@pytest.mark.parametrize(
    "prompt",
    [
        {"points": [(300, 180)]},
        {"points": [(10, 10), (590, 390), (300, 20)], "labels": [1, 0, 1]},
        {"points": [(10, 10), (590, 390), (300, 20), (30, 200), (500, 100)], "labels": [1, 0, 1, 0, 0]},
        {"box": (170, 15, 410, 310)},
        {"box": (170, 15, 410, 310), "points": [(290, 120), (200, 200), (5, 5)], "labels": [1, 1, 0]},
        {"points": [(290, 120)], "zoom": True},
        {"box": (170, 15, 410, 310), "zoom": True},
    ],
)
def test_it_answers_the_prompts_as_onnxruntime_does(
    ours: Predictor, theirs: Predictor, coffee: Path, prompt: dict[str, Any]
) -> None:
    found, expected = (sam.embed(coffee).predict(**prompt) for sam in (ours, theirs))
    assert_same_masks(found.masks, expected.masks)
    assert_same_function(found.scores, expected.scores)
    if "zoom" not in prompt:
        assert_same_function(found.low_res, expected.low_res)


def test_masks_are_refined_and_many_prompts_taken(ours: Predictor, theirs: Predictor, coffee: Path) -> None:
    images = [sam.embed(coffee) for sam in (ours, theirs)]
    refined = [image.predict(points=[(300, 180)], prior=image.predict(points=[(200, 90)])) for image in images]
    assert_same_function(refined[0].low_res, refined[1].low_res)
    points = np.random.default_rng(0).uniform((0, 0), (600, 400), (6, 2))
    best = sorted(float(p.scores.max()) for p in images[1].predict_batch(points=points, multimask=True))
    threshold = (best[2] + best[3]) / 2
    found, expected = (image.predict_points(points, min_score=threshold) for image in images)
    assert [i for i, _ in found] == [i for i, _ in expected]
    for (_, a), (_, b) in zip(found, expected, strict=True):
        assert_same_function(a.low_res, b.low_res)


def test_photos_of_a_batch_are_encoded_each_by_itself(ours: Predictor) -> None:
    photos = np.random.default_rng(0).uniform(0, 255, (2, 3, 64, 30)).astype(np.float32)
    both = ours.backend.encode(photos)
    for photo, embedding in zip(photos, both, strict=True):
        assert_same_function(ours.backend.encode(photo[None])[0], embedding)


def test_more_than_five_points_are_refused_by_name_of_the_limit(ours: Predictor, coffee: Path) -> None:
    image = ours.embed(coffee)
    points = [(i, i) for i in range(10, 70, 10)]
    with pytest.raises(PromptError, match=r"6 points.*at most 5 \(3 beside a box\)"):
        image.predict(points=points)
    with pytest.raises(PromptError, match="6 points"):
        image.predict(points=points[:4], labels=[1, 1, 1, 1], box=(170, 15, 410, 310))


def test_a_prompt_that_no_predictor_makes_is_refused_and_not_answered_otherwise() -> None:
    coords = np.zeros((3, 2), np.float32)
    for labels in ([1, -1, -1], [2, 3, -1], [1, 1, 1]):
        with pytest.raises(PromptError, match="one point of label -1"):
            five_points(coords, np.array(labels, np.float32))


def test_a_runtime_that_computes_something_else_is_refused_and_leaves_nothing(
    tiny_lite_checkpoint: Path, tmp_path: Path
) -> None:
    def tampered(graph: FixedGraph, path: Path, metadata: dict[str, str], precision: str) -> None:
        for name, buffer in graph.module.named_parameters():
            if "out_norm" in name and name.endswith("bias"):
                buffer.data += 0.1
        save(graph, path, metadata, precision)

    with pytest.raises(ExportError, match="embedding: Torch and torch differ"):
        export(checkpoint.load(tiny_lite_checkpoint), tmp_path / "out", replace(RUNTIME, convert=tampered))
    assert not any((tmp_path / "out").iterdir())


def test_what_does_not_fit_is_refused_in_words(
    folder: Path, tiny_lite_pair: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingsError, match="at 64 px only"):
        TorchFixed(folder, image_size=96)
    with pytest.raises(ModelError, match="mobilesam export MODEL -o FOLDER --format litert"):
        TorchFixed(tiny_lite_pair)
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "decoder.tflite").write_bytes(b"broken")
    with pytest.raises(ModelError, match=r"decoder\.tflite is damaged or replaced"):
        TorchFixed(tmp_path)
    (tmp_path / "decoder.tflite").unlink()
    with pytest.raises(ModelError, match=r"decoder\.tflite does not exist"):
        TorchFixed(tmp_path)
    monkeypatch.setattr("mobilesam.extras.find_spec", lambda name: None)
    for backend in ("auto", "litert"):
        with pytest.raises(MissingExtraError, match=r"the litert backend needs .*\[litert\]"):
            mobilesam.load(folder, backend=backend)


def test_another_process_opens_the_same_files(ours: Predictor, coffee: Path) -> None:
    backend: Any = ours.backend
    make, given = backend.__reduce__()
    assert make(*given).info == ours.info
    assert given[0] is TorchFixed


def write_package(sam: Sam, folder: Path, text: str, outputs: Outputs = DEFAULT) -> None:
    """As an export to CoreML does: a package is a folder."""
    names = ("encoder.mlpackage",)
    with drafting(
        sam, folder, names=names, form="coreml", precision="float32", licence="Apache-2.0", outputs=outputs
    ) as draft:
        (draft.folder / names[0] / "Data").mkdir(parents=True)
        (draft.folder / names[0] / "Data" / "weight.bin").write_text(text)


def test_of_a_package_only_the_files_that_we_wrote_are_replaced(tiny_lite_checkpoint: Path, tmp_path: Path) -> None:
    sam = checkpoint.load(tiny_lite_checkpoint)
    write_package(sam, tmp_path, "one")
    write_package(sam, tmp_path, "two")
    package = tmp_path / "encoder.mlpackage"
    weights = package / "Data" / "weight.bin"
    assert weights.read_text() == "two"
    (package / "Data" / "notes.txt").write_text("mine")
    for outputs in (DEFAULT, Outputs(overwrite=True)):
        with pytest.raises(OutputError, match=r"notes\.txt"):
            write_package(sam, tmp_path, "three", outputs)
    assert ((package / "Data" / "notes.txt").read_text(), weights.read_text()) == ("mine", "two")
    (package / "Data" / "notes.txt").unlink()
    weights.write_text("edited")
    with pytest.raises(OutputError, match=r"weight\.bin"):
        write_package(sam, tmp_path, "three")
    assert weights.read_text() == "edited"
    write_package(sam, tmp_path, "three", Outputs(overwrite=True))
    assert weights.read_text() == "three"
