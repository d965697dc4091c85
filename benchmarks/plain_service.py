"""The plainest service: FastAPI around the torch model, as one would write it first; what `serve.py` compares with.
It has no limits: no queue, no deadline, and embeddings that are never dropped.
"""

# No postponed annotations: FastAPI reads those of a function inside a function.
import json
import socket
import uuid
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, UploadFile
from fastapi.concurrency import run_in_threadpool

import mobilesam


def make(folder: str) -> FastAPI:
    sam = mobilesam.load(folder, backend="torch")
    app, kept = FastAPI(), dict[str, Any]()

    @app.post("/v1/embeddings")
    def embed(photo: UploadFile) -> dict[str, str]:
        key = uuid.uuid4().hex
        kept[key] = sam.embed(photo.file.read())
        return {"id": key}

    @app.post("/v1/embeddings/{key}/segment")
    async def segment(key: str, request: Request) -> dict[str, Any]:
        prompt = json.loads(await request.body())
        found = await run_in_threadpool(kept[key].predict, points=prompt["points"])
        return {"masks": [mask.to_dict() for mask in found]}

    return app


def serve(folder: str) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as uvicorn has it for a port it opens itself
    app = make(folder)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False)).run(sockets=[listener])
