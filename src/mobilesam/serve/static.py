"""The page's files and the model's, under fixed names: a request's path is looked up in a table and never opened."""

from __future__ import annotations

import hashlib
import importlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from mobilesam.predict.predictor import Predictor

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".wasm": "application/wasm",
    ".onnx": "application/octet-stream",
    ".svg": "image/svg+xml",
}
MODEL_FILES = ("encoder.onnx", "decoder.onnx", "decoder_many.onnx", "model.json")
INDEX = "/index.html"
NO_SERVICE = b'<meta name="service" content="" />'
"""Where the page reads the address that encodes for it; empty in a folder of static files."""
NO_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>mobilesam</title>
<h1>The page is not part of this installation</h1>
<p>The service itself runs: see <a href="/openapi.json">/openapi.json</a> for what it can do.</p></html>
"""


@dataclass(frozen=True)
class Item:
    """A file of the page or of the model."""

    path: Path
    media: str
    tag: str
    """Identity of its content, for the browser's cache."""
    has_gzip: bool
    """Whether the same file lies beside it, compressed, as NAME.gz."""
    content: bytes | None = None
    """What is sent instead of the file."""


class Static:
    """Files by the path of their address; a table that is made once."""

    def __init__(self, items: Mapping[str, Item]) -> None:
        self._items = items

    def answer(self, request: Request) -> Response | None:
        """The answer to a request for a file, or None if there is no such file."""
        path = request.url.path
        item = self._items.get(path if path != "/" else INDEX)
        if item is None:
            return Response(NO_PAGE, 404, media_type="text/html") if path == "/" else None
        wants_gzip = "gzip" in request.headers.get("accept-encoding", "") and item.has_gzip
        headers = {"ETag": item.tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        if request.headers.get("if-none-match") == item.tag:
            return Response(status_code=304, headers=headers)
        if item.content is not None:
            return Response(item.content, headers=headers, media_type=item.media)
        if wants_gzip:
            headers["Content-Encoding"] = "gzip"
        file = item.path.with_name(f"{item.path.name}.gz") if wants_gzip else item.path
        return FileResponse(file, headers=headers, media_type=item.media)


def find_files(predictor: Predictor) -> Static:
    """The table of the page's files and of the loaded model's."""
    items = {}
    folder = page_folder()
    if folder is not None:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                items[f"/{path.relative_to(folder).as_posix()}"] = _item(path)
    pair = getattr(predictor.backend, "folder", None)
    if pair is not None:
        items |= {f"/model/{name}": _item(pair / name) for name in MODEL_FILES if (pair / name).is_file()}
        if INDEX in items:
            items[INDEX] = _with_service(items[INDEX])
    return Static(items)


def _with_service(index: Item) -> Item:
    """The page that knows that this service can encode for it."""
    content = index.path.read_bytes().replace(NO_SERVICE, NO_SERVICE.replace(b'""', b'"v1/encode"'))
    tag = hashlib.sha256(content).hexdigest()[:32]
    return replace(index, content=content, tag=f'"{tag}"', has_gzip=False)


def page_folder() -> Path | None:
    """The folder of the page's files; None if this installation has no page."""
    try:
        module: Any = importlib.import_module("mobilesam.web")
        folder = Path(str(module.static_folder()))
    except (ImportError, AttributeError, OSError):
        return None
    return folder if (folder / "index.html").is_file() else None


def _item(path: Path) -> Item:
    media = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    tag = hashlib.sha256(path.read_bytes()).hexdigest()[:32]
    return Item(path, media, f'"{tag}"', path.with_name(f"{path.name}.gz").is_file())
