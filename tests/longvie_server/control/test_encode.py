from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ShapeMismatch
from bridge.tick import DepthRange
from longvie_server.control import (
    ClipGeometry,
    canvas_from_uv,
    encode_controls,
    encode_dense,
    paint_sparse,
    resize_bicubic,
    uv_from_canvas,
)
from longvie_server.control.encode import track_z

RANGE = DepthRange(near_m=1.0, far_m=np.inf)


def geometry(height: int = 24, width: int = 40) -> ClipGeometry:
    """81 ticks of a floor under the sky, with three points on it and one in the sky."""
    depth_m = np.full((81, height, width), np.inf, dtype=np.float32)
    depth_m[:, height // 2 :] = np.linspace(8.0, 1.0, height - height // 2, dtype=np.float32)[:, None]
    uv = np.array([[0.25, 0.6], [0.5, 0.75], [0.75, 0.9], [0.5, 0.2]], dtype=np.float32)
    drift = np.linspace(0, 0.2, 81, dtype=np.float32)[:, None, None] * np.float32([1, 0])
    return ClipGeometry(
        depth_m=depth_m,
        track_uv=(uv + drift).astype(np.float32),
        track_depth_m=np.tile(np.array([4.0, 2.0, 1.0, np.inf], dtype=np.float32), (81, 1)),
        track_drawn=np.ones((81, 4), dtype=np.bool_),
    )


def test_z_is_the_points_own_depth_in_eight_bits() -> None:
    clip = geometry()
    z = track_z(clip, RANGE, encode_dense(clip.depth_m, RANGE))
    # Disparities 1/4, 1/2, 1, 0 become greys trunc(191.25), trunc(127.5), 0, 255; the video goes from 0 to 255.
    np.testing.assert_array_equal(z[40], np.array([255 - 191, 255 - 127, 255, 0], dtype=np.float32) / np.float32(255))


def test_z_is_stretched_by_the_video_of_the_clip() -> None:
    clip = geometry()
    dense = np.array([[[100, 200]]], dtype=np.uint8)
    z = track_z(clip, RANGE, dense)
    np.testing.assert_allclose(z[1], [0.09, 0.73, 2.0, -0.55], rtol=1e-6)
    np.testing.assert_allclose(z[0], [0.09, 0.73, 1.0, 0.0], rtol=1e-6)  # seeds stay within the tracker's range
    assert not track_z(clip, RANGE, np.full((1, 2, 2), 9, dtype=np.uint8)).any()


def test_controls_are_dense_and_the_resized_canvas() -> None:
    clip = geometry()
    controls = encode_controls(clip, RANGE, height=24, width=40)
    dense = encode_dense(clip.depth_m, RANGE)
    np.testing.assert_array_equal(controls.dense, dense)
    canvases = paint_sparse(canvas_from_uv(clip.track_uv), track_z(clip, RANGE, dense), clip.track_drawn)
    for frame in (0, 1, 80):
        np.testing.assert_array_equal(controls.sparse[frame], resize_bicubic(canvases[frame], height=24, width=40))
    assert controls.sparse[0].any()
    assert (controls.sparse[0] != controls.sparse[80]).any()


def test_lost_points_leave_no_trace() -> None:
    clip = geometry()
    drawn, uv, depth_m = clip.track_drawn.copy(), clip.track_uv.copy(), clip.track_depth_m.copy()
    drawn[10:, 1], uv[10:, 1], depth_m[10:, 1] = False, np.nan, np.nan
    lossy = dataclasses.replace(clip, track_drawn=drawn, track_uv=uv, track_depth_m=depth_m)
    whole = encode_controls(clip, RANGE, height=24, width=40).sparse
    lost = encode_controls(lossy, RANGE, height=24, width=40).sparse
    np.testing.assert_array_equal(lost[:10], whole[:10])
    assert (lost[10:] != whole[10:]).any(axis=(1, 2, 3)).all()
    # Row 18 of 24 is v = 0.77, where only point 1 was, from column 20 on.
    assert whole[10, 17, 18:24].any()
    assert not lost[10, 17, 18:24].any()


def test_points_are_given_where_they_are_seen() -> None:
    clip = geometry()
    clip.depth_m[5, :, 20:] = 1.5  # a wall: before the points at 2 m and in the sky, behind the one at 1 m
    clip.track_drawn[7, 0] = False
    points = encode_controls(clip, RANGE, height=24, width=40).points
    assert points is not None
    assert points.dtype == np.float32
    seen = np.isfinite(points).all(axis=2)
    assert seen[[0, 5, 7, 40]].tolist() == [
        [True, True, True, True],
        [True, False, True, False],
        [False, True, True, True],
        [True, True, True, True],
    ]
    np.testing.assert_array_equal(points[seen], clip.track_uv[seen])


def test_depth_of_another_size_is_refused() -> None:
    with pytest.raises(ShapeMismatch, match="nearest neighbour"):
        encode_controls(geometry(), RANGE, height=48, width=80)


def test_a_part_of_a_clip_is_refused() -> None:
    clip = geometry()
    part = ClipGeometry(clip.depth_m[:5], clip.track_uv[:5], clip.track_depth_m[:5], clip.track_drawn[:5])
    with pytest.raises(ShapeMismatch, match="81"):
        encode_controls(part, RANGE, height=24, width=40)


def test_canvas_corners() -> None:
    uv = np.array([[0, 0], [1, 1], [0.5, 0.25]], dtype=np.float32)
    assert canvas_from_uv(uv).tolist() == [[0, 0], [832, 480], [416, 120]]


@given(x=st.floats(-2000, 2000, width=32), y=st.floats(-2000, 2000, width=32))
def test_canvas_and_back(x: float, y: float) -> None:
    xy_px = np.array([x, y], dtype=np.float32)
    np.testing.assert_allclose(canvas_from_uv(uv_from_canvas(xy_px)), xy_px, rtol=3e-7, atol=1e-30)
