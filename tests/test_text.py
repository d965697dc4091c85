from __future__ import annotations

import pytest

from mobilesam.errors import DataError
from mobilesam.text import counted, decode_text, parse_json, unknown
from tests.helpers.children import in_child


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_text_is_read_in_every_encoding_that_windows_writes(encoding: str) -> None:
    assert decode_text("0 0.5 ü\r\n".encode(encoding)) == "0 0.5 ü\r\n"
    assert parse_json('{"ä": [1]}'.encode(encoding)) == {"ä": [1]}


@pytest.mark.parametrize("data", [b"{", b"", b"\xff\xfe{", '{"a": "ä"}'.encode("latin-1"), b"9" * 5000])
def test_what_is_no_json_is_a_data_error(data: bytes) -> None:
    with pytest.raises(DataError):
        parse_json(data)


def test_json_that_is_nested_without_end_is_a_data_error() -> None:
    found, *_ = in_child("""
from mobilesam.text import parse_json
for text in (b"[" * 200000, b'{"a":' * 200000):
    try:
        parse_json(text)
    except MobileSamError as error:
        print(error)
""")
    assert "nested too deep" in found


def test_an_unknown_name_has_the_nearest_one_as_advice() -> None:
    assert (
        unknown("model", "tinny", ["tiny", "base"]) == "unknown model 'tinny'; did you mean 'tiny'? known: tiny, base"
    )
    assert unknown("key", "stepz", ["steps"], "run.") == "unknown key 'run.stepz'; did you mean 'steps'? known: steps"
    many = [f"name{i}" for i in range(20)]
    assert unknown("model", "nam7", many) == "unknown model 'nam7'; did you mean 'name7'?"
    assert "known: name0, name1, " in unknown("model", "x", many)
    assert unknown("model", "x", iter(["tiny"])) == "unknown model 'x'; known: tiny"


def test_one_thing_is_singular() -> None:
    assert [counted(count, "mask") for count in (0, 1, 2)] == ["0 masks", "1 mask", "2 masks"]
