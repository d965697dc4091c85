"""The application: its routes, put together with the guard around them."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from mobilesam import __version__
from mobilesam.errors import MobileSamError
from mobilesam.predict.predictor import Predictor
from mobilesam.serve import openapi
from mobilesam.serve.guard import Guard
from mobilesam.serve.problems import Problem, as_problem, problem_response
from mobilesam.serve.routes import annotators, rest
from mobilesam.serve.service import Service
from mobilesam.serve.settings import ServeSettings
from mobilesam.serve.static import find_files


def create_app(settings: ServeSettings, predictor: Predictor, folder: Path | None = None) -> Guard:
    """Make the ASGI application of one process.

    Args:
        settings: limits and permissions.
        predictor: the loaded model.
        folder: shared with the other workers; None: a temporary one.
    """
    service = Service(settings, predictor, folder)
    app = FastAPI(
        title="mobilesam",
        version=__version__,
        description="Cut any object out of any photo: embeddings, masks from points and boxes, and all masks.",
        docs_url=None,  # they would load scripts from another host
        redoc_url=None,
        lifespan=lambda _: lifespan(service),
    )
    app.openapi = lambda: openapi.document(app)  # type: ignore[method-assign]
    for kind in (MobileSamError, ValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, _on_error)
    rest.add(app, service)
    annotators.add(app, service)
    files = find_files(predictor)

    # Last, because it takes every path that no other route has.
    @app.api_route("/{path:path}", methods=["GET", "HEAD"], include_in_schema=False)
    async def page(request: Request) -> Response:
        found = files.answer(request)
        if found is None:
            raise Problem(404, "there is nothing at this address")
        return found

    guard = Guard(app, settings, service.gate, service.uploads, service.metrics)
    guard.service = service
    return guard


async def _on_error(_: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        advice = {404: "there is nothing at this address", 405: "this address takes another method"}
        error = Problem(error.status_code, advice.get(error.status_code, str(error.detail)), dict(error.headers or {}))
    return problem_response(as_problem(error))


@asynccontextmanager
async def lifespan(service: Service) -> AsyncIterator[None]:
    """Warm the model up; at the end, give a running job the rest of its grace."""
    await asyncio.to_thread(service.warm_up)
    restore = _on_stop(service.begin_stop)
    yield
    restore()
    service.begin_stop()
    end = time.monotonic() + service.settings.grace
    while service.jobs.active and time.monotonic() < end:
        await asyncio.sleep(0.05)
    await asyncio.to_thread(service.close)


def _on_stop(function: Callable[[], None]) -> Callable[[], None]:
    """Call a function on SIGTERM and SIGINT before the server's own handler; returns what undoes that."""
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    before: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def handle(number: int, frame: Any) -> None:
        function()
        if callable(before[number]):
            before[number](number, frame)

    for number in before:
        signal.signal(number, handle)

    def restore() -> None:
        for number, handler in before.items():
            if signal.getsignal(number) is handle:
                signal.signal(number, handler)

    return restore
