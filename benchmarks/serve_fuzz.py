"""Malformed requests: none may get a 500, none an answer with a traceback, and the service must go on.

    python -m benchmarks.serve_fuzz [--requests 5000] [--seed 0]

Requests go to a real process over raw sockets: damaged JSON and multipart bodies, fields of wrong types, hostile paths,
headers and request lines, photos with flipped bytes.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.common import ROOT, machine, make_parser, parse
from benchmarks.serve import OURS
from benchmarks.wire import Server, form, serving

PHOTO = (ROOT / "examples" / "coffee.png").read_bytes()
SMALL = cv2.imencode(".png", np.arange(192, dtype=np.uint8).reshape(8, 8, 3))[1].tobytes()
ODD: list[Any] = [
    None, True, False, -1, 0, 1, 2**31, 2**64, 10**400, 1e308, -0.0, "", "x", "\0", "\ud800", "../../etc/passwd",
    "x" * 5000,
    [], {}, [[]], [{}], [None], [[1]], [[1, 2, 3]], [["a", "b"]], [[1e400, 1]], {"a": {"b": []}}, [[[[[[]]]]]],
]  # fmt: skip
FIELDS = ["points", "labels", "box", "boxes", "prompts", "prior", "multimask", "zoom", "format", "return_logits"]
FIELDS += ["photo", "url", "embedding", "settings", "tasks", "label_config", "params", "context", "unknown"]
PATHS = ["/v1/embeddings", "/v1/segment", "/v1/everything", "/v1/embeddings/{id}/segment", "/predict", "/setup"]
METHODS = ["GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS", "TRACE", "BREW", "get", "P\u00d6ST"]
HOSTILE = ["/%00", "/..%2f..%2fetc/passwd", "//", "/v1/embeddings/%ff%fe", "/v1/everything/../../x", "/%", "/?%zz", "*"]


class Fuzz:
    """Makes malformed requests from a seed."""

    def __init__(self, seed: int, key: str) -> None:
        self.random = random.Random(seed)
        self.key = key

    def request(self) -> bytes:
        """The bytes of one request."""
        kinds: list[Callable[[], bytes]] = [
            self._odd_json, self._odd_json, self._odd_json, self._broken_json, self._odd_form, self._broken_form,
            self._broken_photo, self._odd_line, self._odd_head, self._odd_studio,
        ]  # fmt: skip
        return self.random.choice(kinds)()

    def _path(self) -> str:
        return self.random.choice(PATHS).replace("{id}", self.random.choice([self.key, "x", "%2e%2e", "é"]))

    def _value(self) -> Any:
        pick = self.random.random()
        if pick < 0.5:
            return self.random.choice(ODD)
        if pick < 0.7:
            return [
                [self.random.uniform(-700, 700) for _ in range(self.random.choice([0, 1, 2, 4, 5]))] for _ in range(3)
            ]
        if pick < 0.85:
            return [self.random.choice(ODD) for _ in range(self.random.randrange(6))]
        return {self.random.choice(FIELDS): self.random.choice(ODD) for _ in range(self.random.randrange(4))}

    def _fields(self) -> dict[str, Any]:
        found = {self.random.choice(FIELDS): self._value() for _ in range(self.random.randrange(1, 5))}
        if self.random.random() < 0.4:
            found["points"] = [[300, 180]]
        if self.random.random() < 0.3:
            found["photo"] = base64.b64encode(SMALL).decode()
        return found

    def _build(self, path: str, body: bytes, kind: str, method: str = "POST", more: str = "") -> bytes:
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        return f"{head}{more}\r\n".encode("utf-8", "surrogatepass") + body

    def _odd_json(self) -> bytes:
        accept = self.random.choice(
            ["", "Accept: image/png\r\n", "Accept: \xff\r\n", "Accept: application/json;q=x\r\n"]
        )
        return self._build(self._path(), json.dumps(self._fields()).encode(), "application/json", more=accept)

    def _broken_json(self) -> bytes:
        body = bytearray(json.dumps(self._fields()).encode())
        for _ in range(self.random.randrange(1, 6)):
            body[self.random.randrange(len(body))] = self.random.randrange(256)
        body = self.random.choice([body, body[: len(body) // 2], bytearray(b"[" * 30_000), bytearray(b'{"a":' * 9000)])
        return self._build(self._path(), bytes(body), "application/json")

    def _odd_form(self) -> bytes:
        parts = b""
        for _ in range(self.random.randrange(1, 40)):
            name = self.random.choice(FIELDS)
            file = self.random.choice(["", '; filename="a.png"', '; filename="../x"', "; filename="])
            content = self.random.choice([SMALL, b"", json.dumps(self._value()).encode(), os.urandom(20)])
            parts += f'--xx\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + content + b"\r\n"
        return self._build(self._path(), parts + b"--xx--\r\n", "multipart/form-data; boundary=xx")

    def _broken_form(self) -> bytes:
        body = bytearray(form(SMALL)[0])
        for _ in range(self.random.randrange(1, 12)):
            body[self.random.randrange(len(body))] = self.random.randrange(256)
        kind = self.random.choice(["; boundary=xx", "", "; boundary=", "; boundary=" + "y" * 300, "; boundary=\xff"])
        return self._build(self._path(), bytes(body), f"multipart/form-data{kind}")

    def _broken_photo(self) -> bytes:
        photo = bytearray(SMALL if self.random.random() < 0.8 else PHOTO)
        for _ in range(self.random.randrange(1, 9)):
            photo[self.random.randrange(len(photo))] = self.random.randrange(256)
        kept = bytes(photo[: self.random.randrange(len(photo))] if self.random.random() < 0.3 else photo)
        body, kind = form(kept)
        return self._build(self.random.choice(PATHS[:3]), body, kind)

    def _odd_line(self) -> bytes:
        path = self.random.choice([*HOSTILE, self._path(), "/" + "a" * self.random.choice([10, 5000, 20_000])])
        method = self.random.choice(METHODS)
        if self.random.random() < 0.2:
            return os.urandom(self.random.randrange(1, 200)) + b"\r\n\r\n"
        return self._build(path, b"", "text/plain", method)

    def _odd_head(self) -> bytes:
        more = self.random.choice([
            "Transfer-Encoding: chunked\r\n", "Content-Length: -1\r\n", "Content-Length: 99999999999999999999\r\n",
            "Expect: 100-continue\r\n", "Origin: null\r\n", "Origin: http://evil\r\n", "Authorization: Basic \xff\r\n",
            "Last-Event-ID: -5\r\n", "Range: bytes=0-\r\n", "Upgrade: websocket\r\nConnection: upgrade\r\n",
            "X: " + "y" * 20_000 + "\r\n", "Host: evil\r\n", "If-None-Match: \xff\r\n", "Accept-Encoding: \x01\r\n",
        ])  # fmt: skip
        path = self.random.choice([self._path(), "/", "/model/model.json", "/v1/everything/x/events", "/metrics"])
        return self._build(path, json.dumps(self._fields()).encode(), "application/json", "POST", more)

    def _odd_studio(self) -> bytes:
        photo = "data:image/png;base64," + base64.b64encode(SMALL).decode()
        result = [{"type": "keypointlabels", "value": self._value()}, self._value()]
        good = {
            "type": "keypointlabels",
            "value": {"x": self.random.choice(ODD), "y": 5, "keypointlabels": self._value()},
        }
        config = '<Image name="i" value="$image"/><BrushLabels name="b" toName="i"/>'
        body = {
            "tasks": self.random.choice([[{"data": {"image": photo}}], self._value()]),
            "label_config": self.random.choice([config, self._value()]),
            "params": {"context": {"result": self.random.choice([result, [good], self._value()])}},
        }
        return self._build("/predict", json.dumps(body).encode(), "application/json")


async def send(server: Server, request: bytes) -> bytes:
    """Send bytes and read what comes until the service closes or is silent."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    answer = b""
    try:
        writer.write(request)
        await writer.drain()
        while part := await asyncio.wait_for(reader.read(2**16), 0.3 if answer else 30):
            answer += part
            head, end, body = answer.partition(b"\r\n\r\n")
            length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            if end and length and len(body) >= int(length[0].partition(b":")[2]):
                break
    except (OSError, asyncio.TimeoutError):
        pass
    finally:
        writer.close()
    return answer


async def fuzz(server: Server, count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Send all requests; returns how often each status came, and what must not be."""
    body, kind = form(PHOTO)
    _, made = await server.connection().ask("POST", "/v1/embeddings", body, kind)
    maker = Fuzz(seed, json.loads(made)["id"])
    codes: Counter[str] = Counter()
    faults = []
    for number in range(count):
        request = maker.request()
        answer = await send(server, request)
        status = answer[9:12].decode("latin-1") if answer.startswith(b"HTTP/1.1 ") else "none"
        codes[status] += 1
        if status in ("500", "none") or b"Traceback" in answer:
            faults.append(f"request {number}: {status}: {request[:300]!r}")
    last, _ = await server.connection().ask("POST", "/v1/embeddings", body, kind)
    if last != 201:
        faults.append(f"the service does not go on: {last}")
    return codes, faults


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parse(parser, lambda _: ("--requests", "200"))
    print(machine(os.cpu_count() or 1, ("fastapi", "uvicorn", "pydantic")))
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        limits = ("--set", "max_jobs=4", "--set", "queue=8", "--set", "deadline=5")
        with serving(*OURS, "--backend", "onnx", *limits, log=log) as server:
            codes, faults = asyncio.run(fuzz(server, arguments.requests, arguments.seed))
        text = log.read_text(encoding="utf-8")
    if "Traceback" in text:
        faults.append("the log has a traceback:\n" + text[text.index("Traceback") :][:3000])
    print(
        f"{arguments.requests} malformed requests: " + ", ".join(f"{n} of {code}" for code, n in sorted(codes.items()))
    )
    if faults:
        raise SystemExit(f"{len(faults)} faults\n" + "\n".join(faults[:5]))
    print("0 of 500, 0 tracebacks, and the service goes on")


if __name__ == "__main__":
    main()
