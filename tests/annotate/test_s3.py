"""Object stores, against moto's server: a program of its own that speaks S3 over HTTP."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from mobilesam.annotate.plan import make_plan
from mobilesam.annotate.report import results_of, write_coco
from mobilesam.annotate.settings import AnnotateSettings
from mobilesam.annotate.worker import run_worker
from mobilesam.remote import filesystem, find, open_url
from tests.helpers.annotating import CHOICE, plan
from tests.helpers.scenes import write_shard

pytestmark = pytest.mark.skipif(
    not (find_spec("moto") and find_spec("s3fs")), reason="moto's server and s3fs are not installed"
)


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """The address of an empty bucket."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    values = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    found, _ = filesystem("s3://photos")
    found.mkdir("photos")
    yield "s3://photos"
    server.kill()
    server.wait()
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


def put(source: Path, url: str) -> None:
    """Upload a file, or the files of a folder under a prefix."""
    found, path = filesystem(url)
    for file in [source] if source.is_file() else source.rglob("*.*"):
        found.put_file(str(file), path if source.is_file() else f"{path}/{file.relative_to(source).as_posix()}")
    found.invalidate_cache()


@pytest.mark.parametrize("form", ["sa1b", "parquet"])
def test_photos_and_results_in_a_store_give_what_the_disk_gives(
    form, store, photos, detections, small, tmp_path
) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    put(photos, f"{store}/{form}/photos")
    put(write_shard(tmp_path / "s.tar", 2), f"{store}/{form}/photos/s.tar")
    settings = AnnotateSettings(prompts="given", form=form, shard_photos=2)
    inputs, results = [f"{store}/{form}/photos/"], f"{store}/{form}/masks"
    job = make_plan(inputs, tmp_path / "out", small, CHOICE, settings, prompts=detections, results=results)
    run_worker(job.folder, threads=1)
    found = [one for i in range(job.num_shards) for one in results_of(job, i)]
    there = {task.photo.path: records for task, _, records in found}

    local = plan(photos, tmp_path / "local", small, detections, form=form)
    run_worker(local.folder, threads=1)
    here = {task.photo.path: records for i in range(local.num_shards) for task, _, records in results_of(local, i)}
    keys = ("segmentation", "area", "prompt_id", "category_id")
    for name, records in here.items():
        assert [[r[k] for k in keys] for r in there[name]] == [[r[k] for k in keys] for r in records]
    assert len(list(find(results))) == job.num_shards == 4
    assert "photo_00" in write_coco(job).read_text()
    assert not list((tmp_path / "out" / "shards").iterdir())


def test_an_object_that_changed_after_the_plan_is_an_error(store, photos, small, tmp_path) -> None:
    put(photos, f"{store}/changed")
    job = make_plan([f"{store}/changed"], tmp_path / "out", small, CHOICE, AnnotateSettings())
    (photos / "a.png").write_bytes(b"another")
    put(photos, f"{store}/changed")
    run_worker(job.folder, threads=1)
    assert "changed after" in job.done_file(job.names[0]).read_text()


def test_a_missing_object_is_an_oserror(store) -> None:
    with pytest.raises(OSError, match="nothing"):
        open_url(f"{store}/nothing.jpg").read()
