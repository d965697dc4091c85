"""Finding the photos of a recipe: data sets of any layout, surveyed, and the fraction of them to use."""

from __future__ import annotations

from pathlib import Path

from mobilesam.data.split import keep_fraction
from mobilesam.data.survey import Survey, survey
from mobilesam.errors import DataError
from mobilesam.train.photo_config import DataConfig


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


def photo_folder(config: DataConfig) -> Path | None:
    """Folder of the photos of COCO and LVIS files; None to search near each file."""
    return Path(config.photos) if config.photos else None


def find_photos(config: DataConfig, *, need_masks: bool = True) -> Survey:
    """Survey a recipe's data sets and keep the sources and the fraction that it sets.

    Args:
        config: which.
        need_masks: skip photos without masks. If the recipe selects sources, annotations are read in any case.

    Raises:
        DataError: the recipe names no data, a data set cannot be read, or no photo is left.
    """
    found = survey(
        data_patterns(config),
        photos=photo_folder(config),
        need_masks=need_masks or bool(config.only_sources),
        unclear_frame=config.unclear_frame,
    )
    return keep_fraction(found, config.fraction, config.only_sources)
