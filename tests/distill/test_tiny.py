"""The whole road at the smallest size, by the commands that docs/distillation.md gives."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import mobilesam
from conftest import write_shard
from mobilesam.cli import main
from mobilesam.distill.teacher import embed
from mobilesam.shards import index_shard

RECIPES = Path(__file__).parents[2] / "recipes" / "tiny"


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["mobilesam", *map(str, arguments)])
        try:
            main()
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    return run


def test_from_shards_to_an_exported_student_with_rising_agreement(
    call, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shard = write_shard(tmp_path / "photos.tar", 60)
    data = ("--set", f"data.shards={tmp_path}/*.tar", "--json")
    assert call("train", RECIPES / "teacher.toml", "-o", "teacher", *data) == 0
    teacher = ("--set", "teacher.checkpoint=teacher")
    assert call("distill", "embed", RECIPES / "embed.toml", "-o", "store", *data, *teacher) == 0
    assert call("distill", "embed", RECIPES / "embed.toml", "-o", "store", *data, *teacher, "--verify") == 0
    student = (*data, *teacher, "--set", "store.path=store")
    assert call("distill", "train", RECIPES / "student.toml", "-o", "student", *student) == 0
    looks = [
        json.loads(line) for line in Path("student/history.jsonl").read_text().splitlines() if "validation" in line
    ]
    agreement = [look["validation/box_agreement"] for look in looks]
    assert agreement[-1] > agreement[0] + 0.15
    assert agreement[-1] > 0.6
    assert call("export", "student", "-o", "pair") == 0
    found = mobilesam.load("pair").embed(index_shard(str(shard))[0].read_bytes()).predict(box=(10, 10, 60, 60))
    assert found.masks.shape[1:] == (96, 96)
    capsys.readouterr()


def test_verify_fails_on_a_flipped_bit_and_says_which_file(
    call, recipes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(embed(recipes(), show_progress=False).written[0])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert call("distill", "embed", RECIPES / "embed.toml", "-o", path.parent, "--verify") == 1
    assert f"delete {path} and run `mobilesam distill embed` again" in capsys.readouterr().out
