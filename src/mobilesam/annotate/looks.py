"""Second looks of several photos: their regions wait until they fill a call of the encoder."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from mobilesam.image import Rgb
from mobilesam.predict.backend import Backend
from mobilesam.predict.prompts import Prompt
from mobilesam.predict.results import Prediction
from mobilesam.predict.zoom import Look, Zoom, choose_regions, look, merge
from mobilesam.region import Region
from mobilesam.shards.tasks import Ask, Task

MOST_PHOTOS = 64
MOST_PIXELS = 2**26
"""Most photos, and pixels of photos, that wait for second looks: 200 MB."""


@dataclass
class Looked:
    """A photo after its first look."""

    task: Task
    encoded: bytes
    """The bytes of its file."""
    rgb: Rgb
    asks: list[Ask]
    prompts: list[Prompt]
    answers: list[Prediction]
    """One for each prompt; second looks replace them."""
    missing: dict[int, Region] = field(default_factory=dict)
    """Regions to look at again, by the indices of their prompts."""


class SecondLooks:
    """Collects photos, and gives them back in their order when their second looks are done.

    Args:
        backend: of the model.
        zoom: which prompts get a second look.
        batch: regions in a call of the encoder.
    """

    def __init__(self, backend: Backend, zoom: Zoom, batch: int) -> None:
        self.backend, self.zoom, self.batch = backend, zoom, batch
        self.photos: deque[Looked] = deque()
        self.waiting: dict[int, deque[tuple[Looked, int]]] = {}
        """(photo, index of the prompt) by the length of the prompt, since a call takes prompts of one length."""
        self.count = 0
        """Second looks so far."""
        self.seconds = 0.0
        """Time that they took."""

    def put(self, photo: Looked) -> Iterator[Looked]:
        """Take a photo; yields those that are finished now."""
        photo.missing = choose_regions(photo.prompts, photo.answers, self.zoom, self.backend.info)
        self.photos.append(photo)
        for i in photo.missing:
            self.waiting.setdefault(len(photo.prompts[i].labels), deque()).append((photo, i))
        for queue in self.waiting.values():
            while len(queue) >= self.batch:
                self._look(queue)
        yield from self._finished()
        if len(self.photos) > MOST_PHOTOS or sum(one.rgb.size // 3 for one in self.photos) > MOST_PIXELS:
            yield from self.end()

    def end(self) -> Iterator[Looked]:
        """Do what is left; yields the remaining photos."""
        for queue in self.waiting.values():
            while queue:
                self._look(queue)
        yield from self._finished()

    def _look(self, queue: deque[tuple[Looked, int]]) -> None:
        """One call of the encoder."""
        start = time.perf_counter()
        chosen = [queue.popleft() for _ in range(min(self.batch, len(queue)))]
        looks = [Look(photo.rgb, photo.prompts[i], photo.missing[i]) for photo, i in chosen]
        for (photo, i), seen in zip(chosen, look(self.backend, looks), strict=True):
            photo.answers[i] = merge(photo.answers[i], photo.prompts[i], photo.missing.pop(i), seen)
        self.count += len(chosen)
        self.seconds += time.perf_counter() - start

    def _finished(self) -> Iterator[Looked]:
        """The photos at the head of the queue that wait for nothing."""
        while self.photos and not self.photos[0].missing:
            yield self.photos.popleft()
