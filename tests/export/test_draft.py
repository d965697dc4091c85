"""What every export says of itself."""

from __future__ import annotations

import json
from pathlib import Path

from mobilesam.export.draft import drafting
from mobilesam.model import checkpoint


def test_a_folder_says_how_its_own_network_normalises(tiny_checkpoint: Path, tmp_path: Path) -> None:
    sam = checkpoint.load(tiny_checkpoint)
    sam.pixel_mean += 1
    sam.pixel_std.fill_(0.1)
    with drafting(sam, tmp_path, names=(), form="onnx", precision="float32", licence="x") as draft:
        assert draft.metadata["pixel_mean"] == "[124.675, 117.28, 104.53]"
    card = json.loads((tmp_path / "model.json").read_text())
    assert (card["pixel_mean"], card["pixel_std"]) == ([124.675, 117.28, 104.53], [0.1, 0.1, 0.1])
    assert (card["normalisation"], card["num_points"]) == ("inside", "any")


def test_what_is_measured_of_files_aside_is_not_said_of_the_export(tiny_checkpoint: Path, tmp_path: Path) -> None:
    sam = checkpoint.load(tiny_checkpoint)
    with drafting(sam, tmp_path, names=(), form="ort", precision="float32", licence="x") as draft:
        aside = draft.beside(tmp_path / "aside")
        aside.card["verified"] = {"embedding": 1.0}
        aside.metadata["only"] = "aside"
        assert "verified" not in draft.card
        assert "only" not in draft.metadata
