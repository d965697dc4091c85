"""Opening cached embeddings for training: checks that they are complete and come from the right teacher and photos."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from mobilesam.data.photo import PhotoId, PhotoRef
from mobilesam.data.store import Store, find_stores
from mobilesam.data.survey import NAMED, Survey
from mobilesam.errors import DataError

AGREE = ("image_size", "embed_dim", "dtype", "views", "view_seed", "keeps_padding", "preprocessing", "value_range")


def open_stores(folder: Path, photos: Survey, *, teacher: str) -> dict[PhotoId, Store]:
    """Find the embedding store of each photo; photos that the teacher could not read are left out.

    Stores are matched to a data set by the names and sizes of its photos, so the data set may have been renamed.

    Args:
        folder: of `mobilesam distill embed`.
        photos: what is going to be trained on.
        teacher: sha256 of the weights that the embeddings must come from.

    Raises:
        DataError: there is no store, one is of another teacher or disagrees with the others, a data set has changed
            since it was embedded, or photos are missing.
    """
    stores = [Store(file) for file in find_stores(folder)]
    check_agreement(stores, teacher)
    members: dict[str, list[PhotoRef]] = defaultdict(list)
    for photo in photos.photos:
        members[photo.id.dataset].append(photo)
    by_listing: dict[str, list[Store]] = defaultdict(list)
    for store in stores:
        by_listing[store.header.listing].append(store)
    chosen = {dataset: choose(by_listing[photos.listings[dataset]], group) for dataset, group in members.items()}
    used = {store.path for several in chosen.values() for store in several}
    found: dict[PhotoId, Store] = {}
    missing: list[PhotoId] = []
    for dataset, group in members.items():
        if not chosen[dataset]:
            refuse_changed(dataset, group, [store for store in stores if store.path not in used])
        for store in chosen[dataset]:
            check_frame(store, group[0])
        embedded = {name: store for store in chosen[dataset] for name in store.photos}
        skipped = {name for store in chosen[dataset] for name in store.skipped}
        found.update((photo.id, embedded[photo.name]) for photo in group if photo.name in embedded)
        missing += [p.id for p in group if p.name not in embedded and p.name not in skipped]
    if missing:
        names = ", ".join(str(id) for id in sorted(missing)[:NAMED])
        raise DataError(
            f"{folder} lacks {len(missing)} of {len(photos.photos)} photos ({names}, ...); "
            "run `mobilesam distill embed` on the same data"
        )
    return found


def check_frame(store: Store, photo: PhotoRef) -> None:
    """Refuse embeddings of photos that may have been opened in another orientation or range of values.

    Raises:
        DataError: the settings differ.
    """
    for key in ("unclear_frame", "value_range"):
        then, now = getattr(store.header, key), getattr(photo, key)
        if then != now:
            raise DataError(
                f"{store.path} was made with data.{key} '{then}', the recipe says '{now}'; use one of them, or delete "
                "that run's folder and run `mobilesam distill embed` again"
            )


def choose(candidates: Sequence[Store], photos: Sequence[PhotoRef]) -> list[Store]:
    """Choose the stores that hold the embeddings of a data set, a part of it in each.

    Args:
        candidates: those that were made of photos with these names and sizes.
        photos: of the data set; where other photos have the same names and sizes, their bytes tell which are meant.
    """
    several = sum(len(store.photos) for store in candidates) > len({n for store in candidates for n in store.photos})
    its_own = [store for store in candidates if store.is_of(photos)] if several else candidates
    chosen: list[Store] = []
    names: set[str] = set()
    for store in its_own or candidates:
        if not names & store.photos:  # a photo that was embedded twice counts once
            chosen.append(store)
            names |= store.photos
    return chosen


def refuse_changed(dataset: str, photos: Sequence[PhotoRef], unused: Iterable[Store]) -> None:
    """Refuse a data set without a store if an unmatched store has photos of the same names: its photos have changed.

    Raises:
        DataError: names the store.
    """
    names = {photo.name for photo in photos}
    for store in unused:
        if names & store.photos:
            raise DataError(
                f"'{dataset}' has changed since {store.path} was written: names or sizes of its photos differ; "
                "delete that run's folder and run `mobilesam distill embed` again"
            )


def check_agreement(stores: list[Store], teacher: str) -> None:
    """Refuse stores that come from another teacher, or that were written with different settings.

    Raises:
        DataError: names the file and what differs.
    """
    first = stores[0]
    for store in stores:
        if store.header.teacher != teacher:
            raise DataError(
                f"{store.path} holds embeddings of weights {store.header.teacher[:12]}, the teacher here is "
                f"{teacher[:12]}; embed again with this teacher, or name that one"
            )
        for key in AGREE:
            mine, others = getattr(store.header, key), getattr(first.header, key)
            if mine != others:
                raise DataError(f"{store.path} has {key} {mine}, {first.path.name} has {others}; use one kind of store")
