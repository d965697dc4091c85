"""`mobilesam train`: a recipe → weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mobilesam.cli import options
from mobilesam.extras import require


def train(
    recipe: Annotated[Path, typer.Argument(help="A TOML recipe.")],
    overrides: Annotated[list[str] | None, typer.Option("--set", help="section.key=value; repeatable.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint of this run.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Train a model from photos and masks."""
    require("lightning", "train", "training")
    from mobilesam.train.config import load_recipe
    from mobilesam.train.loop import train as run

    weights = run(load_recipe(recipe, overrides), resume=resume, show_progress=not as_json)
    options.say({"weights": str(weights)}, f"wrote {weights}", as_json)
