"""What `track_video` and `mobilesam track` write, and that it can be read back."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import mobilesam
from mobilesam import masks
from mobilesam.errors import ImageError, OutputError, SettingsError
from mobilesam.tracking import video
from mobilesam.tracking.folder import add_lost
from mobilesam.tracking.frames import open_frames
from mobilesam.tracking.video import VideoWriter
from mobilesam.tracking.write import palette
from tests.helpers.clips import Clip, iou

SMALL = ("--backend", "onnx", "--image-size", "256")
CLIP = Clip((lambda i: (40 + 9 * i, 50) if i != 2 else None, lambda i: (60 + 8 * i, 110)), 5)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, 8.0) as writer:
        for frame in CLIP.frames():
            writer.write(frame)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "frames").mkdir()
    for i, frame in enumerate(CLIP.frames()):
        Image.fromarray(frame).save(tmp_path / "frames" / f"f{i}.png")
    return tmp_path / "frames"


def numbers(box: tuple[float, ...]) -> str:
    return ",".join(map(str, box))


BOXES = ("--box", numbers(CLIP.box(0, 0)), "--point", "60,110;62,112;200,10,0")


def test_every_form_is_written_and_tells_the_same(run, clip: Path) -> None:
    forms = [word for form in ("indexed", "overlay", "masks", "coco") for word in ("-w", form)]
    code, out, err = run("track", clip, *BOXES, *SMALL, *forms, "-o", "out")
    assert code == 0, err
    assert "clip: 5 frames" in out
    assert "object 1 is lost in frame 2" in err
    indexed = [np.asarray(Image.open(f"out/Annotations/clip/{i:05}.png")) for i in range(5)]
    with Image.open("out/Annotations/clip/00000.png") as picture:
        assert picture.mode == "P"
        assert picture.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]  # PASCAL VOC's black, red, green
    record = json.loads(Path("out/clip.json").read_text(encoding="utf-8"))
    assert record["videos"] == [{"id": 1, "name": "clip", "width": 208, "height": 144, "length": 5}]
    assert [image["frame_id"] for image in record["images"]] == list(range(5))
    assert [a["track_id"] for a in record["annotations"]] == [1, 2, 1, 2, 2, 1, 2, 1, 2]
    assert [a["id"] for a in record["annotations"]] == list(range(1, 10))
    for annotation in record["annotations"]:
        frame, track = annotation["image_id"] - 1, annotation["track_id"]
        mask = masks.from_rle(annotation["segmentation"])
        assert iou(mask, CLIP.truth(frame, track - 1)) > 0.8
        np.testing.assert_array_equal(indexed[frame] == track, mask)
        one = np.asarray(Image.open(f"out/masks/clip/{track}/{frame:05}.png"))
        np.testing.assert_array_equal(one == 255, mask)
    overlay = open_frames("out/clip_overlay.mp4")
    assert (overlay.count, overlay.fps) == (5, 8.0)
    drawn = [frame.photo.astype(int) for frame in overlay.read()]
    inside = CLIP.truth(0) & ~CLIP.truth(2)
    plain = CLIP.draw(0).astype(int)
    assert np.abs(drawn[0] - plain)[inside].mean() > 30 > np.abs(drawn[0] - plain)[:, 170:].mean()


def test_a_folder_of_frames_keeps_its_names_and_json_has_a_line_for_each(run, folder: Path) -> None:
    boxes = ("--box", numbers(CLIP.box(3, 0)), "--box", numbers(CLIP.box(3, 1)))
    code, out, _ = run("track", folder, *boxes, *SMALL, "--frame", 3, "--json", "-w", "indexed", "-o", "out")
    assert code == 0
    assert sorted(path.name for path in Path("out/Annotations/frames").iterdir()) == ["f3.png", "f4.png"]
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["frame"] for line in lines[:2]] == [3, 4]
    assert [one["id"] for one in lines[0]["objects"]] == [1, 2]
    assert lines[2]["num_frames"] == 2
    assert lines[2]["lost"] == {"1": [], "2": []}


def test_neither_frames_nor_files_of_others_are_overwritten(run, clip: Path, folder: Path, tmp_path: Path) -> None:
    overlay = tmp_path / "out" / "clip_overlay.mp4"
    overlay.parent.mkdir()
    overlay.write_bytes(b"somebody else's")
    code, _, err = run("track", clip, *BOXES, *SMALL, "-w", "overlay", "-w", "indexed", "-o", "out")
    assert code == 1
    assert "was not written by mobilesam" in err
    assert overlay.read_bytes() == b"somebody else's"
    assert not (tmp_path / "out" / "Annotations").exists()
    # a folder whose frames lie where the results would go
    target = tmp_path / "Annotations" / "frames"
    target.parent.mkdir()
    folder.rename(target)
    before = [path.read_bytes() for path in sorted(target.iterdir())]
    code, _, err = run("track", target, *BOXES, *SMALL, "-w", "indexed", "-o", ".", "--overwrite")
    assert code == 1
    assert "would overwrite the input" in err
    assert [path.read_bytes() for path in sorted(target.iterdir())] == before


def test_a_second_run_replaces_its_own_results_and_leaves_none_of_the_first(run, clip: Path) -> None:
    forms = [word for form in ("indexed", "overlay", "masks", "coco") for word in ("-w", form)]
    assert run("track", clip, *BOXES, *SMALL, *forms, "-o", "out")[0] == 0
    mine = Path("out/masks/clip/1/mine.png")
    Image.new("L", (4, 4)).save(mine)
    assert run("track", clip, *BOXES, *SMALL, *forms, "-o", "out", "--frame", "3")[0] == 0
    assert sorted(path.name for path in Path("out/Annotations/clip").iterdir()) == ["00003.png", "00004.png"]
    assert sorted(path.name for path in mine.parent.iterdir()) == ["00003.png", "00004.png", "mine.png"]
    assert len(json.loads(Path("out/clip.json").read_text(encoding="utf-8"))["images"]) == 2


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "say what to follow"),
        (("--box", "1,2,3"), 2, "--box takes"),
        (("--point", "5,5;x"), 2, "--point takes"),
        (("--point", "5,500"), 2, "outside the photo"),
        (("--point", "5,5", "--frame", "99"), 2, "no frame 99"),
        (("--point", "5,5", "--set", "region_factor=0"), 2, "region_factor"),
        (("--point", "5,5", "--set", "regions=2"), 2, "regions"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(run, clip: Path, words, code: int, message: str) -> None:
    found, _, err = run("track", clip, *words, *SMALL, "-o", "out")
    assert found == code
    assert message in err
    assert not Path("out").exists()


def test_a_broken_video_is_an_error(run, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"broken")
    code, _, err = run("track", "clip.mp4", "--point", "5,5", *SMALL)
    assert code == 1
    assert "cannot be opened as a video" in err


def test_after_an_error_no_half_file_is_left(embedded: mobilesam.Predictor, folder: Path, tmp_path: Path) -> None:
    Image.new("RGB", (10, 10)).save(folder / "f4.png")  # of another size
    with pytest.raises(ImageError, match="f4"):
        mobilesam.track_video(embedded, folder, tmp_path / "out", box=CLIP.box(0), forms=["overlay", "coco"])
    assert not [path for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")]


def test_wrong_forms_and_folders_are_refused(embedded: mobilesam.Predictor, clip: Path) -> None:
    with pytest.raises(SettingsError, match="not as 'gif'"):
        mobilesam.track_video(embedded, clip, "out", box=CLIP.box(0), forms=["gif"])
    with pytest.raises(OutputError, match="empty"):
        mobilesam.track_video(embedded, clip, " ", box=CLIP.box(0))


def test_a_build_of_opencv_without_video_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        def __init__(self, *_: object) -> None:
            pass

        fourcc = staticmethod(cv2.VideoWriter.fourcc)

        def isOpened(self) -> bool:
            return False

        def release(self) -> None:
            pass

    monkeypatch.setattr(video.cv2, "VideoWriter", Closed)
    with VideoWriter(tmp_path / "a.mp4", 5.0) as writer, pytest.raises(ImageError, match="leave out the overlay"):
        writer.write(CLIP.draw(0))


def test_frames_with_odd_sides_can_be_written(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "odd.mp4", 5.0) as writer:
        writer.write(np.full((33, 47, 3), 90, np.uint8))
    assert next(open_frames(tmp_path / "odd.mp4").read()).photo.shape == (34, 48, 3)


def test_spans_of_lost_frames_are_joined() -> None:
    spans: list[tuple[int, int]] = []
    for index in (3, 4, 5, 9, 11, 12):
        add_lost(spans, index)
    assert spans == [(3, 5), (9, 9), (11, 12)]


def test_colours_of_the_palette_are_all_different() -> None:
    assert len({tuple(colour) for colour in palette().tolist()}) == 256
    assert palette()[3].tolist() == [128, 128, 0]


def test_the_document_names_every_setting_with_its_default() -> None:
    text = (Path(__file__).parents[2] / "docs" / "track.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("| `")]
    told = {}
    for names, values in rows:
        numbers = re.findall(r"\d+(?:\.\d+)?", values)
        told |= dict(zip(re.findall(r"`(\w+)`", names), map(float, numbers), strict=False))
    defaults = {field.name: getattr(mobilesam.TrackSettings(), field.name) for field in fields(mobilesam.TrackSettings)}
    assert {name: told.get(name) for name in defaults} == defaults


def test_progress_is_shown_where_it_is_asked_for(
    embedded: mobilesam.Predictor, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []
    arguments = {
        "box": CLIP.box(0, 1),
        "frame": 2,
        "forms": ["coco"],
        "on_frame": lambda frame: seen.append(frame.index),
    }
    mobilesam.track_video(embedded, folder, tmp_path / "out", **arguments, show_progress=True)
    assert "3/3" in capsys.readouterr().err
    assert seen == [2, 3, 4]
    mobilesam.track_video(embedded, folder, tmp_path / "out", **arguments)
    assert capsys.readouterr().err == ""
