"""The photos of a recipe that need no masks, listed alike for embedding and for training on the embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from mobilesam.data.layouts import check_folder, is_known, once, read
from mobilesam.data.pairs import is_record_name
from mobilesam.data.photo import Item, PhotoRef
from mobilesam.image import Frame
from mobilesam.remote import is_remote
from mobilesam.shards.inputs import Reader, read_input, sources
from mobilesam.train.photo_config import DataConfig
from mobilesam.train.photos import data_patterns


def reader_of(unclear_frame: Frame) -> Reader:
    """The reader of an input on disk: a data set as training names its photos; of any other input, all photos."""

    def read_photos(path: Path, dataset: str, photos: Path | str | None) -> Iterator[Item]:
        if path.suffix.lower() == ".tar" or is_record_name(path.name) or (path.is_dir() and is_known(path)):
            return read(path, dataset=dataset, photos=photos, unclear_frame=unclear_frame)
        return read_input(path, dataset, photos)

    return read_photos


def list_photos(config: DataConfig) -> Iterator[Item]:
    """Every photo of a recipe, in the order in which they are embedded, and a `Problem` for what cannot be used.

    Raises:
        DataError: the recipe names no data, or an input is missing or of no known kind.
        SettingsError: a folder of photos is given, and no COCO or LVIS file that would use it.
        OSError: an object store does not answer.
    """
    patterns = data_patterns(config)
    if config.photos and not any(map(is_remote, patterns)):
        check_folder(patterns, "'data.photos'")
    for _, items in sources(patterns, config.photos or None, reader_of(config.unclear_frame)):
        for item in once(items):  # as in the embedding, by `shards.repeats.merged`
            if isinstance(item, PhotoRef):
                item = replace(
                    item,
                    unclear_frame=config.unclear_frame,
                    max_pixels=config.max_pixels,
                    value_range=config.value_range,
                )
            yield item
