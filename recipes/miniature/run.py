"""Run the paper in miniature: every row of docs/results/distillation.md, then its tables and figures.

    mobilesam distill embed recipes/miniature/decoupled.toml --set 'data.paths=TRAIN/*.tar'
    python recipes/miniature/run.py 'TRAIN/*.tar' 'EVAL/*.tar' [--jobs 2] [--only decoupled-0 ...]
        [--set section.key=value ...]

The stores of the ablations (`int8`, `padding`, `views`) are embedded when a run first needs them. What is finished is
skipped, what was interrupted is resumed, so the command may be repeated. Each run has one thread.
"""

from __future__ import annotations

import argparse
import glob
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
RUNS = Path("runs/miniature")
SEEDS = (0, 1, 2)
PROTOCOLS = ("box", "click", "teacher")


@dataclass(frozen=True)
class Run:
    """One training run."""

    name: str
    recipe: str
    settings: tuple[str, ...] = ()
    store: tuple[str, ...] = ()
    """How its store differs from the plain one; the store's folder is named by the run."""
    after: str = ""
    """The run whose student it starts from."""

    @property
    def folder(self) -> Path:
        """Where it is written."""
        return RUNS / self.name


def all_runs() -> list[Run]:
    """The main table, with three seeds each; one coupled run of four times the length; the ablations, with one seed."""
    runs: list[Run] = []
    for seed in SEEDS:
        seeded = (f"run.seed={seed}",)
        half = f"decoupled-half-{seed}"
        runs += [
            Run(f"decoupled-{seed}", "decoupled", seeded),
            Run(f"semi-coupled-{seed}", "semi_coupled", seeded),
            Run(f"coupled-{seed}", "coupled", seeded),
            Run(half, "decoupled", (*seeded, "run.steps=375")),
            Run(f"tuned-encoder-{seed}", "tuned_encoder", seeded, after=half),
            Run(f"tuned-both-{seed}", "tuned_both", seeded, after=half),
        ]
    runs += [
        Run("coupled-long", "coupled", ("run.steps=1280", "validation.every=128")),
        Run("batch8-steps375", "decoupled", ("run.batch_size=8", "run.steps=375")),
        Run("batch16-steps375", "decoupled", ("run.steps=375", "run.seed=3")),
        Run("data25", "decoupled", ("data.fraction=0.25",)),
        Run("data50", "decoupled", ("data.fraction=0.5",)),
        Run("int8", "decoupled", store=("store.dtype=int8",)),
        Run("padding", "decoupled", ("embedding_loss.padding=true",), store=("store.keep_padding=true",)),
        Run("views", "decoupled", store=("store.views=2",)),
    ]
    return runs


def call(*words: str, result: Path | None = None) -> None:
    """Run a `mobilesam` command on one thread, its words shown only when it fails.

    With its `result` written, an exit code of 1 says that photos could not be used, which the command named.
    """
    command = (sys.executable, "-m", "mobilesam", *words)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode and result is not None and result.exists():
        print(done.stderr, file=sys.stderr)
    elif done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


def train(run: Run, shards: str, more: Sequence[str] = ()) -> None:
    """Bring one run to its end; `more` are settings for every run."""
    if (run.folder / "report.md").exists():
        return
    recipe = str(HERE / f"{run.recipe}.toml")
    settings = [f"data.paths={shards}", *run.settings, *more]
    if run.store:
        settings += [f"store.path={RUNS}/store-{run.name}", *run.store]
        embedding = [argument for setting in settings if "loss" not in setting for argument in ("--set", setting)]
        call("distill", "embed", recipe, "--json", *embedding)
    if run.after:
        settings.append(f"start_from={RUNS / run.after}")
    resume = ["--resume"] if (run.folder / "state.pt").exists() else []
    options = [argument for setting in settings for argument in ("--set", setting)]
    call(
        "distill", "train", recipe, "--json", "-o", str(run.folder), *resume, *options, result=run.folder / "report.md"
    )
    print("trained", run.name, flush=True)


def evaluate(name: str, model: str, photos: list[str]) -> None:
    """Measure one student on photos that nobody trained on."""
    output = RUNS / name / "evaluation.json"
    if output.exists():
        return
    protocols = [argument for protocol in PROTOCOLS for argument in ("--protocol", protocol)]
    limits = ("--min-area", "1000", "--max-objects", "4", "--teacher", "embedded", "--zoom", "off")
    output.parent.mkdir(parents=True, exist_ok=True)
    call("evaluate", *photos, *protocols, *limits, "--model", model, "--json", "-o", str(output), result=output)
    print("measured", name, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train")
    parser.add_argument("eval")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="*", help="names of runs; a run's predecessor must be among them or finished")
    parser.add_argument("--set", action="append", default=[], dest="more", help="a setting for every run of training")
    arguments = parser.parse_args()

    runs = [run for run in all_runs() if not arguments.only or run.name in arguments.only]
    photos = sorted(glob.glob(arguments.eval))
    for stage in ([r for r in runs if not r.after], [r for r in runs if r.after]):
        with ThreadPoolExecutor(arguments.jobs) as pool:
            list(pool.map(lambda run: train(run, arguments.train, arguments.more), stage))
    with ThreadPoolExecutor(arguments.jobs) as pool:
        list(pool.map(lambda run: evaluate(run.name, str(run.folder), photos), runs))
    evaluate("teacher", "embedded", photos)


if __name__ == "__main__":
    main()
