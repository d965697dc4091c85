"""The folder that an MCP server may use: which photos it reads, and where it writes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from mobilesam.errors import ImageError, OutputError, SettingsError
from mobilesam.image import is_photo_name

RESULTS = "mobilesam"
"""Folder of the results, inside the folder of the photos, unless a call names another one."""
MOST_NAMED = 20  # photos that an error names


class ForbiddenPathError(ImageError, OutputError):
    """A path leads out of the folder that the server was given, or through a symbolic link."""


@dataclass(frozen=True)
class Folder:
    """A folder with photos; names in it may not leave it, neither by `..` nor through symbolic links."""

    root: Path
    """Absolute, itself without symbolic links."""

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Folder:
        """The folder at a path.

        Raises:
            SettingsError: it is no folder.
        """
        root = Path(path).resolve()
        if not root.is_dir():
            raise SettingsError(f"'{path}' is not a folder; give one that exists: --folder DIR")
        return cls(root)

    def inside(self, name: str | os.PathLike[str]) -> Path:
        """The path that a name stands for, which need not exist.

        Args:
            name: relative to the folder, with slashes; or an absolute path in it.

        Raises:
            ForbiddenPathError: it leads out of the folder, or through a symbolic link.
        """
        if not isinstance(name, str | os.PathLike):
            raise ForbiddenPathError(f"a name is a text, found {name!r:.40}; give a path relative to the folder")
        text = os.fspath(name)
        if not text.strip() or "\0" in text:
            raise ForbiddenPathError("the name is empty or holds a NUL; give a path relative to the folder")
        # Both kinds of separators count, whatever the system, so that one call means the same everywhere.
        if ".." in (*PurePosixPath(text).parts, *PureWindowsPath(text).parts):
            raise ForbiddenPathError(f"'{text}' has '..' in it; give a path relative to the folder")
        path = self.root / text
        try:
            parts = path.relative_to(self.root).parts
        except ValueError as error:
            raise ForbiddenPathError(f"'{text}' lies outside of the folder; give a path relative to it") from error
        step = self.root
        for part in parts:
            step = step / part
            try:
                is_link = step.is_symlink() or _is_junction(step)
            except OSError as error:  # a name that is too long for this system
                raise ForbiddenPathError(f"'{text[:40]}...' is no path here ({error.strerror})") from None
            if is_link:
                raise ForbiddenPathError(f"'{self.name(step)}' is a symbolic link, which is not followed")
        return path

    def photo(self, name: str) -> Path:
        """The path of a photo.

        Raises:
            ForbiddenPathError: see `inside`.
            ImageError: there is no such file; names the photos that there are.
        """
        path = self.inside(name)
        if not path.is_file():
            raise ImageError(f"there is no photo '{name}'; {self._listing()}")
        return path

    def results(self, name: str | os.PathLike[str]) -> Path:
        """A folder for results, made if it is missing.

        Raises:
            ForbiddenPathError: see `inside`.
            OutputError: a file has this name.
        """
        path = self.inside(name)
        if path.exists() and not path.is_dir():
            raise OutputError(f"'{self.name(path)}' is a file; give the name of a folder for the results")
        path.mkdir(parents=True, exist_ok=True)
        return path

    def name(self, path: Path) -> str:
        """A path in the folder as the client names it: relative, with slashes."""
        return path.relative_to(self.root).as_posix()

    def _listing(self) -> str:
        """A sentence with the photos of the folder; those of subfolders are not named."""
        found = sorted(
            entry.name
            for entry in os.scandir(self.root)
            if is_photo_name(entry.name) and entry.is_file(follow_symlinks=False)
        )
        if not found:
            return "the folder itself holds none"
        more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
        return f"there are: {', '.join(found[:MOST_NAMED])}{more}"


def _is_junction(path: Path) -> bool:
    """Whether a path is a junction, the other kind of link of Windows."""
    is_junction = getattr(os.path, "isjunction", None)  # from Python 3.12 on
    return bool(is_junction and is_junction(path))
