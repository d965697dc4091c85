"""Files of annotation tools that `mobilesam segment --write` makes beside, or in place of, its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mobilesam.choices import AnnotationForm
from mobilesam.cli.photos import STDIN
from mobilesam.cli.results import is_file_name
from mobilesam.outputs import Outputs

if TYPE_CHECKING:
    from mobilesam.interchange.photo_masks import PhotoMasks
    from mobilesam.predict.results import Mask


@dataclass
class Annotations:
    """The masks of all photos so far, and the files that they are written to."""

    forms: Sequence[AnnotationForm]
    folder: Path
    label: str
    rule: Outputs
    photos: list[PhotoMasks] = field(default_factory=list)
    """Named by their paths until the end, when all are known."""

    @classmethod
    def parse(cls, forms: Sequence[AnnotationForm], output: Path | None, label: str, rule: Outputs) -> Annotations:
        """Check the options before the model is loaded.

        Raises:
            OutputError: a file of somebody else, or an input, has the name of a result.
        """
        from mobilesam.interchange.joint import JOINT_FILES

        if forms and output is not None and (str(output) == STDIN or is_file_name(output)):
            raise typer.BadParameter(f"--write needs a folder for --output, not '{output}'")
        folder = output or Path()
        for form in forms:
            if form in JOINT_FILES:
                rule.check(folder / JOINT_FILES[form])
        return cls(tuple(dict.fromkeys(forms)), folder, label, rule)

    def add(self, photo: str, name: str, masks: Sequence[Mask], hw: tuple[int, int]) -> list[Path]:
        """Keep the masks of one photo, as run lengths; returns the file that this photo has by itself."""
        from mobilesam.files import make_folder, save_json
        from mobilesam.interchange.labelme import to_labelme
        from mobilesam.interchange.photo_masks import PhotoMasks
        from mobilesam.names import relative
        from mobilesam.predict.results import Mask

        if not self.forms:
            return []
        kept = [Mask(mask.rle(), mask.score) for mask in masks]
        self.photos.append(PhotoMasks(photo, kept, hw, self.label))
        if "labelme" not in self.forms:
            return []
        target = self.folder / f"{name}.json"
        make_folder(target.parent)
        path = relative(photo, target.parent)
        return [save_json(to_labelme(kept, path, labels=self.label), target, self.rule)]

    def finish(self) -> list[Path]:
        """Write the files that hold all photos."""
        from mobilesam.files import make_folder, save_text
        from mobilesam.interchange.joint import JOINT_FILES, joint_text
        from mobilesam.names import short_paths

        if not self.photos:
            return []
        make_folder(self.folder)
        names = short_paths([photo.file_name for photo in self.photos])
        photos = [replace(photo, file_name=name) for photo, name in zip(self.photos, names, strict=True)]
        return [
            save_text(joint_text(form, photos), self.folder / JOINT_FILES[form], self.rule)
            for form in self.forms
            if form in JOINT_FILES
        ]
