from __future__ import annotations

import io

import numpy as np
import pytest

from mobilesam.arrays import parse_npy
from mobilesam.errors import DataError


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3, 4)])
def test_an_array_is_read_as_it_was_saved(shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
    found = parse_npy(npy(array), np.float16, np.float32)
    np.testing.assert_array_equal(found, array)
    assert found.flags.writeable


def with_header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + bytes(8)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not a .npy array"),
        (b"x" * 99, "not a .npy array"),
        (npy(np.ones(3, np.float32))[:-1], "whose values take 11 bytes"),
        (
            with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999,), }"),
            "whose values take 8 bytes",
        ),
        (with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -2), }"), "of shape"),
        (with_header("{" + " " * 200), "not a .npy array"),  # tokenize.TokenError
        (with_header("[" * 5000), "not a .npy array"),
        (with_header("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"), "an array of object"),
        (npy(np.ones(3, np.float64)), "an array of float64, expected float32"),
        (npy(np.asfortranarray(np.ones((2, 3), np.float32))), "expected float32"),
        (npy(np.array(["x"])), "an array of <U1"),
    ],
)
def test_what_is_no_such_array_is_named(data: bytes, why: str) -> None:
    with pytest.raises(DataError, match=why):
        parse_npy(data, np.float32)
