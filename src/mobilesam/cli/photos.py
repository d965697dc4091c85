"""Which photos a verb was given, and what its results are called."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path

from mobilesam.errors import ImageError


def expand(photos: Sequence[str]) -> Iterator[Path | str]:
    """Folders and patterns become their photos; everything else stays, so that a missing file gets its own error."""
    from mobilesam.image import SUFFIXES

    for text in photos:
        path = Path(text)
        if "://" in text:
            yield text
        elif path.is_dir() or (glob.has_magic(text) and not path.exists()):
            candidates = path.iterdir() if path.is_dir() else (Path(p) for p in glob.glob(text, recursive=True))
            inside = sorted(p for p in candidates if p.suffix.lower() in SUFFIXES)
            if not inside:
                raise ImageError(f"'{path}' holds no photos ({', '.join(sorted(SUFFIXES))})")
            yield from inside
        else:
            yield path


def output_names(paths: Sequence[Path | str]) -> list[str]:
    """The photos' stems, numbered where two photos share one, so that no result overwrites another."""
    stems = [Path(path).stem for path in paths]
    return [stem if stems.count(stem) == 1 else f"{stem}_{i}" for i, stem in enumerate(stems, 1)]
