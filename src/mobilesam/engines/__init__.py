"""How a job of many shards is run: who works on which shard, and what starts the workers."""

from __future__ import annotations

from collections.abc import Callable

from mobilesam.choices import Engine
from mobilesam.engines.job import Crew
from mobilesam.errors import SettingsError


def run_crew(
    crew: Crew,
    engine: Engine,
    workers: int,
    threads: int | None,
    address: str | None = None,
    watch: Callable[[], None] = lambda: None,
    device: str = "cpu",
) -> None:
    """Run the workers of a job until it is over.

    Args:
        crew: the job.
        engine: "local", processes on this machine; "ray", actors on a cluster.
        workers: number of processes or actors.
        threads: of each; None divides the cores among local processes, and gives a Ray actor one.
        address: of a running Ray cluster; None starts Ray on this machine.
        watch: called twice a second.
        device: of the models, for which Ray reserves a GPU where it is one.

    Raises:
        SettingsError: an address is given without Ray, or no node of the cluster has what a worker asks for.
        MissingExtraError: Ray is not installed.
        DataError: every worker ended with an error.
    """
    if address is not None and engine != "ray":
        raise SettingsError("an address is of a Ray cluster; it needs the engine ray")
    if engine == "ray":
        from mobilesam.engines.ray import run_ray

        run_ray(crew, workers, threads, watch, address=address, device=device)
    else:
        from mobilesam.engines.local import run_local

        run_local(crew, workers, threads, watch)
