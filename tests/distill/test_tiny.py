"""The whole road at the smallest size, by the commands that docs/distillation.md gives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import mobilesam
from mobilesam.data.store import find_stores
from mobilesam.data.tar import index_tar
from mobilesam.remote import filesystem
from tests.helpers.distilling import embed_here
from tests.helpers.scenes import write_shard

RECIPES = Path(__file__).parents[2] / "recipes" / "tiny"


def test_from_shards_to_an_exported_student_with_rising_agreement(run, tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "photos.tar", 60)
    data = ("--set", f"data.paths={tmp_path}/*.tar", "--json")
    assert run("train", RECIPES / "teacher.toml", "-o", "teacher", *data)[0] == 0
    teacher = ("--set", "teacher.checkpoint=teacher")
    assert run("distill", "embed", RECIPES / "embed.toml", "-o", "store", *data, *teacher)[0] == 0
    assert run("distill", "embed", RECIPES / "embed.toml", "-o", "store", *data, *teacher, "--verify")[0] == 0
    code, out, _ = run("distill", "status", "store", "--json")
    assert (code, json.loads(out)["photos_done"], json.loads(out)["is_complete"]) == (0, 60, True)
    student = (*data, *teacher, "--set", "store.path=store")
    assert run("distill", "train", RECIPES / "student.toml", "-o", "student", *student)[0] == 0
    looks = [
        json.loads(line) for line in Path("student/history.jsonl").read_text().splitlines() if "validation" in line
    ]
    agreement = [look["validation/box_agreement"] for look in looks]
    assert agreement[-1] > agreement[0] + 0.15
    assert agreement[-1] > 0.6
    assert run("export", "student", "-o", "pair")[0] == 0
    found = mobilesam.load("pair").embed(index_tar(shard)[0]["photo_00.jpg"].read()).predict(box=(10, 10, 60, 60))
    assert found.masks.shape[1:] == (96, 96)


@pytest.mark.parametrize(
    "words", [("--engine", "local"), ("--workers", "1"), ("--threads", "1"), ("--address", "auto")], ids=lambda w: w[0]
)
def test_options_of_workers_beside_verify_are_errors(run, words: tuple[str, ...]) -> None:
    code, _, err = run("distill", "embed", RECIPES / "embed.toml", "--verify", *words)
    assert code == 2
    assert f"{words[0]} does nothing beside --verify" in " ".join(err.split())


def test_verify_reads_the_stores_where_results_went(run, recipes) -> None:
    pytest.importorskip("fsspec")
    (path,) = find_stores(embed_here(recipes()).folder)
    files, place = filesystem("memory://verified")
    data = bytearray(path.read_bytes())
    words = ("distill", "embed", RECIPES / "embed.toml", "-o", "nowhere", "--verify", "--json")
    for damage, code in ((0, 0), (1, 1)):
        data[len(data) // 2] ^= damage
        files.pipe_file(f"{place}/{path.name}", bytes(data))
        found, out, err = run(*words, "--results", "memory://verified")
        assert found == code, err
        ((file, damaged),) = json.loads(out)["damaged"].items()
        assert file.startswith("memory://")
        assert file.endswith(f"verified/{path.name}")
        assert len(damaged) == code
    files.pipe_file(f"{place}/{path.name}", b"no store")
    assert "verified/" in run(*words, "--results", "memory://verified")[2]
    assert "holds no store of embeddings" in run(*words, "--results", "memory://empty")[2]


def test_verify_fails_on_a_flipped_bit_and_says_which_file(run, recipes, tmp_path: Path) -> None:
    path = find_stores(embed_here(recipes()).folder)[0]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    code, out, _ = run("distill", "embed", RECIPES / "embed.toml", "-o", path.parent, "--verify")
    assert code == 1
    assert f"delete {path} and run `mobilesam distill embed` again" in out
