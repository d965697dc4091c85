"""An application in this process, without a network."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import mobilesam
from mobilesam.serve.app import create_app
from mobilesam.serve.settings import ServeSettings


class Caller:
    """Sends requests to an application, on one event loop."""

    def __init__(self, settings: ServeSettings, predictor: mobilesam.Predictor) -> None:
        self.loop = asyncio.new_event_loop()
        self.app = create_app(settings, predictor)
        self.service = self.app.service
        transport = httpx.ASGITransport(self.app)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000")

    def __call__(self, method: str, path: str, **words: Any) -> httpx.Response:
        return self.loop.run_until_complete(self.client.request(method, path, **words))

    def embed(self, photo: Path) -> str:
        answer = self("POST", "/v1/embeddings", files={"photo": photo.read_bytes()})
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def together(self, *requests: tuple[str, str, dict[str, Any]]) -> list[httpx.Response]:
        async def all_of_them() -> list[httpx.Response]:
            return list(await asyncio.gather(*(self.client.request(m, p, **w) for m, p, w in requests)))

        return self.loop.run_until_complete(all_of_them())

    def events(self, path: str, **words: Any) -> list[tuple[str, dict[str, Any]]]:
        text = self("GET", path, **words).text
        found = []
        for block in text.split("\n\n"):
            lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            if "event" in lines:
                found.append((lines["event"], json.loads(lines["data"])))
        return found

    def close(self) -> None:
        self.loop.run_until_complete(self.client.aclose())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.service.close()
        self.loop.close()


@pytest.fixture
def make(embedded: mobilesam.Predictor) -> Iterator[Any]:
    """Make an application with the given settings."""
    made = []

    def call(predictor: Any = None, **settings: Any) -> Caller:
        made.append(Caller(ServeSettings(**{"queue": 16, **settings}), predictor or embedded))
        return made[-1]

    yield call
    for caller in made:
        caller.close()


@pytest.fixture
def call(make: Any) -> Caller:
    """An application with the settings that suit most tests."""
    return make(max_pixels=1_000_000, max_prompts=8, max_points=8, max_bytes=2**20)
