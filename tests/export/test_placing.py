"""A folder holds one export: another that is written there leaves nothing of the first."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import mobilesam
from mobilesam.choices import ExportFormat
from mobilesam.errors import ModelError, OutputError
from mobilesam.export import placing
from mobilesam.export.draft import drafting
from mobilesam.export.ort import convert
from mobilesam.integrity import check_files
from mobilesam.model import checkpoint
from mobilesam.model.sam import Sam
from mobilesam.outputs import DEFAULT, Outputs
from mobilesam.predict.load import verify

PAIR = ("encoder.onnx", "decoder.onnx", "decoder_many.onnx")
OVERWRITE = Outputs(overwrite=True)


@pytest.fixture(scope="module")
def sam(tiny_lite_checkpoint: Path) -> Sam:
    return checkpoint.load(tiny_lite_checkpoint)


def write(sam: Sam, folder: Path, *files: str, form: ExportFormat = "onnx", outputs: Outputs = DEFAULT) -> None:
    """Write an export whose files name what it writes, so that those of two exports differ."""
    text = f"contract_version {sum(1 for _ in folder.parent.iterdir())} {form} {files}"
    with drafting(sam, folder, names=files, form=form, precision="float32", licence="x", outputs=outputs) as draft:
        for file in files:
            (draft.folder / file).parent.mkdir(parents=True, exist_ok=True)
            (draft.folder / file).write_text(text)


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_pair_that_becomes_the_mobile_format_loads(
    sam: Sam, tiny_lite_pair: Path, coffee: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_lite_pair, folder)
    with drafting(
        sam, folder, names=("encoder.ort", "decoder.ort"), form="ort", precision="float32", licence="x"
    ) as new:
        for half in ("encoder", "decoder"):
            shutil.copy(tiny_lite_pair / f"{half}.onnx", tmp_path / f"{half}.onnx")
            convert(tmp_path / f"{half}.onnx", new.folder / f"{half}.ort")
    assert files_of(folder) == {"encoder.ort", "decoder.ort", "model.json"}
    assert mobilesam.load(folder).embed(coffee).predict(points=[(300, 180)]).best.array.shape == (400, 600)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (PAIR, ("encoder.onnx", "decoder.onnx")),
        ((*PAIR, "sam_decoder.onnx"), PAIR),
        (("encoder.xml", "encoder.bin", "decoder.xml", "decoder.bin"), PAIR),
        ((*PAIR, "model.safetensors", "config.json"), PAIR),
        (("encoder.onnx", "encoder.onnx.data", "decoder.onnx"), PAIR),
        (("encoder.mlpackage/Data/weights.bin", "encoder.mlpackage/Manifest.json"), PAIR),
    ],
)
def test_an_export_removes_what_it_does_not_replace(first, second, sam: Sam, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write(sam, folder, *first)
    (folder / "README.md").write_text("completed by its owner")
    (folder / "photo.png").write_bytes(b"somebody's")
    write(sam, folder, *second)
    assert files_of(folder) == {*second, "model.json", "README.md", "photo.png"}
    assert sorted(check_files(folder)) == sorted(second)


def test_a_file_of_the_earlier_export_that_was_changed_is_kept(sam: Sam, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write(sam, folder, *PAIR, "sam_decoder.onnx")
    (folder / "sam_decoder.onnx").write_text("contract_version, tuned by hand")
    before = {file: (folder / file).read_bytes() for file in files_of(folder)}
    with pytest.raises(OutputError, match=r"sam_decoder\.onnx' was changed after .* --overwrite"):
        write(sam, folder, *PAIR)
    assert {file: (folder / file).read_bytes() for file in files_of(folder)} == before
    write(sam, folder, *PAIR, outputs=OVERWRITE)
    assert files_of(folder) == {*PAIR, "model.json"}


def test_an_export_never_removes_its_input(sam: Sam, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write(sam, folder, *PAIR, "model.safetensors")
    for overwrite in (False, True):
        beside = Outputs.beside([folder / "model.safetensors"], overwrite=overwrite)
        with pytest.raises(OutputError, match="would overwrite the input"):
            write(sam, folder, *PAIR, outputs=beside)
    assert (folder / "model.safetensors").is_file()


def test_an_export_that_was_killed_leaves_nothing_that_passes_for_a_model(
    sam: Sam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    write(sam, folder, *PAIR)
    replace, moved = placing.os.replace, []

    def killed(source: Path, target: Path) -> None:
        if moved:
            raise KeyboardInterrupt
        moved.append(target)
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(placing.os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            write(sam, folder, "encoder.onnx", "decoder.onnx", form="sam")
    assert files_of(folder) == {"decoder.onnx"}, "no encoder of the earlier export beside it, and no model.json"
    (folder / "decoder_many.onnx").write_text("contract_version: a kill can leave it, and no model.json lists it")
    write(sam, folder, "encoder.ort", "decoder.ort", form="ort")
    assert files_of(folder) == {"encoder.ort", "decoder.ort", "model.json"}


def test_anothers_graph_that_would_be_opened_in_place_of_the_new_ones_is_an_error(sam: Sam, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "encoder.onnx").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"encoder\.onnx' exists and was not written by mobilesam"):
        write(sam, folder, "encoder.ort", "decoder.ort", form="ort")
    assert files_of(folder) == {"encoder.onnx"}


@pytest.mark.parametrize("listed", ["../precious.txt", "{parent}/precious.txt", "a/../../precious.txt", "c:\\x", ""])
def test_a_list_that_leads_out_of_the_folder_removes_nothing(listed: str, sam: Sam, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write(sam, folder, *PAIR)
    precious = tmp_path / "precious.txt"
    precious.write_text("contract_version")
    card = json.loads((folder / "model.json").read_text())
    card["sha256"][listed.format(parent=tmp_path)] = "0" * 64
    (folder / "model.json").write_text(json.dumps(card))
    write(sam, folder, "encoder.ort", outputs=OVERWRITE)
    assert precious.is_file()
    assert files_of(folder) == {"encoder.ort", "model.json"}


def test_a_damaged_list_can_be_overwritten(sam: Sam, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write(sam, folder, *PAIR)
    (folder / "model.json").write_text("{")
    with pytest.raises(OutputError, match=r"model\.json' exists and was not written"):
        write(sam, folder, *PAIR)
    write(sam, folder, *PAIR, outputs=OVERWRITE)
    assert check_files(folder)


def test_verification_opens_the_decoder_for_many_prompts_too(tiny_lite_pair: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_lite_pair, folder)
    assert verify(folder)[0].endswith("and load")
    card = json.loads((folder / "model.json").read_text())
    del card["sha256"]["decoder_many.onnx"]
    (folder / "model.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match=r"decoder_many\.onnx is damaged or replaced"):
        verify(folder)
