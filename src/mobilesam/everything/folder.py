"""All masks of many photos, written to a folder; finished photos are skipped when it is run again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mobilesam.errors import DataError, MobileSamError, OutputError, SettingsError
from mobilesam.everything.generate import segment_everything
from mobilesam.everything.settings import EverythingSettings
from mobilesam.everything.write import FORMS, JOINT, write, write_joint
from mobilesam.files import make_folder
from mobilesam.image import MAX_PIXELS, locate_photos, open_photo, within_memory
from mobilesam.names import absolute, output_names, relative
from mobilesam.opening.tones import check_range
from mobilesam.outputs import DEFAULT, Outputs
from mobilesam.predict.identity import numbers_stored, precision_of
from mobilesam.predict.predictor import Predictor
from mobilesam.settings import check_workers
from mobilesam.text import parse_json


@dataclass(frozen=True)
class PhotoResult:
    """Result of one photo: its files, or why it was skipped or failed."""

    photo: str
    """Its path, as given."""
    name: str
    """First part of the names of its files."""
    files: tuple[Path, ...] = ()
    """What was written for it, or, where it was skipped, its record."""
    num_masks: int | None = None
    """None where the photo was skipped or failed."""
    skipped: bool = False
    """It was finished before, by the same model, settings and forms."""
    error: MobileSamError | OSError | None = None
    """Why the photo failed; None if it did not."""


@dataclass(frozen=True)
class FolderResult:
    """Results of all photos of `segment_folder`."""

    photos: list[PhotoResult]
    """In the order given; a photo that was given twice is listed once."""
    coco: Path | None = None
    """The COCO file of these photos, if the form "coco" was requested and at least one photo is finished."""
    joint: dict[str, Path] = field(default_factory=dict)
    """Form → the file of all these photos, for "coco", "cvat" and "label-studio"."""

    @property
    def failed(self) -> list[PhotoResult]:
        """The photos without a result."""
        return [photo for photo in self.photos if photo.error is not None]


def segment_folder(
    predictor: Predictor,
    photos: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    settings: EverythingSettings | None = None,
    forms: Sequence[str] = ("labels", "overlay"),
    workers: int = 1,
    recursive: bool = False,
    max_pixels: int = MAX_PIXELS,
    value_range: tuple[float, float] | None = None,
    overwrite: bool = False,
    on_result: Callable[[PhotoResult], None] | None = None,
    show_progress: bool = False,
) -> FolderResult:
    """Find all masks of many photos and write them to a folder, as `mobilesam everything` does.

    It can be stopped and called again: a photo is skipped if its record was made with the same model, settings, range
    of values and forms, and the photo has the same path, size and modification time. Results of another photo are never
    overwritten; a photo whose stem is already used gets a longer name (`mobilesam.names.output_names`).

    Args:
        predictor: the model.
        photos: a folder, a pattern, a photo, or several of these.
        output: folder for the results, created if missing.
        settings: settings of the search; None for the defaults.
        forms: some of `mobilesam.everything.write.FORMS`, such as "labels" and "coco"; each photo also gets its record
            NAME.json.
        workers: number of photos processed in parallel. Load the model with `threads=1` for more than one.
        recursive: search subfolders too; the results of a photo in one lie in a subfolder of the same name.
        max_pixels: larger photos are refused; see `mobilesam.image.open_photo`.
        value_range: the values of black and white of deep photos; see there too.
        overwrite: replace files that this package did not write too, but never a photo.
        on_result: called after each photo, in the order given.
        show_progress: show progress bars on the terminal.

    Returns:
        The result of each photo; one that cannot be read does not stop the others.

    Raises:
        SettingsError: there is no such form, `workers` is not 1 to 1024, or `value_range` is not two numbers, the lower
            first.
        ImageError: a folder holds no photos.
        OutputError: a file for all photos ("coco", "cvat", "label-studio") was requested, and another's is there.
        DataError: one was requested, and the record of a photo that was finished before is damaged.
        OSError: the output folder cannot be made.

    Examples:
        >>> settings = mobilesam.EverythingSettings(points_per_side=6)
        >>> done = mobilesam.segment_folder(sam, "examples/coffee.png", "masks", settings=settings, forms=["coco"])
        >>> [photo.name for photo in done.photos], done.failed, done.coco.name
        (['coffee'], [], 'instances.json')
    """
    check_forms(forms)
    check_workers(workers)
    value_range = None if value_range is None else check_range(value_range)
    given = list(locate_photos([photos] if isinstance(photos, str | os.PathLike) else photos, recursive=recursive))
    paths = list({absolute(path): os.fspath(path) for path, _ in given}.values())
    if not os.fspath(output).strip():
        raise OutputError("the name of the output folder is empty; give a folder")
    output = Path(output)
    make_folder(output)
    outputs = Outputs.beside(paths, overwrite=overwrite)
    for form in JOINT.keys() & set(forms):
        outputs.check(output / JOINT[form])
    job = Job(
        predictor,
        settings or EverythingSettings(),
        tuple(forms),
        output,
        outputs,
        {absolute(path): subfolder for path, subfolder in given},
        max_pixels=max_pixels,
        value_range=value_range,
    )
    done = []
    # Closed at once when `on_result` raises an error, such as that of a closed pipe: photos that wait are not done.
    with closing(job.results(paths, workers, show_progress)) as results:
        for result in results:
            done.append(result)
            if on_result is not None:
                on_result(result)
    finished = [result.name for result in done if result.error is None]
    wanted = [form for form in JOINT if form in forms and finished]
    joint = {form: write_joint(output, form, finished, outputs) for form in wanted}
    return FolderResult(done, joint.get("coco"), joint)


def check_forms(forms: Sequence[str]) -> None:
    """Check that all forms exist.

    Raises:
        SettingsError: names the first that does not.
    """
    unknown = [form for form in forms if form not in FORMS]
    if unknown:
        raise SettingsError(f"results are written as {', '.join(FORMS)}, not as '{unknown[0]}'")


def fingerprint(
    predictor: Predictor,
    settings: EverythingSettings,
    forms: Sequence[str],
    value_range: tuple[float, float] | None = None,
) -> str:
    """Hash of model, settings and forms; a photo whose record has another one is processed again."""
    info = predictor.info
    computed = precision_of(predictor.backend)
    asked = [info.weights_sha256, info.image_size, asdict(settings.for_model(info)), sorted(forms), computed]
    stored = numbers_stored(predictor.backend)
    # Only where they say something, so that records of earlier versions stay valid.
    asked += [one for one in (value_range, stored or None) if one is not None]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]


@dataclass
class Job:
    """The processing of photos into one folder of results, with what its threads share."""

    predictor: Predictor
    settings: EverythingSettings
    forms: tuple[str, ...]
    output: Path
    outputs: Outputs = DEFAULT
    """The rule for what may be replaced."""
    subfolders: dict[str, str] = field(default_factory=dict)
    """Absolute path of each photo → the subfolder of its results, "" for none."""
    max_pixels: int = MAX_PIXELS
    value_range: tuple[float, float] | None = None
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Cache of records read so far: name → identity of the photo, and hash of the settings it was made with."""

    def __post_init__(self) -> None:
        self.identity = fingerprint(self.predictor, self.settings, self.forms, self.value_range)

    def results(self, paths: list[str], workers: int, show_progress: bool) -> Generator[PhotoResult, None, None]:
        """Process all photos; yields their results in order."""
        folders = [self.subfolders.get(absolute(path), "") for path in paths]
        here = [name for folder in set(folders) for name in self.records_in(folder)]
        names = output_names(
            paths, folders=folders, taken=[*here, *(Path(file).stem for file in JOINT.values())], owner=self.owner
        )
        pool = ThreadPoolExecutor(max(1, workers))
        try:
            # A bar per photo only without parallel photos: bars of several threads would overwrite each other.
            has_bar = show_progress and workers <= 1
            results = pool.map(lambda path, name: self.do(path, name, has_bar), paths, names)
            yield from tqdm(results, total=len(paths), unit="photo", disable=not show_progress or len(paths) < 2)
        finally:
            pool.shutdown(cancel_futures=True)

    def records_in(self, folder: str) -> list[str]:
        """Names that JSON files in a subfolder of the results have taken."""
        try:
            files = os.listdir(self.output / folder)
        except FileNotFoundError:
            return []
        stems = [file.removesuffix(".json") for file in files if file.endswith(".json")]
        return [f"{folder}/{stem}" if folder else stem for stem in stems]

    def do(self, path: str, name: str, has_bar: bool) -> PhotoResult:
        """Process one photo: skip it if it is finished, else find its masks and write them."""
        try:
            with within_memory(f"'{path}'"):
                return self.segment(path, name, has_bar)
        except SettingsError:
            raise  # of no photo: it would fail every one
        except (MobileSamError, OSError) as error:
            return PhotoResult(path, name, error=error)

    def segment(self, path: str, name: str, has_bar: bool) -> PhotoResult:
        """As `do`, but what goes wrong is raised."""
        photo = self.describe(path)
        made = {"photo": photo, "made_by": self.identity}
        if photo is not None and self.record(name) == made:
            return PhotoResult(path, name, (self.output / f"{name}.json",), skipped=True)
        rgb = open_photo(path, max_pixels=self.max_pixels, value_range=self.value_range)
        self.retire_joint()
        with tqdm(unit="prompt", leave=False, disable=not has_bar, desc=name, position=1) as bar:

            def progress(asked: int, total: int) -> None:
                bar.total, bar.n = total, asked
                bar.refresh()

            found = segment_everything(self.predictor, rgb, settings=self.settings, progress=progress)
        files = write(self.output, name, path, rgb, found, self.forms, made, self.outputs)
        return PhotoResult(path, name, tuple(files), len(found))

    def describe(self, path: str) -> dict[str, Any] | None:
        """Identity of a photo's current content: path, size and modification time; None if the file is missing.

        The path is relative to the results, so that photos and results may be moved together.
        """
        try:
            state = os.stat(path)
        except OSError:
            return None  # `open_photo` raises the error, with the reason
        return {"path": relative(path, self.output), "size": state.st_size, "mtime_ns": state.st_mtime_ns}

    def owner(self, name: str) -> str | None:
        """Absolute path of the photo to which the results of this name belong; None if unknown."""
        photo = self.record(name).get("photo")
        return absolute(self.output / photo["path"]) if photo else None

    def record(self, name: str) -> dict[str, Any]:
        """Photo identity and settings hash from NAME.json; empty if the file is missing, damaged or not ours."""
        if name not in self.records:
            try:
                record = parse_json((self.output / f"{name}.json").read_bytes())
                made = {key: record[key] for key in ("photo", "made_by")}
            except (OSError, ValueError, KeyError, TypeError, DataError):
                made = {}
            self.records[name] = made if is_photo(made.get("photo")) else {}
        return self.records[name]

    def retire_joint(self) -> None:
        """Remove files of all photos of an earlier run, since a photo is about to change; a kill then leaves none."""
        for form in JOINT.keys() & set(self.forms):
            self.outputs.remove(self.output / JOINT[form])


def is_photo(value: Any) -> bool:
    """Whether a value is what `Job.describe` gives for a photo, or the None of one that was missing."""
    if value is None:
        return True
    kinds = {"path": str, "size": int, "mtime_ns": int}
    is_whole = isinstance(value, dict) and all(isinstance(value.get(key), kind) for key, kind in kinds.items())
    return is_whole and "\0" not in value["path"]
