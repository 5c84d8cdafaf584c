from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bridge.errors import ShapeMismatch
from longvie_server.control import paint_sparse, resize_bicubic
from longvie_server.control.point_colours import point_colours
from longvie_server.control.point_spacing import nearest_distances

GOLDEN = Path(__file__).parents[2] / "golden" / "longvie2" / "rasters.npz"


def plain_painting(xy_px: NDArray[np.float32], z: NDArray[np.float32], drawn: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The same rules, one point and one OpenCV call at a time."""
    painted = np.zeros((len(z), 480, 832, 3), dtype=np.uint8)
    seeds = [i for i in range(z.shape[1]) if drawn[0, i]]
    colours = dict(zip(seeds, point_colours(xy_px[0, seeds], z[0, seeds]).tolist(), strict=True))
    sizes = {}
    for i in seeds:
        position = np.append(xy_px[0, i], z[0, i]).astype(np.float64)
        others = [np.append(xy_px[0, j], z[0, j]) for j in seeds if j != i]
        distances = [np.sqrt(((position - other) ** 2).sum()) for other in others]
        sizes[i] = int(min([*distances, 832.0]))
    last_size = 0
    for frame, canvas in enumerate(painted):
        alive = [i for i in seeds if drawn[frame, i] and xy_px[frame, i].all()]
        for i in sorted(alive, key=lambda i: -z[frame, i]):
            size = sizes[i] if frame == 0 else last_size
            half_width, half_height = size / 2, size / 2 / 1.5
            x, y = (float(np.clip(value, -9e3, 9e3)) for value in xy_px[frame, i])
            top_left = int(x - half_width), int(y - half_height)
            cv2.rectangle(canvas, top_left, (int(x + half_width), int(y + half_height)), colours[i], cv2.FILLED)
        if frame == 0 and alive:
            last_size = sizes[min(reversed(alive), key=lambda i: z[0, i])]
    return painted


def everything(z: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.ones(z.shape, dtype=np.bool_)


@pytest.mark.parametrize("name", ["grid50", "grid50_sky", "grid20"])
def test_golden_canvases_pixel_by_pixel(name: str) -> None:
    with np.load(GOLDEN) as golden:
        tracks, canvas, resized = (golden[f"{name}.{part}"] for part in ("tracks", "canvas", "resized"))
    xy_px, z = tracks[..., :2], tracks[..., 2]
    painted = paint_sparse(xy_px, z, everything(z))
    np.testing.assert_array_equal(painted, canvas)
    for frame, expected in zip(painted, resized, strict=True):
        np.testing.assert_array_equal(resize_bicubic(frame, height=352, width=640), expected)


@st.composite
def clips(draw: st.DrawFn) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    points = draw(st.sampled_from([1, 2, 7, 40, 150]))
    spread = draw(st.sampled_from([20.0, 200.0, 900.0]))
    xy_px = rng.uniform(-0.3 * spread, spread, (3, points, 2))
    if draw(st.booleans()):  # on whole, half and third pixels, where truncation decides
        xy_px = np.round(xy_px * 6) / 6
    if draw(st.booleans()):  # near the corner, where truncation goes the other way
        xy_px[1:] = rng.uniform(-9.0, 9.0, (2, points, 2))
    z = rng.integers(0, draw(st.sampled_from([2, 256])), (3, points)) / 255
    xy_px[rng.random(xy_px.shape) < 0.02] = 0.0
    xy_px[1:][rng.random((2, points)) < 0.05] = [3e30, -1e9]
    drawn = rng.random((3, points)) > draw(st.sampled_from([-1.0, 0.1, 0.9]))
    xy_px[~drawn] = np.nan
    return xy_px.astype(np.float32), z.astype(np.float32), drawn


@settings(deadline=None, max_examples=60)
@given(clip=clips())
def test_painting_equals_a_plain_loop(
    clip: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]],
) -> None:
    np.testing.assert_array_equal(paint_sparse(*clip), plain_painting(*clip))


def test_a_hand_computed_clip() -> None:
    # Three points in a row, 6 apart at the nearest: half width 3, half height 2. z differs by 1 at the most.
    xy_px = np.array([[[100, 50], [106, 50], [120, 50]], [[100, 50], [103, 50], [300.5, 60.5]]], dtype=np.float32)
    z = np.array([[1.0, 1.0, 0.5], [1.0, 0.25, 0.5]], dtype=np.float32)
    painted = paint_sparse(xy_px, z, everything(z))
    # R: 0, 6/20 and 1; G: a range of zero; B: 1/z = 1, 1, 2 between 1 and 1.96, saturated.
    near, middle, far = [0, 0, 0], [76, 0, 0], [255, 0, 255]
    assert painted[0, 50, 106].tolist() == middle
    assert painted[0, 48, 103].tolist() == middle  # 106 - 3, 50 - 2: the corner belongs to it
    assert painted[0, 47, 106].tolist() == [0, 0, 0]
    assert painted[0, 50, 102].tolist() == near
    # The last one drawn on the first frame is the farthest, point 2: int(sqrt(14^2 + 0.5^2)) = 14.
    assert painted[0, 46, 113].tolist() == far  # 120 - 7, trunc(50 - 4.67) = 45
    assert painted[0, 45, 127].tolist() == far
    assert painted[0, 44, 120].tolist() == [0, 0, 0]
    # From then on all have its size, and smaller z lies on top.
    assert painted[1, 50, 96].tolist() == middle  # 103 - 7
    assert painted[1, 50, 110].tolist() == middle
    assert painted[1, 55, 293].tolist() == far  # trunc(293.5), trunc(55.83)
    assert painted[1, 65, 307].tolist() == far
    assert painted[1, 66, 307].tolist() == [0, 0, 0]
    assert painted[1, 65, 308].tolist() == [0, 0, 0]


def test_ties_in_z_keep_the_order_of_the_points() -> None:
    xy_px = np.array([[[100, 100], [109, 100]], [[100, 100], [104, 100]]], dtype=np.float32)
    z = np.full((2, 2), 0.5, dtype=np.float32)
    assert paint_sparse(xy_px, z, everything(z))[1, 100, 102].tolist() == [255, 0, 0]


def test_a_point_at_exactly_zero_is_not_drawn() -> None:
    xy_px = np.array([[[50, 50], [70, 60]], [[0, 50], [70, 60]]], dtype=np.float32)
    z = np.array([[0.5, 1.0], [0.5, 1.0]], dtype=np.float32)
    frame = paint_sparse(xy_px, z, everything(z))[1]
    assert not frame[:, :50].any()
    assert frame[60, 70].tolist() == [255, 255, 0]


def test_corners_truncate_toward_zero_at_the_canvas_edge() -> None:
    # Half width 4.5: right corner trunc(-5.4 + 4.5) = trunc(-0.9) = 0, so column 0 is painted.
    xy_px = np.array([[[50, 50], [59, 50]], [[-5.4, 50], [59, 50]]], dtype=np.float32)
    z = np.array([[1.0, 0.5], [1.0, 0.5]], dtype=np.float32)
    drawn = everything(z)
    frame = paint_sparse(np.ascontiguousarray(xy_px[:, ::-1]), np.ascontiguousarray(z[:, ::-1]), drawn)[1]
    np.testing.assert_array_equal(frame, plain_painting(xy_px[:, ::-1], z[:, ::-1], drawn)[1])
    below = paint_sparse(xy_px + np.float32([200, 0]), z, drawn)[1]
    assert below[50, 195 - 1].tolist() == below[50, 196].tolist()


def test_a_point_without_a_place_on_the_first_frame_is_never_drawn() -> None:
    xy_px = np.full((2, 3, 2), 40.0, dtype=np.float32)
    xy_px[:, 1], xy_px[:, 2] = 60.0, 200.0
    drawn = np.array([[True, True, False], [True, True, True]])
    painted = paint_sparse(xy_px, np.full((2, 3), 0.5, dtype=np.float32), drawn)
    assert painted[1, 60, 60].tolist() == [255, 255, 0]
    assert not painted[1, 100:].any()


def test_nothing_to_draw_is_black() -> None:
    nowhere = np.full((2, 5, 2), np.nan, dtype=np.float32)
    assert not paint_sparse(nowhere, nowhere[..., 0], np.zeros((2, 5), dtype=np.bool_)).any()


def test_shapes_that_do_not_fit_are_refused() -> None:
    z = np.ones((2, 5), dtype=np.float32)
    with pytest.raises(ShapeMismatch, match="tracks"):
        paint_sparse(np.ones((2, 4, 2), dtype=np.float32), z, everything(z))


def test_blue_needs_fewer_than_two_percent_at_the_sky() -> None:
    rng = np.random.default_rng(5)
    xy_px = rng.uniform(1, 400, (2500, 2)).astype(np.float32)
    z = rng.uniform(0.2, 1.0, 2500).astype(np.float32)
    z[:49] = 0.0
    blue = point_colours(xy_px, z)[:, 2]
    assert (blue[:49] == 255).all()
    assert blue[49:].any()
    z[49] = 0.0
    assert not point_colours(xy_px, z)[:, 2].any()


def test_colours_round_half_to_even() -> None:
    # x of 0, 0.5, 1.5 and 255 in a range of 255: 0.5 rounds to 0 and 1.5 to 2.
    xy_px = np.array([[0, 9], [0.5, 9], [1.5, 9], [255, 9]], dtype=np.float32)
    colours = point_colours(xy_px, np.ones(4, dtype=np.float32))
    assert colours.tolist() == [[0, 0, 0], [0, 0, 0], [2, 0, 0], [255, 0, 0]]


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 60), grid=st.booleans())
def test_nearest_distances_equal_all_pairs(seed: int, count: int, grid: bool) -> None:
    points = np.random.default_rng(seed).uniform(-50, 900, (count, 3))
    points = (np.round(points / 100) if grid else points).astype(np.float32)
    squares = ((points[:, None].astype(np.float64) - points[None]) ** 2).sum(axis=2)
    np.fill_diagonal(squares, np.inf)
    np.testing.assert_array_equal(nearest_distances(points), np.sqrt(squares.min(axis=1)))
