import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import InvalidValue
from bridge.geometry.seeds import seed_grid, seed_pixels, seed_uv


def test_the_grid_is_the_trackers():
    uv = seed_grid()
    assert uv.shape == (2500, 2)
    assert uv.dtype == np.float64
    # 9/576 and 9/384 at one end, 567/576 and 375/384 at the other.
    assert uv[0].tolist() == [0.015625, 0.0234375]
    assert uv[49].tolist() == [0.984375, 0.0234375]
    assert uv[2450].tolist() == [0.015625, 0.9765625]
    assert uv[-1].tolist() == [0.984375, 0.9765625]
    # Second in its row: 9 + 558/49 of 576.
    assert uv[1] == pytest.approx([(9 + 558 / 49) / 576, 0.0234375], abs=1e-15)
    assert uv[50] == pytest.approx([0.015625, (9 + 366 / 49) / 384], abs=1e-15)


def test_seeds_of_a_640_by_352_capture():
    rows, columns = seed_pixels(640, 352)
    # u * 640: 10 exactly (an edge: the pixel to the right), then 22.65; v * 352: 8.25, then 15.097.
    assert (rows[0], columns[0]) == (8, 10)
    assert (rows[1], columns[1]) == (8, 22)
    assert (rows[50], columns[50]) == (15, 10)
    assert (rows[-1], columns[-1]) == (343, 630)
    assert seed_uv(640, 352)[1].tolist() == [22.5 / 640, 8.5 / 352]


@settings(deadline=None)
@given(st.integers(1, 3000), st.integers(1, 3000))
def test_a_seed_is_at_most_half_a_pixel_from_its_grid_position(width, height):
    off = np.abs(seed_uv(width, height) - seed_grid()) * (width, height)
    assert off.max() <= 0.5 + 1e-9
    rows, columns = seed_pixels(width, height)
    assert rows.min() >= 0
    assert rows.max() < height
    assert columns.min() >= 0
    assert columns.max() < width


def test_from_52_pixels_on_no_two_seeds_share_one():
    for size, distinct in ((51, False), (52, True), (53, True), (96, True)):
        rows, columns = seed_pixels(size, size)
        assert (len(set(zip(rows.tolist(), columns.tolist(), strict=True))) == 2500) is distinct


def test_shared_arrays_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        seed_grid()[0] = 0
    with pytest.raises(ValueError, match="read-only"):
        seed_pixels(640, 352)[0][0] = 0


def test_a_size_that_is_none():
    with pytest.raises(InvalidValue, match="0 x 352"):
        seed_pixels(0, 352)
