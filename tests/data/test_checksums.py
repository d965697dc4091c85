from __future__ import annotations

from dataclasses import replace

from mobilesam.data.checksums import listing_checksum
from mobilesam.data.files import FileRef
from mobilesam.data.photo import PhotoId, PhotoRef
from tests.helpers.stores import HEADER


def test_a_listing_tells_names_sizes_and_order_and_not_the_data_sets_name() -> None:
    def listing(dataset: str, *photos: tuple[str, int]) -> str:
        return listing_checksum(PhotoRef(PhotoId(dataset, n), FileRef("x.tar", (0, size)), None) for n, size in photos)

    a = listing("x", ("a", 1), ("b", 2))
    assert a == listing("one/x.tar", ("a", 1), ("b", 2)) == "52fd8627"
    others = {listing("x", ("a", 1), ("b", 3)), listing("x", ("b", 2), ("a", 1)), listing("x", ("a", 1))}
    assert len(others - {a}) == 3
    mine, theirs = (replace(HEADER, shard=f"{name} {a}") for name in ("x", "one/x.tar"))
    assert mine.differences(theirs) == ""
    assert "shard is x 0, not x" in mine.differences(replace(HEADER, shard="x 0"))
