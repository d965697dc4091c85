from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mobilesam
from mobilesam import contract
from mobilesam.choices import BackendName
from mobilesam.errors import ModelError, SettingsError
from mobilesam.predict.backend import Precision, computed_precision
from mobilesam.predict.identity import runtime_of
from tests.helpers.closeness import assert_same_function

pytest.importorskip("openvino")
openvino = pytest.importorskip("mobilesam.predict.openvino")  # which imports it
BUILTIN = Path(mobilesam.__file__).parent / "builtin"


@pytest.fixture(scope="module")
def in_openvino() -> mobilesam.Predictor:
    return mobilesam.load(backend="openvino", threads=1)


def test_it_answers_as_onnxruntime_does(
    in_openvino: mobilesam.Predictor, embedded: mobilesam.Predictor, coffee: Path
) -> None:
    assert in_openvino.info == embedded.info
    images = [sam.embed(coffee) for sam in (in_openvino, embedded)]
    assert_same_function(images[0].array, images[1].array)
    two = {"points": [(290, 120), (5, 5)], "labels": [1, 0]}
    for prompt in ({"points": [(290, 120)]}, {"box": (170, 15, 410, 310)}, two):
        ours, theirs = (image.predict(**prompt) for image in images)
        assert_same_function(ours.low_res, theirs.low_res)
        assert_same_function(ours.scores, theirs.scores)


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_the_memory_of_a_model_is_free_as_soon_as_nobody_has_it(backend: BackendName, coffee: Path) -> None:
    gc.collect()
    gc.disable()  # which would find a cycle, sooner or later
    try:
        sam = mobilesam.load(backend=backend, threads=1)
        sam.embed(coffee).predict(points=[(290, 120)])
        gone = weakref.ref(sam.backend)
        del sam
        assert gone() is None
    finally:
        gc.enable()


def test_bfloat16_is_close_where_the_processor_has_it(
    embedded: mobilesam.Predictor, in_openvino: mobilesam.Predictor, coffee: Path, said
) -> None:
    rough = mobilesam.load(backend="openvino", threads=1, precision="bfloat16")
    images = [sam.embed(coffee) for sam in (rough, embedded)]
    ours, theirs = (image.predict(box=(170, 15, 410, 310)).best.array for image in images)
    assert (ours & theirs).sum() / (ours | theirs).sum() > 0.97
    is_exact = np.array_equal(images[0].array, in_openvino.embed(coffee).array)
    assert is_exact is not openvino.has_bfloat16()
    assert runtime_of(rough.backend).precision == ("bfloat16" if openvino.has_bfloat16() else "float32")
    assert ("OpenVINO has no fast bfloat16" in said.text) is not openvino.has_bfloat16()


@pytest.mark.parametrize(("can", "found"), [(["FP32", "BF16"], "bfloat16"), (["FP32", "INT8"], "float32")])
def test_a_processor_without_bfloat16_computes_in_float32(
    monkeypatch: pytest.MonkeyPatch, said, can: list[str], found: str
) -> None:
    class Processor:
        def get_property(self, device: str, name: str) -> list[str]:
            assert (device, name) == ("CPU", "OPTIMIZATION_CAPABILITIES")
            return can

    monkeypatch.setattr(openvino, "shared_core", Processor)
    assert computed_precision("bfloat16", "OpenVINO", openvino.has_bfloat16) == found
    assert len(said.records) == (found == "float32")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_masks_are_those_of_the_prompts_whose_returned_score_passes(precision: Precision, coffee: Path) -> None:
    sam = mobilesam.load(backend="openvino", threads=1, precision=precision)
    image = sam.embed(coffee)
    points = np.random.default_rng(0).uniform((0, 0), (600, 400), (24, 2))
    everyone = dict(image.predict_points(points, min_score=-np.inf))
    best = [prediction.scores.max() for prediction in everyone.values()]
    for threshold in sorted(best)[:-1]:  # exactly at a score: the hardest to get right in fewer digits
        found = dict(image.predict_points(points, min_score=float(threshold)))
        assert set(found) >= {i for i, score in enumerate(best) if score > threshold + 0.02}
        for i, prediction in found.items():
            np.testing.assert_allclose(prediction.low_res, everyone[i].low_res, atol=0.3)


def test_threads_share_it(in_openvino: mobilesam.Predictor, coffee: Path) -> None:
    image = in_openvino.embed(coffee)
    points = [(x, y) for x in range(40, 600, 80) for y in (60, 200)]
    alone = [image.predict(points=[p]).low_res for p in points]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda p: image.predict(points=[p]).low_res, points))
    for a, b in zip(alone, together, strict=True):
        assert_same_function(b, a)


needs_two_cores = pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2 if sys.platform == "linux" else os.cpu_count() == 1,
    reason="on one thread OpenVINO does not refuse wrong shapes, but reads beyond them",
)


def wrong_feed(sam: mobilesam.Predictor, embedding: np.ndarray) -> dict[str, np.ndarray]:
    """Three points, two labels: stands for what no check foresees, such as memory that runs out."""
    side = sam.info.low_res
    shapes = (embedding.shape, (1, 3, 2), (1, 2), (1, 1, side, side), (1,))
    feed = {name: np.zeros(shape, np.float32) for name, shape in zip(contract.DECODER_INPUTS, shapes, strict=True)}
    return feed | {contract.DECODER_MIN_SCORE: np.array(-np.inf, np.float32)}


@needs_two_cores
def test_a_call_that_fails_does_not_spoil_the_next(coffee: Path) -> None:
    sam = mobilesam.load(backend="openvino")  # threads as it likes
    backend: Any = sam.backend
    image = sam.embed(coffee)
    before = image.predict(points=[(290, 120)]).low_res
    for _ in range(2):
        with suppress(RuntimeError):
            backend._run(backend._decoder, wrong_feed(sam, image.array), contract.DECODER_OUTPUTS)
        assert_same_function(image.predict(points=[(290, 120)]).low_res, before)


@needs_two_cores
def test_calls_that_fail_in_one_thread_do_not_spoil_those_of_others(coffee: Path) -> None:
    sam = mobilesam.load(backend="openvino")
    backend: Any = sam.backend
    image = sam.embed(coffee)
    before = image.predict(points=[(290, 120)]).low_res

    def call(i: int) -> np.ndarray | None:
        if i % 8 == 3:
            with suppress(RuntimeError):
                backend._run(backend._decoder, wrong_feed(sam, image.array), contract.DECODER_OUTPUTS)
            return None
        return image.predict(points=[(290, 120)]).low_res

    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(call, range(16)):
            if found is not None:
                assert_same_function(found, before)


AT_ONCE = """
import sys, threading
import numpy as np
import mobilesam
sam = mobilesam.load(backend="openvino", threads=1, image_size=256)
sys.setswitchinterval(1e-6)
start = threading.Barrier(8)
image = np.zeros((1, 3, 256, 256), np.float32)
def call():
    start.wait()
    sam.backend.encode(image)
threads = [threading.Thread(target=call, daemon=True) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


@pytest.mark.parametrize("turn", range(3))  # it hung in one of three
def test_threads_may_come_at_once_to_the_first_inference(turn: int) -> None:
    subprocess.run([sys.executable, "-c", AT_ONCE], check=True, timeout=120)


SIGNALLED = """
import os, signal
import mobilesam
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
first = mobilesam.load(backend="openvino", threads=1)
second = mobilesam.load(backend="openvino", threads=1)
del first
del second
os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_signal_is_survived_after_models_are_gone() -> None:
    result = subprocess.run([sys.executable, "-c", SIGNALLED], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "handled\n"), result.stderr


def test_what_is_damaged_missing_or_not_offered_is_refused(tmp_path: Path) -> None:
    for name in ("encoder.onnx", "decoder.onnx"):
        shutil.copy(BUILTIN / name, tmp_path / name)
    (tmp_path / "decoder.onnx").write_bytes(b"broken")
    with pytest.raises(ModelError, match=r"decoder\.onnx is damaged"):
        mobilesam.load(tmp_path, backend="openvino")
    (tmp_path / "decoder.onnx").unlink()
    with pytest.raises(ModelError, match="does not exist"):
        mobilesam.load(tmp_path, backend="openvino")
    with pytest.raises(ModelError, match="runs on the CPU"):
        mobilesam.load(backend="openvino", device="cuda")
    with pytest.raises(SettingsError, match="known: float32, bfloat16"):
        mobilesam.load(backend="openvino", precision="int4")
    with pytest.raises(SettingsError, match="needs torch or openvino"):
        mobilesam.load(backend="onnx", precision="bfloat16")
    with pytest.raises(SettingsError, match="needs torch or openvino"):
        mobilesam.load(backend="litert", precision="bfloat16")
