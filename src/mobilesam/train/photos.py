"""The photos that a recipe names: of every layout, surveyed, and the share of them that is used."""

from __future__ import annotations

from pathlib import Path

from mobilesam.data.split import keep_fraction
from mobilesam.data.survey import Survey, survey
from mobilesam.errors import DataError
from mobilesam.train.config import DataConfig


def data_patterns(config: DataConfig) -> list[str]:
    """All data sets of a recipe, as shell patterns.

    Raises:
        DataError: the recipe names none.
    """
    # The older keys come first, so that recipes that only gain data.paths keep the order of what they had.
    patterns = [*config.shards, *config.coco, *config.paths]
    if not patterns:
        raise DataError("the recipe names no data: set data.paths to shards, folders or annotation files")
    return patterns


def photo_folder(config: DataConfig) -> Path | None:
    """Where the photos of COCO and LVIS files lie; None to look near each file."""
    return Path(config.photos) if config.photos else None


def find_photos(config: DataConfig, *, need_masks: bool = True) -> Survey:
    """Survey a recipe's data sets, and keep its share of its sources.

    Args:
        config: which.
        need_masks: skip photos without masks. Where only some sources are asked for, annotations are read all the same.

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
