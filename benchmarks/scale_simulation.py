"""A thousand workers on a fake clock: the real claims, in a real folder, with workers that fail.

    python -m benchmarks.scale_simulation [--workers 1000] [--shards 20000] [--fail-hours 50] [--deadly 3]

Only the work on a shard is made up: it takes a lognormal time; 3 % of the machines are three times as slow; a worker
dies in the middle now and then and starts again ten minutes later; a few deadly shards kill every worker that does
them. Claiming, signs of life, takeovers and tries, setting deadly shards aside, writing a result (of a few bytes) under
a temporary name, renaming it, and writing its record are the code that runs in earnest. Not simulated: half-written
files of the dead, the time that the folder takes to answer, and reading the records of finished shards.

Printed are the hours against the ideal (all the work, divided among workers by their speed, that never die), what was
done twice, and how often the folder was asked.
"""

from __future__ import annotations

import heapq
import json
import math
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.common import make_parser, parse
from mobilesam.engines.claims import MAX_TRIES, Claims, Pauses
from mobilesam.shards.job import Job, Shard
from mobilesam.shards.plan import FOLDERS
from mobilesam.shards.work import ShardResult, writing
from mobilesam.shards.worker import set_aside

RESTART = 600.0  # seconds until a machine is there again


@dataclass
class World:
    """The fake clock, the folder and the counters."""

    job: Job
    stale: float
    seconds: float
    """Median time of a shard on the fastest machines."""
    now: float = 1e9
    events: list[tuple[float, int, int, str]] = field(default_factory=list)
    deadly: set[int] = field(default_factory=set)
    """Shards that kill every worker."""
    done: set[int] = field(default_factory=set)
    aside: int = 0
    tries: int = 0
    looks: int = 0
    lost: int = 0
    twice: int = 0
    deaths: int = 0
    work: float = 0.0
    number: int = 0

    def at(self, when: float, worker: int, what: str) -> None:
        """Plan an event."""
        self.number += 1
        heapq.heappush(self.events, (when, self.number, worker, what))


@dataclass
class Machine:
    """One worker: its speed, and the shard that it holds."""

    claims: Claims
    slowness: float
    queue: Iterator[int] = field(default_factory=lambda: iter(()))
    """What the last look at the folder has left to try."""
    fresh: bool = True
    """Whether a look may follow at once, without a pause."""
    pauses: Pauses = field(default_factory=Pauses)
    shard: int | None = None
    life: int = 0
    """Counts its deaths, so that events of an earlier life are ignored."""


def make_job(folder: Path, shards: int) -> Job:
    """A run without photos in a folder."""
    for name in FOLDERS:
        (folder / name).mkdir()
    names = tuple(f"shard{n:06}" for n in range(shards))
    return Job(folder, {}, {}, str(folder / "shards"), ".bin", 0, 0, 0, names, (), {})


def simulate(
    workers: int, shards: int, seconds: float, fail_hours: float, stale: float, deadly: int, folder: Path, seed: int = 0
) -> dict[str, float]:
    """Run to the end; returns the figures."""
    rng, world = random.Random(seed), World(make_job(folder, shards), stale, seconds)
    world.deadly = set(rng.sample(range(shards), min(deadly, shards)))
    machines = []
    for i in range(workers):
        claims = Claims(folder / "claims", lambda: world.now, stale, has_heartbeat=False, worker=f"worker{i}")
        slowness = 3.0 if rng.random() < 0.03 else rng.uniform(0.9, 1.2)  # 3 % of machines are three times as slow
        machines.append(Machine(claims, slowness))
        world.at(world.now + rng.uniform(0, 30), i, "seek 0")
    begun = world.now
    todo = set(range(shards))
    while world.events and todo:
        world.now, _, i, what = heapq.heappop(world.events)
        kind, life = what.split()
        machine = machines[i]
        if int(life) != machine.life:
            continue
        if kind == "seek":
            seek(world, machine, i, todo, rng, fail_hours)
        elif kind == "beat" and machine.shard is not None:
            machine.claims.beat(world.job.names[machine.shard])
            world.at(world.now + stale / 4, i, what)
        elif kind == "finish":
            finish(world, machine, i, todo)
        elif kind == "die":
            world.deaths += 1
            world.lost += machine.shard is not None
            machine.shard, machine.life, machine.queue, machine.fresh = None, machine.life + 1, iter(()), True
            world.at(world.now + RESTART, i, f"seek {machine.life}")
    return {
        "hours": (world.now - begun) / 3600,
        "ideal": world.work / sum(1 / m.slowness for m in machines) / 3600,
        "deaths": world.deaths,
        "lost": world.lost,
        "twice": world.twice,
        "tries": world.tries,
        "looks": world.looks,
        "aside": world.aside,
        "left": sum(1 for name in ("claims", "shards") for path in (folder / name).iterdir() if is_left(path, world)),
    }


def is_left(path: Path, world: World) -> bool:
    """Whether a file is a claim, or no result of a finished shard."""
    return path.suffix != ".tries" and not world.job.done_file(path.stem).exists()


def seek(world: World, machine: Machine, i: int, todo: set[int], rng: random.Random, fail_hours: float) -> None:
    """Claim the next shard: from the list of the last look, else by another look, else wait."""
    claims, life = machine.claims, machine.life
    while True:
        shard = next(machine.queue, None)
        if shard is None:
            if not machine.fresh:
                machine.fresh = True
                world.at(world.now + machine.pauses.next(), i, f"seek {life}")
                return
            world.looks += 1
            machine.queue, machine.fresh = claims.choose(world.job.names, list(todo)), False
            continue
        if shard not in todo:  # done since: the worker sees its record
            continue
        world.tries += 1
        if not claims.take(world.job.names[shard]):
            continue
        if claims.tries(world.job.names[shard]) <= MAX_TRIES:
            break
        set_aside(world.job, world.job.names[shard], "it was begun three times, and its worker died each time", claims)
        world.aside += 1
        todo.discard(shard)
    machine.fresh, machine.shard, machine.pauses = True, shard, Pauses()
    seconds = rng.lognormvariate(math.log(world.seconds), 0.5)
    is_new = claims.tries(world.job.names[shard]) == 1 and shard not in world.deadly
    world.work += seconds if is_new else 0
    taken, dies = seconds * machine.slowness, rng.expovariate(1 / (3600 * fail_hours))
    dies = min(dies, taken / 2) if shard in world.deadly else dies
    world.at(world.now + world.stale / 4, i, f"beat {life}")
    world.at(world.now + min(taken, dies), i, f"{'die' if dies < taken else 'finish'} {life}")


def finish(world: World, machine: Machine, i: int, todo: set[int]) -> None:
    """Write the result, which replaces one that another worker has written meanwhile."""
    assert machine.shard is not None
    name = world.job.names[machine.shard]
    with writing(world.job, Shard(name, ()), ShardResult()) as path:
        path.write_text(name)
    world.twice += machine.shard in world.done
    world.done.add(machine.shard)
    todo.discard(machine.shard)
    machine.claims.forget(name)
    machine.shard = None
    world.at(world.now, i, f"seek {machine.life}")


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--shards", type=int, default=20000)
    parser.add_argument("--seconds", type=float, default=150.0, help="median time of a shard")
    parser.add_argument("--fail-hours", type=float, default=50.0, help="mean time between failures of a worker")
    parser.add_argument("--deadly", type=int, default=3, help="shards that kill every worker")
    parser.add_argument("--stale", type=float, default=60.0)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parse(parser, lambda _: ("--workers", "5", "--shards", "20", "--repeat", "1", "--deadly", "1"))
    runs = []
    start = time.perf_counter()
    for seed in range(arguments.repeat):
        with tempfile.TemporaryDirectory() as folder:
            asked = (arguments.workers, arguments.shards, arguments.seconds, arguments.fail_hours, arguments.stale)
            runs.append(simulate(*asked, arguments.deadly, Path(folder), seed))
    middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    print(f"{arguments.workers} workers, {arguments.shards} shards, medians of {len(runs)} runs:")
    print(json.dumps({key: round(value, 3) for key, value in middle.items()}))
    each = ", ".join(f"{run['hours'] / run['ideal']:.2f}" for run in runs)
    print(f"of the ideal time, each run: {each}; {time.perf_counter() - start:.0f} s to simulate")


if __name__ == "__main__":
    main()
