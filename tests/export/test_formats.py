"""Every format at the smallest size: it loads, agrees with torch, and says what it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import mobilesam
from mobilesam.choices import ExportFormat, StoredPrecision
from mobilesam.errors import ExportError, ImageError, MissingExtraError, ModelError, OutputError, SettingsError
from mobilesam.export import formats, tracing
from mobilesam.export.agreement import Agreement, Reference
from mobilesam.export.draft import Check, Draft
from mobilesam.export.fixed_check import measure_errors
from mobilesam.export.formats import FORMATS, export_as
from mobilesam.extras import is_installed
from mobilesam.integrity import CHECKPOINTS, check_files
from mobilesam.model import checkpoint
from mobilesam.model.config import TINY
from mobilesam.model.sam import Sam
from mobilesam.predict.load import verify
from tests.helpers.closeness import assert_same_function
from tests.helpers.networks import with_positions

ANY = Check(force=True)  # masks of random weights say little about int8
needs_openvino = pytest.mark.skipif(not is_installed("openvino"), reason="needs the extra openvino")
CASES = [
    ("onnx", "int8-weights"),
    ("onnx", "mixed"),
    ("onnx", "int8"),
    ("ort", "float32"),
    ("ort", "float16"),
    ("ort", "int8-weights"),
    pytest.param("openvino", "float32", marks=needs_openvino),
    pytest.param("openvino", "float16", marks=needs_openvino),
    pytest.param("openvino", "int8-weights", marks=needs_openvino),
]
PROMPTS: list[dict[str, Any]] = [
    {"points": [(300, 180)]},
    {"points": [(10, 10), (590, 390), (300, 20)], "labels": [1, 0, 1]},
    {"box": (170, 15, 410, 310)},
    {"box": (170, 15, 410, 310), "points": [(290, 120), (5, 5)], "labels": [1, 0]},
]


@pytest.fixture(scope="module")
def attentive(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest network, with attention biases that are not zero."""
    path = tmp_path_factory.mktemp("attentive") / "attentive.safetensors"
    checkpoint.save(with_positions(checkpoint.load(tiny_checkpoint)), path)
    return path


def test_the_table_has_every_format_of_the_command() -> None:
    assert list(FORMATS) == list(get_args(ExportFormat))


@pytest.mark.parametrize(("form", "precision"), CASES)
def test_a_pair_loads_and_answers_as_torch(form, precision, attentive: Path, tmp_path: Path, coffee: Path) -> None:
    files = export_as(checkpoint.load(attentive), tmp_path, form, licence="MIT", precision=precision, check=ANY)
    assert files[-1].name == "model.json"
    card = json.loads(files[-1].read_text())
    assert (card["format"], card["precision"], card["licence"]) == (form, precision, "MIT")
    assert card["masks"]["num_masks"] >= 50
    assert sorted(check_files(tmp_path)) == sorted(path.name for path in files[:-1])
    # "auto" is the runtime of the folder, also where a quick start would take onnxruntime.
    sam = mobilesam.load(tmp_path, backend="onnx" if form == "onnx" else "auto", quick_start=form == "openvino")
    assert type(sam.backend).__name__ == ("OpenVinoBackend" if form == "openvino" else "OnnxBackend")
    assert verify(tmp_path)[0].endswith("and load")
    if form != "onnx":
        errors = measure_errors(sam.backend, checkpoint.load(attentive))
        assert card["verified"] == pytest.approx(errors, rel=0.1, abs=1e-5), "of the runtime that runs the files"
    assert sam.info.weights_sha256 == mobilesam.load(attentive).info.weights_sha256
    if precision == "float32":
        found, expected = sam.embed(coffee), mobilesam.load(attentive).embed(coffee)
        assert_same_function(found.array, expected.array)
        prior = expected.predict(points=[(200, 90)])
        for prompt in (*PROMPTS, {"points": [(300, 180)], "prior": prior}):
            answers = [image.predict(**prompt, zoom=False).low_res for image in (found, expected)]
            assert_same_function(*answers)
    else:
        assert card["masks"]["iou"] > 0.9


@needs_openvino
def test_a_runtime_that_computes_something_else_is_refused(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mobilesam.predict.openvino import OpenVinoBackend

    encode = OpenVinoBackend.encode
    monkeypatch.setattr(OpenVinoBackend, "encode", lambda self, image: encode(self, image) * np.float32(1.01))
    with pytest.raises(ExportError, match="embedding: OpenVINO and torch differ by 1"):
        export_as(checkpoint.load(tiny_checkpoint), tmp_path, "openvino", licence="x", check=ANY)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("form", "module"), [("litert", "ai_edge_quantizer"), ("executorch", "torchao")])
def test_a_converter_that_is_missing_is_named_by_its_extra(
    form: ExportFormat, module: str, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mobilesam.extras.find_spec", lambda name: None if name == module else object())
    with pytest.raises(MissingExtraError, match=rf"the format {form} needs .*\[{form}\]"):
        export_as(checkpoint.load(tiny_checkpoint), tmp_path, form, licence="x", precision="int8")


@pytest.mark.parametrize("form", ["litert", "executorch", "coreml"])
def test_converters_are_pinned_to_the_versions_that_were_tried(form: ExportFormat) -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    extra = text.partition(f"\n{FORMATS[form].extra} = [")[2].partition("\n]")[0]
    for module in FORMATS[form].modules:
        assert f'"{module.replace("_", "-")}==' in extra


@pytest.mark.parametrize(("form", "precision"), [("onnx", "mixed"), ("onnx", "int8"), ("ort", "float32")])
def test_what_does_not_hold_the_weights_is_no_checkpoint(
    form, precision, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    export_as(checkpoint.load(tiny_checkpoint), tmp_path, form, licence="x", precision=precision, check=ANY)
    with pytest.raises(ModelError, match="is no checkpoint"):
        checkpoint.load(tmp_path)
    with pytest.raises(ModelError, match="is no checkpoint"):
        mobilesam.load(tmp_path, backend="torch")


def test_the_convolutions_of_an_efficientnet_compute_in_int8(tiny_lite_checkpoint: Path, tmp_path: Path) -> None:
    export_as(checkpoint.load(tiny_lite_checkpoint), tmp_path, "onnx", licence="x", precision="int8", check=ANY)
    nodes = [node.op_type for node in onnx.load(tmp_path / "encoder.onnx").graph.node]
    assert nodes.count("QuantizeLinear") > 5
    nodes = [node.op_type for node in onnx.load(tmp_path / "decoder.onnx").graph.node]
    assert nodes.count("MatMulInteger") > 5
    assert not (tmp_path / "decoder_many.onnx").exists()


def test_masks_that_agree_too_little_are_refused_unless_forced(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, coffee: Path
) -> None:
    bad = Agreement(0.9, 0.5, 0.9, 0.9, 100)
    monkeypatch.setattr(Reference, "agreement", lambda self, backend: bad)
    sam = checkpoint.load(tiny_checkpoint)
    with pytest.raises(ExportError, match=r"IoU 0.900 .* below 0.95: .*--force"):
        export_as(sam, tmp_path, "onnx", licence="x", precision="int8")
    assert not list(tmp_path.iterdir())
    export_as(sam, tmp_path, "onnx", licence="x", precision="int8", check=Check([coffee], force=True))
    card = json.loads((tmp_path / "model.json").read_text())
    assert (card["masks"]["iou"], card["masks"]["photos"]) == (0.9, 1)


def test_wrong_wishes_are_refused_before_anything_is_written(tiny_checkpoint: Path, tmp_path: Path) -> None:
    sam = checkpoint.load(tiny_checkpoint)
    with pytest.raises(SettingsError, match="format sam has the precisions float32, float16, not int8"):
        export_as(sam, tmp_path / "a", "sam", licence="x", precision="int8")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "encoder.ort").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"encoder\.ort"):
        export_as(sam, tmp_path / "b", "ort", licence="x")
    assert not (tmp_path / "a").exists()
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["encoder.ort"]


@pytest.fixture(scope="module")
def plain(tiny_lite_checkpoint: Path) -> Sam:
    """A network for writers that leave it as it is."""
    return checkpoint.load(tiny_lite_checkpoint)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every format is written at once, as a file that says nothing."""

    def write_files(draft: Draft) -> None:
        (draft.folder / "written.txt").write_text("contract_version")

    writer = SimpleNamespace(FILES=("written.txt",), write_files=write_files)
    monkeypatch.setattr(formats, "import_module", lambda name: writer)
    monkeypatch.setattr(formats, "require", lambda *_: None)
    monkeypatch.setattr(Draft, "reference", None)


@pytest.mark.parametrize(("form", "system"), [*((form, "Linux") for form in FORMATS), ("coreml", "Darwin")])
def test_no_option_is_without_effect_in_silence(
    form: ExportFormat, system: str, written, plain: Sam, tmp_path: Path, coffee: Path, monkeypatch
) -> None:
    monkeypatch.setattr("platform.system", lambda: system)
    entry = FORMATS[form]
    for precision in get_args(StoredPrecision):
        folder = tmp_path / precision
        asked = (plain, folder, form)
        if precision not in entry.precisions:
            with pytest.raises(SettingsError, match=f"has the precisions .*, not {precision}"):
                export_as(*asked, licence="x", precision=precision)
            continue
        # A pair in float32 is compared number by number only, and CoreML runs on macOS only.
        is_silent = (precision == "float32" and form in CHECKPOINTS) or (form == "coreml" and system == "Linux")
        for check, option in ((Check([coffee]), "--calibration"), (Check(force=True), "--force")):
            if is_silent:
                with pytest.raises(SettingsError, match=f"format {form} .* compares no masks, so {option} would"):
                    export_as(*asked, licence="x", precision=precision, check=check)
                assert not folder.exists()
            else:
                export_as(*asked, licence="x", precision=precision, check=check)
        with pytest.raises(ImageError, match=r"'nope' does not exist"):
            export_as(*asked, licence="x", precision=precision, check=Check([Path("nope")]))


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_takes_a_licence_and_an_image_size_or_refuses_it(
    form: ExportFormat, written, plain: Sam, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {"licence": "MIT", "image_size": 320}
    if FORMATS[form].image_size is not None:
        with pytest.raises(SettingsError, match="leave --image-size 320 out"):
            export_as(plain, tmp_path, form, **asked)
        return
    export_as(plain, tmp_path, form, **asked)
    card = json.loads((tmp_path / "model.json").read_text())
    assert (card["licence"], card["image_size"], card["format"]) == ("MIT", 320, form)


def test_attention_biases_are_not_written_out_for_each_pair_of_cells(tiny_checkpoint: Path, tmp_path: Path) -> None:
    from mobilesam.export import ort as exporting

    sam = with_positions(checkpoint.load(tiny_checkpoint))
    biases = [value for name, value in sam.state_dict().items() if name.endswith("attention_biases")]
    assert biases
    export_as(sam, tmp_path / "kept", "ort", licence="x")
    kept = (tmp_path / "kept" / "encoder.ort").read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "grows", lambda weight: False)
        export_as(sam, tmp_path / "folded", "ort", licence="x")
    assert all(value.numpy().astype(np.float32).tobytes() in kept for value in biases)
    folded = (tmp_path / "folded" / "encoder.ort").read_bytes()
    assert not all(value.numpy().astype(np.float32).tobytes() in folded for value in biases)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of a network with windows of MobileSAM's size, whose biases for each pair of cells are 100 times as many:
    the mobile format in int8-weights, and the pair that it comes from."""
    torch.manual_seed(0)
    encoder = replace(TINY.encoder, window_sizes=(3, 3, 14, 3))
    folder = tmp_path_factory.mktemp("wide")
    for form in ("ort", "onnx"):
        sam = with_positions(Sam(replace(TINY, encoder=encoder)))
        export_as(sam, folder / form, form, licence="x", precision="int8-weights", check=ANY)
    return folder


def test_a_mobile_file_of_weights_in_a_byte_each_does_not_grow(wide: Path) -> None:
    pair, mobile = ((wide / form / f"encoder.{form}").stat().st_size for form in ("onnx", "ort"))
    assert mobile < pair + 2 * 196 * 196 * 4 / 2  # written out, the biases of two heads take twice that


@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_small_weights_of_a_mobile_file_need_no_step_in_every_call(wide: Path, half: str, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.optimized_model_filepath = str(tmp_path / "same.onnx")  # the mobile format, written as a graph to read
    onnxruntime.InferenceSession(str(wide / "ort" / f"{half}.ort"), options)
    graph = onnx.load(tmp_path / "same.onnx").graph
    sizes = {weight.name: np.prod(weight.dims) for weight in graph.initializer}
    known, steps = set(sizes), []
    for node in graph.node:  # what depends on weights alone is computed in every call
        if known.issuperset(node.input):
            known.update(node.output)
            steps.append(node)
    assert "Split" not in {node.op_type for node in steps}
    assert all(sizes.get(node.input[0], 0) >= 1024 for node in steps if node.op_type == "Cast")


def test_a_mobile_file_that_no_reader_could_open_is_refused_early(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "PROTOBUF_LIMIT", 1000)
    monkeypatch.setattr("mobilesam.export.ort.write_pair", lambda *_: pytest.fail("too late"))
    with pytest.raises(ExportError, match=r"a file of the format ort holds less than 2 GB; choose --precision float16"):
        export_as(checkpoint.load(tiny_checkpoint), tmp_path, "ort", licence="x")
    assert not list(tmp_path.iterdir())


@needs_openvino
def test_openvinos_own_files_keep_a_byte_for_each_weight(tiny_checkpoint: Path, tmp_path: Path) -> None:
    sizes = {}
    for precision in ("float32", "int8-weights"):
        sam, folder = checkpoint.load(tiny_checkpoint), tmp_path / precision
        export_as(sam, folder, "openvino", licence="x", precision=precision, check=ANY)
        sizes[precision] = sum(path.stat().st_size for path in folder.glob("*.bin"))
    weights = sum(value.numel() for value in sam.state_dict().values() if value.numel() >= 1024)
    assert sizes["int8-weights"] < sizes["float32"] - 2.5 * weights
