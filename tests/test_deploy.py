"""The files of `deploy/`: what they start, with a stand-in for the command."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mobilesam.annotate.run import worker_mb
from mobilesam.annotate.settings import AnnotateSettings

DEPLOY = Path(__file__).parents[1] / "deploy"
pytestmark = pytest.mark.skipif(sys.platform == "win32" or not shutil.which("bash"), reason="scripts for bash")


@pytest.fixture
def stand_in(tmp_path: Path) -> dict[str, str]:
    """An environment in which `mobilesam` notes its arguments in `told`, and waits if `told.wait` is there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    code = f"""#!{sys.executable}
import os, pathlib, signal, sys, time
told = pathlib.Path({str(tmp_path)!r}) / "told"
def stop(*_):
    told.with_suffix(".ended").touch()
    sys.exit(143)
signal.signal(signal.SIGTERM, stop)
with told.open("a") as file:
    print(os.environ.get("LOCAL_RANK", ""), *sys.argv[1:], sep="|", file=file)
while told.with_suffix(".wait").exists():
    time.sleep(0.01)
"""
    (folder / "mobilesam").write_text(code)
    (folder / "mobilesam").chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize("path", sorted(DEPLOY.glob("*.sh")), ids=lambda path: path.name)
def test_the_scripts_are_well_formed(path: Path) -> None:
    subprocess.run(["bash", "-n", str(path)], check=True)


def test_slurm_passes_all_arguments_and_uses_the_cores_of_the_task(stand_in, tmp_path) -> None:
    words = ["annotate", "/data/my shards/*.tar", "-o", "/data/masks", "--prompts", "boxes.json"]
    environment = {**stand_in, "SLURM_CPUS_PER_TASK": "6"}
    subprocess.run(["bash", str(DEPLOY / "slurm.sh"), *words], env=environment, check=True)
    told = (tmp_path / "told").read_text().rstrip().split("|")[1:]
    assert told == [*words, "--workers", "6", "--threads", "1"]
    subprocess.run(["bash", str(DEPLOY / "slurm.sh"), *words], env={**environment, "WORKERS": "1", "THREADS": "4"})
    assert (tmp_path / "told").read_text().rstrip().endswith("|--workers|1|--threads|4")


def test_the_signal_that_slurm_sends_to_the_batch_shell_reaches_the_command(stand_in, tmp_path) -> None:
    assert "#SBATCH --signal=B:TERM@60" in (DEPLOY / "slurm.sh").read_text().splitlines()
    (tmp_path / "told.wait").touch()
    process = subprocess.Popen(["bash", str(DEPLOY / "slurm.sh"), "annotate", "x"], env=stand_in)
    limit = time.monotonic() + 30
    while not (tmp_path / "told").exists() and time.monotonic() < limit:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    assert (tmp_path / "told.ended").exists()


def test_kubernetes_has_the_cores_and_the_memory_that_its_workers_need() -> None:
    yaml = pytest.importorskip("yaml")
    text = (DEPLOY / "kuberay.yaml").read_text(encoding="utf-8")
    assert '"ray[default]==2.60.0"' in text  # plain Ray has no dashboard, which takes the job
    spec = yaml.safe_load(text)["spec"]
    words = shlex.split(spec["entrypoint"])
    assert words[:3] == ["mobilesam", "annotate", "/data/shards/*.tar"]
    (group,) = spec["rayClusterSpec"]["workerGroupSpecs"]
    (container,) = group["template"]["spec"]["containers"]
    each = int(container["resources"]["requests"]["cpu"])
    assert int(group["rayStartParams"]["num-cpus"]) == each
    assert int(words[words.index("--workers") + 1]) == group["replicas"] * each
    memory = int(container["resources"]["limits"]["memory"].removesuffix("Gi")) * 1024**3
    assert memory > each * worker_mb(512, AnnotateSettings()) * 1e6
    # Without the autoscaler they would do nothing.
    assert ("minReplicas" in group or "maxReplicas" in group) <= bool(
        spec["rayClusterSpec"].get("enableInTreeAutoscaling")
    )


def test_torchrun_starts_a_process_for_each_gpu_and_again_if_one_fails(stand_in, tmp_path) -> None:
    (tmp_path / "bin" / "torchrun").write_text(f'#!/bin/bash\nprintf "%s|" "$@" > {tmp_path}/asked\n')
    (tmp_path / "bin" / "torchrun").chmod(0o755)
    environment = {**stand_in, "GPUS": "3", "NODES": "2", "HEAD": "node0"}
    words = ["recipe.toml", "--output", "/data/my embeddings"]
    subprocess.run(["bash", str(DEPLOY / "torchrun.sh"), *words], env=environment, check=True)
    asked = (tmp_path / "asked").read_text().rstrip("|").split("|")
    options = dict(zip(asked[0::2], asked[1::2], strict=False))
    assert (options["--nnodes"], options["--nproc-per-node"], options["--max-restarts"]) == ("2", "3", "3")
    command = asked[asked.index("--no-python") + 1 :]
    subprocess.run(command, env={**stand_in, "LOCAL_RANK": "2", "MOBILESAM_DEVICE": "cuda"}, check=True)
    told = (tmp_path / "told").read_text().rstrip().split("|")
    assert told == ["2", "distill", "embed", *words, "--workers", "1", "--set", "teacher.device=cuda"]
