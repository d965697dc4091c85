"""The contract stands in three places: the module's docstring, docs/export.md and the graphs. They agree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mobilesam import contract
from mobilesam.integrity import read_card
from mobilesam.weights import MODELS, pair_folder

DOCUMENT = (Path(__file__).parents[1] / "docs" / "export.md").read_text(encoding="utf-8")
PAIR = DOCUMENT.partition("## The pair\n")[2].partition("\n## ")[0]  # other formats have a table of their own
Shapes = dict[tuple[str, str], str]
"""(graph, input or output) → its shape, such as "(B, 3, H, W)"."""


def of_the_docstring() -> Shapes:
    found, graph = {}, ""
    assert contract.__doc__
    for line in contract.__doc__.splitlines():
        match = re.match(r"    (\w+\.onnx|→| ) +(?:→ )?(\w+) +(\(.*?\)) +float32", line)
        if match:
            graph = match[1] if match[1].endswith(".onnx") else graph
            found[graph.removesuffix(".onnx"), match[2]] = match[3]
    return found


def of_the_document() -> Shapes:
    found, graph = {}, ""
    for name, cell, shape in re.findall(
        r"^\| (\w*) ?\| (?:in|out) `(\w+)` \| (\(.*?\)) float32 \|", PAIR, re.MULTILINE
    ):
        graph = name or graph
        found[graph, cell] = shape
    return found


def test_the_document_has_the_table_of_the_module() -> None:
    assert of_the_document() == of_the_docstring()


def test_the_tables_name_what_the_constants_name() -> None:
    decoder = [name for graph, name in of_the_document() if graph == "decoder"]
    assert decoder == [*contract.DECODER_INPUTS, contract.DECODER_MIN_SCORE, *contract.DECODER_OUTPUTS]
    encoder = [name for graph, name in of_the_document() if graph == "encoder"]
    assert encoder == [contract.ENCODER_INPUT, contract.ENCODER_OUTPUT]


@pytest.mark.parametrize("graph", ["encoder", "decoder"])
def test_the_graphs_have_these_inputs_and_outputs(graph: str) -> None:
    import onnxruntime as ort

    file = {"encoder": contract.ENCODER_FILE, "decoder": contract.DECODER_FILE}[graph]
    session = ort.InferenceSession(str(pair_folder(MODELS["embedded"]) / file), providers=["CPUExecutionProvider"])
    nodes = {node.name: node for node in (*session.get_inputs(), *session.get_outputs())}
    documented = {name: shape for (of, name), shape in of_the_document().items() if of == graph}
    assert set(nodes) == set(documented)
    for name, shape in documented.items():
        words = [word for word in shape.strip("()").split(", ") if word]
        assert nodes[name].type == "tensor(float)"
        assert len(nodes[name].shape) == len(words), name
        for size, word in zip(nodes[name].shape, words, strict=True):
            assert not (isinstance(size, int) and word.isdigit() and size != int(word)), f"{name}: {size}, not {word}"


def test_the_shipped_pair_says_how_its_inputs_are_taken() -> None:
    import onnxruntime as ort

    folder = pair_folder(MODELS["embedded"])
    card = read_card(folder)
    for name in (contract.ENCODER_FILE, contract.DECODER_FILE, contract.MANY_FILE):
        session = ort.InferenceSession(str(folder / name), providers=["CPUExecutionProvider"])
        metadata = session.get_modelmeta().custom_metadata_map
        for key in contract.INPUT_KEYS:
            assert metadata[key] == str(card[key])
    assert card["pixel_mean"] == list(contract.PIXEL_MEAN)


def test_the_document_names_the_metadata_and_the_version() -> None:
    paragraph = DOCUMENT[DOCUMENT.index("`metadata_props`") :].split("\n\n")[0]
    assert {*contract.METADATA_KEYS, *contract.OPTIONAL_KEYS, *contract.INPUT_KEYS} <= set(
        re.findall(r"`(\w+)`", paragraph)
    )
    assert f"This is contract {contract.VERSION}." in DOCUMENT
