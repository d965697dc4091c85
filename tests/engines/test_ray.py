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
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
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
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(job.folder), address],
        env=environment, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


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
