"""Loading the photos of a distillation, split into training and held-out photos, with the teacher's embeddings."""

from __future__ import annotations

from pathlib import Path

from mobilesam.data.cached import open_stores
from mobilesam.data.photo import PhotoId
from mobilesam.data.split import hold_out
from mobilesam.data.store import Store
from mobilesam.data.survey import Survey
from mobilesam.distill.config import DistillRecipe
from mobilesam.distill.photos import list_photos
from mobilesam.errors import SettingsError
from mobilesam.model.backend import weights_sha256
from mobilesam.model.sam import Sam
from mobilesam.train.build import pick_device
from mobilesam.train.epochs import EpochPhotos, Needs
from mobilesam.train.photos import find_photos
from mobilesam.train.validation import Validation


def load_photos(
    recipe: DistillRecipe, teacher: Sam, *, need_masks: bool
) -> tuple[EpochPhotos, Survey, Validation | None]:
    """Load the training photos, their survey, and the validation on held-out photos.

    Args:
        recipe: data, store, validation.
        teacher: whose embeddings the store must hold.
        need_masks: the step prompts with the annotated objects.

    Raises:
        DataError: the data or the store cannot be used.
        SettingsError: the loss wants padding that the store did not keep.
    """
    config = teacher.config
    # Reading 110,000 annotation files takes long; a step that needs no masks skips it.
    # Sources are known from annotations alone, which other photos than those of data sets do not have.
    listed = None if need_masks or recipe.data.only_sources else list_photos(recipe.data)
    held_out, rest = hold_out(find_photos(recipe.data, listed), recipe.validation.photos)
    stores: dict[PhotoId, Store] | None = None
    views, view_seed = recipe.store.views, recipe.store.view_seed
    if not recipe.store.live:
        stores = open_stores(Path(recipe.store.path), rest, teacher=weights_sha256(teacher))
        header = next(iter(stores.values())).header
        views, view_seed = min(views, header.views), header.view_seed
        rest = rest.without({photo.id for photo in rest.photos} - stores.keys())
        if recipe.embedding_loss.padding and not header.keeps_padding:
            raise SettingsError(
                "embedding_loss.padding needs the cells of the padding: embed with store.keep_padding=true"
            )
    needs = Needs(image=True, masks=need_masks)
    seed = recipe.run.seed
    dataset = EpochPhotos(
        rest, recipe.data, config.image_size, seed, stores=stores, views=views, view_seed=view_seed, needs=needs
    )
    validation = None
    if held_out:
        teacher.to(pick_device(recipe.teacher.device))
        validation = Validation(held_out, config.image_size, recipe.validation, teacher)
        teacher.to("cpu")
    return dataset, rest, validation
