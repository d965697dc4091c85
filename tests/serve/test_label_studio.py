"""The ML backend of Label Studio, with requests of the form that its documentation and its server give."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilesam.serve import label_studio
from mobilesam.serve.problems import Problem
from mobilesam.serve.routes.annotators import version_of
from tests.helpers.readers import decode_brush
from tests.helpers.stored import opened

CONFIG = """
<View>
  <Image name="image" value="$image" zoom="true"/>
  <KeyPointLabels name="point" toName="image" smart="true">
    <Label value="Cup" smart="true" background="#ff0000"/>
  </KeyPointLabels>
  <RectangleLabels name="box" toName="image" smart="true"><Label value="Cup"/></RectangleLabels>
  <BrushLabels name="brush" toName="image"><Label value="Cup" background="#ff0000"/></BrushLabels>
  <PolygonLabels name='outline' toName='image'><Label value="Cup"/></PolygonLabels>
</View>
"""


def drawn(kind: str, value: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "id": "Vl2kRmZ9bW",
        "original_width": 600,
        "original_height": 400,
        "image_rotation": 0,
        "type": kind,
        "origin": "manual",
        "to_name": "image",
        "from_name": "point",
        "value": {**value, kind: ["Cup"]},
        **more,
    }


POINT = drawn("keypointlabels", {"x": 50.0, "y": 45.0, "width": 0.3}, is_positive=True)
OFF = drawn("keypointlabels", {"x": 5.0, "y": 95.0, "width": 0.3}, is_positive=False)
BOX = drawn("rectanglelabels", {"x": 54.2, "y": 57.3, "width": 13.4, "height": 24.2, "rotation": 0})


def request(photo: str, *result: dict[str, Any]) -> dict[str, Any]:
    """A request as the server sends it for a drawn region."""
    return {
        "tasks": [{"id": 12, "data": {"note": "text", "image": photo}, "predictions": [], "annotations": []}],
        "project": "3.1700000000",
        "label_config": CONFIG,
        "params": {"login": None, "password": None, "context": {"annotation_id": 7, "result": list(result)}},
    }


@pytest.fixture
def photo(coffee) -> str:
    return "data:image/png;base64," + base64.b64encode(coffee.read_bytes()).decode()


def test_the_backend_says_that_it_runs(call) -> None:
    assert call("GET", "/health").json()["status"] == "UP"
    sent = {"project": "3.17", "schema": CONFIG, "hostname": "http://ls", "access_token": "t", "extra_params": None}
    assert call("POST", "/setup", json=sent).json()["model_version"].startswith("mobilesam-embedded-")


def test_predictions_of_coarser_files_have_another_version(embedded, tmp_path: Path) -> None:
    fine, coarse = version_of(embedded), version_of(opened(tmp_path / "model", "int8"))
    assert coarse.startswith(f"{fine}-int8-")


def test_the_backend_names_its_version_and_takes_news_without_learning_from_them(call) -> None:
    sent = {"project": "3.17"}
    own = call("POST", "/setup", json=sent).json()["model_version"]
    for answer in (
        call("GET", "/versions"),
        call("GET", "/versions?project=3.17"),
        call("POST", "/versions", json=sent),
    ):
        assert answer.json() == {"versions": [own]}
    news = call(
        "POST", "/webhook", json={"action": "ANNOTATION_CREATED", "annotation": {"id": 1}, "project": {"id": 3}}
    )
    assert (news.status_code, news.json()) == (200, {"status": "ignored"})


def test_a_point_becomes_a_brush_and_a_polygon(call, photo: str, coffee_embedding) -> None:
    answer = call("POST", "/predict", json=request(photo, POINT)).json()
    assert answer["model_version"] == answer["results"][0]["model_version"]
    results = answer["results"][0]["result"]
    best = coffee_embedding.predict(points=[(300, 180)], labels=[1]).best
    brush = next(item for item in results if item["type"] == "brushlabels")
    assert (brush["from_name"], brush["to_name"]) == ("brush", "image")
    assert (brush["original_width"], brush["original_height"]) == (600, 400)
    assert brush["value"]["format"] == "rle"
    assert brush["value"]["brushlabels"] == ["Cup"]
    assert np.array_equal(decode_brush(brush["value"]["rle"]).reshape(400, 600, 4)[..., 3] == 255, best.array)
    outlines = [item for item in results if item["type"] == "polygonlabels"]
    assert outlines
    assert all(item["from_name"] == "outline" and item["value"]["polygonlabels"] == ["Cup"] for item in outlines)
    points = np.array([xy for item in outlines for xy in item["value"]["points"]]) * (6, 4)
    x0, y0, x1, y1 = best.box_xyxy
    assert np.allclose([points.min(axis=0), points.max(axis=0)], [(x0, y0), (x1, y1)])


def test_points_and_a_rectangle_are_one_prompt(call, photo: str, coffee_embedding) -> None:
    results = call("POST", "/predict", json=request(photo, POINT, OFF)).json()["results"][0]["result"]
    expected = coffee_embedding.predict(points=[(300, 180), (30, 380)], labels=[1, 0]).best
    found = decode_brush(results[0]["value"]["rle"]).reshape(400, 600, 4)[..., 0] == 255
    assert np.array_equal(found, expected.array)
    results = call("POST", "/predict", json=request(photo, BOX)).json()["results"][0]["result"]
    expected = coffee_embedding.predict(box=(325.2, 229.2, 405.6, 326)).best
    found = decode_brush(results[0]["value"]["rle"]).reshape(400, 600, 4)[..., 0] == 255
    assert (found & expected.array).sum() / (found | expected.array).sum() > 0.99


def test_a_second_click_does_not_encode_the_photo_again(call, photo: str) -> None:
    for _ in range(3):
        call("POST", "/predict", json=request(photo, POINT))
    assert call.service.embeddings.stats()[0] == 1


def test_nothing_drawn_gives_an_empty_prediction(call, photo: str) -> None:
    for sent in (request(photo), {**request(photo), "params": {"context": None}}, {**request(photo), "params": None}):
        answer = call("POST", "/predict", json=sent)
        assert answer.status_code == 200
        assert answer.json()["results"][0]["result"] == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"label_config": "<View/>"}, "no BrushLabels"),
        ({"tasks": [{"data": {}}]}, "no address of a photo"),
        ({"tasks": [{}]}, "'data'"),
        ({"tasks": "x"}, "tasks"),
        ({"tasks": [{"data": {"image": "/data/upload/1.png"}}]}, "--label-studio"),
        ({"tasks": [{"data": {"image": "http://example.org/1.png"}}]}, "--allow-url"),
        ({"tasks": [{"data": {"image": "file:///etc/passwd"}}]}, "http://"),
    ],
)
def test_what_cannot_be_answered_is_explained(call, photo: str, change: dict[str, Any], sentence: str) -> None:
    answer = call("POST", "/predict", json={**request(photo, POINT), **change})
    assert answer.status_code in (403, 422)
    assert sentence in answer.json()["detail"]


def test_results_of_another_form_are_refused() -> None:
    for value in ({}, {"x": "1", "y": 2}, {"x": True, "y": 2}, {"x": float("nan"), "y": 1}, {"x": 1e300, "y": 1}):
        with pytest.raises(Problem):
            label_studio.read_drawn([drawn("keypointlabels", value)], (400, 600))
    assert label_studio.read_drawn([{"type": "choices"}, "text", None], (400, 600)) is None


def test_the_configuration_is_read_without_a_parser_of_xml() -> None:
    controls = label_studio.find_controls(CONFIG)
    assert [(c.kind, c.from_name, c.to_name) for c in controls] == [
        ("brushlabels", "brush", "image"),
        ("polygonlabels", "outline", "image"),
    ]
    assert label_studio.photo_key(CONFIG, "image") == "image"
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa">]>' + "<View " + "a='" * 50_000
    with pytest.raises(Problem):
        label_studio.find_controls(bomb)
