from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import mobilesam
from mobilesam.errors import MobileSamError, OutputError
from mobilesam.files import replacing, save_json, save_picture, save_text
from mobilesam.image import open_photo
from mobilesam.outputs import JOURNAL, Outputs, is_ours, is_picture_of_ours

MASK = np.eye(16, dtype=bool)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "p.png"
    Image.new("RGB", (8, 8), "red").save(path)
    return path


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".tiff", ".webp"])
def test_pictures_carry_our_mark_and_those_of_others_do_not(tmp_path: Path, suffix: str) -> None:
    ours, theirs = tmp_path / f"ours{suffix}", tmp_path / f"theirs{suffix}"
    picture = Image.new("RGB", (300, 200), "blue")
    save_picture(picture, ours)
    picture.save(theirs)
    assert (is_picture_of_ours(ours), is_picture_of_ours(theirs)) == (True, False)
    assert not (tmp_path / JOURNAL).exists()
    np.testing.assert_array_equal(open_photo(ours).shape, (200, 300, 3))
    save_picture(picture, ours)
    before = theirs.read_bytes()
    with pytest.raises(OutputError, match="was not written by mobilesam"):
        save_picture(picture, theirs)
    assert theirs.read_bytes() == before
    save_picture(picture, theirs, outputs=Outputs(overwrite=True))
    assert is_ours(theirs)


@pytest.mark.parametrize("name", ["a.txt", "a.bmp", "a.gif"])
def test_what_can_hold_no_mark_is_known_by_the_journal_until_somebody_edits_it(tmp_path: Path, name: str) -> None:
    def write(text: str) -> None:
        if name.endswith(".txt"):
            save_text(text, tmp_path / name)
        else:
            save_picture(MASK if text == "one" else ~MASK, tmp_path / name)

    write("one")
    write("two")
    assert (tmp_path / JOURNAL).exists()
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    assert is_ours(moved / name)
    moved.rename(tmp_path)
    with (tmp_path / name).open("ab") as file:
        file.write(b"my own line\n")
    with pytest.raises(OutputError):
        write("three")
    assert (tmp_path / name).read_bytes().endswith(b"my own line\n")


def test_records_are_marked_first_and_lists_are_left_as_they_are(tmp_path: Path) -> None:
    save_json({"a": 1}, tmp_path / "a.json")
    assert list(json.loads((tmp_path / "a.json").read_text())) == ["software", "a"]
    save_json({"a": 2}, tmp_path / "a.json")
    (tmp_path / "b.json").write_text('{"annotations": []}')
    with pytest.raises(OutputError):
        save_json({}, tmp_path / "b.json")
    (tmp_path / "d.json").write_text("[" * 100_000)
    assert not is_ours(tmp_path / "d.json")
    # A record of `everything` from before there was a mark.
    (tmp_path / "c.json").write_text('{"image": {}, "annotations": [], "made_by": "0123456789abcdef"}')
    save_json({}, tmp_path / "c.json")


def test_an_input_is_recognised_by_every_spelling_of_its_path(photo: Path, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "soft.png").symlink_to(photo)
    os.link(photo, tmp_path / "hard.png")
    before = photo.read_bytes()
    rule = Outputs.beside([photo], overwrite=True)
    for name in ("p.png", "soft.png", "hard.png", "sub/../p.png"):
        with pytest.raises(OutputError, match="would overwrite the input"):
            save_picture(MASK, tmp_path / name, outputs=rule)
    save_picture(MASK, tmp_path / "mine.png")
    with pytest.raises(OutputError, match="would overwrite the input"):  # a picture of ours may be an input too
        save_picture(MASK, tmp_path / "mine.png", outputs=Outputs.beside([tmp_path / "mine.png"]))
    assert photo.read_bytes() == before
    assert (tmp_path / "soft.png").is_symlink()


def test_what_a_data_sets_folder_holds_is_an_input(photo: Path, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    save_json({"annotations": []}, tmp_path / "set" / "record.json")
    save_json({"rows": []}, tmp_path / "set" / "report.json")
    (tmp_path / "set" / "theirs.txt").write_text("0 0.1 0.1 0.2 0.2 0.3 0.1")
    (tmp_path / "link").symlink_to(tmp_path / "set")
    rule = Outputs.beside([tmp_path / "set"], overwrite=True)
    for name in ("set/record.json", "set/theirs.txt", "link/theirs.txt"):
        with pytest.raises(OutputError, match="lies in the input folder"):
            rule.check(tmp_path / name)
    rule.check(tmp_path / "set" / "report.json")  # of an earlier run
    rule.check(tmp_path / "set" / "new.json")
    Outputs.beside([photo], overwrite=True).check(tmp_path / "set" / "theirs.txt")


def test_only_files_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    for name in ("folder.png", "pipe.png"):
        with pytest.raises(OutputError, match="folder or a device"):
            save_picture(MASK, tmp_path / name, outputs=Outputs(overwrite=True))
    with pytest.raises(OutputError, match="was not written"):
        save_picture(MASK, tmp_path / "gone.png")
    for nothing in ("", ".", "/"):
        with pytest.raises(OutputError, match="empty"), replacing(nothing):
            pass


def test_a_file_that_appears_while_ours_is_written_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"

    def write() -> None:
        with replacing(path) as partial:
            partial.write_text("ours")
            path.write_text("theirs")

    with pytest.raises(OutputError):
        write()
    assert path.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [path]


def test_the_error_is_ours_and_the_systems() -> None:
    assert issubclass(OutputError, MobileSamError)
    assert issubclass(OutputError, FileExistsError)


def test_masks_and_embeddings_are_saved_by_the_same_rule(
    coffee_embedding: mobilesam.ImageEmbedding, tmp_path: Path
) -> None:
    mask = coffee_embedding.predict(box=(171, 17, 405, 367)).best
    things = {"m.png": mask.save, "m.json": mask.save, "e.npz": coffee_embedding.save}
    for name, save in things.items():
        path = tmp_path / name
        path.write_text("mine")
        with pytest.raises(OutputError, match="overwrite=True"):
            save(path)
        assert path.read_text() == "mine"
        save(path, overwrite=True)
        save(path)


LABELME: dict[str, Any] = {"version": "5", "shapes": [], "imagePath": "p.png", "imageData": None}
COCO: dict[str, Any] = {"images": [], "annotations": [], "categories": []}
STUDIO: list[Any] = [{"data": {}, "meta": {"software": "written by mobilesam"}, "predictions": []}]
CVAT = "<!-- written by mobilesam -->\n<annotations>\n</annotations>\n"
OF_TOOLS: dict[str, Any] = {
    "labelme.json": LABELME,
    "instances.json": COCO,
    "label_studio.json": STUDIO,
    "cvat.xml": CVAT,
}


def write_of_tool(path: Path, extra: str = "") -> None:
    """Write a file that a labelling tool opens, as our commands do."""
    value = OF_TOOLS[path.name]
    if isinstance(value, str):
        save_text(value + extra, path)
    elif isinstance(value, dict):
        save_json({**value, "extra": extra}, path)
    else:
        save_json([*value, extra], path)


@pytest.mark.parametrize("name", OF_TOOLS)
def test_corrections_in_a_file_of_a_labelling_tool_are_not_written_over(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_of_tool(path)
    write_of_tool(path, "again")
    corrected = path.read_text().replace("again", "corrected by hand")
    path.write_text(corrected)  # the mark is kept, as LabelMe and X-AnyLabeling keep keys that they do not know
    assert "written by mobilesam" in corrected
    with pytest.raises(OutputError, match="changed after mobilesam wrote it"):
        write_of_tool(path, "third")
    assert path.read_text() == corrected
    path.write_text(corrected.replace("corrected by hand", "again"))  # as it was: nothing would be lost
    write_of_tool(path, "third")


def test_a_correction_of_the_same_length_in_the_middle_of_a_large_file_is_seen(tmp_path: Path) -> None:
    points = [[round(i / 7, 3), 1.0] for i in range(3000)]
    save_json({**LABELME, "shapes": [{"points": points}], "flags": {}}, tmp_path / "a.json")
    text = (tmp_path / "a.json").read_text()
    middle = text.index("200.0")
    (tmp_path / "a.json").write_text(f"{text[:middle]}201.0{text[middle + 5 :]}")
    with pytest.raises(OutputError, match="changed"):
        save_json(LABELME, tmp_path / "a.json")


@pytest.mark.parametrize("name", OF_TOOLS)
def test_a_marked_file_of_a_tool_that_no_journal_knows_is_asked_about(tmp_path: Path, name: str) -> None:
    write_of_tool(tmp_path / name)
    (tmp_path / "moved").mkdir()
    moved = (tmp_path / name).rename(tmp_path / "moved" / name)
    before = moved.read_bytes()
    with pytest.raises(OutputError, match="may hold corrections"):
        write_of_tool(moved)
    assert moved.read_bytes() == before


def test_records_that_no_tool_edits_are_still_known_by_their_mark_alone(tmp_path: Path) -> None:
    save_json({"image": {}, "annotations": [], "made_by": "x"}, tmp_path / "a.json")
    assert not (tmp_path / JOURNAL).exists()
    (tmp_path / "moved").mkdir()
    assert is_ours((tmp_path / "a.json").rename(tmp_path / "moved" / "a.json"))


def test_journals_of_earlier_versions_count(tmp_path: Path) -> None:
    data = b"0 0.1 0.1 0.2 0.2 0.3 0.1\n"
    (tmp_path / "a.txt").write_bytes(data)
    digest = hashlib.sha256(data + data).hexdigest()[:32]  # of both ends of the file
    (tmp_path / JOURNAL).write_text(json.dumps(["a.txt", len(data), digest]) + "\nno line\n[1, [2], 3]\n")
    assert is_ours(tmp_path / "a.txt")
    save_text("new", tmp_path / "a.txt")
    assert is_ours(tmp_path / "a.txt")
    (tmp_path / "a.txt").write_text("mine")
    assert not is_ours(tmp_path / "a.txt")


def test_a_journal_that_another_process_replaced_is_read_anew(tmp_path: Path) -> None:
    save_text("one", tmp_path / "a.txt")
    assert is_ours(tmp_path / "a.txt")
    journal = (tmp_path / JOURNAL).read_text()
    (tmp_path / JOURNAL).write_text(journal.replace("a.txt", "b.txt") * 3)
    (tmp_path / "b.txt").write_text("one")
    assert (is_ours(tmp_path / "a.txt"), is_ours(tmp_path / "b.txt")) == (False, True)


@pytest.mark.parametrize("suffix", [".bmp", ".gif", ".png"])
def test_a_mask_of_an_earlier_run_is_no_photo_in_whatever_format(photo: Path, tmp_path: Path, suffix: str) -> None:
    from mobilesam.data.photo import PhotoRef
    from mobilesam.image import find_photos
    from mobilesam.shards.inputs import read_photos

    mask = save_picture(MASK, tmp_path / f"p_mask{suffix}")
    assert list(find_photos([tmp_path])) == [photo]
    listed = [item.file.path for item in read_photos(tmp_path, "set") if isinstance(item, PhotoRef)]
    assert listed == [str(photo)]
    mask.write_bytes(photo.read_bytes())  # another picture under the same name
    assert set(find_photos([tmp_path])) == {photo, mask}
