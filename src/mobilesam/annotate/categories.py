"""The categories of the COCO file that a run is merged into: those of its inputs and prompts."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mobilesam.data.layouts import expand
from mobilesam.data.pairs import is_record_name
from mobilesam.data.photo import MALFORMED, reason
from mobilesam.errors import DataError
from mobilesam.remote import is_remote
from mobilesam.rle import is_whole
from mobilesam.text import parse_json

log = logging.getLogger(__name__)


class Categories:
    """The categories of some COCO files, and which one a mask without a category gets.

    Args:
        files: inputs and prompt files of a run; those that are no JSON have no categories.
    """

    def __init__(self, files: Iterable[str] = ()) -> None:
        self.records: dict[int, dict[str, Any]] = {}
        """Id → record, as in the first file that has it."""
        for one in files:
            if not is_remote(one):
                self._read_all(one)
        # 1 may be the id of "person", which not every mask without a category is.
        self.none = max(self.records) + 1 if 1 in self.records else 1
        self.used: set[int] = set() if self.records else {self.none}

    def _read_all(self, pattern: str) -> None:
        """Add the categories of the JSON files that match a shell pattern."""
        try:
            for path in (one for one in expand([pattern]) if is_record_name(one.name)):
                self._read(path)
        except DataError as error:  # the plan was made when it was there
            log.warning("%s; its categories are not named", error)

    def _read(self, path: Path) -> None:
        """Add the categories of a file."""
        try:
            data = parse_json(path.read_bytes())
            found = data.get("categories", []) if isinstance(data, dict) else []
            for record in found:
                if not is_whole(record["id"]) or not isinstance(record["name"], str):
                    raise DataError("a category has no whole id or no name")
                there = self.records.setdefault(int(record["id"]), {**record, "id": int(record["id"])})
                if there["name"] != record["name"]:
                    log.warning(
                        "category %s is '%s' and, in '%s', '%s'; the first name is kept",
                        record["id"], there["name"], path, record["name"],
                    )  # fmt: skip
        except (OSError, *MALFORMED) as error:
            log.warning("the categories of '%s' cannot be read: %s", path, reason(error))

    def of(self, category_id: int | None) -> int:
        """The category of a mask; noted as used."""
        number = self.none if category_id is None else category_id
        self.used.add(number)
        return number

    def all(self) -> list[dict[str, Any]]:
        """The records of the files, and one for each other category that was used."""
        others = sorted(self.used - self.records.keys())
        return [
            *self.records.values(),
            *({"id": id, "name": "object" if id == self.none else f"category {id}"} for id in others),
        ]
