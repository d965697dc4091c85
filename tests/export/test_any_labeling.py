"""X-AnyLabeling's files give, fed as the tool feeds them, the masks of the library."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort

import mobilesam
from mobilesam.image import open_photo


def test_the_tools_way_of_feeding_gives_the_masks_of_the_library(run, tmp_path: Path, coffee: Path) -> None:
    code, _, errors = run("export", "embedded", "-o", tmp_path / "m", "--format", "anylabeling")
    assert code == 0, errors
    folder = tmp_path / "m"
    lines = (folder / "x_anylabeling.yaml").read_text().splitlines()
    config = dict(line.split(": ", 1) for line in lines)
    assert config["type"] == "segment_anything"
    encoder = ort.InferenceSession(str(folder / config["encoder_model_path"]))
    decoder = ort.InferenceSession(str(folder / config["decoder_model_path"]))

    rgb = open_photo(coffee)
    scale = min(684 / rgb.shape[0], 1024 / rgb.shape[1])
    matrix = np.array([[scale, 0, 0], [0, scale, 0]])
    fed = cv2.warpAffine(rgb, matrix, (1024, 684), flags=cv2.INTER_LINEAR)
    (embedding,) = encoder.run(None, {encoder.get_inputs()[0].name: fed.astype(np.float32)})
    box = np.array([[80, 20], [480, 390], [0, 0]], np.float32) * scale
    masks, _, _ = decoder.run(
        None,
        {
            "image_embeddings": embedding,
            "point_coords": box[None],
            "point_labels": np.array([[2, 3, -1]], np.float32),
            "mask_input": np.zeros((1, 1, 256, 256), np.float32),
            "has_mask_input": np.zeros(1, np.float32),
            "orig_im_size": np.array([684, 1024], np.float32),
        },
    )
    back = cv2.warpAffine(masks[0][0], np.array([[1 / scale, 0, 0], [0, 1 / scale, 0]]), (600, 400)) > 0
    sam = mobilesam.load(folder, backend="onnx", image_size=1024)
    expected = sam.embed(coffee).predict(box=(80, 20, 480, 390), zoom=False).best.array
    assert (back & expected).sum() / (back | expected).sum() > 0.95


def test_another_image_size_is_refused(run, tmp_path: Path) -> None:
    words = ("export", "embedded", "-o", tmp_path / "m", "--format", "anylabeling", "--image-size", "512")
    code, _, errors = run(*words)
    assert code == 2
    assert "1024" in errors
