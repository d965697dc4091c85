"""A real Ray cluster of two nodes on this machine: `ray start` twice, nothing simulated."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from mobilesam.annotate.work import begin
from mobilesam.shards.job import Job
from mobilesam.shards.status import read_status
from tests.helpers.annotating import plan
from tests.helpers.killing import killing_a_writer

pytestmark = [
    pytest.mark.skipif(find_spec("ray") is None, reason="the extra ray is not installed"),
    pytest.mark.skipif(sys.platform == "win32", reason="signals"),
]
# Without a token: Ray asks for one where an earlier start on this machine has left one in the home folder.
ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1", "RAY_AUTH_MODE": "disabled"}
ROOT = Path(__file__).parents[2]


def start_node(*words: str) -> subprocess.Popen[bytes]:
    """Start a node of one core that stays in the foreground, in a process group of its own."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1", "--disable-usage-stats"]
    command += ["--object-store-memory=100000000", *words]
    return subprocess.Popen(
        command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def end_node(node: subprocess.Popen[bytes]) -> None:
    """Kill a node with everything that it started."""
    os.killpg(node.pid, signal.SIGKILL)
    node.wait()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def cluster() -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """The address of a cluster of two nodes, and the nodes; only the first may not be killed."""
    port = free_port()
    # A short path, because Ray puts sockets in it.
    scratch = f"/tmp/ray{port}"
    head = ("--head", "--node-ip-address=127.0.0.1", f"--port={port}", "--include-dashboard=false")
    nodes = [start_node(*head, f"--temp-dir={scratch}")]
    wait_for_port(port)
    nodes.append(start_node(f"--address=127.0.0.1:{port}", "--node-ip-address=127.0.0.1"))
    yield f"127.0.0.1:{port}", nodes
    for node in nodes:
        if node.poll() is None:
            end_node(node)


def wait_for_port(port: int) -> None:
    limit = time.monotonic() + 120
    while time.monotonic() < limit:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError("the head node did not start")


def shards(job: Job) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (job.folder / "shards").iterdir()}


def run_on(address: str, job: Job) -> None:
    """`run_ray` in a process of its own, since a process joins one cluster in its life."""
    code = (
        "import sys; from pathlib import Path; from mobilesam.shards.worker import ShardCrew\n"
        "from mobilesam.annotate.work import begin\n"
        "from mobilesam.engines.ray import run_ray\n"
        "run_ray(ShardCrew(Path(sys.argv[1]), begin), 2, 1, lambda: None, address=sys.argv[2])"
    )
    done = in_process(code, str(job.folder), address)
    assert done.returncode == 0, done.stderr[-3000:]


def environment() -> dict[str, str]:
    """Of a process that runs this package and the tests' helpers."""
    return {**os.environ, **ENVIRONMENT, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}:{os.environ.get('PYTHONPATH', '')}"}


def in_process(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        env=environment(), capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("victim", ["worker", "node"])
def test_two_nodes_write_what_one_process_writes_whatever_is_killed(
    victim, cluster, photos, detections, small, tmp_path
) -> None:
    from mobilesam.shards.worker import run_worker

    alone = plan(photos, tmp_path / "alone", small, detections, shard_photos=1)
    run_worker(alone.folder, begin, threads=1)
    job = plan(photos, tmp_path / "out", small, detections, shard_photos=1)
    address, nodes = cluster

    def kill_it(pid: int) -> None:
        """Kill the process that holds a shard, or the second node while shards are held."""
        if victim == "worker":
            os.kill(pid, signal.SIGKILL)
        else:
            end_node(nodes[1])

    with killing_a_writer(job.folder / "claims", kill_it) as killed:
        run_on(address, job)
    assert killed
    assert shards(job) == shards(alone)
    assert read_status(job.folder).is_complete


@pytest.fixture(scope="module")
def gpu_node() -> Iterator[str]:
    """The address of a cluster of one node with two GPUs, which are only a number: Ray believes it."""
    port = free_port()
    words = ("--head", "--node-ip-address=127.0.0.1", f"--port={port}", f"--temp-dir=/tmp/ray{port}", "--num-gpus=2")
    head = start_node(*words, "--include-dashboard=false")
    wait_for_port(port)
    yield f"127.0.0.1:{port}"
    end_node(head)


def run_crew(crew: str, folder: Path, address: str, more: str = "") -> subprocess.CompletedProcess[str]:
    """`run_ray` with a job of `tests.helpers.crews`."""
    code = (
        "import sys; from pathlib import Path; from mobilesam.engines import ray\n"
        "from tests.helpers import crews\n"
        "ray.PATIENCE = 0\n"
        f"ray.run_ray(crews.{crew}(Path(sys.argv[1])), 1, address=sys.argv[2], watch=lambda: None, {more})"
    )
    return in_process(code, str(folder), address)


def test_a_worker_that_dies_while_it_loads_its_model_is_not_started_for_ever(gpu_node, tmp_path) -> None:
    done = run_crew("Dying", tmp_path, gpu_node, "threads=1")
    assert done.returncode == 1
    assert "a worker died 3 times before it finished a shard" in done.stderr
    assert len(list(tmp_path.iterdir())) == 3


def test_more_threads_than_any_node_has_are_refused(gpu_node, tmp_path) -> None:
    done = run_crew("Dying", tmp_path, gpu_node, "threads=2")
    assert done.returncode == 1
    assert "no node of the Ray cluster has the 2 CPUs and 0 GPUs that a worker asks for" in done.stderr
    assert not list(tmp_path.iterdir())


def test_each_worker_gets_a_gpu_where_its_model_runs_on_one(gpu_node, tmp_path) -> None:
    done = run_crew("Seeing", tmp_path, gpu_node, "threads=1, device='auto'")
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "seen").read_text() in ("0", "1")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_on_ray_that_is_stopped_leaves_no_claim_and_no_counted_try(
    number, gpu_node, photos, small, tmp_path
) -> None:
    """While its actor writes the first shard; three such stops would set the shard aside if they counted."""
    out = tmp_path / "run"
    words = [sys.executable, "-m", "mobilesam", "annotate", str(photos), "-o", str(out), "--image-size", "256"]
    words += ["--engine", "ray", "--workers", "1", "--set", "points_per_side=64"]
    words += ["--address", gpu_node] if number == signal.SIGTERM else []  # once with a Ray of its own
    process = subprocess.Popen(words, env=environment(), stderr=subprocess.PIPE, text=True, start_new_session=True)
    limit = time.monotonic() + 120
    while not (out / "claims").is_dir() or not list((out / "claims").glob("*.tries")):
        assert time.monotonic() < limit
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 128 + number, told
    assert "stopped: what is finished stays" in told
    assert [path.read_text() for path in (out / "claims").iterdir()] == [""]  # no claim, and no try
    assert not list((out / "shards").iterdir())


def test_what_a_worker_asks_for_depends_on_its_device() -> None:
    from mobilesam.engines.ray import needs

    assert needs(2, "cpu", {"GPU": 8}) == {"CPU": 2, "GPU": 0}
    assert needs(1, "cuda", {}) == {"CPU": 1, "GPU": 1}
    assert needs(1, "cuda:0", {}) == {"CPU": 1, "GPU": 1}
    assert needs(1, "auto", {"GPU": 8}) == {"CPU": 1, "GPU": 1}
    assert needs(1, "auto", {"CPU": 8}) == {"CPU": 1, "GPU": 0}


def node(cpus: float, gpus: float, alive: bool = True) -> dict[str, object]:
    return {"Alive": alive, "Resources": {"CPU": cpus, "GPU": gpus}}


def test_a_node_that_is_busy_or_starts_late_is_waited_for_and_others_are_no_room(monkeypatch) -> None:
    from mobilesam.engines import ray
    from mobilesam.errors import SettingsError

    monkeypatch.setattr(ray, "POLL", 0.0)
    looks = iter([[node(2, 0)], [node(2, 0), node(8, 1, alive=False)], [node(2, 0), node(8, 1)]])
    ray.wait_for_room(lambda: next(looks), {"CPU": 4, "GPU": 1}, 60)
    with pytest.raises(SettingsError, match=r"the 4 CPUs and 1 GPUs .* no node has more than 16 CPUs and 1 GPUs"):
        ray.wait_for_room(lambda: [node(2, 1), node(16, 0)], {"CPU": 4, "GPU": 1}, 0)
