"""LiteRT, ExecuTorch and CoreML themselves, where their extras are installed: exported, run, compared."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
import torch
from torch import fx

import mobilesam
from mobilesam import contract
from mobilesam.choices import BackendName, ExportFormat, StoredPrecision
from mobilesam.errors import ExportError, ModelError, SettingsError
from mobilesam.export import small_weights
from mobilesam.export.draft import Check
from mobilesam.export.executorch import is_large
from mobilesam.export.fixed_pair import FixedGraph, graphs
from mobilesam.export.formats import FORMATS, compares_masks, export_as
from mobilesam.model import checkpoint
from mobilesam.model.config import MOBILE_SAM, TINY
from mobilesam.model.sam import Sam
from tests.helpers.closeness import assert_same_function, assert_same_masks
from tests.helpers.networks import TINY_VIT, with_positions

pytestmark = pytest.mark.filterwarnings("ignore")  # converters warn of what they will remove

needs_litert = pytest.mark.skipif(not find_spec("litert_torch"), reason="the extra litert is not installed")
needs_executorch = pytest.mark.skipif(not find_spec("executorch"), reason="the extra executorch is not installed")
needs_coreml = pytest.mark.skipif(not find_spec("coremltools"), reason="the extra executorch is not installed")
RUNTIMES = [pytest.param("litert", marks=needs_litert), pytest.param("executorch", marks=needs_executorch)]
ALL = [*RUNTIMES, pytest.param("coreml", marks=needs_coreml)]
PRECISIONS = [
    pytest.param(form, precision, marks=mark)
    for form, mark in (("litert", needs_litert), ("executorch", needs_executorch), ("coreml", needs_coreml))
    for precision in FORMATS[form].precisions
    if precision != "float32"
]
ATTENTIVE = {"tiny": TINY, "tiny_vit": TINY_VIT}
"""Encoders with attention, as MobileSAM's and as SAM's own."""


class Exported(Protocol):
    """Converts a network of the smallest size to a format, once."""

    def __call__(self, form: ExportFormat, name: str = "tiny_lite") -> Path: ...


@pytest.fixture(scope="session")
def exported(tiny_lite_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The smallest network of a name in a format, converted once."""
    made: dict[tuple[str, str], Path] = {}

    def convert(form: ExportFormat, name: str = "tiny_lite") -> Path:
        if (form, name) not in made:
            sam = attentive(name) if name in ATTENTIVE else checkpoint.load(tiny_lite_checkpoint)
            folder = tmp_path_factory.mktemp(form)
            export_as(sam, folder, form, licence="Apache-2.0", precision="float32")
            made[form, name] = folder
        return made[form, name]

    return convert


def attentive(name: str) -> Sam:
    """A network of random weights, those of relative positions too."""
    torch.manual_seed(0)
    return with_positions(Sam(ATTENTIVE[name]))


@pytest.mark.parametrize("name", ["tiny_lite", *ATTENTIVE])
@pytest.mark.parametrize("form", RUNTIMES)
def test_the_runtime_answers_the_prompts_as_onnxruntime_does(
    form: BackendName, name: str, exported: Exported, coffee: Path
) -> None:
    folder = exported(form, name)
    card = json.loads((folder / "model.json").read_text())
    assert max(card["verified"].values()) < 1e-5
    images = [
        mobilesam.load(folder, threads=1, quick_start=True).embed(coffee),  # "auto" is the folder's own backend
        mobilesam.load(exported("onnx", name), backend="onnx", image_size=64).embed(coffee),
    ]
    for prompt in (
        {"points": [(300, 180)]},
        {"points": [(10, 10), (590, 390)], "labels": [1, 0]},
        {"box": (170, 15, 410, 310)},
        {"points": [(300, 180)], "zoom": True},
    ):
        found, expected = (image.predict(**prompt) for image in images)
        assert_same_masks(found.masks, expected.masks)


@pytest.mark.parametrize("form", RUNTIMES)
def test_the_command_segments_with_it(form: str, run: Any, exported: Exported, coffee: Path) -> None:
    folder = exported(form)
    code, out, err = run("segment", coffee, "-m", folder, "--backend", form, "--point", "300,180", "-o", "m.png")
    assert (code, Path("m.png").is_file()) == (0, True), out + err
    code, _, err = run("segment", coffee, "-m", folder, "--backend", form, *["--point", "300,180"] * 6, "-o", "n.png")
    assert code != 0
    assert "at most 5" in err


@pytest.mark.parametrize("form", RUNTIMES)
def test_the_benchmark_has_its_row(form: str, run: Any, tiny_lite_checkpoint: Path) -> None:
    code, out, err = run("bench", tiny_lite_checkpoint, "--format", form, "--format", "onnx", "--smoke", "--json")
    assert code == 0, err
    rows = json.loads(out)["rows"]
    assert {row["backend"] for row in rows} >= {form, "onnx"}
    assert all(row["click_ms"] > 0 and row["iou"] > 0.999 for row in rows)


@pytest.mark.parametrize("form", RUNTIMES)
def test_the_files_are_verified_in_the_runtime(form: BackendName, run: Any, exported: Exported) -> None:
    code, out, err = run("models", "verify", exported(form))
    assert code == 0, err
    assert out.rstrip().endswith("and load")


@needs_executorch
def test_executorch_computes_with_the_threads_that_it_is_given(exported: Exported, coffee: Path) -> None:
    from executorch.extension.pybindings.portable_lib import _threadpool_get_thread_count as count

    from mobilesam.predict.executorch import DEFAULT_THREADS

    gc.collect()  # models of tests before this one
    found = []
    for threads in (1, 3, 2):
        sam = mobilesam.load(exported("executorch"), threads=threads)
        assert count() == threads
        found.append(sam.embed(coffee).predict(points=[(300, 180)]).low_res)
        with pytest.raises(SettingsError, match=f"another model is open with {threads}, not 5"):
            mobilesam.load(exported("executorch"), threads=5)
        assert count() == threads
        mobilesam.load(exported("executorch")).embed(coffee)  # no number is asked for: any will do
        del sam
        gc.collect()
    mobilesam.load(exported("executorch"))
    assert count() == DEFAULT_THREADS
    assert_same_function(found[0], found[1])
    assert_same_function(found[0], found[2])


@pytest.mark.parametrize("form", RUNTIMES)
def test_a_file_that_is_no_model_is_refused(form: BackendName, exported: Exported, tmp_path: Path) -> None:
    folder = exported(form)
    card = json.loads((folder / "model.json").read_text())
    del card["sha256"]
    (tmp_path / "model.json").write_text(json.dumps(card))
    for file in folder.glob("[de]*coder.*"):
        (tmp_path / file.name).write_bytes(b"broken" * 100)
    with pytest.raises(ModelError, match=r"encoder\.\w+ is damaged or no "):
        mobilesam.load(tmp_path, backend=form)


@pytest.mark.parametrize(("form", "precision"), PRECISIONS)
def test_smaller_numbers_keep_the_masks_and_say_how_well(
    form: ExportFormat, precision: StoredPrecision, exported: Exported, tiny_lite_checkpoint: Path, tmp_path: Path
) -> None:
    sam, check = checkpoint.load(tiny_lite_checkpoint), Check(force=compares_masks(form, precision))
    export_as(sam, tmp_path, form, licence="x", precision=precision, check=check)
    card = json.loads((tmp_path / "model.json").read_text())
    assert card["precision"] == precision
    # Not by IoU: the logits of random weights are all near 0. The full sizes are judged by it, and so is ExecuTorch's
    # int8, which rounds what goes into convolutions by one scale for all channels: too coarse for random weights.
    if form != "coreml" and (form, precision) != ("executorch", "int8"):
        assert max(card["verified"].values()) < 0.2
    if form != "coreml":
        assert "masks" in card
    assert size(tmp_path) < size(exported(form))


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@needs_litert
@pytest.mark.parametrize("precision", ["int8-weights", "int8"])
def test_small_weights_of_a_tflite_file_stay_in_float16(
    tiny_lite_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: StoredPrecision
) -> None:
    from ai_edge_litert import schema_py_generated as schema

    for name in ("FEW", "FEW_DEPTHWISE"):
        monkeypatch.setattr(small_weights, name, 512)  # between the sizes of the smallest network
    sam, check = checkpoint.load(tiny_lite_checkpoint), Check(force=True)
    export_as(sam, tmp_path, "litert", licence="x", precision=precision, check=check)
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel((tmp_path / "encoder.tflite").read_bytes(), 0))
    sizes: dict[int, list[int]] = {}
    for tensor in model.subgraphs[0].tensors:
        if model.buffers[tensor.buffer].data is not None and len(tensor.shape) > 1:
            sizes.setdefault(tensor.type, []).append(int(np.prod(tensor.shape)))
    assert min(sizes[schema.TensorType.INT8]) >= 512 > max(sizes[schema.TensorType.FLOAT16])


def test_small_weights_stay_out_of_int8_in_executorch() -> None:
    def step(*shape: int) -> fx.Node:
        graph = fx.Graph()
        weight = graph.create_node("get_attr", "weight")
        weight.meta["val"] = torch.zeros(shape)
        return graph.call_function(torch.ops.aten.conv2d.default, (graph.placeholder("x"), weight))

    assert not is_large("encoder", step(32, 3, 3, 3))
    assert is_large("encoder", step(1200, 1, 3, 3)), "depthwise"
    assert is_large("encoder", step(200, 100))
    assert not is_large("decoder", step(16, 32))
    assert is_large("decoder", step(32, 32))


@needs_litert
def test_a_tflite_file_has_named_inputs_metadata_and_aligned_weights(exported: Exported) -> None:
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.interpreter import Interpreter

    for name, inputs, outputs in (
        ("encoder", contract.FIXED_ENCODER_INPUTS, (contract.ENCODER_OUTPUT,)),
        ("decoder", contract.DECODER_INPUTS, contract.DECODER_OUTPUTS),
    ):
        path = exported("litert") / f"{name}.tflite"
        (signature,) = Interpreter(str(path)).get_signature_list().values()
        assert set(signature["inputs"]) == set(inputs)
        assert set(signature["outputs"]) == set(outputs)
        content = path.read_bytes()
        model = schema.Model.GetRootAsModel(content, 0)
        entries = [model.Metadata(i) for i in range(model.MetadataLength())]
        found = {e.Name().decode(): model.Buffers(e.Buffer()).DataAsNumpy().tobytes().decode() for e in entries[-20:]
                 if model.Buffers(e.Buffer()).DataLength()}  # fmt: skip
        assert set(contract.METADATA_KEYS) <= set(found)
        assert (found["image_size"], found["num_points"], found["licence"]) == ("64", "5", "Apache-2.0")
        assert content[4:8] == b"TFL3"
        starts = [content.find(model.Buffers(i).DataAsNumpy().tobytes()) for i in range(model.BuffersLength())
                  if model.Buffers(i).DataLength() > 1000]  # fmt: skip
        assert starts
        assert not any(start % 16 for start in starts)


@needs_executorch
def test_a_pte_file_has_the_metadata_as_methods(exported: Exported) -> None:
    from executorch.runtime import Runtime

    program = Runtime.get().load_program(exported("executorch") / "encoder.pte")
    assert set(contract.METADATA_KEYS) <= program.method_names
    assert list(program.load_method("image_size").execute([])) == ["64"]


@needs_coreml
def test_a_package_is_what_a_client_of_coreml_expects(exported: Exported) -> None:
    import coremltools as ct

    folder = exported("coreml")
    for name in ("encoder", "decoder"):
        spec = ct.models.MLModel(str(folder / f"{name}.mlpackage"), skip_model_load=True).get_spec()
        found = dict(spec.description.metadata.userDefined)
        assert set(contract.METADATA_KEYS) <= set(found)
        assert found["num_points"] == "5"
        assert spec.specificationVersion == 8  # iOS 17
    assert mobilesam.integrity.check_files(folder)
    with pytest.raises(ModelError, match="the format coreml"):
        mobilesam.load(folder, backend="litert" if find_spec("ai_edge_litert") else "executorch")


@needs_coreml
def test_a_package_that_is_something_else_is_refused(exported: Exported, tiny_lite_checkpoint: Path) -> None:
    from mobilesam.export.coreml_check import inspect

    encoder, decoder = graphs(checkpoint.load(tiny_lite_checkpoint))
    folder = exported("coreml")
    inspect(encoder, folder / "encoder.mlpackage")
    with pytest.raises(ExportError, match="inputs are"):
        inspect(decoder, folder / "encoder.mlpackage")
    renamed = FixedGraph("encoder", encoder.module, encoder.inputs, ("features",))
    with pytest.raises(ExportError, match="outputs are"):
        inspect(renamed, folder / "encoder.mlpackage")


@needs_coreml
@pytest.mark.parametrize("name", ATTENTIVE)
def test_a_package_of_an_encoder_with_attention_is_one_that_coreml_takes(exported: Exported, name: str) -> None:
    folder = exported("coreml", name)  # which checks dimensions and operators
    weights = b"".join(path.read_bytes() for path in (folder / "encoder.mlpackage").rglob("*.bin"))
    biases = [part for part in attentive(name).image_encoder.modules() if hasattr(part, "attention_biases")]
    assert bool(biases) == (name == "tiny")
    for part in biases:  # gathered before the export, for each pair of cells
        assert part.attention_biases[:, part.bias_index].numpy(force=True).tobytes() in weights  # type: ignore[operator]


@needs_coreml
def test_weights_of_a_package_take_a_byte_each(exported: Exported, tiny_lite_checkpoint: Path, tmp_path: Path) -> None:
    sam = checkpoint.load(tiny_lite_checkpoint)
    export_as(sam, tmp_path / "float16", "coreml", licence="x", precision="float16")
    export_as(sam, tmp_path / "int8", "coreml", licence="x", precision="int8-weights")
    halves, bytes_each = (
        json.loads((tmp_path / folder / "model.json").read_text())["graphs"]["decoder"]
        for folder in ("float16", "int8")
    )
    assert bytes_each["operators"]["constexpr_affine_dequantize"] > 5
    large = sum(value.numel() for name, value in sam.state_dict().items()
                if value.ndim > 1 and value.numel() >= 1024 and "decoder" in name)  # fmt: skip
    assert halves["weight_bytes"] - bytes_each["weight_bytes"] > 0.7 * large


@needs_coreml
def test_the_card_of_a_package_lists_the_operators(exported: Exported) -> None:
    card = json.loads((exported("coreml") / "model.json").read_text())["graphs"]
    assert set(card) == {"encoder", "decoder"}
    assert card["encoder"]["operators"]["conv"] > 10
    assert {"sin", "cos", "softmax", "matmul"} <= set(card["decoder"]["operators"])
    assert not any("const" in graph["operators"] for graph in card.values())
    assert all(graph["weight_bytes"] > 10_000 for graph in card.values())


@needs_coreml
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda spec, op: setattr(op, "type", "custom_resize"), "the operator custom_resize is none of Core ML's"),
        (lambda spec, op: setattr(array(op), "rank", 6), "has 6 dimensions, above 5"),
        (lambda spec, op: array(op).dimensions[0].unknown.SetInParent(), "size that is not known before it runs"),
        (lambda spec, op: shape(spec.description.output[0]).__setitem__(1, 31), "outputs are"),
        (lambda spec, op: setattr(type_of(spec.description.output[0]), "dataType", 65552), "outputs are.*FLOAT16"),
        (lambda spec, op: setattr(type_of(spec.description.input[1]), "dataType", 65552), "inputs are.*FLOAT16"),
    ],
    ids=["operator", "rank", "unknown size", "output size", "output type", "input type"],
)
def test_a_package_with_a_step_or_size_that_coreml_refuses_is_refused(
    change: Callable[[Any, Any], None], message: str, exported: Exported, tiny_lite_checkpoint: Path
) -> None:
    import coremltools as ct

    from mobilesam.export.coreml_check import check, operations

    encoder = next(iter(graphs(checkpoint.load(tiny_lite_checkpoint))))
    spec = ct.models.MLModel(str(exported("coreml") / "encoder.mlpackage"), skip_model_load=True).get_spec()
    check(encoder, spec, "encoder")
    change(spec, next(op for op in operations(spec) if op.type == "conv"))
    with pytest.raises(ExportError, match=message):
        check(encoder, spec, "encoder")


def array(op: Any) -> Any:
    return op.outputs[0].type.tensorType


def type_of(feature: Any) -> Any:
    return feature.type.multiArrayType


def shape(feature: Any) -> Any:
    return type_of(feature).shape


@pytest.mark.full_size
@pytest.mark.parametrize("form", ALL)
def test_full_sizes_convert_load_and_agree(form: ExportFormat, tmp_path: Path) -> None:
    torch.manual_seed(0)
    export_as(with_positions(Sam(MOBILE_SAM)), tmp_path, form, licence="x", precision="float32")
    card = json.loads((tmp_path / "model.json").read_text())
    assert form == "coreml" or max(card["verified"].values()) < 1e-3


@pytest.mark.full_size
@pytest.mark.parametrize(
    ("form", "precision"), [*PRECISIONS, *(pytest.param(*p.values, "float32", marks=p.marks) for p in ALL)]
)
def test_the_embedded_model_keeps_its_masks_in_every_precision(
    form: ExportFormat, precision: StoredPrecision, tmp_path: Path
) -> None:
    sam = checkpoint.load(Path(mobilesam.__file__).parent / "builtin")
    export_as(sam, tmp_path, form, licence="x", precision=precision)
    card = json.loads((tmp_path / "model.json").read_text())
    assert form == "coreml" or card["masks"]["iou"] > {"float32": 0.999, "float16": 0.99}.get(precision, 0.985)
