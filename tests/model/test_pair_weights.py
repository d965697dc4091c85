from __future__ import annotations

from pathlib import Path

import pytest

from mobilesam.errors import ModelError
from mobilesam.model import checkpoint
from mobilesam.model.backend import weights_sha256

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:6dbb90523a35330fedd7f1d3dfc66f99\nsize 40728226\n"


def test_an_exported_pair_gives_its_weights_back(tiny_checkpoint: Path, tiny_pair: Path) -> None:
    original, recovered = checkpoint.load(tiny_checkpoint), checkpoint.load(tiny_pair)
    assert recovered.config == original.config
    assert weights_sha256(recovered) == weights_sha256(original)


@pytest.mark.parametrize("content", [LFS, "<html>"])
def test_what_came_in_place_of_a_graph_is_named(content: str, tmp_path: Path) -> None:
    for name in ("encoder.onnx", "decoder.onnx"):
        (tmp_path / name).write_text(content)
    with pytest.raises(ModelError, match=r"a Git LFS pointer|a web page"):
        checkpoint.load(tmp_path)
