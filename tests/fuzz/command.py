"""Fuzzing of everything that reads a file or takes a prompt.

    scripts/fuzz --minutes 5
    scripts/fuzz --inputs 50000 --seed 1 -o failing
    scripts/fuzz --only photos --only tars --minutes 1
    scripts/fuzz --repeat photos:1234

It begins with the inputs that are known to have failed once (`known.py`).
Every input depends on the seed, its kind and its number alone. Each is tried in a worker process, which may take 10 s
and 2 GB for it. An input is accepted or refused with an error of this package; these are faults:

    RAW     another exception
    DIED    the process was ended by a signal
    SLOW    more than 10 s of processor time
    FAT     more than 2 GB
    SILENT  a changed file is accepted, and gives something else

Exits with 1 if there is any. Linux and macOS; memory is measured on Linux.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.kinds import KINDS
from tests.fuzz.known import KNOWN
from tests.fuzz.pool import Job, Outcome, attempt, try_all

BATCH = 2000  # inputs between two looks at the clock
VERDICTS = ("refused", "accepted", "RAW", "DIED", "SLOW", "FAT", "SILENT")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = parse(arguments)
    if options.repeat:
        return repeat(options.repeat, options.seed, options.output)
    kinds = [name for name in options.only or KINDS if not KINDS[name].missing]
    for name in options.only or KINDS:
        if missing := KINDS[name].missing:
            print(f"left out: {name} (needs {', '.join(missing)})")
    counts: Counter[tuple[str, str]] = Counter()
    end = time.monotonic() + 60 * options.minutes
    for start in range(0, options.inputs or 10**9, BATCH):
        if not options.inputs and time.monotonic() > end:
            break
        stop = min(start + BATCH, options.inputs or 10**9)
        jobs = schedule(kinds, start, stop) if start else [*known_jobs(kinds), *schedule(kinds, start, stop)]
        for outcome in try_all(jobs, options.seed, options.workers):
            counts[outcome.kind, outcome.verdict] += 1
            if outcome.is_fault:
                tell(outcome, options.seed, options.output)
    print(table(counts))
    return int(any(verdict.isupper() for _, verdict in counts))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser("scripts/fuzz", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long to go on (default 1)")
    parser.add_argument("--inputs", type=int, default=0, help="how many inputs, instead of --minutes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", choices=list(KINDS), metavar="KIND", help="; ".join(KINDS))
    parser.add_argument("--repeat", default="", metavar="KIND:NUMBER", help="try one input again, in this process")
    parser.add_argument("--workers", type=int, default=1, help="number of processes (default 1)")
    parser.add_argument("-o", "--output", type=Path, default=Path("fuzz-failing"), help="folder for failing inputs")
    return parser.parse_args(arguments)


def schedule(kinds: Sequence[str], start: int, stop: int) -> list[Job]:
    """Jobs `start` to `stop` of an endless list in which each kind has its share; the numbers of a kind go on."""
    total = sum(KINDS[kind].weight for kind in kinds)
    jobs: list[Job] = []
    for kind in kinds:
        share = KINDS[kind].weight / total
        first, last = (round(count * share) for count in (start, stop))
        jobs += [(kind, number) for number in range(first, last)]
    return jobs


def tell(outcome: Outcome, seed: int, folder: Path) -> None:
    """Print a fault, and save its input."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{outcome.kind.replace(' ', '_').replace(',', '')}_{outcome.number}"
    path.write_bytes(KINDS[outcome.kind].make(outcome.kind, seed, outcome.number))
    print(f"{outcome.verdict} {outcome.kind}:{outcome.number} {outcome.why} -> {path}", flush=True)


def repeat(name: str, seed: int, folder: Path) -> int:
    """Try one input again, in this process, where a debugger can follow."""
    kind, _, number = name.rpartition(":")
    data = KINDS[kind].make(kind, seed, int(number))
    folder.mkdir(parents=True, exist_ok=True)
    outcome = Outcome(kind, int(number), *attempt(kind, data, folder))
    print(outcome.verdict, outcome.why)
    return int(outcome.is_fault)


def table(counts: Counter[tuple[str, str]]) -> str:
    """How many inputs of each kind had each verdict, as Markdown."""
    kinds = list(dict.fromkeys(kind for kind, _ in counts))
    lines = [f"| kind | inputs | {' | '.join(VERDICTS)} |", "|---" * (len(VERDICTS) + 2) + "|"]
    for kind in sorted(kinds, key=list(KINDS).index):
        numbers = [counts[kind, verdict] for verdict in VERDICTS]
        lines.append(f"| {kind} | {sum(numbers)} | {' | '.join(map(str, numbers))} |")
    numbers = [sum(counts[kind, verdict] for kind in kinds) for verdict in VERDICTS]
    return "\n".join([*lines, f"| all | {sum(numbers)} | {' | '.join(map(str, numbers))} |"])


def known_jobs(kinds: Sequence[str]) -> list[Job]:
    """The inputs of `known`, numbered -1, -2, ..."""
    return [(kind, -1 - i) for kind in kinds if kind in KNOWN for i in range(len(KNOWN[kind]()))]
