"""X-AnyLabeling's files give, fed as the tool feeds them, the masks of the library."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import pytest

import mobilesam
from mobilesam.export import any_labeling, tracing
from mobilesam.export.onnx import export_pair
from mobilesam.image import open_photo
from mobilesam.integrity import file_sha256
from mobilesam.model import checkpoint
from mobilesam.outputs import JOURNAL
from tests.helpers.any_labeling import Client


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mobilesam.export.formats import export_as
    from mobilesam.weights import find_checkpoint

    folder = tmp_path_factory.mktemp("any_labeling")
    export_as(checkpoint.load(find_checkpoint("embedded")), folder, "anylabeling", licence="x")
    return folder


@pytest.mark.parametrize("turned", [False, True])
def test_the_tools_protocol_gives_the_masks_of_the_library(folder: Path, coffee: Path, turned: bool) -> None:
    client = Client(folder / "x_anylabeling.yaml")
    assert client.config["type"] == "segment_anything"
    rgb = np.ascontiguousarray(np.rot90(open_photo(coffee))) if turned else open_photo(coffee)
    hw = (rgb.shape[0], rgb.shape[1])
    box = (20, 120, 390, 520) if turned else (80, 20, 480, 390)
    image = mobilesam.load(folder, backend="onnx", image_size=1024).embed(rgb)
    embedding, scale = client.embed(rgb)

    found = client.masks(embedding, scale, [{"type": "rectangle", "data": list(box)}], hw)[0]
    # The tool gives a portrait photo only 684 pixels of height, where the library gives it 1024.
    least = 0.88 if turned else 0.95
    assert iou(found, image.predict(box=box, zoom=False).best.array) > least
    contours, _ = cv2.findContours(found.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    assert max(map(len, contours)) > 200, "the tool's polygon"

    x, y = (box[0] + box[2]) // 2, (box[1] + box[3]) // 2
    mark = {"type": "point", "data": [x, y], "label": 1}
    masks = client.masks(embedding, scale, [mark], hw)
    expected = image.predict(points=[(x, y)], zoom=False).masks
    assert max(iou(mask, expected[0]) for mask in masks) > least


def test_weights_too_large_for_one_file_go_beside_its_encoder(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "PROTOBUF_LIMIT", 1000)
    export_pair(checkpoint.load(tiny_checkpoint), tmp_path, licence="x")
    any_labeling.write_encoder(tmp_path)
    assert (tmp_path / "x_anylabeling_encoder.onnx.data").stat().st_size > 10_000
    session = ort.InferenceSession(str(tmp_path / "x_anylabeling_encoder.onnx"))
    assert session.get_inputs()[0].shape == [684, 1024, 3]


def test_its_encoder_refuses_another_layout(folder: Path) -> None:
    client = Client(folder / "x_anylabeling.yaml")
    name = client.encoder.get_inputs()[0].name
    for shape in ((3, 684, 1024), (1, 684, 1024, 3)):
        with pytest.raises(Exception, match=r"Invalid rank|Got invalid dimensions"):
            client.encoder.run(None, {name: np.zeros(shape, np.float32)})


def test_an_encoder_that_computes_something_else_is_refused(
    tiny_lite_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mobilesam.errors import ExportError
    from mobilesam.export import any_labeling
    from mobilesam.export.formats import export_as
    from mobilesam.model import checkpoint

    write = any_labeling.write_encoder

    def with_rows_turned_round(folder: Path) -> None:
        write(folder)
        model = onnx.load(folder / any_labeling.ENCODER_FILE)
        model.graph.initializer.append(onnx.helper.make_tensor("minus", onnx.TensorProto.INT64, [1], [-1]))
        model.graph.initializer.append(onnx.helper.make_tensor("end", onnx.TensorProto.INT64, [1], [-(2**40)]))
        model.graph.initializer.append(onnx.helper.make_tensor("rows", onnx.TensorProto.INT64, [1], [0]))
        turned = onnx.helper.make_node("Slice", [any_labeling.INPUT, "minus", "end", "rows", "minus"], ["turned"])
        model.graph.node.insert(0, turned)
        model.graph.node[1].input[0] = "turned"
        onnx.save(model, folder / any_labeling.ENCODER_FILE)

    monkeypatch.setattr(any_labeling, "write_encoder", with_rows_turned_round)
    with pytest.raises(ExportError, match=r"the encoder for X-AnyLabeling and encoder\.onnx differ"):
        export_as(checkpoint.load(tiny_lite_checkpoint), tmp_path, "anylabeling", licence="x")
    assert not list(tmp_path.iterdir())


def test_its_encoder_says_what_it_takes(folder: Path) -> None:
    metadata = {p.key: p.value for p in onnx.load(folder / "x_anylabeling_encoder.onnx").metadata_props}
    assert (metadata["normalisation"], metadata["num_points"]) == ("inside", "any")


def test_model_json_lists_all_its_files(folder: Path) -> None:
    card = json.loads((folder / "model.json").read_text())
    assert (card["format"], card["image_size"]) == ("anylabeling", 1024)
    names = {path.name for path in folder.iterdir()} - {"model.json", JOURNAL}
    assert card["sha256"] == {name: file_sha256(folder / name) for name in names}


def test_another_image_size_is_refused(run, tmp_path: Path) -> None:
    words = ("export", "embedded", "-o", tmp_path / "m", "--format", "anylabeling", "--image-size", "512")
    code, _, errors = run(*words)
    assert code == 2
    assert "1024" in errors


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())
