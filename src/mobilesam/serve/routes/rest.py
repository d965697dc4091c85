"""Routes for embeddings, masks, jobs, and the state of the service."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from mobilesam.predict.embedding import ImageEmbedding
from mobilesam.serve import events
from mobilesam.serve.answers import Wanted, choose_format
from mobilesam.serve.bodies import Upload, read_body
from mobilesam.serve.openapi import BYTES, FAILURES, body, planes_body
from mobilesam.serve.problems import Problem, json_response
from mobilesam.serve.schemas import EncodeRequest, EverythingRequest, PhotoRequest, SegmentPhotoRequest, SegmentRequest
from mobilesam.serve.security import safe_name
from mobilesam.serve.service import Service

NO_JOB = "there is no job with this id: it was never made, or its masks were dropped; start it anew"


def add(app: FastAPI, service: Service) -> None:
    """Add the routes to an application."""
    _add_state(app, service)
    _add_embeddings(app, service)
    _add_encode(app, service)
    _add_segment(app, service)
    _add_jobs(app, service)


def _add_state(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", summary="Whether the process runs.")
    async def healthz() -> Response:
        return json_response({"status": "ok"})

    @app.get("/readyz", summary="Whether new requests are welcome.")
    async def readyz() -> Response:
        if service.is_stopping:
            raise Problem(503, "the service is stopping", {"Retry-After": "5"})
        return json_response({"status": "ready"})

    @app.get("/metrics", summary="Counters of this worker in Prometheus' text format.")
    async def metrics() -> Response:
        gauges = await asyncio.to_thread(service.gauges)
        return Response(service.metrics.text(gauges), media_type="text/plain; version=0.0.4")

    @app.get("/v1/models", summary="The loaded model and the limits of the service.")
    async def models() -> Response:
        info, settings = service.predictor.info, service.settings
        model = {
            "name": info.name,
            "image_size": info.image_size,
            "low_res": info.low_res,
            "licence": info.licence,
            "weights_sha256": info.weights_sha256,
        }
        names = ("max_bytes", "max_pixels", "max_prompts", "max_points", "max_jobs", "deadline")
        return json_response({"models": [model], "limits": {name: getattr(settings, name) for name in names}})


def _add_embeddings(app: FastAPI, service: Service) -> None:
    @app.post(
        "/v1/embeddings",
        summary="Encode a photo once, so that it can be prompted many times.",
        status_code=201,
        openapi_extra=body(PhotoRequest),
        responses=FAILURES,
    )
    async def embed(request: Request) -> Response:
        fields, upload = await read_body(request, PhotoRequest)
        key, embedding = await service.embed(await service.photo(fields, upload))
        return json_response(_embedding_record(key, embedding, upload), 201, {"Location": f"/v1/embeddings/{key}"})

    @app.get("/v1/embeddings/{key}", summary="The size of an embedded photo.", responses=FAILURES)
    async def look(key: str) -> Response:
        embedding = await asyncio.to_thread(service.find, key)
        return json_response(_embedding_record(key, embedding, None))

    @app.delete("/v1/embeddings/{key}", summary="Forget an embedding and its photo.", status_code=204)
    async def forget(key: str) -> Response:
        if not await asyncio.to_thread(service.embeddings.drop, key):
            raise Problem(404, "there is no embedding with this id")
        return Response(status_code=204)


def _add_encode(app: FastAPI, service: Service) -> None:
    @app.post(
        "/v1/encode",
        summary="Encode a resized photo for a page that runs the decoder itself; nothing is kept.",
        openapi_extra=planes_body(EncodeRequest),
        responses=FAILURES,
    )
    async def encode(request: Request) -> Response:
        size = EncodeRequest.model_validate(dict(request.query_params))
        if request.headers.get("content-type", "") != BYTES:
            raise Problem(415, f"the body must be {BYTES}: red, green and blue, one byte per pixel")
        start = time.perf_counter()
        found = await service.encode_planes(await request.body(), size)
        headers = {
            "X-Shape": ",".join(map(str, found.shape)),
            "Server-Timing": f"encode;dur={1000 * (time.perf_counter() - start):.1f}",
        }
        return Response(np.ascontiguousarray(found, "<f4").tobytes(), headers=headers, media_type=BYTES)


def _embedding_record(key: str, embedding: ImageEmbedding, upload: Upload | None) -> dict[str, Any]:
    height, width = embedding.original_hw
    record: dict[str, Any] = {"id": key, "width": width, "height": height, "image_size": embedding.image_size}
    return record if upload is None else {**record, "name": safe_name(upload.name)}


def _add_segment(app: FastAPI, service: Service) -> None:
    @app.post(
        "/v1/embeddings/{key}/segment",
        summary="Masks of an embedded photo for one prompt or a batch.",
        openapi_extra=body(SegmentRequest),
        responses=FAILURES,
    )
    async def segment(key: str, request: Request) -> Response:
        fields, upload = await read_body(request, SegmentRequest)
        if upload is not None:
            raise Problem(422, "the photo is embedded already; send no other, or use /v1/segment")
        return await service.segment(key, fields, _wanted(fields, request, "photo"))

    @app.post(
        "/v1/segment",
        summary="Masks of a photo in one call; nothing is kept.",
        openapi_extra=body(SegmentPhotoRequest),
        responses=FAILURES,
    )
    async def segment_photo(request: Request) -> Response:
        fields, upload = await read_body(request, SegmentPhotoRequest)
        wanted = _wanted(fields, request, "photo" if upload is None else safe_name(upload.name))
        return await service.segment_photo(await service.photo(fields, upload), fields, wanted)


def _wanted(fields: SegmentRequest, request: Request, name: str) -> Wanted:
    form, is_picture = choose_format(fields.format, request.headers.get("accept", ""))
    return Wanted(form, is_picture, fields.return_logits, name)


def _add_jobs(app: FastAPI, service: Service) -> None:
    @app.post(
        "/v1/everything",
        summary="Start a job that finds all masks of a photo.",
        status_code=202,
        openapi_extra=body(EverythingRequest),
        responses=FAILURES,
    )
    async def start(request: Request) -> Response:
        if service.is_stopping:
            raise Problem(503, "the service is stopping", {"Retry-After": "5"})
        fields, upload = await read_body(request, EverythingRequest)
        has_photo = upload is not None or fields.photo is not None or fields.url is not None
        if has_photo == (fields.embedding is not None):
            raise Problem(422, "give a photo, or the id of an embedding in 'embedding'")
        content = await service.photo(fields, upload) if has_photo else None
        key = await asyncio.to_thread(service.start_everything, fields, content)
        links = {"state": f"/v1/everything/{key}", "events": f"/v1/everything/{key}/events"}
        return json_response({"id": key, "links": links}, 202, {"Location": links["state"]})

    @app.get("/v1/everything/{key}", summary="State of a job, and its masks once it is done.", responses=FAILURES)
    async def state(key: str) -> Response:
        found = await asyncio.to_thread(service.jobs.state, key)
        if found is None:
            raise Problem(404, NO_JOB)
        return json_response(found)

    @app.get("/v1/everything/{key}/events", summary="Progress and masks of a job as server-sent events.")
    async def follow(key: str, request: Request) -> Response:
        last = request.headers.get("last-event-id", "0")
        offset = int(last[:20]) if last.isascii() and last.isdigit() else 0
        if await asyncio.to_thread(service.jobs.state, key) is None:
            raise Problem(404, NO_JOB)
        return StreamingResponse(events.stream(service.jobs, key, offset), media_type="text/event-stream")

    @app.delete("/v1/everything/{key}", summary="Cancel a job, or forget one that is over.", status_code=204)
    async def cancel(key: str) -> Response:
        if not await asyncio.to_thread(service.jobs.cancel, key):
            raise Problem(404, NO_JOB)
        return Response(status_code=204)
