"""The teacher looks at every photo once, and what it says is kept (arXiv 2306.14289, section 3.2).

Any number of processes on any number of machines may run the same command on a shared folder: each takes the shards
that nobody else is writing. A killed one is run again and goes on where it stopped.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor
from tqdm import tqdm

from mobilesam.distill.config import DistillRecipe, TeacherConfig
from mobilesam.errors import DataError, first_line
from mobilesam.image import Rgb, resize_long_side
from mobilesam.model.backend import weights_sha256
from mobilesam.model.sam import Sam
from mobilesam.shards import PhotoSource, decode
from mobilesam.store import SUFFIX, Embedding, Store, StoreHeader, StoreWriter, covered_cells, find_stores
from mobilesam.train.build import load_model, pick_device
from mobilesam.train.survey import data_files, list_photos
from mobilesam.train.views import make_view

# B views in a batch, C channels, g grid, gh gw cells that the photo covers

READERS = 4  # threads that decode photos while the teacher computes


@dataclass
class Embedded:
    """What one call did."""

    written: list[str] = field(default_factory=list)
    """Stores finished by this call."""
    present: list[str] = field(default_factory=list)
    """Stores that were there already."""
    busy: list[str] = field(default_factory=list)
    """Stores that another process is writing."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Photo → why it has no embedding."""


def embed(recipe: DistillRecipe, *, show_progress: bool = True) -> Embedded:
    """Write one store per shard or COCO file of the recipe.

    Raises:
        DataError: a shard cannot be read, two shards share a name, a store is of another teacher, or the disk is full.
        ModelError: the teacher does not load.
    """
    folder = Path(recipe.store.path)
    folder.mkdir(parents=True, exist_ok=True)
    files = unique_files(data_files(recipe.data))
    teacher = Teacher(load_teacher(recipe.teacher), recipe)
    result = Embedded()
    for file in files:
        samples = list_photos(str(file), recipe.data.photos)
        header = teacher.header(file.stem, samples)
        path = folder / (file.stem + SUFFIX)
        try:
            with FileLock(path.with_name(path.name + ".lock"), timeout=0):
                if path.exists():
                    check_store(path, header, result)
                    result.present.append(str(path))
                else:
                    result.skipped |= fill(path, header, samples, teacher, show_progress)
                    result.written.append(str(path))
        except Timeout:
            result.busy.append(str(path))
    return result


def verify(folder: Path) -> dict[str, list[str]]:
    """Read every store of a folder whole: file → its damaged records.

    Raises:
        DataError: there is none, or one is no store at all.
    """
    return {str(file): Store(file).verify() for file in find_stores(folder)}


def unique_files(paths: list[str]) -> list[Path]:
    """Each shard or COCO file once.

    Raises:
        DataError: two different ones would share one store.
    """
    by_name: dict[str, Path] = {}
    for path in (Path(p).resolve() for p in paths):
        if by_name.setdefault(path.stem, path) != path:
            raise DataError(f"{by_name[path.stem]} and {path} have one name; rename one, or give them separate stores")
    return list(by_name.values())


def check_store(path: Path, header: StoreHeader, result: Embedded) -> None:
    """Refuse a finished store that does not hold what is asked for.

    Raises:
        DataError: says what differs.
    """
    store = Store(path)
    if different := header.differences(store.header):
        raise DataError(f"{path} was made otherwise ({different}); delete it, or choose another folder")
    result.skipped |= store.skipped


def fill(
    path: Path, header: StoreHeader, samples: Sequence[PhotoSource], teacher: Teacher, show_progress: bool
) -> dict[str, str]:
    """Embed every photo of one shard that the store does not have yet. Returns the photos skipped, and why."""
    skipped: dict[str, str] = {}
    with StoreWriter(path, header) as store, tqdm(total=len(samples), unit="photo", disable=not show_progress) as bar:
        bar.set_description(path.stem)
        todo = [s for s in samples if any((s.name, v) not in store for v in range(header.views))]
        bar.update(len(samples) - len(todo))
        batch: list[tuple[str, int, Rgb]] = []
        for sample, views in read_ahead(todo, header):
            bar.update()
            if isinstance(views, str):
                skipped[sample.name] = views
                continue
            batch += [(sample.name, i, rgb) for i, rgb in enumerate(views) if (sample.name, i) not in store]
            while len(batch) >= teacher.batch_size:
                teacher.store_batch(store, batch[: teacher.batch_size])
                batch = batch[teacher.batch_size :]
        if batch:
            teacher.store_batch(store, batch)
        store.finish(skipped)
    return skipped


def read_ahead(samples: Iterable[PhotoSource], header: StoreHeader) -> Iterator[tuple[PhotoSource, list[Rgb] | str]]:
    """Photos as resized views, or why there are none, in order, decoded while the teacher computes."""
    with ThreadPoolExecutor(READERS) as pool:
        waiting: deque[tuple[PhotoSource, Future[list[Rgb] | str]]] = deque()
        for sample in samples:
            waiting.append((sample, pool.submit(read_views, sample, header)))
            if len(waiting) > 4 * READERS:
                first, future = waiting.popleft()
                yield first, future.result()
        for first, future in waiting:
            yield first, future.result()


def read_views(sample: PhotoSource, header: StoreHeader) -> list[Rgb] | str:
    """The resized views (h, w, 3) of one photo, or why it cannot be read."""
    try:
        rgb = decode(sample.read_bytes())
    except (OSError, ValueError) as error:
        return first_line(error)
    hw = (rgb.shape[0], rgb.shape[1])
    views = [make_view(sample.name, i, hw, header.view_seed) for i in range(header.views)]
    return [resize_long_side(np.ascontiguousarray(view.cut(rgb)), header.image_size) for view in views]


def load_teacher(config: TeacherConfig) -> Sam:
    """The network to imitate, at the side that the recipe asks for, in eval mode.

    Raises:
        ModelError: there is no such file, or it does not load.
        SettingsError: its encoder cannot take that side.
    """
    teacher = load_model(config.checkpoint)
    if config.image_size:
        teacher.config = teacher.config.at(config.image_size)
    return teacher


class Teacher:
    """A frozen network that says what an image embedding should be."""

    def __init__(self, model: Sam, recipe: DistillRecipe) -> None:
        self.config = recipe.store
        self.batch_size = recipe.teacher.batch_size
        self.sha256 = weights_sha256(model)
        self.device = pick_device(recipe.teacher.device)
        self.model = model.to(self.device).requires_grad_(False)
        # Convolutions on a CPU are about twice as fast with the channels last, as in training.
        self.layout = torch.channels_last if self.device.type == "cpu" else torch.contiguous_format
        self.model.image_encoder.to(memory_format=self.layout)  # type: ignore[call-overload]

    def header(self, name: str, samples: Sequence[PhotoSource]) -> StoreHeader:
        """What a store of this teacher says of itself."""
        listing = "\n".join(f"{s.name} {s.num_bytes}" for s in samples)
        return StoreHeader(
            teacher=self.sha256,
            image_size=self.model.config.image_size,
            embed_dim=self.model.config.embed_dim,
            shard=f"{name} {zlib.crc32(listing.encode()):08x}",
            dtype=self.config.dtype,
            views=self.config.views,
            view_seed=self.config.view_seed,
            keeps_padding=self.config.keep_padding,
        )

    @torch.inference_mode()
    def embed(self, photos: list[Rgb]) -> Tensor:
        """Resized photos (h, w, 3) → (B, C, g, g)."""
        tensors = [torch.from_numpy(rgb.transpose(2, 0, 1).copy())[None].to(self.device) for rgb in photos]
        batch = torch.cat([self.model.preprocess(t.float()) for t in tensors])
        return self.model.image_encoder(batch.contiguous(memory_format=self.layout))

    def store_batch(self, store: StoreWriter, batch: list[tuple[str, int, Rgb]]) -> None:
        """Embed some views and write them down."""
        answers = self.embed([rgb for _, _, rgb in batch]).float().cpu().numpy()
        for (name, view, rgb), embedding in zip(batch, answers, strict=True):
            store.add(name, view, self.crop(embedding, rgb))

    def crop(self, embedding: Embedding, rgb: Rgb) -> Embedding:
        """Leave out the cells that the photo does not cover, unless they are to be kept."""
        if self.config.keep_padding:
            return embedding
        h, w = covered_cells((rgb.shape[0], rgb.shape[1]))
        return embedding[:, :h, :w]
