"""Killed workers, nodes and ranks: is every file of the run still the one that an undisturbed process writes?

    python -m benchmarks.scale_kills [--photos 300] [--times 10] [--shard-photos 10] [--ways worker,node,rank]
    python -m benchmarks.scale_kills --job embed [--photos 300] [--times 10]

`worker`: two Ray nodes of one core each (`ray start` twice on this machine, nothing simulated) with an actor each; the
process of an actor that is writing a shard is killed. `node`: the same, but a whole node is killed while its actor is
writing, with everything that it started. `rank`: two processes that run the same command, as torchrun or a Slurm array
starts them; one is killed with its worker while that is writing. Every kill is SIGKILL, after a random share (15 to
70 %) of the shards is done. Photos are drawn, with two boxes each, at 256 px. It fails if a byte differs, a shard is
missing, or nothing was killed. Ways with Ray run where it is installed. With `--job embed`, the embedded
model is a teacher that embeds the photos, and the stores are compared.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from benchmarks.common import ROOT, machine, make_parser, parse
from benchmarks.scale import draw
from mobilesam.engines.claims import Claims, owner_of

LIMIT = 300.0  # seconds for one round
# Without a token: Ray asks for one where an earlier start on this machine has left one in the home folder.
RAY = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1", "RAY_AUTH_MODE": "disabled"}
WAIT_FOR_BOTH = """
import sys, time, ray
ray.init(address=sys.argv[1], configure_logging=False, log_to_driver=False)
while sum(node["Alive"] for node in ray.nodes()) < 2:
    time.sleep(0.1)
"""  # in a process of its own, since a process joins one cluster in its life
Process = subprocess.Popen[bytes]


@dataclass(frozen=True)
class Round:
    """What one run with a kill showed."""

    seconds: float
    done_before: int
    """Shards that were done when it was killed."""


def environment(**more: str) -> dict[str, str]:
    """Of every process that is started."""
    kept = filter(None, [os.environ.get("PYTHONPATH")])
    return {**os.environ, **RAY, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT), *kept]), **more}


def begin(*words: str, **more: str) -> Process:
    """Start a Python command in a process group of its own."""
    quiet = subprocess.DEVNULL
    command = [sys.executable, *words]
    return subprocess.Popen(command, env=environment(**more), stdout=quiet, stderr=quiet, start_new_session=True)


@dataclass(frozen=True)
class Task:
    """The command of a run, but for its output and engine."""

    words: tuple[str, ...]

    def into(self, output: Path, *words: str) -> tuple[str, ...]:
        """The whole command."""
        return ("-m", "mobilesam", *self.words, "-o", str(output), "--threads", "1", *words)


def annotating(data: str, shard_photos: int) -> Task:
    """Boxes to masks."""
    words = ("annotate", data, "--own-boxes", "--image-size", "256", "--backend", "onnx")
    return Task((*words, "--shard-photos", str(shard_photos)))


def embedding(data: str, shard_photos: int, folder: Path) -> Task:
    """The embedded model at 256 px embeds the photos, as a teacher does."""
    recipe = folder / "recipe.toml"
    recipe.write_text(f"""
[teacher]
checkpoint = "embedded"
image_size = 256
batch_size = 1
device = "cpu"
[store]
shard_photos = {shard_photos}
[data]
paths = ["{data}"]
""")
    return Task(("distill", "embed", str(recipe)))


def descendants(pid: int) -> set[int]:
    """A process and everything that it started, by /proc."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has ended
    found, new = {pid}, {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return found


def kill_all(process: Process) -> None:
    """SIGKILL for a process and everything that it started."""
    for pid in descendants(process.pid) if process.poll() is None else ():
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


def writers(output: Path) -> list[int]:
    """Ids of the processes that hold a shard."""
    owners = [owner_of(output / "claims" / name) for name in Claims(output / "claims").held()]
    return [int(owner.split("-")[-2]) for owner in owners if owner]  # "" while a claim is being written


def done(output: Path) -> int:
    """Number of finished shards."""
    return len(list((output / "done").glob("[!.]*.json")))


def kill_in_the_middle(output: Path, after: int, victim: Callable[[], bool], runs: Process) -> int:
    """Kill once `after` shards are done and the victim holds a shard; returns how many were done.

    Args:
        output: of the run.
        after: shards.
        victim: kills if it is writing; returns whether it did.
        runs: the process whose end means that it is too late.
    """
    while runs.poll() is None:
        if (output / "claims").is_dir() and done(output) >= after and victim():
            return done(output)
        time.sleep(0.002)
    raise SystemExit("the run ended before anything was killed")


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def cluster() -> Iterator[tuple[str, Process]]:
    """Two real Ray nodes of one core: the address, and the second node."""
    port = free_port()
    scratch = f"/tmp/ray{port}"  # short, because Ray puts sockets in it
    start = ["-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1", "--disable-usage-stats"]
    start += ["--object-store-memory=100000000", "--node-ip-address=127.0.0.1"]
    nodes = [begin(*start, "--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={scratch}")]
    try:
        limit = time.monotonic() + 120
        while socket.socket().connect_ex(("127.0.0.1", port)):
            if time.monotonic() > limit:
                raise SystemExit("the head node of Ray did not start")
            time.sleep(0.2)
        nodes.append(begin(*start, f"--address=127.0.0.1:{port}"))
        if begin("-c", WAIT_FOR_BOTH, f"127.0.0.1:{port}").wait(120):
            raise SystemExit("the second node of Ray did not join")
        yield f"127.0.0.1:{port}", nodes[1]
    finally:
        for node in reversed(nodes):
            kill_all(node)
        shutil.rmtree(scratch, ignore_errors=True)


def kill_worker(output: Path) -> bool:
    """Kill a process that holds a shard."""
    for pid in writers(output)[:1]:
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def kill_if_writing(output: Path, process: Process) -> bool:
    """Kill a node or a rank, with everything that it started, if a process of it holds a shard."""
    if not descendants(process.pid).intersection(writers(output)):
        return False
    kill_all(process)
    return True


def with_ray(way: str, task: Task, output: Path, after: int) -> Round:
    """A run of two actors on two nodes, one of which loses its worker or itself."""
    with cluster() as (address, node):
        start = time.perf_counter()
        words = ("--engine", "ray", "--workers", "2", "--address", address)
        driver = begin(*task.into(output, *words))
        victim = (lambda: kill_worker(output)) if way == "worker" else (lambda: kill_if_writing(output, node))
        try:
            before = kill_in_the_middle(output, after, victim, driver)
            if driver.wait(LIMIT):
                raise SystemExit(f"{way}: the run ended with exit code {driver.returncode}")
        finally:
            kill_all(driver)
        return Round(time.perf_counter() - start, before)


def with_ranks(task: Task, output: Path, after: int) -> Round:
    """Two processes with the same command, one of which is killed."""
    start = time.perf_counter()
    command = task.into(output, "--workers", "1")
    first, second = (begin(*command, RANK=str(rank), WORLD_SIZE="2") for rank in range(2))
    try:
        before = kill_in_the_middle(output, after, lambda: kill_if_writing(output, second), first)
        if first.wait(LIMIT):
            raise SystemExit(f"rank: the run ended with exit code {first.returncode}")
    finally:
        kill_all(first)
        kill_all(second)
    return Round(time.perf_counter() - start, before)


def files(output: Path) -> dict[str, bytes]:
    """Every shard of a run, temporary files included."""
    return {path.name: path.read_bytes() for path in sorted((output / "shards").iterdir())}


def check(way: str, output: Path, expected: dict[str, bytes]) -> None:
    """Compare a run with the undisturbed one.

    Raises:
        SystemExit: it differs, or is not complete.
    """
    found = files(output)
    if found.keys() != expected.keys():
        raise SystemExit(f"{way}: the shards are others: {sorted(found.keys() ^ expected.keys())}")
    if wrong := [name for name in expected if found[name] != expected[name]]:
        raise SystemExit(f"{way}: other bytes in {', '.join(wrong)}")
    if list((output / "failed").iterdir()) or list((output / "claims").iterdir()):
        raise SystemExit(f"{way}: shards were set aside, or claims are left")


def measure(arguments: argparse.Namespace, ways: list[str], folder: Path) -> None:
    """Run all ways, and print a line for each as soon as it is through."""
    photos = folder / "photos"
    photos.mkdir()
    data = str(draw(photos, arguments.photos, side=240))
    alone = folder / "alone"
    start = time.perf_counter()
    is_embed = arguments.job == "embed"
    asked = (data, arguments.shard_photos)
    task = embedding(*asked, folder) if is_embed else annotating(*asked)
    if begin(*task.into(alone, "--engine", "local", "--workers", "1")).wait(LIMIT):
        raise SystemExit("the undisturbed run failed")
    expected, rng = files(alone), random.Random(0)
    print(machine(os.cpu_count() or 1, ("onnxruntime", *(("ray",) if find_spec("ray") else ()))))
    size = sum(map(len, expected.values())) / 1e6
    print(f"{arguments.photos} photos, {len(expected)} shards, {size:.1f} MB; undisturbed, one worker: "
          f"{time.perf_counter() - start:.1f} s\n")  # fmt: skip
    print("| killed | times | identical | shards done before | seconds, median (longest) |\n|---|---|---|---|---|")
    for way in ways:
        rounds: list[Round] = []
        for turn in range(arguments.times):
            output = folder / f"{way}{turn}"
            after = max(1, round(rng.uniform(0.15, 0.7) * len(expected)))
            is_rank = way == "rank"
            rounds.append(with_ranks(task, output, after) if is_rank else with_ray(way, task, output, after))
            check(way, output, expected)
            shutil.rmtree(output)
            print(f"{way} {turn + 1}: {rounds[-1].seconds:.1f} s", file=sys.stderr, flush=True)
        seconds, before = [one.seconds for one in rounds], [one.done_before for one in rounds]
        print(f"| {way} | {len(rounds)} | {len(rounds)} | {min(before)} to {max(before)} "
              f"| {statistics.median(seconds):.1f} ({max(seconds):.1f}) |", flush=True)  # fmt: skip


def main() -> None:
    """Print a table; fails if anything differs."""
    parser = make_parser(__doc__)
    parser.add_argument("--job", choices=("annotate", "embed"), default="annotate")
    parser.add_argument("--photos", type=int, default=300)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--shard-photos", type=int, default=10)
    parser.add_argument("--ways", default="worker,node,rank")
    smoke = ("--photos", "24", "--times", "1", "--shard-photos", "1", "--ways", "rank")
    arguments = parse(parser, lambda _: smoke)
    ways = [way for way in arguments.ways.split(",") if way == "rank" or find_spec("ray")]
    with tempfile.TemporaryDirectory() as folder:
        measure(arguments, ways, Path(folder))


if __name__ == "__main__":
    main()
