"""Encoding for a page that runs the decoder itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mobilesam
from mobilesam.image import open_photo, resize_long_side, to_square

BYTES = {"content-type": "application/octet-stream"}


def encode(call: Any, planes: Any, **words: Any) -> Any:
    query = {"height": planes.shape[1], "width": planes.shape[2], **words}
    return call("POST", "/v1/encode", content=planes.astype(np.uint8).tobytes(), headers=BYTES, params=query)


def embedding(answer: Any) -> Any:
    assert answer.status_code == 200, answer.text
    shape = tuple(map(int, answer.headers["x-shape"].split(",")))
    return np.frombuffer(answer.content, "<f4").reshape(shape)


@pytest.mark.parametrize("side", [384, 512])
def test_the_embedding_is_the_one_of_the_library_at_that_side(make, coffee, side: int) -> None:
    rgb = open_photo(coffee)
    found = embedding(encode(make(), resize_long_side(rgb, side).transpose(2, 0, 1)))
    own = mobilesam.load("embedded", image_size=side).embed(rgb).array
    assert found.shape == (1, 256, side // 16, side // 16)
    assert np.allclose(found, own, atol=1e-3)


def test_a_region_is_padded_as_the_second_look_pads_it(make, coffee, embedded) -> None:
    region = open_photo(coffee)[225:330, 325:400]
    found = embedding(encode(make(), resize_long_side(region, 512).transpose(2, 0, 1), square="true"))
    assert np.allclose(found, embedded.backend.encode(to_square(region, 512)), atol=1e-3)


def test_what_cannot_be_encoded_is_refused_in_words(make) -> None:
    call = make()
    planes = np.zeros((3, 256, 384), np.uint8)
    assert (
        "has 294912 bytes, found 294915"
        in call("POST", "/v1/encode?height=256&width=384", content=planes.tobytes() + b"123", headers=BYTES).json()[
            "detail"
        ]
    )
    assert encode(call, np.zeros((3, 100, 100), np.uint8)).status_code == 422, "no side of the model"
    for query in ("", "?height=256", "?height=0&width=384", "?height=x&width=384", "?height=256&width=384&deep=1"):
        answer = call("POST", f"/v1/encode{query}", content=planes.tobytes(), headers=BYTES)
        assert answer.status_code == 422, query
        assert answer.headers["content-type"] == "application/problem+json"
    assert call("POST", "/v1/encode?height=256&width=384", content=planes.tobytes()).status_code == 415


def test_the_page_of_the_service_knows_that_it_encodes_and_the_static_one_does_not(make) -> None:
    from mobilesam.web import static_folder

    assert '<meta name="service" content="v1/encode" />' in make()("GET", "/").text
    assert '<meta name="service" content="" />' in (static_folder() / "index.html").read_text(encoding="utf-8")
