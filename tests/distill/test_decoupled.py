from __future__ import annotations

import itertools
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mobilesam.distill import decoupled
from mobilesam.distill.run import distill
from mobilesam.distill.student import build_student
from mobilesam.errors import DataError, ModelError, SettingsError
from mobilesam.model import checkpoint
from mobilesam.model.config import TINY, TINY_LITE
from mobilesam.model.sam import Sam
from tests.helpers.distilling import embed_here, history, run, same
from tests.helpers.scenes import draw_scene, save_picture, wide_shard, write_shard


@contextmanager
def spoiled_loss(call: int, error: type[BaseException] | None = None) -> Iterator[None]:
    """Raise, or give no number, at the loss's nth call."""
    original = decoupled.embedding_loss
    calls = itertools.count(1)

    def spoiled(*args: Any) -> torch.Tensor:
        is_due = next(calls) == call
        if is_due and error:
            raise error
        return original(*args) * (float("nan") if is_due else 1.0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoupled, "embedding_loss", spoiled)
        yield


@pytest.mark.parametrize("kind", ["folder", "list", "parquet"])
def test_photos_without_annotations_that_were_embedded_are_trained_on(kind: str, recipes, tmp_path: Path) -> None:
    photos, names = tmp_path / "photos", ("a.png", "sub/b.png")
    for i, name in enumerate(names):
        save_picture(photos / name, draw_scene(np.random.default_rng(i))[0])
    path = photos
    if kind == "list":
        path = tmp_path / "list.txt"
        path.write_text("".join(f"photos/{name}\n" for name in names))
    if kind == "parquet":
        pa = pytest.importorskip("pyarrow")
        path = tmp_path / "set.parquet"
        columns = {"image": [(photos / name).read_bytes() for name in names], "path": list(names)}
        pytest.importorskip("pyarrow.parquet").write_table(pa.table(columns), path)
    recipe = recipes(data={"paths": [str(path)]}, run={"steps": 2, "batch_size": 2})
    embed_here(recipe)
    before = build_student(recipe, checkpoint.load(recipe.teacher.checkpoint)).state_dict()
    assert not same(run(recipe), before)


@pytest.fixture
def embedded_recipes(recipes):
    embed_here(recipes())
    return recipes


def test_student_and_teacher_may_be_convolutional_and_at_another_side_than_the_teachers_own(
    recipes, tiny_lite_checkpoint: Path
) -> None:
    recipe = recipes(
        teacher={"checkpoint": str(tiny_lite_checkpoint), "image_size": 256},
        student_model="tiny_lite",
        run={"steps": 2, "batch_size": 2},
    )
    embed_here(recipe)
    student = checkpoint.load(distill(recipe, show_progress=False))
    assert student.config.encoder == TINY_LITE.encoder
    assert student.config.image_size == 256
    teacher = Sam(replace(TINY_LITE, zoom_below=0.4, click_zoom_below=0.5))
    own = build_student(recipe, teacher).config
    assert (own.zoom_below, own.click_zoom_below) == (0, 0)  # measured for the teacher alone
    with pytest.raises(SettingsError, match="in steps of 32, not 1056"):
        embed_here(replace(recipe, teacher=replace(recipe.teacher, image_size=1056)))
    with pytest.raises(SettingsError, match=r"'student_model' must be one of .*, found 'huge'"):
        replace(recipe, student_model="huge")


def test_a_student_comes_to_agree_with_its_teacher_through_an_untouched_decoder(
    embedded_recipes, tiny_checkpoint: Path
) -> None:
    recipe = embedded_recipes(run={"steps": 80})
    student, teacher = run(recipe), checkpoint.load(tiny_checkpoint).state_dict()
    for key, value in teacher.items():
        if not key.startswith("image_encoder"):
            assert torch.equal(student[key], value), key
    looks = [line for line in history(recipe) if "validation/embedding_mse" in line]
    assert looks[-1]["validation/embedding_mse"] < 0.6 * looks[0]["validation/embedding_mse"]
    cosines = [line["cosine"] for line in history(recipe) if "cosine" in line]
    assert cosines[-1] > cosines[0] + 0.2


def test_resumed_in_the_middle_of_an_epoch_it_ends_bit_identical(embedded_recipes) -> None:
    # Eleven photos and batches of four: step 3 lies inside the second epoch.
    whole = run(embedded_recipes("whole", run={"steps": 9}))
    stopped = embedded_recipes("stopped", run={"steps": 9})
    with spoiled_loss(5, KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        run(stopped)
    assert torch.load(Path(stopped.run.output) / "state.pt", weights_only=True)["step"] == 3
    assert same(run(stopped, resume=True), whole)
    steps = [line["step"] for line in history(stopped) if "loss" in line]
    assert steps == sorted(set(steps))


def test_what_lies_outside_the_photo_is_never_seen(tiny_checkpoint: Path) -> None:
    model = checkpoint.load(tiny_checkpoint)
    image = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    other = image.clone()
    other[:, :, 40:] = 7
    hw = torch.tensor([[40, 64]])
    with torch.inference_mode():
        a, b = (decoupled.encode_padded(model, x, hw) for x in (image, other))
        alone = model.encode(image[:, :, :40].float())
    torch.testing.assert_close(a, b)
    torch.testing.assert_close(a, alone)


def test_a_live_teacher_gives_the_same_targets_as_its_store(embedded_recipes, tiny_checkpoint: Path) -> None:
    cached = embedded_recipes("cached", run={"steps": 4})
    live = embedded_recipes("live", run={"steps": 4}, store={"live": True, "path": "nowhere"})
    run(cached), run(live)
    losses = [[line["loss"] for line in history(r) if "loss" in line] for r in (cached, live)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)


@pytest.mark.parametrize("changes", [{"store": {"dtype": "int8"}}, {"store": {"views": 3}}])
def test_other_kinds_of_store_train_too(recipes, changes) -> None:
    recipe = recipes(run={"steps": 30}, **changes)
    embed_here(recipe)
    run(recipe)
    losses = [line["loss"] for line in history(recipe) if "loss" in line]
    assert losses[-1] < losses[0]


def test_padding_counts_only_when_it_was_kept(embedded_recipes) -> None:
    with pytest.raises(SettingsError, match=r"store\.keep_padding=true"):
        run(embedded_recipes(embedding_loss={"padding": True}))


def test_padding_that_counts_changes_the_loss_of_the_first_step(recipes, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(4):  # twice as wide as high, so that half of the square is padding
        save_picture(tmp_path / "wide" / f"{i}.png", rng.integers(0, 255, (40, 80, 3)).astype(np.uint8))
        (tmp_path / "wide" / f"{i}.json").write_text('{"annotations": []}')
    kept = {"keep_padding": True, "path": str(tmp_path / "kept")}
    wide = {"data": {"paths": [str(tmp_path / "wide")]}, "validation": {"photos": 0}, "store": kept}
    embed_here(recipes(**wide))
    losses = []
    for name, padding in (("with", True), ("without", False), ("again", False)):
        recipe = recipes(name, **wide, embedding_loss={"padding": padding}, run={"steps": 1})
        run(recipe)
        losses.append(next(line["loss"] for line in history(recipe) if "loss" in line))
    assert losses[1] == pytest.approx(losses[2], rel=1e-6), "the same photos and weights"
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)


def test_another_teacher_is_refused(embedded_recipes, tmp_path: Path) -> None:
    torch.manual_seed(1)
    checkpoint.save(Sam(TINY), tmp_path / "other.safetensors")
    with pytest.raises(DataError, match="embed again with this teacher"):
        run(embedded_recipes(teacher={"checkpoint": str(tmp_path / "other.safetensors")}))


def test_photos_without_embedding_are_counted_and_named(embedded_recipes, shard: Path, tmp_path: Path) -> None:
    more = wide_shard(tmp_path / "more.tar")
    both = {"paths": [str(shard), str(more)]}
    with pytest.raises(
        DataError, match=r"lacks 2 of 1\d photos \(more/wide_0, more/wide_2, \.\.\.\); run `mobilesam distill embed`"
    ):
        run(embedded_recipes(data=both, validation={"photos": 0}))
    with pytest.raises(DataError, match="no store of embeddings; write it with"):
        run(embedded_recipes(store={"path": str(tmp_path / "none")}))


def test_a_shard_that_changed_since_it_was_embedded_is_refused_at_training(recipes, tmp_path: Path) -> None:
    path = write_shard(tmp_path / "x.tar", 12)
    recipe = recipes(data={"paths": [str(path)]})
    embed_here(recipe)
    write_shard(path, 12, seed=1)  # other photos under the same names
    with pytest.raises(DataError, match=r"'x' has changed since .*npz was written"):
        run(recipe)


def test_two_data_sets_that_share_every_name_are_both_trained_on(recipes, tmp_path: Path) -> None:
    paths = [tmp_path / name / "x.tar" for name in ("one", "two")]
    for seed, path in enumerate(paths):
        path.parent.mkdir()
        write_shard(path, 12, seed=seed)
    recipe = recipes(data={"paths": [str(path) for path in paths]}, run={"steps": 4})
    embed_here(recipe)
    run(recipe)
    record = json.loads((Path(recipe.run.output) / "recipe.json").read_text())
    assert record["data"] == "22 photos"  # two are held out


def test_a_student_of_another_shape_is_refused(embedded_recipes, tmp_path: Path) -> None:
    torch.manual_seed(0)
    checkpoint.save(Sam(replace(TINY, image_size=96)), tmp_path / "large.safetensors")
    with pytest.raises(ModelError, match=r"the student's embedding is \(32, 6, 6\), the teacher's \(32, 4, 4\)"):
        run(embedded_recipes(start_from=str(tmp_path / "large.safetensors")))


def test_a_loss_that_is_no_number_names_step_and_photos_and_keeps_the_checkpoint(embedded_recipes) -> None:
    recipe = embedded_recipes(run={"steps": 9})
    message = r"the loss is NaN or infinite at step 5, photos synthetic/photo_\d\d, synthetic/photo_\d\d, .*--resume"
    with spoiled_loss(6), pytest.raises(ModelError, match=message):
        run(recipe)
    state = torch.load(Path(recipe.run.output) / "state.pt", weights_only=True)
    assert state["step"] == 3
    assert all(torch.isfinite(v).all() for v in state["model"].values())
    run(recipe, resume=True)


def test_accumulated_forwards_make_the_step_of_the_whole_batch(embedded_recipes) -> None:
    optim = {"freeze_batch_norm": True}
    whole = run(embedded_recipes("whole", run={"steps": 3, "batch_size": 4}, optim=optim))
    parts = run(embedded_recipes("parts", run={"steps": 3, "batch_size": 2, "accumulate": 2}, optim=optim))
    for key, value in whole.items():
        torch.testing.assert_close(parts[key], value, rtol=1e-3, atol=2e-5)


def test_two_processes_end_where_one_with_the_whole_batch_does(embedded_recipes, tmp_path: Path) -> None:
    optim = {"freeze_batch_norm": True}
    recipe = embedded_recipes("two", run={"steps": 3, "batch_size": 4, "devices": 2}, optim=optim)
    code = (
        "import sys, pickle; from mobilesam.distill.run import distill;"
        "distill(pickle.load(open(sys.argv[1], 'rb')), show_progress=False)"
    )
    (tmp_path / "recipe.pkl").write_bytes(pickle.dumps(recipe))
    (tmp_path / "go.py").write_text(code)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29517"]
    done = subprocess.run(
        [*command, str(tmp_path / "go.py"), str(tmp_path / "recipe.pkl")],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    two = checkpoint.load(tmp_path / "two" / "weights.safetensors").state_dict()
    one = run(embedded_recipes("one", run={"steps": 3, "batch_size": 4}, optim=optim))
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, rtol=1e-3, atol=2e-5)
