"""Building the student: a small image encoder with the teacher's prompt encoder and mask decoder."""

from __future__ import annotations

import dataclasses

from mobilesam.distill.config import DistillRecipe
from mobilesam.errors import ModelError
from mobilesam.model.config import SamConfig
from mobilesam.model.sam import Sam
from mobilesam.train.build import load_model

DECODER = ("prompt_encoder", "mask_decoder")


def build_student(recipe: DistillRecipe, teacher: Sam) -> Sam:
    """Build a new student, or load the one to continue from; its decoder is frozen unless the method is coupled.

    Raises:
        ModelError: the student to start from does not fit the teacher.
    """
    if recipe.start_from:
        student = load_model(recipe.start_from)
        check_fit(student.config, teacher.config)
    else:
        # Second looks and the use of the box after decoding are off: they were measured to help the teacher only.
        config = dataclasses.replace(teacher.config, name="student", encoder=recipe.encoder)
        config = dataclasses.replace(config, zoom_below=0.0, click_zoom_below=0.0, outside_box=0.0)
        student = Sam(config)
        if recipe.method != "coupled":
            for part in DECODER:
                student.get_submodule(part).load_state_dict(teacher.get_submodule(part).state_dict())
    if recipe.method != "coupled":
        for part in DECODER:
            student.get_submodule(part).requires_grad_(False)
    return student


def check_fit(student: SamConfig, teacher: SamConfig) -> None:
    """Refuse a student whose embedding has another shape than the teacher's.

    Raises:
        ModelError: names both shapes.
    """
    shapes = [(c.embed_dim, c.grid, c.grid) for c in (student, teacher)]
    if shapes[0] != shapes[1]:
        raise ModelError(
            f"the student's embedding is {shapes[0]}, the teacher's {shapes[1]}; "
            "start from a student of this teacher, or leave start_from empty"
        )
