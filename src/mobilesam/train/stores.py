"""A folder of embedding stores against the photos of a recipe: all there, of the right teacher, or a clear refusal."""

from __future__ import annotations

from pathlib import Path

from mobilesam.errors import DataError
from mobilesam.store import Store, find_stores
from mobilesam.train.survey import NAMED, Survey

AGREE = ("image_size", "embed_dim", "dtype", "views", "view_seed", "keeps_padding", "preprocessing")


def open_stores(folder: Path, photos: Survey, *, teacher: str) -> dict[str, Store]:
    """Photo name → the store that has its embedding; photos that the teacher could not read are left out.

    Args:
        folder: of `mobilesam distill embed`.
        photos: what is going to be trained on.
        teacher: sha256 of the weights that the embeddings must come from.

    Raises:
        DataError: there is no store, one is of another teacher or disagrees with the others, or photos are missing.
    """
    stores = [Store(file) for file in find_stores(folder)]
    check_agreement(stores, teacher)
    found: dict[str, Store] = {}
    unreadable: set[str] = set()
    for store in stores:
        found.update(dict.fromkeys(store.photos, store))
        unreadable.update(store.skipped)
    names = {sample.name for sample in photos.samples}
    missing = sorted(names - found.keys() - unreadable)
    if missing:
        raise DataError(
            f"{folder} lacks {len(missing)} of {len(names)} photos ({', '.join(missing[:NAMED])}, ...); "
            "run `mobilesam distill embed` on the same data.shards"
        )
    return {name: store for name, store in found.items() if name in names}


def check_agreement(stores: list[Store], teacher: str) -> None:
    """Refuse stores of another teacher, or made differently.

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
