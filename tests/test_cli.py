from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mobilesam
from mobilesam import masks

CUP = ["--box", "170,15,410,310"]


def test_segment_writes_the_mask_and_says_so(run, coffee: Path, embedded: mobilesam.Predictor) -> None:
    code, out, _ = run("segment", coffee, *CUP, "-o", "cup.png")
    assert code == 0
    assert "cup.png: score" in out
    expected = embedded.embed(coffee).predict(box=(170, 15, 410, 310)).masks[0]
    with Image.open("cup.png") as mask:
        np.testing.assert_array_equal(np.asarray(mask) == 255, expected)


def test_segment_names_its_output_itself(run, coffee: Path) -> None:
    assert run("segment", coffee, "--point", "290,120")[0] == 0
    assert Path("coffee_mask.png").exists()


def test_overlay_and_cutout(run, coffee: Path) -> None:
    assert run("segment", coffee, *CUP, "--overlay", "--cutout", "-o", "out.png")[0] == 0
    with Image.open("out_overlay.png") as overlay, Image.open("out_cutout.png") as cutout:
        assert overlay.size == (600, 400)
        assert cutout.mode == "RGBA"
    code, _, err = run("segment", coffee, *CUP, "--cutout", "-o", "cut.jpg")
    assert code == 1
    assert "use .png" in err
    assert not Path("cut.jpg").exists()


def test_json_on_stdout_and_in_a_file(run, coffee: Path) -> None:
    code, out, _ = run("segment", coffee, "--point", "290,120", "--point", "50,50,0", "--json", "-o", "m.json")
    record = json.loads(out)
    assert code == 0
    assert record["files"] == ["m.json"]
    stored = json.loads(Path("m.json").read_text())
    assert stored["masks"] == record["masks"]
    assert masks.from_rle(stored["masks"][0]["segmentation"]).shape == (400, 600)


def test_zoom_looks_again_at_the_box(run, coffee: Path, embedded: mobilesam.Predictor) -> None:
    box = (170, 15, 260, 90)
    image = embedded.embed(coffee)
    areas = {}
    for word, zoom in (("on", True), ("off", False)):
        code, out, _ = run("segment", coffee, "-b", "170,15,260,90", "--zoom", word, "--backend", "onnx", "--json")
        assert code == 0
        areas[word] = json.loads(out)["masks"][0]["area"]
        assert areas[word] == pytest.approx(image.predict(box=box, zoom=zoom).best.area, abs=3)
    assert areas["on"] != areas["off"]


def test_all_keeps_three_masks(run, coffee: Path) -> None:
    code, out, _ = run("segment", coffee, "--point", "290,120", "--all", "-o", "m.png", "--json")
    assert code == 0
    assert json.loads(out)["files"] == ["m_1.png", "m_2.png", "m_3.png"]


def test_each_of_three_masks_is_named_with_its_own_file(run, coffee: Path) -> None:
    _, out, _ = run("segment", coffee, "--point", "290,120", "--all", "--cutout", "--overlay", "-o", "m.png")
    shared, *lines = out.splitlines()
    assert shared == "m_overlay.png: 3 masks"
    assert [line.split(":")[0] for line in lines] == ["m_cutout_1.png", "m_cutout_2.png", "m_cutout_3.png"]
    assert len({line.split("score ")[1] for line in lines}) == 3
    _, out, _ = run("segment", coffee, "--point", "290,120", "--all", "-o", "m.json")
    assert [line.split(":")[0] for line in out.splitlines()] == ["m.json", "mask 1", "mask 2", "mask 3"]


def test_pictures_are_written_beside_a_json(run, coffee: Path) -> None:
    code, out, _ = run("segment", coffee, *CUP, "--overlay", "--cutout", "-o", "m.json", "--json")
    assert code == 0
    assert sorted(json.loads(out)["files"]) == ["m.json", "m_cutout.png", "m_overlay.png"]
    assert json.loads(Path("m.json").read_text())["masks"] == json.loads(out)["masks"]
    with Image.open("m_overlay.png") as overlay, Image.open("m_cutout.png") as cutout:
        assert overlay.size == (600, 400)
        assert cutout.mode == "RGBA"


def test_a_result_does_not_take_the_place_of_another_photo(run, coffee: Path, tmp_path: Path) -> None:
    for name in ("a.png", "a_mask.png"):
        (tmp_path / name).write_bytes(coffee.read_bytes())
    code, _, err = run("segment", "a.png", "a_mask.png", "--point", "290,120")
    assert code == 1
    assert "would overwrite the input 'a_mask.png'" in err
    assert Path("a_mask.png").read_bytes() == coffee.read_bytes()
    assert Path("a_mask_mask.png").exists()


def test_a_folder_is_searched_and_a_bad_photo_does_not_stop_the_rest(run, coffee: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.open(coffee).save(photos / "a.png")
    (photos / "b.jpg").write_bytes(b"no photo")
    Image.open(coffee).save(photos / "c.webp")
    (photos / "notes.txt").write_text("not a photo, and not tried")
    code, _, err = run("segment", photos, "--point", "290,120", "-o", "masks")
    assert code == 1
    assert "b.jpg" in err
    assert "notes" not in err
    assert sorted(p.name for p in Path("masks").iterdir()) == ["a_mask.png", "c_mask.png"]


def test_photos_of_one_name_do_not_overwrite_each_other(run, coffee: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.open(coffee).save(tmp_path / folder / "photo.png")
    code, out, _ = run("segment", "a/photo.png", "b/photo.png", "--point", "290,120", "-o", "out", "--json")
    assert code == 0
    files = [json.loads(line)["files"][0] for line in out.splitlines()]
    assert len(set(files)) == 2
    assert all(Path(file).exists() for file in files)


def test_the_photo_itself_is_not_overwritten(run, coffee: Path, tmp_path: Path) -> None:
    copy = tmp_path / "photo.png"
    copy.write_bytes(coffee.read_bytes())
    code, _, err = run("segment", copy, "--point", "290,120", "-o", copy)
    assert code == 2
    assert "would overwrite" in err
    assert copy.read_bytes() == coffee.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["missing.png", "-p", "1,1"], 1, "'missing.png' does not exist"),
        (["https://example.org/a.jpg", "-p", "1,1"], 1, "download the photo first"),
        (["PHOTO"], 2, "say what to segment"),
        (["PHOTO", "-p", "12"], 2, "X,Y"),
        (["PHOTO", "-p", "a,b"], 2, "X,Y"),
        (["PHOTO", "-p", "9999,1"], 2, "outside the photo"),
        (["PHOTO", "-b", "1,2,3"], 2, "X0,Y0,X1,Y1"),
        (["PHOTO", "-p", "1,1", "-m", "huge"], 1, "known: embedded"),
        (["PHOTO", "-p", "1,1", "--backend", "x"], 2, "'x' is not one of 'auto', 'onnx', 'openvino'"),
        (["PHOTO", "PHOTO", "-p", "1,1", "-o", "m.png"], 2, "need a folder"),
        (["PHOTO", "--points", "1,1"], 2, "--points"),
        (["PHOTO", "-p", "1,1", "--zoom", "yes"], 2, "'yes' is not one of 'auto', 'on', 'off'"),
        (["PHOTO", "-p", "1,1", "--precision", "half"], 2, "'half' is not one of 'float32', 'bfloat16'"),
    ],
)
def test_bad_usage_is_one_clear_line(run, coffee: Path, arguments: list[str], code: int, message: str) -> None:
    found, _, err = run("segment", *[str(coffee) if a == "PHOTO" else a for a in arguments])
    assert found == code
    assert message in " ".join(err.split())
    assert "Traceback" not in err


def test_models_are_listed_and_the_embedded_one_is_verified(run) -> None:
    code, out, _ = run("models")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == list(mobilesam.weights.MODELS)
    for words in (("list", "--json"), ("--json", "list"), ("--json",)):
        assert json.loads(run("models", *words)[1])[0]["name"] == "embedded"
    assert json.loads(run("models", "--json", "verify", "embedded")[1])["verified"]
    assert run("models", "verify", "embedded")[0] == 0
    assert run("models", "download", "embedded")[0] == 0


def test_an_absent_model_does_not_verify(run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MOBILESAM_HOME", str(tmp_path))
    code, out, _ = run("models", "verify", "mobile_sam")
    assert code == 1
    assert "NO" in out


def test_version_and_module_entry(run) -> None:
    assert run("--version")[1].strip() == mobilesam.__version__
    result = subprocess.run(
        [sys.executable, "-m", "mobilesam", "--version"], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == mobilesam.__version__


@pytest.mark.torch
def test_export_writes_the_pair_and_sams_decoder(run, tiny_checkpoint: Path) -> None:
    code, out, _ = run("export", tiny_checkpoint, "-o", "out", "--format", "sam", "--licence", "MIT", "--json")
    assert code == 0
    names = [Path(file).name for file in json.loads(out)["files"]]
    assert names == ["decoder.onnx", "decoder_many.onnx", "encoder.onnx", "sam_decoder.onnx", "model.json"]
    assert mobilesam.load("out").info.licence == "MIT"
    assert run("export", "no_such.pt", "-o", "out2")[0] == 1


@pytest.mark.parametrize(
    ("old", "now"),
    [(["--layout", "sam"], "--format"), (["--fp16-storage"], "--precision float16")],
)
def test_renamed_options_of_export_name_their_replacement(run, old: list[str], now: str) -> None:
    code, _, err = run("export", "embedded", "-o", "out", *old)
    assert code == 2
    assert f"{old[0]} is now {now}" in " ".join(err.split())
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("verb", "choices"),
    [
        ("segment", ["[auto|onnx|openvino|litert|executorch|coreml|torch]", "[float32|bfloat16]", "[auto|on|off]"]),
        (
            "everything",
            [
                "[auto|onnx|openvino|litert|executorch|coreml|torch]",
                "[small|uncovered]",
                "[labels|overlay|masks|yolo|labelme|coco|cvat|label-studio]",
                "--set",
            ],
        ),
        (
            "evaluate run",
            ["[auto|onnx|openvino|litert|executorch|coreml|torch]", "[float32|bfloat16]", "[auto|on|off]"],
        ),
        (
            "export",
            [
                "[onnx|ort|litert|executorch|coreml|openvino|anylabeling|sam|hub]",
                "[float32|float16|int8-weights|mixed|int8]",
            ],
        ),
    ],
)
def test_help_lists_the_choices(run, verb: str, choices: list[str]) -> None:
    code, out, _ = run(*verb.split(), "--help")
    assert code == 0
    for choice in choices:
        assert choice in out


@pytest.mark.torch
def test_train_runs_a_recipe_and_refuses_a_misspelt_key(run, shard: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        f'model = "tiny"\n[data]\nshards = ["{shard}"]\n[run]\nsteps = 2\nbatch_size = 2\nworkers = 0\noutput = "o"\n'
    )
    code, out, _ = run("train", recipe, "--json", "--set", "optim.lr=1e-3", "--set", "run.accelerator=cpu")
    assert code == 0
    assert Path(json.loads(out)["weights"]).exists()
    code, _, err = run("train", recipe, "--set", "optim.learning_rate=1")
    assert code == 2
    assert "unknown key 'optim.learning_rate'" in err
    code, _, err = run("train", recipe, "--set", "run.batch_size=0", "--set", "data.fraction=2")
    assert code == 2
    assert "'run.batch_size' must be an integer of at least 1, found 0" in err
    assert "'data.fraction' must be a number above 0 and at most 1, found 2.0" in err
    assert "Traceback" not in err
    code, _, err = run("train", recipe)
    assert code == 2
    assert "--resume" in err


def test_the_side_of_the_picture_is_a_choice(run, coffee: Path) -> None:
    masks = {}
    for side in (256, 512):
        code, out, _ = run(
            "segment", coffee, "--point", "290,120", "--image-size", side, "-o", f"{side}.json", "--json"
        )
        assert code == 0
        masks[side] = json.loads(out)
    assert masks[256] != masks[512]
    code, _, err = run("segment", coffee, "--point", "290,120", "--image-size", 300)
    assert code == 2
    assert "embedded takes an image_size from 256 to 1024 in steps of 32, not 300" in err


@pytest.mark.torch
def test_a_pair_may_be_exported_for_another_side(run, tiny_lite_checkpoint: Path, tiny_checkpoint: Path) -> None:
    code, _, err = run("export", tiny_lite_checkpoint, "-o", "at512", "--image-size", 512)
    assert code == 0, err
    assert json.loads(Path("at512/model.json").read_text())["image_size"] == 512
    code, _, err = run("export", tiny_checkpoint, "-o", "no", "--image-size", 256)
    assert (code, Path("no").exists()) == (2, False)
    assert "tiny works at 64 px only" in err


@pytest.mark.parametrize(
    "point", ["1,2,0.5", "1,2,nan", "1,2,inf", "1,2,-1", "1,2,2", "nan,2", "1,inf", "1", "1,2,3,4", "a,b", ""]
)
def test_a_point_that_is_none_is_refused_with_advice(run, coffee: Path, point: str) -> None:
    code, _, err = run("segment", coffee, "--point", point)
    assert code == 2
    assert "--point" in err
    assert "Traceback" not in err


def test_a_box_that_is_none_is_refused_with_advice(run, coffee: Path) -> None:
    for box in ("1,2,3", "1,2,nan,4", "1,2,3,inf"):
        code, _, err = run("segment", coffee, "--box", box)
        assert code == 2
        assert "X0,Y0,X1,Y1" in err
