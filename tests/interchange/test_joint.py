from __future__ import annotations

import json
import subprocess
import sys

from mobilesam import PhotoMasks, to_cvat, to_label_studio
from mobilesam.interchange.joint import JOINT_FILES, joint_text
from mobilesam.predict.results import Mask
from tests.helpers.blobs import blobs

PHOTOS = [PhotoMasks("a.png", [Mask(blobs(0), 0.5)]), PhotoMasks("b.png", [], original_hw=(4, 5))]


def test_a_file_of_several_photos_is_what_its_function_makes() -> None:
    assert joint_text("cvat", PHOTOS) == to_cvat(PHOTOS)
    assert json.loads(joint_text("label-studio", PHOTOS)) == to_label_studio(PHOTOS)
    assert set(JOINT_FILES) == {"cvat", "label-studio"}


def test_the_names_of_the_files_cost_no_writer_of_xml() -> None:
    code = "import mobilesam.interchange.joint, sys; print('xml.sax.saxutils' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
