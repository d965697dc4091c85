"""Moves a finished export into its folder, and removes what an earlier export has left there.

A folder holds one export. Files of another one beside it would be opened in place of the new ones, or refused as
damaged, because the new model.json does not list them.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

from mobilesam import contract
from mobilesam.errors import ModelError, OutputError
from mobilesam.integrity import HASHES, file_sha256, read_card
from mobilesam.outputs import ALL, Outputs, identity, note

PAIR_FILES = (contract.ENCODER_FILE, contract.DECODER_FILE, contract.MANY_FILE)
OPENED_FIRST = tuple(name for file in PAIR_FILES for name in (file, f"{file}.data"))
"""Files that a backend opens wherever they lie, also where no model.json lists them."""


def place(partial: Path, folder: Path, outputs: Outputs) -> list[Path]:
    """Move the files of an export from a temporary folder to their places; what an earlier export left is removed.

    Raises:
        OutputError: a file would be replaced or removed that is not as this package wrote it; nothing is changed.
    """
    # The old model.json is removed first and the new one moved last, so that a folder that has one is complete,
    # whenever the process is killed. Files that differ are removed before any is moved, so that a kill leaves no
    # encoder of one export beside the decoder of another.
    names = sorted((p.name for p in partial.iterdir()), key=lambda file: (file == contract.CARD_FILE, file))
    check_places(folder, names, outputs)
    new, old = listed(partial), listed(folder)
    changed = {PurePosixPath(file).parts[0] for file, digest in old.items() if new.get(file) != digest}
    packages = {name for name in names if (folder / name).is_dir()}
    (folder / contract.CARD_FILE).unlink(missing_ok=True)
    for name in sorted(changed | packages | set(leftovers(folder, names))):
        _remove(folder / name)
    for name in names:
        if outputs is not ALL and (partial / name).is_file():
            note(folder / name, partial / name)
        os.replace(partial / name, folder / name)
    return [folder / name for name in names]


def check_places(folder: Path, names: Sequence[str], outputs: Outputs) -> None:
    """Refuse to replace or remove what is not as this package wrote it.

    Args:
        folder: of the export.
        names: the files and folders that are written.
        outputs: the rule for what may be replaced.

    Raises:
        OutputError: another's file is there, or one of an earlier export that was changed since.
    """
    for name in names:
        _check(folder / name, outputs)
    for name in leftovers(folder, names):
        _check_leftover(folder / name, outputs)


def leftovers(folder: Path, names: Collection[str]) -> list[str]:
    """Names of files and folders of an earlier export that the one which writes `names` does not replace."""
    tops = {PurePosixPath(file).parts[0] for file in listed(folder)} | set(OPENED_FIRST)
    return sorted(name for name in tops - {*names, contract.CARD_FILE} if os.path.lexists(folder / name))


def listed(folder: Path) -> dict[str, str]:
    """The files that model.json of a folder lists, below the folder, and their sha256; none where it is damaged."""
    try:
        files: dict[str, str] = read_card(folder).get(HASHES, {})
    except ModelError:
        return {}  # `Outputs.check` decides whether it may be replaced
    return {file: digest for file, digest in files.items() if _is_below(file)}


def _is_below(file: str) -> bool:
    """Whether a listed path names something below its folder; model.json may come from anywhere."""
    parts = PurePosixPath(file).parts
    return bool(parts) and not any(part in ("..", "/") or "\\" in part or ":" in part for part in parts)


def _check(path: Path, outputs: Outputs) -> None:
    """Refuse to replace what is not ours; a folder (a package of CoreML) is ours where model.json lists its files.

    Raises:
        OutputError: another's file or folder is there, or a file in our folder that is not as we wrote it.
    """
    known = listed(path.parent)
    if path.is_symlink() or not path.is_dir() or not any(name.startswith(f"{path.name}/") for name in known):
        outputs.check(path)
        return
    for file in _files_in(path):
        digest = known.get(file.relative_to(path.parent).as_posix())
        if digest is None or not (outputs.overwrite or file_sha256(file) == digest):
            raise OutputError(f"'{file}' is not as mobilesam wrote it, and '{path.name}' would be replaced; move it")


def _check_leftover(path: Path, outputs: Outputs) -> None:
    """Refuse to remove a file or folder that is an input, or not as an earlier export wrote it.

    Raises:
        OutputError: it is; says what to do.
    """
    digest = listed(path.parent).get(path.name)
    is_written = digest is not None and path.is_file() and not path.is_symlink() and file_sha256(path) == digest
    if not is_written or identity(path) in outputs.inputs:
        _check(path, outputs)
        if digest is not None and not outputs.overwrite:
            raise OutputError(
                f"'{path}' was changed after mobilesam wrote it, and the model that it belongs to would be replaced; "
                "move it, give another --output, or say --overwrite (overwrite=True)"
            )


def _files_in(package: Path) -> list[Path]:
    return sorted(file for file in package.rglob("*") if file.is_symlink() or not file.is_dir())


def _remove(path: Path) -> None:
    """Remove a file, or a package, that has been checked."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    for file in _files_in(path):
        file.unlink()
    for name, _, _ in os.walk(path, topdown=False):
        Path(name).rmdir()  # fails where a file has appeared meanwhile: it is kept
