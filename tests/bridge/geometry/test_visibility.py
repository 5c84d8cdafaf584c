import numpy as np
import pytest

from bridge.errors import InvalidValue, ShapeMismatch
from bridge.geometry.camera import Camera, Intrinsics
from bridge.geometry.projection import seed_points
from bridge.geometry.visibility import visibility
from bridge.tick import Visibility

CAMERA = Camera(Intrinsics(fx_px=50.0, fy_px=50.0, cx_px=50.0, cy_px=25.0, width=100, height=50))


def wall(z=10.0):
    return np.full((50, 100), z, np.float32)


def point(u_px, v_px, z):
    return np.array([[(u_px - 50) / 50 * z, (v_px - 25) / 50 * z, z, 1.0]])


def test_the_values_are_those_of_the_public_enum():
    points = np.concatenate([point(20.3, 30.8, 9.0), point(20.3, 30.8, 11.0)])
    assert visibility(points, CAMERA, wall()).tolist() == [Visibility.VISIBLE, Visibility.OCCLUDED]


@pytest.mark.parametrize(
    ("z", "expected"), [(9.0, 0), (10.0, 0), (10.09, 0), (10.2, 1)], ids=["before", "on", "within 1 %", "behind"]
)
def test_against_a_wall(z, expected):
    assert visibility(point(20.3, 30.8, z), CAMERA, wall()).tolist() == [expected]


def test_outside_the_image_and_behind_are_occluded():
    points = np.concatenate([point(100.5, 20, 5), point(50, -0.5, 5), point(50, 25, -5), point(99.9, 49.9, 5)])
    assert visibility(points, CAMERA, wall()).tolist() == [1, 1, 1, 0]


def test_a_direction_is_seen_where_nothing_was_hit():
    depth = wall()
    depth[:25] = np.inf
    directions = np.array([[0.1, -0.2, 1.0, 0.0], [0.1, 0.2, 1.0, 0.0]])
    assert visibility(directions, CAMERA, depth).tolist() == [0, 1]


def test_a_steep_plane_sees_its_own_points_between_the_pixels():
    # A floor 1 m below: 1 / z = (row - 25) / 50, so far rows differ by tens of per cent from one to the next.
    rows = np.arange(50) + 0.5
    depth = np.repeat(np.where(rows > 25, 50 / np.maximum(rows - 25, 1e-9), np.inf), 100)
    depth = depth.reshape(50, 100).astype(np.float32)
    v = np.linspace(27, 49, 200)
    z = 50 / (v - 25)
    points = np.stack([(33.3 - 50) / 50 * z, np.ones_like(z), z, np.ones_like(z)], axis=1)
    assert visibility(points, CAMERA, depth, tolerance=1e-5).max() == 0
    behind = points.copy()
    behind[:, :3] *= 1.5  # under the floor, same pixels
    assert visibility(behind, CAMERA, depth, tolerance=1e-5)[20:].min() == 1


def test_seeds_are_visible_where_they_were_made():
    rng = np.random.default_rng(3)
    depth = rng.uniform(1, 20, (50, 100)).astype(np.float32)
    assert visibility(seed_points(depth, CAMERA), CAMERA, depth, tolerance=1e-6).max() == 0


def test_bad_arguments():
    with pytest.raises(ShapeMismatch, match=r"\(50, 100\)"):
        visibility(point(1, 1, 1), CAMERA, wall().T)
    with pytest.raises(InvalidValue, match="tolerance"):
        visibility(point(1, 1, 1), CAMERA, wall(), tolerance=-0.1)
