"""Embeddings, masks and jobs over HTTP give what the library gives."""

from __future__ import annotations

import base64
import io
import re
import struct
import sys
import urllib.request
import zlib

import numpy as np
import pytest
from PIL import Image

import mobilesam
from mobilesam import masks
from tests.helpers.documents import ROOT, blocks

CLICK = {"points": [[300, 180]]}


def picture(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def test_a_click_on_an_embedded_photo_gives_the_mask_of_the_library(call, coffee, coffee_embedding) -> None:
    key = call.embed(coffee)
    answer = call("POST", f"/v1/embeddings/{key}/segment", json=CLICK, headers={"Accept": "image/png"})
    assert answer.headers["content-type"] == "image/png"
    best = coffee_embedding.predict(points=[(300, 180)]).best
    assert np.array_equal(picture(answer.content) == 255, best.array)
    assert answer.headers["x-scores"] == f"{best.score:.4f}"


def test_the_documents_python_needs_nothing_but_the_standard_library(make, coffee_embedding, monkeypatch) -> None:
    def send(request: urllib.request.Request) -> io.BytesIO:
        path = request.full_url.removeprefix("http://127.0.0.1:8000")
        answer = call("POST", path, content=request.data, headers=dict(request.header_items()))
        assert answer.is_success, answer.text
        return io.BytesIO(answer.content)

    call = make()
    monkeypatch.chdir(ROOT)
    monkeypatch.setitem(sys.modules, "httpx", None)  # the extra serve does not bring it
    monkeypatch.setattr(urllib.request, "urlopen", send)
    page = (ROOT / "docs" / "service.md").read_text(encoding="utf-8")
    (client,) = (block.text for block in blocks(page) if block.language == "python")
    names: dict[str, object] = {}
    exec(client, names)
    expected = coffee_embedding.predict(points=[(300, 180), (30, 380)], labels=[1, 0]).best.array
    assert np.array_equal(masks.from_rle(names["mask"]), expected)


@pytest.mark.parametrize("form", ["rle", "polygons", "png", "labels"])
def test_each_format_holds_the_same_masks(call, coffee, coffee_embedding, form: str) -> None:
    key = call.embed(coffee)
    words = {"json": {**CLICK, "format": form}, "headers": {"Accept": "application/json"}}
    record = call("POST", f"/v1/embeddings/{key}/segment", **words).json()
    found = coffee_embedding.predict(points=[(300, 180)])
    result = record["results"][0]
    assert record["size"] == [400, 600]
    assert result["best"] == found.best_index
    assert len(result["masks"]) == 3
    for mask, item in zip(found, result["masks"], strict=True):
        assert item["area"] == mask.area
        assert item["score"] == pytest.approx(mask.score, abs=1e-5)
        if form == "rle":
            assert np.array_equal(masks.from_rle(item["segmentation"]), mask.array)
        elif form == "png":
            assert np.array_equal(picture(base64.b64decode(item["png"])) == 255, mask.array)
        elif form == "polygons":
            pieces = [
                masks.Polygon(np.array(p["outer"], np.int32), tuple(np.array(h, np.int32) for h in p["holes"]))
                for p in item["polygons"]
            ]
            assert np.array_equal(masks.from_polygons(pieces, (400, 600)), mask.array)
    if form == "labels":
        assert np.array_equal(picture(base64.b64decode(record["labels"])) == 1, found.best.array)


def test_the_words_for_zoom_are_those_of_the_library(call, coffee, coffee_embedding) -> None:
    key, box = call.embed(coffee), [170, 15, 260, 90]
    for word, zoom in (("on", True), ("off", False)):
        record = call("POST", f"/v1/embeddings/{key}/segment", json={"box": box, "zoom": word}).json()
        assert record["results"][0]["masks"][0]["area"] == coffee_embedding.predict(box=box, zoom=zoom).best.area


def test_a_batch_gives_what_single_prompts_give(call, coffee, coffee_embedding) -> None:
    key = call.embed(coffee)
    prompts = [
        {"points": [[300, 180]]},
        {"box": [80, 20, 480, 390]},
        {"points": [[20, 30], [300, 180]], "labels": [1, 0]},
    ]
    record = call("POST", f"/v1/embeddings/{key}/segment", json={"prompts": prompts}).json()
    assert len(record["results"]) == 3
    for prompt, result in zip(prompts, record["results"], strict=True):
        alone = coffee_embedding.predict(
            points=prompt.get("points"),  # type: ignore[attr-defined]
            labels=prompt.get("labels"),  # type: ignore[attr-defined]
            box=prompt.get("box"),  # type: ignore[attr-defined]
        )
        for mask, item in zip(alone, result["masks"], strict=True):
            found = masks.from_rle(item["segmentation"])
            assert (found & mask.array).sum() / (found | mask.array).sum() > 0.999
    boxes = call("POST", f"/v1/embeddings/{key}/segment", json={"boxes": [[80, 20, 480, 390]]}).json()
    assert boxes["results"][0]["masks"][0]["area"] == record["results"][1]["masks"][0]["area"]


def test_a_label_picture_numbers_the_prompts(call, coffee) -> None:
    body = {"boxes": [[80, 20, 480, 390], [325, 229, 405, 326]], "format": "labels"}
    answer = call("POST", f"/v1/embeddings/{call.embed(coffee)}/segment", json=body)
    assert set(np.unique(picture(answer.content))) == {0, 1, 2}


def test_logits_of_an_answer_refine_the_next(call, coffee, coffee_embedding) -> None:
    path = f"/v1/embeddings/{call.embed(coffee)}/segment"
    first = call("POST", path, json={**CLICK, "return_logits": True}).json()["results"][0]
    more = {"points": [[300, 180], [20, 380]], "labels": [1, 0], "prior": first["logits"]}
    area = call("POST", path, json=more).json()["results"][0]["masks"][0]["area"]
    found = coffee_embedding.predict(points=[(300, 180)])
    assert area == coffee_embedding.predict(points=more["points"], labels=[1, 0], prior=found).best.area
    assert "logits of an earlier answer" in call("POST", path, json={**more, "prior": "AAAA"}).json()["detail"]


def test_one_call_takes_a_photo_as_json_and_as_a_form(call, coffee) -> None:
    text = base64.b64encode(coffee.read_bytes()).decode()
    as_json = call("POST", "/v1/segment", json={"photo": text, **CLICK})
    form = {"points": "[[300, 180]]", "multimask": "null"}
    as_form = call("POST", "/v1/segment", files={"photo": ("../../a b.png", coffee.read_bytes())}, data=form)
    assert as_json.status_code == as_form.status_code == 200
    assert as_json.json() == as_form.json()
    words = {
        "files": {"photo": ('../x"; y\r\n.png', coffee.read_bytes())},
        "data": form,
        "headers": {"Accept": "image/png"},
    }
    named = call("POST", "/v1/segment", **words).headers["content-disposition"]
    assert re.fullmatch(r'inline; filename="[A-Za-z0-9_-]+_mask\.png"', named)


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ({"points": [[700, 180]]}, 422, "point (700, 180) lies outside the photo, 600 px wide and 400 px high"),
        ({"points": [[180, 500]]}, 422, "are x and y swapped?"),
        ({}, 422, "nothing to segment"),
        ({"points": [[1, 1]], "labels": [3]}, 422, "labels must be 1 (object) or 0 (background)"),
        ({"pionts": [[1, 1]]}, 422, "pionts"),
        ({"points": "here"}, 422, "points"),
        ({"boxes": [[0, 0, 9, 9]] * 9}, 422, "at most 8 prompts, found 9"),
        ({"points": [[1, 1]] * 9}, 422, "at most 8 points, found 9"),
        ({"boxes": []}, 422, "the batch is empty"),
        ({"boxes": [[0, 0, 9, 9]], "points": [[1, 1]]}, 422, "not both"),
        ({"boxes": [[0, 0, 9, 9]] * 2, "format": "png"}, 422, "one prompt"),
    ],
)
def test_a_wrong_prompt_gets_the_sentence_of_the_library(call, coffee, body, status: int, sentence: str) -> None:
    answer = call("POST", f"/v1/embeddings/{call.embed(coffee)}/segment", json=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    record = answer.json()
    assert record["status"] == status
    assert sentence in record["detail"]


def test_damaged_bodies_are_the_clients_fault(call) -> None:
    cases = [
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 400),
        ({"content": b"[" * 9999, "headers": {"Content-Type": "application/json"}}, 400),
        ({"content": b"[]", "headers": {"Content-Type": "application/json"}}, 422),
        ({"content": b"x", "headers": {"Content-Type": "text/plain"}}, 415),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 400),
        ({"content": b"--a\r\n\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=a"}}, 400),
        ({"json": {"photo": "###"}}, 422),
        ({"json": {"photo": "AAAA"}}, 422),
        ({"json": {}}, 422),
        ({"content": b'{"photo": "\\ud800"}', "headers": {"Content-Type": "application/json"}}, 422),
        ({"files": {"other": b"x"}}, 422),
    ]
    for words, status in cases:
        answer = call("POST", "/v1/embeddings", **words)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), words


def test_a_large_photo_is_refused_before_it_is_decoded(call) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    answer = call("POST", "/v1/embeddings", files={"photo": bomb})
    assert answer.status_code == 413
    assert "the photo has too many pixels: 50000x50000" in answer.json()["detail"]


def test_a_large_body_is_refused(call) -> None:
    answer = call("POST", "/v1/embeddings", files={"photo": b"x" * 2**20})
    assert answer.status_code == 413
    assert "1048576 bytes" in answer.json()["detail"]

    async def parts():
        for _ in range(20):
            yield b"x" * 2**16

    assert call("POST", "/v1/embeddings", content=parts()).status_code == 413  # no Content-Length


def test_the_longest_unused_embedding_is_dropped(make, coffee) -> None:
    size = 600 * 400 * 3 + 256 * 32 * 32 * 4
    call = make(cache_bytes=2 * size, max_pixels=300_000)
    first, second = call.embed(coffee), call.embed(coffee)
    assert call("GET", f"/v1/embeddings/{first}").json() == {
        "id": first,
        "width": 600,
        "height": 400,
        "image_size": 512,
    }
    call.embed(coffee)
    assert call("POST", f"/v1/embeddings/{first}/segment", json=CLICK).status_code == 200
    gone = call("POST", f"/v1/embeddings/{second}/segment", json=CLICK)
    assert gone.status_code == 404
    assert "make it anew" in gone.json()["detail"]
    assert call("DELETE", f"/v1/embeddings/{first}").status_code == 204
    assert call("DELETE", f"/v1/embeddings/{first}").status_code == 404


def test_a_job_tells_its_masks_and_ends_with_those_of_the_library(call, coffee, embedded) -> None:
    body = {"embedding": call.embed(coffee), "settings": {"points_per_side": 6}}
    started = call("POST", "/v1/everything", json=body)
    assert started.status_code == 202
    links = started.json()["links"]
    told = call.events(links["events"])
    names = [name for name, _ in told]
    assert names[:2] == ["queued", "running"]
    assert names[-1] == "done"
    assert "mask" in names
    assert [data for name, data in told if name == "progress"][-1] == {"done": 36, "total": 36}
    assert "pid" not in told[0][1]
    expected = mobilesam.segment_everything(embedded, coffee, settings=mobilesam.EverythingSettings(points_per_side=6))
    state = call("GET", links["state"]).json()
    assert state["state"] == "done"
    assert [mask["segmentation"] for mask in state["masks"]] == [mask.rle() for mask in expected]
    assert told[-1][1]["masks"] == state["masks"]
    assert call("DELETE", links["state"]).status_code == 204
    assert call("GET", links["state"]).status_code == 404
    assert call("GET", links["events"]).status_code == 404


def test_a_cancelled_job_ends_soon(call, coffee) -> None:
    words = {"files": {"photo": coffee.read_bytes()}, "data": {"settings": '{"points_per_side": 64}'}}
    links = call("POST", "/v1/everything", **words).json()["links"]
    assert call("DELETE", links["state"]).status_code == 204
    assert call.events(links["events"])[-1][0] == "cancelled"
    assert call("GET", links["state"]).json()["state"] == "cancelled"


def test_jobs_are_bounded_and_their_errors_told(make, coffee) -> None:
    call = make(max_jobs=1)
    photo = {"files": {"photo": coffee.read_bytes()}, "data": {"settings": '{"points_per_side": 32}'}}
    first = call("POST", "/v1/everything", **photo)
    busy = call("POST", "/v1/everything", **photo)
    assert busy.status_code == 503
    assert int(busy.headers["retry-after"]) > 0
    call("DELETE", first.json()["links"]["state"])
    call.events(first.json()["links"]["events"])
    failing = call("POST", "/v1/everything", files={"photo": b"no photo"})
    assert "is not a photo in a known format" in call.events(failing.json()["links"]["events"])[-1][1]["detail"]
    for settings, sentence in (("points_per_sid", "unknown key 'points_per_sid'"), ("points_per_side", "at most 64")):
        wrong = call("POST", "/v1/everything", json={"photo": "AAAA", "settings": {settings: 100}})
        assert wrong.status_code == 422
        assert sentence in wrong.json()["detail"]


def test_events_can_be_resumed(call, coffee) -> None:
    body = {"embedding": call.embed(coffee), "settings": {"points_per_side": 2}}
    links = call("POST", "/v1/everything", json=body).json()["links"]
    text = call("GET", links["events"]).text
    ids = [line[4:] for line in text.splitlines() if line.startswith("id: ")]
    rest = call.events(links["events"], headers={"Last-Event-ID": ids[0]})
    assert rest
    assert rest[-1][0] == "done"
    assert len(rest) < text.count("event: ")


def test_the_state_of_the_service(call, coffee) -> None:
    assert call("GET", "/healthz").json() == {"status": "ok"}
    assert call("GET", "/readyz").json() == {"status": "ready"}
    models = call("GET", "/v1/models").json()
    assert models["models"][0]["name"] == "embedded"
    assert models["limits"]["max_prompts"] == 8
    call.embed(coffee)
    call("GET", "/v1/embeddings/what-a-client-wrote")
    text = call("GET", "/metrics").text
    assert 'mobilesam_requests_total{route="/v1/embeddings",method="POST",status="201"} 1' in text
    assert "mobilesam_embeddings 1" in text
    assert "what-a-client-wrote" not in text
    call.service.begin_stop()
    assert call("GET", "/readyz").status_code == 503
    assert call("POST", "/v1/everything", json={}).status_code == 503


def test_openapi_describes_every_route_with_schemas_that_exist(call) -> None:
    document = call("GET", "/openapi.json").json()
    assert {"/v1/embeddings", "/v1/embeddings/{key}/segment", "/v1/segment", "/v1/everything"} <= set(document["paths"])
    schemas = document["components"]["schemas"]

    def references(value):
        if isinstance(value, dict):
            for key, item in value.items():
                yield from [item] if key == "$ref" else references(item)
        elif isinstance(value, list):
            for item in value:
                yield from references(item)

    used = set(references(document))
    assert used
    assert all(reference.removeprefix("#/components/schemas/") in schemas for reference in used)
    body = document["paths"]["/v1/segment"]["post"]["requestBody"]["content"]
    assert body["application/json"]["examples"]
    assert "multipart/form-data" in body


def test_deep_photos_are_opened_in_the_range_of_the_service(make) -> None:
    deep = (np.add.outer(np.arange(60), np.arange(80)) * 10 + 300).astype(np.uint16)
    file = io.BytesIO()
    Image.fromarray(deep).save(file, "PNG")
    found = make(value_range=(300.0, 2500.0)).service.decode(file.getvalue())
    np.testing.assert_array_equal(found[..., 0], np.round(np.clip((deep - 300.0) / 2200, 0, 1) * 255))
    with pytest.raises(mobilesam.SettingsError, match="'value_range' takes two numbers"):
        make(value_range=(9.0, 1.0))
