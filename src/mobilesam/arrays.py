"""Reading of .npy data from untrusted files."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from mobilesam.errors import DataError, first_line


def parse_npy(data: bytes | memoryview, *dtypes: type[np.generic]) -> NDArray[Any]:
    """Read an array from the bytes of a .npy file; no memory is allocated for values that are not there.

    Args:
        data: the whole file.
        dtypes: the types that are allowed.

    Raises:
        DataError: it is no .npy file, has another type, or its shape does not fit the number of bytes.
    """
    file = io.BytesIO(data)
    try:
        read_header = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
        shape, is_fortran, dtype = read_header(file)
    except Exception as error:  # numpy parses the header as Python source, and passes on whatever its parser raises
        raise DataError(f"not a .npy array ({first_line(error)})") from error
    content = file.read()
    expected = " or ".join(str(np.dtype(one)) for one in dtypes)
    if dtype not in [np.dtype(one) for one in dtypes] or is_fortran:
        raise DataError(f"an array of {dtype}, expected {expected}")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(content):
        raise DataError(f"an array of shape {shape} whose values take {len(content)} bytes")
    return np.frombuffer(content, dtype).reshape(shape).copy()
