"""`mobilesam distill`: cache a teacher's embeddings in a store, and train a student from the store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mobilesam import choices
from mobilesam.cli import options
from mobilesam.errors import SettingsError
from mobilesam.extras import require

distill_app = typer.Typer(help="Make a small model imitate a large one.", no_args_is_help=True)
RecipeFile = Annotated[Path, typer.Argument(help="A TOML recipe.")]
StoreFolder = Annotated[Path | None, typer.Option("--output", "-o", help="The store's folder, in place of store.path.")]


@distill_app.command()
def embed(
    recipe: RecipeFile,
    output: StoreFolder = None,
    overrides: options.Overrides = None,
    engine: Annotated[choices.Engine, typer.Option("--engine", help="What runs several workers.")] = "local",
    workers: Annotated[int, typer.Option(min=1, help="Number of worker processes; each takes whole data sets.")] = 1,
    threads: Annotated[int | None, typer.Option(min=1, help="Of each of several workers.")] = None,
    address: Annotated[str | None, typer.Option(help="Of a running Ray cluster: auto, or HOST:PORT.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Only check the records of the files that exist.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Cache a teacher's image embeddings, one file per shard; run again to continue."""
    # Checked before the imports below, which would fail with an ImportError that does not name the missing extra.
    require("lightning", "train", "distillation")
    from mobilesam.distill import teacher
    from mobilesam.distill.config import DistillRecipe
    from mobilesam.distill.crew import EmbedCrew
    from mobilesam.engines import run_crew
    from mobilesam.recipe import load_recipe

    loaded = load_recipe(DistillRecipe, recipe, options.with_output("store.path", output, overrides))
    if verify:
        report_damage(teacher.verify(Path(loaded.store.path)), as_json)
        return
    if engine == "ray" or workers > 1:
        run_crew(EmbedCrew(loaded), engine, workers, threads, address)
    elif address is not None or threads is not None:
        raise SettingsError("--address needs --engine ray, and --threads several --workers; leave it out")
    # With several workers this only checks what they wrote, and names the photos that were skipped.
    # With --json, standard output and standard error are read by programs, so no progress bar is drawn.
    done = teacher.embed(loaded, show_progress=not as_json)
    lines = [f"wrote {path}" for path in done.written]
    lines += [f"already there: {path}" for path in done.present]
    lines += [f"another process is writing {path}" for path in done.busy]
    lines += [f"skipped photo '{name}': {reason}" for name, reason in done.skipped.items()]
    options.say(vars(done), "\n".join(lines), as_json)


def report_damage(damaged: dict[str, list[str]], as_json: bool) -> None:
    """Print the result of `--verify`; exit with code 1 if a record is damaged."""
    lines = []
    for path, names in damaged.items():
        lines.append(f"{path}: " + (f"{len(names)} damaged: {', '.join(names)}" if names else "undamaged"))
    broken = [path for path, names in damaged.items() if names]
    if broken:
        lines.append(f"delete {', '.join(broken)} and run `mobilesam distill embed` again")
    options.say({"damaged": damaged}, "\n".join(lines), as_json)
    # Last, so that the whole report is printed before the command fails.
    if broken:
        raise typer.Exit(1)


@distill_app.command()
def train(
    recipe: RecipeFile,
    output: options.RunFolder = None,
    overrides: options.Overrides = None,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
) -> None:
    """Train a student model: decoupled, semi-coupled or coupled, depending on the recipe."""
    require("lightning", "train", "distillation")
    from mobilesam.distill.config import DistillRecipe
    from mobilesam.distill.run import distill
    from mobilesam.recipe import load_recipe

    loaded = load_recipe(DistillRecipe, recipe, options.with_output("run.output", output, overrides))
    weights = distill(loaded, resume=resume, show_progress=not as_json, overwrite=overwrite)
    options.say({"weights": str(weights)}, f"wrote {weights}", as_json)
