"""What the routes call: one loaded model with its embeddings and jobs, and the work of each request."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.responses import Response

from mobilesam.choices import zoom_of
from mobilesam.errors import SettingsError
from mobilesam.everything.generate import segment_everything
from mobilesam.everything.results import FoundMask
from mobilesam.everything.settings import EverythingSettings
from mobilesam.image import Rgb, open_photo, pad_to_square
from mobilesam.predict.embedding import ImageEmbedding
from mobilesam.predict.pair import PairBackend
from mobilesam.predict.predictor import Predictor
from mobilesam.predict.results import Prediction
from mobilesam.recipe import from_dict
from mobilesam.serve.answers import Wanted, answer, mask_record, read_logits
from mobilesam.serve.bodies import Upload, from_base64, photo_bytes
from mobilesam.serve.embeddings import EmbeddingStore, InMemory, Shared
from mobilesam.serve.fetch import Fetcher
from mobilesam.serve.jobs import Job, Jobs
from mobilesam.serve.limits import Caller, Gate, Uploads
from mobilesam.serve.metrics import Metrics
from mobilesam.serve.problems import Problem
from mobilesam.serve.schemas import EncodeRequest, EverythingRequest, PhotoRequest, Prompt, SegmentRequest
from mobilesam.serve.settings import ServeSettings

MOST_POINTS_PER_SIDE, MOST_CROP_LAYERS = 64, 2  # of a job: four times the default's prompts, and 21 encoder runs


class Service:
    """One process of the service.

    Args:
        settings: limits and permissions.
        predictor: the model, shared by all requests.
        folder: shared with other workers; None: a temporary one of this process.
    """

    def __init__(self, settings: ServeSettings, predictor: Predictor, folder: Path | None = None) -> None:
        self.settings, self.predictor = settings, predictor
        self._own_folder = tempfile.TemporaryDirectory(prefix="mobilesam-") if folder is None else None
        root = Path(self._own_folder.name) if self._own_folder is not None else folder
        assert root is not None
        self.embeddings: EmbeddingStore = InMemory(settings.cache_bytes)
        if settings.workers > 1:
            self.embeddings = Shared(root / "embeddings", predictor, settings.cache_bytes)
        self.jobs = Jobs(root / "jobs", settings.max_jobs, settings.kept_jobs)
        self.gate = Gate(settings.num_slots, settings.num_waiting)
        self.uploads = Uploads(settings.max_requests, settings.max_buffered)
        self.metrics = Metrics()
        self.fetcher = Fetcher(
            frozenset(host.lower() for host in settings.allow_url),
            settings.max_bytes,
            min(10.0, settings.deadline),
            settings.label_studio,
            settings.label_studio_key,
        )
        self.is_stopping = False

    def warm_up(self) -> None:
        """Run the model once, so that the first request is not slower than the others."""
        image = self.predictor.embed(np.zeros((64, 64, 3), np.uint8))
        image.predict(points=[(32, 32)])
        image.predict_batch(points=np.full((32, 1, 2), 32), zoom=False)

    def begin_stop(self) -> None:
        """Finish what runs and begin nothing new."""
        self.is_stopping = True
        self.jobs.cancel_waiting()

    def close(self) -> None:
        """Stop the jobs and the threads, and delete the temporary folder."""
        self.jobs.close()
        self.gate.close()
        if self._own_folder is not None:
            self._own_folder.cleanup()

    def gauges(self) -> dict[str, float]:
        """Values for `/metrics`."""
        count, size = self.embeddings.stats()
        return {
            "embeddings": count,
            "embedding_bytes": size,
            "work_in_progress": self.gate.inside,
            "overloaded": self.gate.admission.is_overloaded,
            "requests_in_progress": self.uploads.requests,
            "upload_bytes": self.uploads.buffered,
            "jobs": self.jobs.active,
        }

    async def photo(self, body: PhotoRequest, upload: Upload | None) -> bytes:
        """The bytes of a request's photo, fetched if it is given by address."""
        content = photo_bytes(body, upload)
        if content is None:
            assert body.url is not None
            return await asyncio.to_thread(self.fetcher.fetch, body.url)
        return content

    def decode(self, content: bytes) -> Rgb:
        """Open a photo by the service's limits.

        Raises:
            ImageError: it cannot be opened, or has too many pixels.
        """
        return open_photo(content, max_pixels=self.settings.max_pixels, value_range=self.settings.value_range)

    def encode(self, content: bytes) -> ImageEmbedding:
        """Encode a photo.

        Raises:
            ImageError: it cannot be opened, or has too many pixels.
        """
        return self.predictor.embed(self.decode(content))

    async def embed(self, content: bytes) -> tuple[str, ImageEmbedding]:
        """Encode a photo and keep its embedding; returns its id too."""

        def work(caller: Caller) -> tuple[str, ImageEmbedding]:
            embedding = self.encode(content)
            caller.check()  # what nobody waits for is not kept
            return self.embeddings.put(embedding), embedding

        return await self.gate.run(work)

    async def encode_planes(self, planes: bytes, size: EncodeRequest) -> NDArray[np.float32]:
        """Encode a photo that a page has resized already.

        Args:
            planes: red, green and blue as bytes, (3, height, width).
            size: height and width.

        Returns:
            (1, C, g, g) embedding.

        Raises:
            Problem: the bytes are more or fewer, or this backend has no pair that a page could run.
            SettingsError: the model does not take photos of this side.
        """
        expected = 3 * size.height * size.width
        if len(planes) != expected:
            raise Problem(422, f"a photo of {size.height} x {size.width} px has {expected} bytes, found {len(planes)}")
        backend = self.predictor.backend
        if not isinstance(backend, PairBackend):
            raise Problem(404, "this service runs no exported pair, so that no page can use its embeddings")
        backend.info.at(max(size.height, size.width))

        def work(caller: Caller) -> NDArray[np.float32]:
            caller.check()
            image = np.frombuffer(planes, np.uint8).reshape(3, size.height, size.width).astype(np.float32)
            return backend.encode_at(pad_to_square(image) if size.square else image[None])

        return await self.gate.run(work)

    def find(self, key: str) -> ImageEmbedding:
        """The embedding of an id.

        Raises:
            Problem: there is none.
        """
        found = self.embeddings.get(key)
        if found is None:
            raise Problem(
                404, "there is no embedding with this id: it was never made or has been dropped; make it anew"
            )
        return found

    def check_prompts(self, request: SegmentRequest) -> list[Prompt]:
        """The batch of a request, empty if it is a single prompt.

        Raises:
            Problem: there are both, or too many prompts or points.
        """
        batch = list(request.prompts or []) + [Prompt(points=None, labels=None, box=box) for box in request.boxes or []]
        is_batch = request.prompts is not None or request.boxes is not None
        if is_batch and (request.points or request.labels or request.box or request.prior):
            raise Problem(422, "give one prompt, or a batch in 'prompts' or 'boxes', not both; a batch has no prior")
        if is_batch and not batch:
            raise Problem(422, "the batch is empty: give at least one prompt")
        if len(batch) > self.settings.max_prompts:
            raise Problem(422, f"a request has at most {self.settings.max_prompts} prompts, found {len(batch)}")
        most = max(len(prompt.points or ()) for prompt in (batch or [request]))
        if most > self.settings.max_points:
            raise Problem(422, f"a prompt has at most {self.settings.max_points} points, found {most}")
        return batch

    async def segment(self, key: str, request: SegmentRequest, wanted: Wanted) -> Response:
        """Answer the prompts of a request for a photo that was encoded before."""
        batch = self.check_prompts(request)

        def work(caller: Caller) -> Response:
            return answer(self._predict(self.find(key), request, batch, caller), wanted, caller.check)

        return await self.gate.run(work)

    async def segment_photo(self, content: bytes, request: SegmentRequest, wanted: Wanted) -> Response:
        """Encode a photo and answer the prompts of a request; the embedding is not kept."""
        batch = self.check_prompts(request)

        def work(caller: Caller) -> Response:
            embedding = self.encode(content)
            return answer(self._predict(embedding, request, batch, caller), wanted, caller.check)

        return await self.gate.run(work)

    def _predict(
        self, embedding: ImageEmbedding, request: SegmentRequest, batch: list[Prompt], caller: Caller
    ) -> list[Prediction]:
        zoom = zoom_of(request.zoom)
        caller.check()
        if not batch:
            side = self.predictor.info.low_res
            prior = None if request.prior is None else read_logits(from_base64(request.prior, "prior"), side)
            return [
                embedding.predict(
                    points=request.points,
                    labels=request.labels,
                    box=request.box,
                    prior=prior,
                    multimask=request.multimask,
                    zoom=zoom,
                )
            ]
        found: list[Prediction] = []
        size = self.predictor.info.prompts_per_call
        for start in range(0, len(batch), size):
            caller.check()
            part = batch[start : start + size]
            found += embedding.predict_batch(
                points=[prompt.points for prompt in part],  # type: ignore[misc]  # None: a prompt without points
                labels=[prompt.labels for prompt in part],  # type: ignore[misc]
                boxes=[prompt.box for prompt in part],  # type: ignore[misc]
                multimask=request.multimask,
                zoom=zoom,
            )
        return found

    def start_everything(self, request: EverythingRequest, content: bytes | None) -> str:
        """Queue a job that finds all masks of a photo; returns its id.

        Raises:
            SettingsError: a setting is unknown, wrong, or larger than a job may ask for.
        """
        settings = from_dict(EverythingSettings, request.settings)
        for name, most in (("points_per_side", MOST_POINTS_PER_SIDE), ("crop_n_layers", MOST_CROP_LAYERS)):
            if getattr(settings, name) > most:
                raise SettingsError(f"'{name}' is at most {most} in this service, found {getattr(settings, name)}")
        if settings.points_per_batch is not None and settings.points_per_batch > self.settings.max_prompts:
            raise SettingsError(f"'points_per_batch' is at most {self.settings.max_prompts} in this service")
        embedding = None if request.embedding is None else self.find(request.embedding)

        def work(job: Job) -> None:
            photo: Any = embedding
            if photo is None:
                assert content is not None
                photo = self.decode(content)
            self._everything(job, photo, settings, request)

        return self.jobs.start(work)

    def _everything(self, job: Job, photo: Any, settings: EverythingSettings, request: EverythingRequest) -> None:
        """The work of a job: tells its progress and each mask as it is found, and at last the masks that remain."""
        number = 0

        def show(found: list[FoundMask]) -> None:
            nonlocal number
            for mask in found:
                job.tell("mask", number=number, mask=self._record(mask, request))
                number += 1

        def progress(done: int, total: int) -> None:
            job.tell("progress", done=done, total=total)

        masks = segment_everything(self.predictor, photo, settings=settings, progress=progress, preview=show)
        size = list(masks[0].original_hw) if masks else None
        job.tell("done", size=size, masks=[self._record(mask, request) for mask in masks])

    @staticmethod
    def _record(mask: FoundMask, request: EverythingRequest) -> dict[str, Any]:
        record = mask_record(mask, request.format)
        return {**record, "stability_score": round(mask.stability_score, 6), "point": list(mask.point_xy)}
