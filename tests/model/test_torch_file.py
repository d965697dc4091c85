from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch

from mobilesam.errors import ModelError
from mobilesam.model import checkpoint
from mobilesam.model.sam import Sam


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "owned",))  # type: ignore[return-value]

    torch.save({"x": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(ModelError, match="weights_only"):
        checkpoint.load(tmp_path / "evil.pt")
    assert not (tmp_path / "owned").exists()


def test_of_two_networks_none_is_chosen_by_chance(model: Sam, tmp_path: Path) -> None:
    torch.save({"teacher": model.state_dict(), "student": model.state_dict()}, tmp_path / "m.pt")
    with pytest.raises(ModelError, match="2 networks, under 'teacher', 'student'; save the one"):
        checkpoint.load(tmp_path / "m.pt")


def test_names_that_would_become_one_stay_as_they_are(model: Sam, tmp_path: Path) -> None:
    state = model.state_dict()
    torch.save({**state, "module.mask_decoder.iou_token.weight": torch.zeros(1)}, tmp_path / "m.pt")
    with pytest.raises(ModelError, match=r"unknown: module\.mask_decoder"):
        checkpoint.load(tmp_path / "m.pt")


def test_a_whole_object_is_refused_without_the_advice_to_run_it(model: Sam, tmp_path: Path) -> None:
    torch.save(model, tmp_path / "m.pt")
    with pytest.raises(ModelError, match=r"Python object \(mobilesam\.model\.sam\.Sam\).*state_dict") as caught:
        checkpoint.load(tmp_path / "m.pt")
    assert "two options" not in str(caught.value)


def test_two_entries_of_one_name_are_refused(model: Sam, tmp_path: Path) -> None:
    torch.save(model.state_dict(), tmp_path / "m.pt")
    with zipfile.ZipFile(tmp_path / "m.pt", "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("m/data/3", archive.read("m/data/4"))
    with pytest.raises(ModelError, match="two entries have one name"):
        checkpoint.load(tmp_path / "m.pt")


def test_a_zip_in_several_parts_is_refused(model: Sam, tmp_path: Path) -> None:
    torch.save(model.state_dict(), tmp_path / "m.pt")
    data = bytearray((tmp_path / "m.pt").read_bytes())
    data[data.rindex(b"PK\x06\x07") + 16] = 9  # number of parts
    (tmp_path / "m.pt").write_bytes(data)
    with pytest.raises(ModelError, match="damaged"):
        checkpoint.load(tmp_path / "m.pt")


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({1: torch.zeros(1)}, "by their names, found 1"),
        ({"a.b": "text"}, "found 'a.b': str"),
        ({"a.b": torch.zeros(2, 2).to_sparse()}, "no plain tensor"),
        ({"a.b": torch.zeros(1).expand(10**12)}, "claims more values"),
        ({"image_encoder.pos_embed": torch.zeros(3)}, "shape that no SAM has"),
    ],
)
def test_tensors_that_are_no_weights_are_named(state: object, message: str, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "m.pt")
    with pytest.raises(ModelError, match=message):
        checkpoint.load(tmp_path / "m.pt")
