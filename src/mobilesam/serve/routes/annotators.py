"""Routes of the Label Studio ML backend."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from threading import Lock
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from mobilesam import contract
from mobilesam.predict.embedding import ImageEmbedding
from mobilesam.predict.identity import numbers_stored
from mobilesam.predict.predictor import Predictor
from mobilesam.serve import label_studio
from mobilesam.serve.bodies import from_base64, read_body
from mobilesam.serve.limits import Caller
from mobilesam.serve.problems import Problem, json_response
from mobilesam.serve.service import Service

REMEMBERED = 256  # photos whose embeddings' ids are remembered by their address


class PredictRequest(BaseModel):
    """The part of Label Studio's request that is used; it sends more, which is ignored."""

    model_config = ConfigDict(extra="ignore")

    tasks: list[dict[str, Any]]
    label_config: str = ""
    params: dict[str, Any] | None = None
    context: dict[str, Any] | None = None


class SetupRequest(BaseModel):
    """What Label Studio sends when the backend is connected."""

    model_config = ConfigDict(extra="ignore")


class Photos:
    """Embeddings of tasks' photos, so that the second click on a photo neither fetches nor encodes it again."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._lock = Lock()
        self._ids: OrderedDict[str, str] = OrderedDict()

    async def get(self, address: str) -> ImageEmbedding:
        """The embedding of the photo at an address, or in a data: address."""
        name = hashlib.sha256(address.encode("utf-8", "surrogatepass")).hexdigest()
        with self._lock:
            key = self._ids.get(name)
        found = None if key is None else await asyncio.to_thread(self._service.embeddings.get, key)
        if found is not None:
            return found
        if address.startswith("data:"):
            content = from_base64(address, "the photo")
        else:
            content = await asyncio.to_thread(self._service.fetcher.fetch, address)
        key, embedding = await self._service.embed(content)
        with self._lock:
            self._ids[name] = key
            while len(self._ids) > REMEMBERED:
                self._ids.popitem(last=False)
        return embedding


def version_of(predictor: Predictor) -> str:
    """The model's version for Label Studio, which tells predictions of several models apart by it."""
    info, stored = predictor.info, numbers_stored(predictor.backend)
    coarser = f"-{stored[contract.PRECISION]}-{stored['files'][:8]}" if stored else ""
    return f"mobilesam-{info.name}-{info.weights_sha256[:8]}{coarser}"


def add(app: FastAPI, service: Service) -> None:
    """Add the routes to an application."""
    photos = Photos(service)
    version = version_of(service.predictor)

    @app.get("/health", summary="Label Studio: whether the backend runs.")
    async def health() -> Response:
        return json_response({"status": "UP", "model_class": "mobilesam"})

    @app.post("/setup", summary="Label Studio: called when the backend is connected.")
    async def setup(request: Request) -> Response:
        await read_body(request, SetupRequest)
        return json_response({"model_version": version})

    @app.get("/versions", summary="Label Studio: the versions to choose from: one.")
    async def versions() -> Response:
        return json_response({"versions": [version]})

    app.post("/versions", summary="The same for older versions of Label Studio.", name="versions_posted")(versions)

    @app.post("/webhook", summary="Label Studio: news of annotations, from which nothing is learnt here.")
    async def webhook() -> Response:
        return json_response({"status": "ignored"})

    @app.post("/predict", summary="Label Studio: masks for what an annotator drew.")
    async def predict(request: Request) -> Response:
        fields, _ = await read_body(request, PredictRequest)
        if len(fields.tasks) > service.settings.max_prompts:
            raise Problem(422, f"a request has at most {service.settings.max_prompts} tasks")
        context = (fields.params or {}).get("context") or fields.context
        results = [await _answer(service, photos, task, fields.label_config, context) for task in fields.tasks]
        for result in results:
            result["model_version"] = version
        return json_response({"results": results, "model_version": version})


async def _answer(service: Service, photos: Photos, task: Any, config: str, context: Any) -> dict[str, Any]:
    """The prediction for one task; empty where nothing was drawn."""
    drawn_before = context.get("result") if isinstance(context, dict) else None
    if not drawn_before:
        return {"result": [], "score": 0.0}
    controls = label_studio.find_controls(config)
    key = label_studio.photo_key(config, controls[0].to_name)
    address = label_studio.photo_address(task, key, service.settings.label_studio)
    embedding = await photos.get(address)
    drawn = label_studio.read_drawn(drawn_before, embedding.original_hw)
    if drawn is None:
        return {"result": [], "score": 0.0}

    def work(caller: Caller) -> dict[str, Any]:
        mask = embedding.predict(points=drawn.points or None, labels=drawn.labels or None, box=drawn.box).best
        caller.check()
        return {"result": label_studio.to_results(mask, drawn, controls), "score": round(mask.score, 4)}

    return await service.gate.run(work)
