from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from bridge.errors import InvalidValue
from bridge.tick import DepthRange
from longvie_server.control.dense import (
    DisparityScale,
    disparity_from_depth,
    encode_dense,
    encode_disparity,
    measure_depth_range,
    measured_frames,
    saturated_fraction,
)
from longvie_server.control.percentiles import percentiles

GOLDEN = Path(__file__).parents[2] / "golden" / "longvie2" / "rasters.npz"


def test_golden_dense_clips_pixel_by_pixel() -> None:
    with np.load(GOLDEN) as golden:
        disparity = golden["depth.disparity"]
        video = disparity[: measured_frames(len(disparity))]
        p5, p95 = percentiles(video, (5.0, 95.0))
        # Through metres and back, as the range travels.
        scale = DisparityScale.from_depth_range(DepthRange(near_m=1.0 / p95, far_m=1.0 / p5))
        grey = encode_disparity(video, scale)
        np.testing.assert_array_equal(grey[0:81], golden["depth.clip0"])
        np.testing.assert_array_equal(grey[80:161], golden["depth.clip1"])


@pytest.mark.parametrize(
    ("count", "measured"), [(1, 1), (80, 80), (81, 81), (82, 81), (160, 81), (161, 161), (170, 161), (4801, 4801)]
)
def test_only_whole_clips_are_measured(count: int, measured: int) -> None:
    assert measured_frames(count) == measured


def test_range_of_hand_made_depth() -> None:
    # 101 disparities 0.00, 0.01 .. 1.00: p5 is 0.05 and p95 is 0.95, whatever their order.
    with np.errstate(divide="ignore"):
        depth_m = (1.0 / np.linspace(0.0, 1.0, 101)[::-1]).astype(np.float32).reshape(1, 1, 101)
    measured = measure_depth_range(depth_m)
    assert measured.near_m == pytest.approx(1 / 0.95, rel=1e-6)
    assert measured.far_m == pytest.approx(1 / 0.05, rel=1e-6)


def test_range_of_sky() -> None:
    depth_m = np.full((1, 10, 10), np.inf, dtype=np.float32)
    assert measure_depth_range(depth_m) == DepthRange(near_m=math.inf, far_m=math.inf)
    depth_m[0, :5] = 4.0
    assert measure_depth_range(depth_m) == DepthRange(near_m=4.0, far_m=math.inf)
    depth_m[0, :5] = 0.0  # the camera inside something: no error, and no range of nothing
    assert 0 < measure_depth_range(depth_m).near_m < 1e-38


def test_range_needs_a_number() -> None:
    with pytest.raises(InvalidValue, match="Measure at least one frame"):
        measure_depth_range(np.empty((0, 4, 4), dtype=np.float32))


def test_range_is_measured_over_anything_that_gives_frames_twice() -> None:
    depth_m = np.random.default_rng(3).uniform(0.5, 90, (7, 11, 13)).astype(np.float32)
    assert measure_depth_range(list(depth_m)) == measure_depth_range(depth_m)


_DISPARITIES = arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 40)),
    elements=st.one_of(st.sampled_from([0.0, 1.0, 0.5, 2.0]), st.floats(0, 1e6, width=32)),
)


@settings(deadline=None)
@given(values=_DISPARITIES, percent=st.sampled_from([0.0, 2.0, 5.0, 50.0, 73.3, 95.0, 100.0]))
def test_percentiles_are_numpys_to_the_last_bit(values: NDArray[np.float32], percent: float) -> None:
    assert percentiles(values, [percent]) == np.percentile(values, [percent]).tolist()


@pytest.mark.parametrize("count", range(2, 60))
def test_percentiles_interpolate_with_numpys_arithmetic(count: int) -> None:
    values = np.random.default_rng(count).lognormal(0.0, 4.0, count).astype(np.float32)
    asked = [2.0, 5.0, 37.5, 71.0, 95.0, 98.0]
    assert percentiles([values], asked) == np.percentile(values, asked).tolist()


def test_hand_computed_greys() -> None:
    # Range 1 m .. 4 m: disparity 1 .. 0.25. At 2 m: (1 - 0.5) / 0.75 * 255 = 170; at 1.6 m: 127.5, truncated.
    depth_m = np.array([[[0.0, 0.5, 1.0, 1.6, 2.0, 4.0, 9.0, np.inf]]], dtype=np.float32)
    grey = encode_dense(depth_m, DepthRange(near_m=1.0, far_m=4.0))
    assert grey.dtype == np.uint8
    assert grey.tolist() == [[[0, 0, 0, 127, 170, 255, 255, 255]]]


def test_infinite_far_end_is_white() -> None:
    depth_m = np.array([[[2.0, 4.0, 100.0, np.inf, -0.0]]], dtype=np.float32)
    assert encode_dense(depth_m, DepthRange(near_m=2.0, far_m=np.inf)).tolist() == [[[0, 127, 249, 255, 0]]]


@pytest.mark.parametrize("end_m", [3.0, math.inf])
def test_a_range_of_zero_is_mid_grey(end_m: float) -> None:
    depth_m = np.array([[[1.0, 3.0, np.inf]]], dtype=np.float32)
    assert encode_dense(depth_m, DepthRange(near_m=end_m, far_m=end_m)).tolist() == [[[127, 127, 127]]]


def test_a_range_too_small_for_float32_does_not_overflow() -> None:
    depth_m = np.array([[[0.0, 1.0, np.inf]]], dtype=np.float32)
    assert encode_dense(depth_m, DepthRange(near_m=1e-300, far_m=np.inf)).tolist() == [[[0, 255, 255]]]


def test_saturated_fraction_counts_what_is_outside() -> None:
    depth_m = np.array([[[0.5, 1.0, 2.0, 4.0]], [[4.1, np.inf, 3.0, 1.0]]], dtype=np.float32)
    assert saturated_fraction(depth_m, DepthRange(near_m=1.0, far_m=4.0)) == 3 / 8
    assert saturated_fraction(depth_m, DepthRange(near_m=0.1, far_m=np.inf)) == 0.0


@given(distance_m=st.floats(2**-7, 1e4, width=32))
def test_a_wall_at_the_end_of_its_own_range_is_not_saturated(distance_m: float) -> None:
    wall_m = np.full((1, 4, 4), distance_m, dtype=np.float32)
    assert saturated_fraction(wall_m, measure_depth_range(wall_m)) == 0.0


def test_disparity_of_nothing_is_zero() -> None:
    assert disparity_from_depth(np.array([np.inf, 4.0], dtype=np.float32)).tolist() == [0.0, 0.25]
