"""A stand-in for the Hugging Face Hub: the few calls that fetching a model makes, over HTTP on this machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

LARGE = 1000  # bytes from which a file is kept as Git LFS, and has a sha256


class Hub:
    """Repositories by their names; each revision has a commit, each commit its files."""

    def __init__(self) -> None:
        self.commits: dict[str, dict[str, dict[str, bytes]]] = {}
        self.revisions: dict[str, dict[str, str]] = {}
        self.asked: list[str] = []
        """Method and path of each request."""
        self.agents: set[str] = set()
        self.sent: dict[str, bytes] = {}
        """File name → what is sent in place of its bytes."""
        self.address = ""

    def publish(self, repository: str, files: dict[str, bytes], revision: str = "main") -> str:
        """Add a commit and let a revision name it; returns the commit."""
        listing = repr(sorted((name, hashlib.sha256(data).hexdigest()) for name, data in files.items()))
        commit = hashlib.sha1(f"{repository} {listing}".encode()).hexdigest()
        self.commits.setdefault(repository, {})[commit] = files
        self.revisions.setdefault(repository, {})[revision] = commit
        return commit

    def describe(self, repository: str, revision: str) -> dict[str, Any] | None:
        commit = self.revisions.get(repository, {}).get(revision, revision)
        files = self.commits.get(repository, {}).get(commit)
        if files is None:
            return None
        siblings = [{"rfilename": name, "size": len(data), **sums(data)} for name, data in files.items()]
        return {"id": repository, "modelId": repository, "sha": commit, "siblings": siblings, "tags": []}


def sums(data: bytes) -> dict[str, Any]:
    """The checksums of a file as the Hub's list of files has them."""
    found: dict[str, Any] = {"blobId": git_sha1(data)}
    if len(data) >= LARGE:
        found["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return found


def git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@contextmanager
def hub_server() -> Iterator[Hub]:
    """Serve an empty hub; `hub.address` is what HF_ENDPOINT must be."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def answer(self, code: int, body: bytes, **headers: str) -> None:
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_GET(self) -> None:
            path, _, _query = self.path.partition("?")
            hub.asked.append(f"{self.command} {path}")
            hub.agents.add(self.headers.get("User-Agent", ""))
            words = path.strip("/").split("/")
            if words[:2] == ["api", "models"]:
                found = hub.describe("/".join(words[2:4]), "/".join(words[5:]) or "main")
                if found is None:
                    self.answer(404, b'{"error": "not found"}', X_Error_Code="RepoNotFound")
                else:
                    self.answer(200, json.dumps(found).encode(), Content_Type="application/json")
                return
            repository, commit, name = "/".join(words[:2]), words[3], "/".join(words[4:])
            data = hub.commits.get(repository, {}).get(commit, {}).get(name)
            if data is None:
                self.answer(404, b"", X_Error_Code="EntryNotFound")
                return
            kind = sums(data)
            etag = kind["lfs"]["sha256"] if "lfs" in kind else kind["blobId"]
            self.answer(200, hub.sent.get(name, data), ETag=f'"{etag}"', X_Repo_Commit=commit)

        def do_HEAD(self) -> None:
            self.do_GET()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
