"""Which photo the prompts of a file belong to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mobilesam.annotate.plan import make_plan
from mobilesam.annotate.settings import AnnotateSettings
from mobilesam.errors import DataError
from tests.helpers.annotating import CHOICE
from tests.helpers.scenes import write_shard


class Case:
    """Inputs and prompts in a folder; `given` plans a run and says what each photo is asked."""

    def __init__(self, folder: Path, small: Any) -> None:
        self.folder, self.small, self.inputs = folder, small, list[str]()
        self.records: list[dict[str, Any]] = []
        self.images: list[dict[str, Any]] | None = None

    def folder_of(self, name: str, *photos: str) -> None:
        for photo in photos:
            path = self.folder / name / photo
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 40)).save(path)
        self.inputs.append(str(self.folder / name))

    def coco(self, name: str, **ids: int) -> None:
        """A COCO file NAME.json of photos in a folder of its name."""
        photos = {f"{stem}.png": id for stem, id in ids.items()}
        self.folder_of(name, *photos)
        images = [{"id": id, "file_name": photo, "width": 40, "height": 40} for photo, id in photos.items()]
        path = self.folder / name / f"{name}.json"
        path.write_text(json.dumps({"images": images, "annotations": [], "categories": []}))
        self.inputs[-1] = str(path)

    def ask(self, **record: Any) -> None:
        """A prompt, whose id is its number."""
        self.records.append({"id": len(self.records), "bbox": [1, 2, 30, 30], **record})

    def given(self) -> dict[str, list[str]]:
        path = self.folder / "boxes.json"
        path.write_text(
            json.dumps(self.records if self.images is None else {"images": self.images, "annotations": self.records})
        )
        settings = AnnotateSettings(prompts="given")
        job = make_plan(self.inputs, self.folder / "out", self.small, CHOICE, settings, prompts=path)
        tasks = [task for i in range(job.num_shards) for task in job.shard(i).tasks]
        return {str(task.photo): [ask.id for ask in task.asks] for task in tasks if task.asks}


@pytest.fixture
def case(small, tmp_path) -> Case:
    return Case(tmp_path, small)


def test_an_id_of_two_inputs_is_refused_and_names_both(case: Case) -> None:
    case.coco("train", a=1, b=2)
    case.coco("val", c=1)
    case.ask(image_id=1)
    with pytest.raises(DataError, match=r"image_id 1 fit both 'train/a\.png' and 'val/c\.png'; give them a file_name"):
        case.given()


def test_an_id_of_one_input_alone_is_its_photo(case: Case) -> None:
    case.coco("train", a=1, b=2)
    case.coco("val", c=1)
    case.ask(image_id=2)
    assert case.given() == {"train/b.png": ["0"]}


def test_the_name_that_the_file_gives_an_id_tells_two_inputs_apart(case: Case) -> None:
    case.coco("train", a=1, b=2)
    case.coco("val", c=1)
    case.images = [{"id": 1, "file_name": "c.png"}]
    case.ask(image_id=1)
    assert case.given() == {"val/c.png": ["0"]}


def test_an_id_and_a_name_together_choose_between_inputs_of_the_same_names(case: Case) -> None:
    case.coco("train", a=1)
    case.coco("val", a=2)
    case.images = [{"id": 2, "file_name": "a.png"}, {"id": 1, "file_name": "elsewhere/b.png"}]
    case.ask(image_id=2)
    case.ask(image_id=1)  # another photo's name: the ids of this file are not those of the inputs
    assert case.given() == {"val/a.png": ["0"]}


def test_an_id_is_enough_where_only_the_folder_of_the_name_differs(case: Case) -> None:
    case.coco("train", a=7)
    case.images = [{"id": 7, "file_name": "train2017/a.png"}]
    case.ask(image_id=7)
    assert case.given() == {"train/a.png": ["0"]}


@pytest.mark.parametrize("names", [("one", "two"), ("two", "one")])
def test_a_path_of_two_inputs_is_refused_and_the_data_set_before_it_tells_them_apart(case: Case, names) -> None:
    for name in names:
        case.folder_of(name, "a.png")
    case.ask(file_name="a.png")
    with pytest.raises(DataError, match=r"'a\.png' fit both '(one|two)/a\.png' and '(one|two)/a\.png'"):
        case.given()
    case.records[0]["file_name"] = "one/a.png"
    case.ask(file_name="two\\a.png")
    assert case.given() == {"one/a.png": ["0"], "two/a.png": ["1"]}


def test_a_bare_name_is_used_only_where_one_photo_has_it(case: Case) -> None:
    case.folder_of("photos", "x/a.png", "y/b.png", "z/b.png")
    case.ask(file_name="a.png")
    assert case.given() == {"photos/x/a.png": ["0"]}


def test_a_bare_name_of_two_photos_is_refused(case: Case) -> None:
    case.folder_of("photos", "y/b.png", "z/b.png")
    case.ask(file_name="b.png")
    with pytest.raises(DataError, match=r"'b\.png' fit both 'photos/y/b\.png' and 'photos/z/b\.png'"):
        case.given()


@pytest.mark.parametrize("first", [True, False])
def test_an_exact_path_wins_over_a_bare_name_wherever_it_is_listed(case: Case, first: bool) -> None:
    for name, photo in [("one", "a.png"), ("two", "sub/a.png")][:: 1 if first else -1]:
        case.folder_of(name, photo)
    case.ask(file_name="a.png")
    assert case.given() == {"one/a.png": ["0"]}


def test_a_photo_of_a_tar_is_found_by_its_stem_and_two_suffixes_are_refused(case: Case) -> None:
    case.inputs.append(str(write_shard(case.folder / "s.tar", 2)))
    case.ask(file_name="photo_00.jpg")
    case.ask(file_name="photo_01.jpg")
    case.ask(file_name="photo_01.png")
    with pytest.raises(DataError, match=r"'photo_01\.jpg' and for 'photo_01\.png', and 's/photo_01' may be either"):
        case.given()
    case.records.pop()
    assert case.given() == {"s/photo_00": ["0"], "s/photo_01": ["1"]}


@pytest.mark.parametrize(
    "wrong",
    [
        {"bbox": [float("nan"), 2, 30, 30]},
        {"bbox": [1, 2, 3]},
        {"bbox": ["a", 1, 2, 3]},
        {"bbox": [1e308, 2, 1e308, 3]},
        {"bbox": None},
        {"bbox": None, "point": [float("inf"), 1]},
        {"file_name": None, "image_id": None},
        {"file_name": None, "image_id": [1]},
    ],
)
def test_one_malformed_prompt_costs_itself_and_is_named(case: Case, wrong: dict[str, Any]) -> None:
    case.folder_of("photos", "a.png", "b.png")
    case.ask(file_name="a.png")
    case.ask(**{"file_name": "b.png", **wrong})
    case.records.append(7)
    case.ask(file_name="b.png")
    assert case.given() == {"photos/a.png": ["0"], "photos/b.png": ["3"]}
    lines = (case.folder / "out" / "problems.jsonl").read_text().splitlines()
    assert [json.loads(line)["photo"] for line in lines] == ["boxes.json/prompt 1", "boxes.json/prompt 2"]
    assert all("malformed" in json.loads(line)["reason"] for line in lines)


def test_a_file_whose_every_prompt_is_malformed_is_refused_by_the_first(case: Case) -> None:
    case.folder_of("photos", "a.png")
    for box in ([1, 2, 3], [4]):
        case.ask(file_name="a.png", bbox=box)
    with pytest.raises(DataError, match=r"holds no prompt that can be used, 2 are malformed; prompt 0 is malformed: "):
        case.given()


def test_a_photo_whose_only_prompt_is_malformed_is_no_place_without_a_photo(case: Case) -> None:
    case.folder_of("photos", "a.png")
    case.ask(file_name="a.png")
    case.ask(file_name="elsewhere.png", bbox=[1])
    assert case.given() == {"photos/a.png": ["0"]}
    assert len((case.folder / "out" / "problems.jsonl").read_text().splitlines()) == 1
