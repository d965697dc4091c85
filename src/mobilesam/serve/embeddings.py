"""Embeddings of the service under ids that cannot be guessed; the longest unused are dropped first.

One process keeps them in memory. Several processes share a folder of files, because any of them may get the next
request; each file is found by the hash of its id, so that no text of a request becomes a path.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Protocol

import numpy as np

from mobilesam.errors import ModelError
from mobilesam.files import replacing
from mobilesam.outputs import ALL
from mobilesam.predict.embedding import ImageEmbedding
from mobilesam.predict.predictor import Predictor

EMBEDDING, PHOTO = ".npz", ".npy"


class EmbeddingStore(Protocol):
    """Keeps embeddings within a number of bytes; safe to use from several threads."""

    def put(self, embedding: ImageEmbedding) -> str:
        """Keep an embedding; returns its id."""
        ...

    def get(self, key: str) -> ImageEmbedding | None:
        """The embedding of an id; None if there is none, or it was dropped."""
        ...

    def drop(self, key: str) -> bool:
        """Forget an embedding; returns whether there was one."""
        ...

    def stats(self) -> tuple[int, int]:
        """Number of embeddings, and their bytes."""
        ...


def new_id() -> str:
    """A random id of 192 bits."""
    return secrets.token_urlsafe(24)


def file_name(key: str) -> str:
    """The name of the file of an id, which holds nothing of the id's text."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def size_of(embedding: ImageEmbedding) -> int:
    """Bytes of an embedding and its photo."""
    return embedding.array.nbytes + (0 if embedding.photo is None else embedding.photo.nbytes)


class InMemory:
    """Embeddings in the memory of one process, at most `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = Lock()
        self._kept: OrderedDict[str, ImageEmbedding] = OrderedDict()
        self._bytes = 0

    def put(self, embedding: ImageEmbedding) -> str:
        """Keep an embedding; returns its id."""
        key = new_id()
        with self._lock:
            self._kept[key] = embedding
            self._bytes += size_of(embedding)
            while self._bytes > self._max_bytes and len(self._kept) > 1:
                _, dropped = self._kept.popitem(last=False)
                self._bytes -= size_of(dropped)
        return key

    def get(self, key: str) -> ImageEmbedding | None:
        """The embedding of an id; None if there is none, or it was dropped."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def drop(self, key: str) -> bool:
        """Forget an embedding; returns whether there was one."""
        with self._lock:
            found = self._kept.pop(key, None)
            if found is not None:
                self._bytes -= size_of(found)
            return found is not None

    def stats(self) -> tuple[int, int]:
        """Number of embeddings, and their bytes."""
        return len(self._kept), self._bytes


class Shared:
    """Embeddings in a folder that several processes share, at most `max_bytes`.

    The photo's pixels are mapped into memory, not read, so that the processes share them too. When one process drops
    files that another one is reading, that one keeps what it mapped.
    """

    def __init__(self, folder: Path, predictor: Predictor, max_bytes: int) -> None:
        self._folder, self._predictor, self._max_bytes = folder, predictor, max_bytes
        folder.mkdir(mode=0o700, exist_ok=True)

    def put(self, embedding: ImageEmbedding) -> str:
        """Keep an embedding; returns its id."""
        key = new_id()
        path = self._folder / file_name(key)
        if embedding.photo is not None:
            with replacing(path.with_suffix(PHOTO), ALL) as partial, partial.open("wb") as file:
                np.save(file, embedding.photo, allow_pickle=False)
        embedding.save(path.with_suffix(EMBEDDING))  # last: who finds it finds the photo too
        self._shrink(path.name)
        return key

    def get(self, key: str) -> ImageEmbedding | None:
        """The embedding of an id; None if there is none, or it was dropped."""
        path = self._folder / file_name(key)
        try:
            os.utime(path.with_suffix(EMBEDDING))
            photo = np.load(path.with_suffix(PHOTO), mmap_mode="r", allow_pickle=False)
            return self._predictor.load_embedding(path.with_suffix(EMBEDDING), photo=photo)
        except (FileNotFoundError, ModelError, ValueError):
            return None

    def drop(self, key: str) -> bool:
        """Forget an embedding; returns whether there was one."""
        return self._remove(self._folder / file_name(key))

    def stats(self) -> tuple[int, int]:
        """Number of embeddings, and their bytes."""
        found = self._all()
        return len(found), sum(size for _, size, _ in found)

    def _all(self) -> list[tuple[float, int, Path]]:
        """(last use, bytes, path without suffix) of each embedding, the longest unused first."""
        found = []
        for entry in self._folder.glob(f"*{EMBEDDING}"):
            with suppress(FileNotFoundError):
                state, photo = entry.stat(), entry.with_suffix(PHOTO)
                size = state.st_size + (photo.stat().st_size if photo.exists() else 0)
                found.append((state.st_mtime, size, entry.with_suffix("")))
        return sorted(found)

    def _shrink(self, newest: str) -> None:
        found = self._all()
        total = sum(size for _, size, _ in found)
        for _, size, path in found:
            if total <= self._max_bytes:
                break
            if path.name != newest:
                self._remove(path)
                total -= size

    @staticmethod
    def _remove(path: Path) -> bool:
        existed = path.with_suffix(EMBEDDING).exists()
        for suffix in (EMBEDDING, PHOTO):
            path.with_suffix(suffix).unlink(missing_ok=True)
        return existed
