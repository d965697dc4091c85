"""Command groups."""

from __future__ import annotations

import glob
import os
from difflib import get_close_matches

import click
from typer.core import TyperGroup


class RunByDefault(TyperGroup):
    """Command group that treats `VERB DATA...` as `VERB run DATA...`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Insert the subcommand `run` if the first argument is no subcommand."""
        # A data set that is called like a subcommand must be given with `run`, or as a path such as ./compare.
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            near = get_close_matches(args[0], self.commands, n=1, cutoff=0.75)
            if near and not glob.glob(os.path.expanduser(args[0])):  # a path or a shell pattern
                raise click.UsageError(f"'{args[0]}' is no subcommand and no file; did you mean '{near[0]}'?")
            args = ["run", *args]
        return super().parse_args(ctx, args)
