"""Computing the teacher's embedding of every photo once and storing it on disk (arXiv 2306.14289, section 3.2).

Any number of processes on any number of machines may run the same command on a shared folder: each claims data sets
that no living process is writing (`mobilesam.engines.claims`). A killed process can be started again and continues
where it stopped, and another one takes its data set over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from mobilesam.ahead import read_ahead
from mobilesam.data.checksums import listing_checksum, photo_checksum
from mobilesam.data.layouts import expand, name_datasets, read
from mobilesam.data.photo import PhotoRef, Problem
from mobilesam.data.store import Store, find_stores, read_header
from mobilesam.data.store_format import SUFFIX, Embedding, StoreHeader, covered_cells
from mobilesam.data.store_writer import StoreWriter
from mobilesam.data.views import make_view
from mobilesam.distill.config import DistillRecipe, TeacherConfig
from mobilesam.engines.claims import Claims
from mobilesam.errors import DataError, first_line
from mobilesam.image import Rgb, resize_long_side
from mobilesam.model.backend import weights_sha256
from mobilesam.model.sam import Sam
from mobilesam.train.build import load_model, pick_device
from mobilesam.train.photos import data_patterns, photo_folder

# B views in a batch, C channels, g grid, gh gw cells that the photo covers

READERS = 4  # threads that decode photos while the teacher computes


@dataclass
class Embedded:
    """Summary of one call of `embed`: stores written, present or busy, and photos skipped."""

    written: list[str] = field(default_factory=list)
    """Stores finished by this call."""
    present: list[str] = field(default_factory=list)
    """Stores that were there already."""
    busy: list[str] = field(default_factory=list)
    """Stores that another process is writing."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Photo → why it has no embedding."""


class Asked(NamedTuple):
    """One view of a photo, ready to be embedded."""

    photo: str
    view: int
    rgb: Rgb
    """(h, w, 3), resized."""
    checksum: str
    """Checksum of the photo's file."""


def embed(recipe: DistillRecipe, *, show_progress: bool = True, start: int = 0) -> Embedded:
    """Write one store per data set of the recipe.

    Args:
        recipe: names the teacher, the data and the folder.
        show_progress: draw progress bars.
        start: number of the data set to begin with, so that workers rarely compete.

    Raises:
        DataError: a data set cannot be read, a store is of another teacher or of photos that have changed since, or the
            disk is full.
        ModelError: the teacher does not load.
    """
    folder = Path(recipe.store.path)
    folder.mkdir(parents=True, exist_ok=True)
    paths = expand(data_patterns(recipe.data))
    names = name_datasets(paths)
    teacher = Teacher(load_teacher(recipe.teacher), recipe)
    finder = StoreFinder(folder, names)
    result = Embedded()
    order = list(zip(names, paths, strict=True))
    for dataset, path in order[start % len(order) :] + order[: start % len(order)]:
        photos = []
        data = recipe.data
        for item in read(path, dataset=dataset, photos=photo_folder(data), unclear_frame=data.unclear_frame):
            if isinstance(item, Problem):
                result.skipped[str(item.id)] = item.reason
            else:
                photos.append(item)
        header = teacher.header(dataset, photos)
        embed_one(dataset, finder.find(dataset, header, photos), header, photos, teacher, result, show_progress)
    return result


def embed_one(
    dataset: str,
    path: Path,
    header: StoreHeader,
    photos: Sequence[PhotoRef],
    teacher: Teacher,
    result: Embedded,
    show_progress: bool,
) -> None:
    """Write or check the store of one data set and record the outcome; skip it if another process is writing it."""
    claims = Claims(claims_in(path.parent))
    if not claims.take(path.name):
        result.busy.append(str(path))
        return
    try:
        with claims.holding(path.name):
            if path.exists():
                skipped = check_store(path, header)
                result.present.append(str(path))
            else:
                skipped = fill(path, header, photos, teacher, show_progress)
                result.written.append(str(path))
    finally:
        if claims.is_mine(path.name):
            claims.forget(path.name)
    result.skipped |= {f"{dataset}/{name}": reason for name, reason in skipped.items()}


def claims_in(folder: Path) -> Path:
    """The folder of the claims on the stores of a folder; made if missing."""
    found = folder / ".claims"
    found.mkdir(exist_ok=True)
    return found


class StoreFinder:
    """Chooses the store file of each data set.

    The file has the data set's name, preceded by its folder where data sets of the same name are embedded together.
    A store that was written when the data set had another name is found by the checksum of its photos.

    Args:
        folder: where the stores lie.
        datasets: names of all data sets of this call.
    """

    def __init__(self, folder: Path, datasets: Sequence[str]) -> None:
        self.own = {dataset: folder / (dataset.replace("/", "__") + SUFFIX) for dataset in datasets}
        headers = {path: read_header(path) for path in sorted(folder.glob(f"*{SUFFIX}"))}
        self.free = {path: header.listing for path, header in headers.items() if header}

    def find(self, dataset: str, header: StoreHeader, photos: Sequence[PhotoRef]) -> Path:
        """Choose the file of a data set; no file is chosen for two data sets."""
        own = self.own[dataset]
        others = [path for path in self.free if path not in self.own.values()]
        for path in (own, *others):
            if self.free.get(path) == header.listing and Store(path).is_of(photos):
                del self.free[path]
                return path
        return own


def verify(folder: Path) -> dict[str, list[str]]:
    """Read and check every store of a folder completely: file → its damaged records.

    Raises:
        DataError: there is none, or one is no store at all.
    """
    return {str(file): Store(file).verify() for file in find_stores(folder)}


def check_store(path: Path, header: StoreHeader) -> dict[str, str]:
    """Refuse a finished store that was made with other settings; returns its photos without embedding, and why.

    Raises:
        DataError: says what differs.
    """
    store = Store(path)
    if different := header.differences(store.header):
        raise DataError(f"{path} has other settings or data ({different}); delete it, or choose another folder")
    return store.skipped


def fill(
    path: Path, header: StoreHeader, photos: Sequence[PhotoRef], teacher: Teacher, show_progress: bool
) -> dict[str, str]:
    """Embed every photo of a data set that the store does not have yet; returns the skipped photos, and why."""
    skipped: dict[str, str] = {}
    with StoreWriter(path, header) as store, tqdm(total=len(photos), unit="photo", disable=not show_progress) as bar:
        bar.set_description(path.stem)
        todo = [p for p in photos if any((p.name, v) not in store for v in range(header.views))]
        bar.update(len(photos) - len(todo))
        batch: list[Asked] = []
        for photo, views in read_ahead(todo, partial(read_views, header=header), threads=READERS, most=4 * READERS):
            bar.update()
            if isinstance(views, str):
                skipped[photo.name] = views
                continue
            batch += [asked for asked in views if (asked.photo, asked.view) not in store]
            while len(batch) >= teacher.batch_size:
                teacher.store_batch(store, batch[: teacher.batch_size])
                batch = batch[teacher.batch_size :]
        if batch:
            teacher.store_batch(store, batch)
        store.finish(skipped)
    return skipped


def read_views(photo: PhotoRef, header: StoreHeader) -> list[Asked] | str:
    """Read the resized views of one photo, or say why it cannot be read."""
    try:
        encoded = photo.file.read()
        rgb = photo.decode(encoded)
    except (OSError, ValueError) as error:
        return first_line(error)
    hw, checksum = (rgb.shape[0], rgb.shape[1]), photo_checksum(encoded)
    views = [make_view(photo.name, i, hw, header.view_seed) for i in range(header.views)]
    resized = [resize_long_side(np.ascontiguousarray(view.cut(rgb)), header.image_size) for view in views]
    return [Asked(photo.name, i, seen, checksum) for i, seen in enumerate(resized)]


def load_teacher(config: TeacherConfig) -> Sam:
    """Load the teacher at the input side that the recipe sets, in eval mode.

    Raises:
        ModelError: there is no such file, or it does not load.
        SettingsError: its encoder cannot take that side.
    """
    teacher = load_model(config.checkpoint)
    if config.image_size:
        teacher.config = teacher.config.at(config.image_size)
    return teacher


class Teacher:
    """The frozen teacher network, which computes the target embeddings."""

    def __init__(self, model: Sam, recipe: DistillRecipe) -> None:
        self.config, self.unclear_frame = recipe.store, recipe.data.unclear_frame
        self.batch_size = recipe.teacher.batch_size
        self.sha256 = weights_sha256(model)
        self.device = pick_device(recipe.teacher.device)
        self.model = model.to(self.device).requires_grad_(False)
        # Convolutions on a CPU are about twice as fast with the channels last, as in training.
        self.layout = torch.channels_last if self.device.type == "cpu" else torch.contiguous_format
        self.model.image_encoder.to(memory_format=self.layout)  # type: ignore[call-overload]

    def header(self, dataset: str, photos: Sequence[PhotoRef]) -> StoreHeader:
        """Make the store header for this teacher and the photos of a data set."""
        return StoreHeader(
            teacher=self.sha256,
            image_size=self.model.config.image_size,
            embed_dim=self.model.config.embed_dim,
            shard=f"{dataset} {listing_checksum(photos)}",
            dtype=self.config.dtype,
            views=self.config.views,
            view_seed=self.config.view_seed,
            keeps_padding=self.config.keep_padding,
            unclear_frame=self.unclear_frame,
        )

    @torch.inference_mode()
    def embed(self, photos: list[Rgb]) -> Tensor:
        """Compute the embeddings of resized photos (h, w, 3): (B, C, g, g)."""
        tensors = [torch.from_numpy(rgb.transpose(2, 0, 1).copy())[None].to(self.device) for rgb in photos]
        batch = torch.cat([self.model.preprocess(t.float()) for t in tensors])
        return self.model.image_encoder(batch.contiguous(memory_format=self.layout))

    def store_batch(self, store: StoreWriter, batch: list[Asked]) -> None:
        """Embed a batch of views and add them to the store."""
        answers = self.embed([asked.rgb for asked in batch]).float().cpu().numpy()
        for asked, embedding in zip(batch, answers, strict=True):
            store.add(asked.photo, asked.view, self.crop(embedding, asked.rgb), asked.checksum)

    def crop(self, embedding: Embedding, rgb: Rgb) -> Embedding:
        """Drop the cells that the photo does not cover, unless the recipe keeps them."""
        if self.config.keep_padding:
            return embedding
        h, w = covered_cells((rgb.shape[0], rgb.shape[1]))
        return embedding[:, :h, :w]
