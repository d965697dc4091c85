from __future__ import annotations

import numpy as np
import pytest

from mobilesam.image import open_photo
from tests.helpers.deep import jpeg2000, said


def ramp(most: int) -> np.ndarray:
    return np.linspace(0, most, 240 * 320).round().astype(int).reshape(240, 320)


@pytest.mark.parametrize("bits", [9, 10, 12, 14])
def test_grey_values_are_those_of_the_file_and_its_bits_say_the_range(bits: int) -> None:
    most = 2**bits - 1
    values = ramp(most)
    file = jpeg2000(values, bits)
    np.testing.assert_array_equal(open_photo(file)[..., 0], np.round(values / most * 255))
    shown = open_photo(file, value_range=(0, most // 4))
    np.testing.assert_array_equal(shown[..., 0], np.round(np.clip(values / (most // 4), 0, 1) * 255))


def test_sixteen_bits_of_grey_are_shown_as_in_other_formats() -> None:
    values = ramp(65535)
    np.testing.assert_array_equal(open_photo(jpeg2000(values, 16)), open_photo(values.astype(np.uint16)))
    twelve = ramp(4095)
    np.testing.assert_array_equal(open_photo(jpeg2000(twelve, 16)), open_photo(twelve.astype(np.uint16)))


def test_values_with_a_sign_are_those_of_the_file() -> None:
    values = ramp(3000) - 1000
    shown = open_photo(jpeg2000(values, 12, signed=True), value_range=(-1000, 2000))
    np.testing.assert_array_equal(shown[..., 0], np.round((values + 1000) / 3000 * 255))


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_the_brightest_colours_stay_bright_and_a_range_has_its_effect(bits: int) -> None:
    most = 2**bits - 1
    values = np.stack([ramp(most), ramp(most)[::-1], ramp(most) // 2], axis=-1)
    file = jpeg2000(values, bits)
    np.testing.assert_array_equal(open_photo(file), np.round(values / most * 255))
    with said() as messages:
        shown = open_photo(file, value_range=(0, most // 4))
    np.testing.assert_array_equal(shown, np.round(np.clip(values / (most // 4), 0, 1) * 255))
    assert messages == []


def test_transparency_of_deep_colours_is_laid_on_white() -> None:
    values = np.stack([ramp(4095)] * 3 + [np.where(ramp(4095) > 2000, 4095, 0)], axis=-1)
    shown = open_photo(jpeg2000(values, 12))
    np.testing.assert_array_equal(shown[..., 0], np.where(ramp(4095) > 2000, np.round(ramp(4095) / 4095 * 255), 255))
