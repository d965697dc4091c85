"""Finding the photos of a recipe: data sets of any layout, surveyed, and the fraction of them to use."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mobilesam.data.layouts import check_folder, expand
from mobilesam.data.photo import Item
from mobilesam.data.split import keep_fraction
from mobilesam.data.store_format import SUFFIX
from mobilesam.data.survey import Survey, survey, survey_items
from mobilesam.errors import DataError
from mobilesam.remote import on_disk
from mobilesam.train.photo_config import DataConfig
from mobilesam.weights import in_run


def data_patterns(config: DataConfig) -> list[str]:
    """All data sets of a recipe, as shell patterns.

    Raises:
        DataError: the recipe names none.
    """
    # The older keys come first: the order of photos decides what is drawn, and a recipe that gains data.paths keeps it.
    patterns = [*config.shards, *config.coco, *config.paths]
    if not patterns:
        raise DataError("the recipe names no data: set data.paths to shards, folders or annotation files")
    return patterns


def input_files(config: DataConfig, models: Iterable[str] = (), stores: Iterable[str] = ()) -> list[str | Path]:
    """The files that a recipe reads, and which its outputs must therefore not replace.

    Args:
        config: the photos.
        models: checkpoints, runs' folders, exported pairs or names; names and empty texts are left out.
        stores: folders of embeddings; empty for none.

    Raises:
        DataError: the recipe names no data, or a data set is missing.
    """
    found: list[str | Path] = [*expand(on_disk(data_patterns(config))), config.photos]
    for model in filter(None, models):
        path = in_run(model)
        found += path.iterdir() if path.is_dir() else [path]
    for store in filter(None, stores):
        found += Path(store).rglob(f"*{SUFFIX}")
    return found


def photo_folder(config: DataConfig) -> Path | None:
    """Folder of the photos of COCO and LVIS files; None to search near each file.

    Raises:
        SettingsError: there is no such file among the data sets, so that the folder does nothing.
    """
    if not config.photos:
        return None
    check_folder(data_patterns(config), "'data.photos'")
    return Path(config.photos)


def find_photos(config: DataConfig, listed: Iterable[Item] | None = None) -> Survey:
    """Survey a recipe's data sets and keep the sources and the fraction that it sets.

    Args:
        config: which.
        listed: its photos, where they need no masks; by default those of data sets, of which photos without masks are
            skipped.

    Raises:
        DataError: the recipe names no data, a data set cannot be read, or no photo is left.
        SettingsError: as of `photo_folder`.
    """
    if listed is not None:
        found = survey_items(listed, need_masks=False, max_pixels=config.max_pixels)
    else:
        found = survey(
            data_patterns(config),
            photos=photo_folder(config),
            unclear_frame=config.unclear_frame,
            max_pixels=config.max_pixels,
            value_range=config.value_range,
        )
    return keep_fraction(found, config.fraction, config.only_sources)
