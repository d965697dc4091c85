"""`mobilesam train`: train a model as a recipe describes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mobilesam.cli import options
from mobilesam.cli.photos import name_left_out


def train(
    recipe: Annotated[Path, typer.Argument(help="A TOML recipe.")],
    output: options.RunFolder = None,
    overrides: options.Overrides = None,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
) -> None:
    """Train a model from photos and masks, or fine-tune a checkpoint on your own."""
    from functools import partial

    from mobilesam.outputs import Outputs
    from mobilesam.recipe import load_recipe
    from mobilesam.train.config import TrainRecipe
    from mobilesam.train.ready import check_train

    loaded = load_recipe(TrainRecipe, recipe, options.with_output("run.output", output, overrides))
    # Before the imports below, which would fail with an ImportError that does not name the missing extra.
    check_train(loaded)
    from mobilesam.train.left_out import read_left_out
    from mobilesam.train.loop import fit
    from mobilesam.train.supervised import inputs, supervised_job

    rule = Outputs.beside(inputs(loaded), overwrite=overwrite)
    # The loop is shared with distillation; the job is what differs. It is built inside `fit`, after the random seed is
    # set, so that runs of one recipe start from the same weights.
    job = partial(supervised_job, loaded)
    weights = fit(loaded, job, outputs=rule, resume=resume, show_progress=not as_json)
    left_out = read_left_out(weights.parent)
    options.say({"weights": str(weights), "left_out": left_out}, f"wrote {weights}", as_json)
    name_left_out(left_out)  # last: the run is finished, and the exit code says that photos are missing in it
