"""`mobilesam export --format hub`: a folder for the Hugging Face Hub that loads back equal."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import mobilesam
from mobilesam.export.formats import export_as
from mobilesam.export.hub import front_matter, transformers_note
from mobilesam.integrity import check_files
from mobilesam.model import checkpoint
from mobilesam.model.config import CONFIGS, TINY
from mobilesam.model.sam import Sam

FILES = {
    "README.md",
    "config.json",
    "decoder.onnx",
    "decoder_many.onnx",
    "encoder.onnx",
    "model.json",
    "model.safetensors",
}


@pytest.fixture(scope="module", params=["float32", "float16"])
def folder(
    request: pytest.FixtureRequest, tiny_lite_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    target = tmp_path_factory.mktemp("hub") / request.param
    sam = checkpoint.load(tiny_lite_checkpoint)
    export_as(sam, target, "hub", licence="MIT", precision=request.param)
    return target


def test_it_loads_back_equal_in_every_way(folder: Path, coffee: Path) -> None:
    assert {path.name for path in folder.iterdir()} == FILES
    pair, torch_ = mobilesam.load(folder, backend="onnx"), mobilesam.load(folder, backend="torch")
    assert pair.info == torch_.info
    assert torch_.info.licence == "MIT"
    assert torch_.info.weights_sha256 == mobilesam.load(folder / "model.safetensors").info.weights_sha256
    a, b = (sam.embed(coffee).predict(points=[(300, 180)]).low_res for sam in (pair, torch_))
    np.testing.assert_allclose(a, b, atol=1e-3)
    assert set(check_files(folder)) == FILES - {"README.md", "model.json"}


def test_weights_alone_are_the_pairs(folder: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    assert mobilesam.load(tmp_path).info.weights_sha256 == mobilesam.load(folder, backend="onnx").info.weights_sha256
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["model_type"] == "mobilesam"


def test_the_model_card_has_the_hubs_front_matter_and_may_be_edited(folder: Path) -> None:
    text = (folder / "README.md").read_text()
    head, rest = text.split("---\n", 2)[1:]
    lines = dict(line.split(": ", 1) for line in head.splitlines() if ": " in line)
    assert (lines["license"], lines["library_name"]) == ("mit", "mobilesam")
    assert lines["pipeline_tag"] == "mask-generation"
    assert 'mobilesam.load("hf://OWNER/NAME")' in rest
    assert "no `SamModel` of transformers" in rest
    (folder / "README.md").write_text(text + "\nTrained on photos of cups.\n")
    assert mobilesam.load(folder, backend="onnx").info.name == "tiny_lite"
    assert check_files(folder)


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("Apache-2.0", "license: apache-2.0\nlibrary_name"),
        ("Apache-2.0 (code and weights); see MODEL_CARD.md", "license: apache-2.0\nlibrary_name"),
        ("unknown", "license: unknown\nlibrary_name"),
        ('for "research" only', 'license: other\nlicense_name: "for \\"research\\" only"\nlibrary_name'),
    ],
)
def test_a_licence_becomes_the_hubs_word_for_it(licence: str, expected: str) -> None:
    assert front_matter(licence).startswith(expected)


def test_a_vit_is_told_apart_from_what_transformers_cannot_be() -> None:
    assert "other names of weights" in transformers_note(CONFIGS["sam_vit_b"])
    assert "TinyViT" in transformers_note(TINY)


def test_the_command_replaces_its_own_files_and_takes_the_licence_from_its_source(
    folder: Path, tmp_path: Path, run
) -> None:
    if folder.name == "float16":
        pytest.skip("the same for both precisions")
    shutil.copytree(folder, tmp_path / "again")
    code, out, err = run("export", folder, "-o", tmp_path / "again", "--format", "hub")
    assert code == 0, err
    assert "model.safetensors" in out
    assert json.loads((tmp_path / "again" / "model.json").read_text())["licence"] == "MIT"


def test_a_file_of_somebody_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# My project\n")
    with pytest.raises(mobilesam.MobileSamError, match="not written by mobilesam"):
        export_as(Sam(TINY), tmp_path, "hub", licence="MIT")
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
