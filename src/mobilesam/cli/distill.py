"""`mobilesam distill`: cache a teacher's embeddings in a store, and train a student from the store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mobilesam import choices
from mobilesam.cli import options
from mobilesam.cli.photos import name_left_out
from mobilesam.cli.shards import RunFolder, tell, tell_status, told, unless_stopped
from mobilesam.extras import require

distill_app = typer.Typer(help="Make a small model imitate a large one.", no_args_is_help=True)
RecipeFile = Annotated[Path, typer.Argument(help="A TOML recipe.")]
StoreFolder = Annotated[Path | None, typer.Option("--output", "-o", help="The store's folder, in place of store.path.")]


@distill_app.command()
def embed(
    recipe: RecipeFile,
    output: StoreFolder = None,
    overrides: options.Overrides = None,
    results: options.Results = "",
    engine: Annotated[choices.Engine, typer.Option("--engine", help="What runs the workers.")] = "local",
    workers: options.Workers = None,
    threads: options.WorkerThreads = None,
    address: options.RayAddress = None,
    verify: Annotated[bool, typer.Option("--verify", help="Only check the records of the files that exist.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Store a teacher's image embeddings, in shards; only what is missing is done when it is repeated."""
    used = [name for name in ("engine", "workers", "threads", "address") if options.is_given(name)]
    if verify and used:
        raise typer.BadParameter(f"--{used[0]} does nothing beside --verify, which starts no workers; leave it out")
    from mobilesam.distill.config import DistillRecipe
    from mobilesam.recipe import load_recipe
    from mobilesam.shards.inputs import check_inputs
    from mobilesam.train.photos import data_patterns
    from mobilesam.weights import check_named

    loaded = load_recipe(DistillRecipe, recipe, options.with_output("store.path", output, overrides))
    if not verify:  # before the extra, which takes long to install, and before the teacher, which may be downloaded
        check_inputs(data_patterns(loaded.data), Path(loaded.store.path))
        check_named(loaded.teacher.checkpoint)
    # Checked before the imports below, which would fail with an ImportError that does not name the missing extra.
    require("lightning", "train", "distillation")
    from mobilesam.distill import embed as work
    from mobilesam.shards.run import Running

    if verify:
        report_damage(work.verify(results or loaded.store.path), as_json)
        return
    running = Running(engine=engine, workers=workers, threads=threads, address=address, **told(as_json))
    tell(unless_stopped(lambda: work.embed(loaded, results=results, running=running)), as_json)


@distill_app.command()
def status(output: RunFolder, as_json: options.AsJson = False) -> None:
    """Say how far a run of `embed` is, from its folder alone."""
    tell_status(output, as_json)


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
    from mobilesam.distill.config import DistillRecipe
    from mobilesam.recipe import load_recipe
    from mobilesam.train.ready import check_files

    loaded = load_recipe(DistillRecipe, recipe, options.with_output("run.output", output, overrides))
    stores = "" if loaded.store.live else loaded.store.path
    models = [loaded.teacher.checkpoint, loaded.start_from]
    check_files(loaded.data, models, stores, need_masks=loaded.method != "decoupled")
    require("lightning", "train", "distillation")
    from mobilesam.distill.run import distill
    from mobilesam.train.left_out import read_left_out

    weights = distill(loaded, resume=resume, show_progress=not as_json, overwrite=overwrite)
    left_out = read_left_out(weights.parent)
    options.say({"weights": str(weights), "left_out": left_out}, f"wrote {weights}", as_json)
    name_left_out(left_out)
