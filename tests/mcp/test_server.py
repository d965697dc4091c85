"""The MCP server, asked by the official client library: in this process, and over standard input and output."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import mobilesam
from mobilesam import masks

pytest.importorskip("mcp", reason="the extra mcp is not installed")
import anyio
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from mobilesam.mcp import server as server_module
from mobilesam.mcp.folder import Folder
from mobilesam.mcp.server import make_server
from mobilesam.mcp.tools import Tools

BOX = (170, 15, 410, 310)


@pytest.fixture
def folder(tmp_path: Path, coffee: Path) -> Path:
    (tmp_path / "trip").mkdir()
    shutil.copy(coffee, tmp_path / "coffee.png")
    shutil.copy(coffee, tmp_path / "trip" / "coffee.png")
    return tmp_path


@pytest.fixture
def ask(embedded: mobilesam.Predictor, folder: Path) -> Callable[..., Any]:
    """Call tools through the client library, in this process: the results of some (name, arguments)."""
    server = make_server(Tools(embedded, Folder.open(folder)))

    async def talk(calls: list[tuple[str, dict[str, Any]]]) -> list[Any]:
        async with Client(server) as client:
            return [await client.call_tool(name, arguments) for name, arguments in calls]

    return lambda *calls: anyio.run(talk, list(calls))


def test_the_official_client_cuts_out_over_standard_input_and_output(
    folder: Path, coffee_embedding: mobilesam.ImageEmbedding
) -> None:
    command = StdioServerParameters(
        command=sys.executable,
        args=["-m", "mobilesam", "mcp", "--folder", str(folder), "--backend", "onnx"],
        env={**os.environ},
    )

    async def talk() -> tuple[list[str], Any, Any]:
        async with Client(stdio_client(command)) as client:
            tools = await client.list_tools()
            good = await client.call_tool("cut_out", {"photo": "coffee.png", "box": BOX})
            bad = await client.call_tool("cut_out", {"photo": "../coffee.png", "box": BOX})
            return sorted(tool.name for tool in tools.tools), good, bad

    names, good, bad = anyio.run(talk)
    assert names == ["cut_out", "everything", "segment"]
    mask = coffee_embedding.predict(box=BOX).best
    assert good.structured_content["box_xyxy"] == list(mask.box_xyxy)
    assert good.structured_content["area"] == mask.area
    assert np.array_equal(np.asarray(sent(good)), np.asarray(mask.cutout()))
    assert np.array_equal(pixels(folder / good.structured_content["file"]), np.asarray(mask.cutout()))
    assert bad.is_error
    assert "'..'" in bad.content[0].text


def pixels(path: Path) -> Any:
    with Image.open(path) as picture:
        return np.asarray(picture)


def sent(result: Any) -> Image.Image:
    """The image of an answer."""
    (image,) = [one for one in result.content if one.type == "image"]
    return Image.open(io.BytesIO(base64.b64decode(image.data)))


def test_segment_gives_short_records_and_files_with_the_masks(
    ask: Callable[..., Any], folder: Path, coffee_embedding: mobilesam.ImageEmbedding
) -> None:
    prompt = {"points": [(290, 120), (140, 200)], "labels": [1, 0]}
    (result,) = ask(("segment", {"photo": "coffee.png", **prompt}))
    found, answer = coffee_embedding.predict(**prompt).best, result.structured_content
    assert (answer["photo"], answer["width"], answer["height"]) == ("coffee.png", 600, 400)
    (one,) = answer["masks"]
    assert one == {
        "box_xyxy": list(found.box_xyxy),
        "area": found.area,
        "score": round(found.score, 3),
        "file": "mobilesam/coffee_mask.png",
    }
    assert np.array_equal(pixels(folder / one["file"]) > 0, found.array)
    assert pixels(folder / answer["overlay"]).shape == (400, 600, 3)
    (annotation,) = json.loads((folder / answer["coco"]).read_text())["annotations"]
    assert np.array_equal(masks.from_rle(annotation["segmentation"]), found.array)
    assert len(annotation["polygons"][0]["outer"]) > 3
    assert len(json.dumps(answer)) < 500


def test_all_masks_are_numbered(ask: Callable[..., Any]) -> None:
    (result,) = ask(("segment", {"photo": "coffee.png", "points": [(290, 120)], "all_masks": True}))
    files = [mask["file"] for mask in result.structured_content["masks"]]
    assert files == [f"mobilesam/coffee_mask_{i}.png" for i in (1, 2, 3)]


def test_everything_lists_the_largest_masks_and_writes_all(ask: Callable[..., Any], folder: Path) -> None:
    (result,) = ask(("everything", {"photo": "trip/coffee.png", "points_per_side": 8}))
    answer = result.structured_content
    assert answer["files"] == [f"mobilesam/trip/coffee{end}" for end in ("_labels.png", "_overlay.jpg", ".json")]
    record = json.loads((folder / answer["files"][2]).read_text())
    assert record["image"]["file_name"] == "trip/coffee.png"
    assert answer["count"] == len(record["annotations"]) > 2
    areas = [mask["area"] for mask in answer["largest"]]
    assert areas == sorted(areas, reverse=True)
    first = answer["largest"][0]
    assert record["annotations"][first["label"] - 1]["area"] == first["area"]


def test_a_large_cut_out_is_only_written(
    ask: Callable[..., Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "MOST_RETURNED", 1000)
    (result,) = ask(("cut_out", {"photo": "coffee.png", "box": BOX}))
    assert [one.type for one in result.content] == ["text"]
    assert (folder / result.structured_content["file"]).is_file()


def test_nothing_of_somebody_else_is_overwritten_and_own_results_are(ask: Callable[..., Any], folder: Path) -> None:
    (folder / "coffee_cutout.png").write_bytes(b"not ours")
    call = ("cut_out", {"photo": "coffee.png", "box": BOX, "results": "."})
    twice = ("cut_out", {"photo": "coffee.png", "box": BOX})
    refused, first, second = ask(call, twice, twice)
    assert refused.is_error
    assert "not written by mobilesam" in refused.content[0].text
    assert (folder / "coffee_cutout.png").read_bytes() == b"not ours"
    assert not first.is_error
    assert not second.is_error


def test_a_photo_is_never_replaced_by_a_result(ask: Callable[..., Any], folder: Path) -> None:
    ask(("cut_out", {"photo": "coffee.png", "box": BOX, "results": "."}))
    before = (folder / "coffee_cutout.png").read_bytes()
    # The result of an earlier call is now the photo, and its own result would have another name.
    (result,) = ask(("cut_out", {"photo": "coffee_cutout.png", "points": [(100, 100)], "results": "."}))
    assert not result.is_error
    assert result.structured_content["file"] == "coffee_cutout_cutout.png"
    assert (folder / "coffee_cutout.png").read_bytes() == before


@pytest.mark.skipif(os.name == "nt", reason="making links needs rights there")
def test_a_link_where_a_result_would_go_is_refused(ask: Callable[..., Any], folder: Path, tmp_path_factory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (folder / "mobilesam").symlink_to(elsewhere)
    calls = [(name, {"photo": "coffee.png"}) for name in ("segment", "everything", "cut_out")]
    for result in ask(*((name, {**given, "box": BOX} if name != "everything" else given) for name, given in calls)):
        assert result.is_error
        assert "symbolic link" in result.content[0].text
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"photo": "coffee.png"}, "point"),
        ({"photo": "coffee.png", "points": [(900, 10)]}, "outside the photo"),
        ({"photo": "none.png", "box": BOX}, "there are: coffee.png"),
        ({"photo": "coffee.png", "points": [(1, 2, 3)]}, "'points[0]': tuple should have at most 2 items"),
        ({"photo": "coffee.png", "points": "here"}, "it takes: [x, y] of points"),
        ({"photo": "coffee.png", "box": [1, 2, "left", 4]}, "'box[2]': input should be a valid number"),
        ({"points": [(1, 2)]}, "'photo' is missing; it takes: The photo: its path in the folder"),
        ({"photo": "coffee.png", "points": [(1, 2)], "label": [0]}, "unknown argument 'label'; did you mean 'labels'?"),
        ({"photo": "coffee.png", "box": BOX, "negative_points": [(1, 2)]}, "unknown argument 'negative_points'; "),
        ({"photo": "coffee.png", "box": BOX, "model": 1}, "known: photo, points, labels, box, all_masks, results"),
    ],
)
def test_mistakes_are_answered_with_what_to_do(ask: Callable[..., Any], arguments: dict[str, Any], words: str) -> None:
    (result,) = ask(("segment", arguments))
    assert result.is_error
    assert words in result.content[0].text
    for foreign in ("pydantic", "http", "prior", "Arguments"):
        assert foreign not in result.content[0].text


def test_no_tool_takes_an_argument_that_it_does_not_know(embedded: mobilesam.Predictor, folder: Path) -> None:
    server = make_server(Tools(embedded, Folder.open(folder)))

    async def talk() -> tuple[list[Any], list[Any]]:
        async with Client(server) as client:
            tools = (await client.list_tools()).tools
            given = {"photo": "coffee.png", "box": BOX, "neg_points": [[1, 1]]}
            return tools, [await client.call_tool(tool.name, given) for tool in tools]

    tools, answers = anyio.run(talk)
    assert [tool.input_schema.get("additionalProperties") for tool in tools] == [False] * 3
    assert all(answer.is_error and "unknown argument 'neg_points'" in answer.content[0].text for answer in answers)
    assert not (folder / "mobilesam").exists()


def test_a_changed_photo_is_encoded_again(ask: Callable[..., Any], folder: Path, chelsea: Path) -> None:
    call = ("segment", {"photo": "coffee.png", "points": [(220, 150)]})
    (before,) = ask(call)
    shutil.copy(chelsea, folder / "coffee.png")
    (after,) = ask(call)
    assert before.structured_content["width"] == 600
    assert after.structured_content["width"] == 451


def test_the_command_serves_the_folder_with_the_model_of_its_options(
    run: Callable[..., tuple[int, str, str]], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[Any] = []
    monkeypatch.setattr(server_module.MCPServer, "run", lambda server: served.append(server))
    code, _, said = run("mcp", "--folder", folder, "--backend", "onnx", "--image-size", "256")
    assert (code, said) == (0, "")
    assert served[0].name == "mobilesam"
    code, _, said = run("mcp", "--folder", folder / "none")
    assert code == 2
    assert "--folder" in said
