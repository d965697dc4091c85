"""What the commands that work in shards share: how they are watched, stopped and told about."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer

from mobilesam.cli import options

if TYPE_CHECKING:
    from mobilesam.shards.run import Outcome

RunFolder = Annotated[Path, typer.Argument(help="Folder of a run.")]


class Told(TypedDict):
    """How a run is watched; see `mobilesam.shards.run.Running`."""

    show_progress: bool
    log: Callable[[str], None] | None


def told(as_json: bool) -> Told:
    """A progress bar for people, lines of JSON for logs."""
    is_terminal = sys.stderr.isatty()
    log = None if is_terminal else lambda line: typer.echo(line, err=True)
    return Told(show_progress=is_terminal and not as_json, log=log)


def unless_stopped(run: Callable[[], Outcome]) -> Outcome:
    """Run it; Ctrl-C and SIGTERM end it with a message, also while it plans or writes its report."""
    from mobilesam.processes import terminating

    try:
        with terminating():
            return run()
    except (KeyboardInterrupt, SystemExit):
        typer.echo("stopped: what is finished stays, the rest is done by the same command", err=True)
        raise


def tell(outcome: Outcome, as_json: bool) -> None:
    """Print the result of a run; exit with code 1 if something has no result, as every command does."""
    files = [str(file) for file in outcome.files]
    text = "\n".join([outcome.status.text(), *(f"wrote {file}" for file in files)])
    options.say({**asdict(outcome.status), "files": files}, text, as_json)
    if not outcome.is_whole:
        raise typer.Exit(1)


def tell_status(output: Path, as_json: bool) -> None:
    """Say how far a run is, from its folder; exit with code 1 if photos changed after their results were made."""
    from mobilesam.shards.changes import with_changes
    from mobilesam.shards.job import Job, open_job
    from mobilesam.shards.status import read_status

    found = with_changes(read_status(output), open_job(output, Job))
    options.say({**asdict(found), "is_complete": found.is_complete}, found.text(), as_json)
    if found.changed:
        raise typer.Exit(1)
