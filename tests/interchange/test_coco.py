from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from mobilesam import to_coco
from mobilesam.predict.results import Mask
from tests.helpers.blobs import blobs


def test_a_coco_file_has_cocos_boxes_and_is_read_by_pycocotools(tmp_path: Path, capsys) -> None:
    some = [Mask(blobs(seed), 0.1 * seed) for seed in range(3)]
    made = to_coco(some, "a.png", categories=["cat", "dog", "cat"], image_id=7, first_id=5)
    (tmp_path / "a.json").write_text(json.dumps(made))
    coco = COCO(str(tmp_path / "a.json"))
    for i, mask in enumerate(some, 5):
        np.testing.assert_array_equal(coco.annToMask(coco.anns[i]), mask.array)
        assert coco.anns[i]["bbox"] == coco_mask.toBbox(mask.rle()).tolist()
    assert [coco.cats[coco.anns[i]["category_id"]]["name"] for i in (5, 6, 7)] == ["cat", "dog", "cat"]
    assert coco.imgs[7] == {"id": 7, "file_name": "a.png", "height": 60, "width": 80}
    capsys.readouterr()
