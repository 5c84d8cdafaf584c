import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import ShapeMismatch
from bridge.geometry.camera import Camera, Intrinsics, Pose
from bridge.geometry.projection import project, seed_points, unproject, unproject_pixels
from bridge.geometry.seeds import seed_pixels, seed_uv

LENS = Intrinsics(fx_px=100.0, fy_px=200.0, cx_px=40.0, cy_px=30.0, width=100, height=50)


def random_camera(rng, width=64, height=40):
    lens = Intrinsics(*rng.uniform(20, 80, 2), *rng.uniform(10, 40, 2), width, height)
    return Camera(lens, Pose.look_at(rng.uniform(-3, 3, 3), rng.uniform(5, 9, 3)))


def test_unproject_by_hand():
    depth = np.full((50, 100), np.inf, np.float32)
    depth[10, 60] = 4.0
    points = unproject(depth, intrinsics=LENS)
    # ((60.5 - 40) / 100, (10.5 - 30) / 200, 1) * 4
    assert points[10, 60] == pytest.approx([0.82, -0.39, 4.0])
    assert np.isposinf(points[0, 0]).all()
    assert points.dtype == np.float32


def test_unproject_is_inf_on_the_principal_axis_too():
    lens = Intrinsics(10.0, 10.0, 1.5, 0.5, 3, 1)  # pixel 1's ray is the view axis: 0 * inf
    assert np.isposinf(unproject(np.full((1, 3), np.inf, np.float32), intrinsics=lens)).all()


def test_unproject_pixels_by_hand():
    depth = np.full((50, 100), np.inf, np.float32)
    depth[10, 60] = 4.0
    points = unproject_pixels(depth, np.array([10, 10]), np.array([60, 39]), intrinsics=LENS)
    assert points[0] == pytest.approx([0.82, -0.39, 4.0, 1.0])
    ray = np.array([-0.005, -0.0975, 1.0])
    assert points[1] == pytest.approx([*(ray / np.linalg.norm(ray)), 0.0])


def test_project_by_hand():
    # The camera stands at (10, 20, 30), looks along world +x, world z is up: right is -y, down is -z.
    pose = np.array([[0, 0, 1, 10], [-1, 0, 0, 20], [0, -1, 0, 30], [0, 0, 0, 1]], np.float64)
    camera = Camera(LENS, Pose(pose))
    points = np.array(
        [
            [12.0, 19.5, 30.1, 1.0],  # 2 m ahead, 0.5 right, 0.1 up
            [8.0, 20.0, 30.0, 1.0],  # 2 m behind
            [1.0, -0.25, 0.05, 0.0],  # the first one's direction
            [np.nan, 0.0, 0.0, 1.0],
        ],
        np.float32,
    )
    uv, depth_m, in_front = project(points, camera)
    expected = [(100 * 0.25 + 40) / 100, (200 * -0.05 + 30) / 50]
    assert uv[0] == pytest.approx(expected, abs=1e-6)
    assert uv[2] == pytest.approx(expected, abs=1e-6)
    assert np.isnan(uv[[1, 3]]).all()
    assert depth_m[:2].tolist() == [2.0, -2.0]
    assert depth_m[2] == np.inf
    assert in_front.tolist() == [True, False, True, False]
    assert uv.dtype == depth_m.dtype == np.float64


def test_a_point_in_the_cameras_plane_is_not_in_front():
    uv, _, in_front = project(np.array([[1.0, 2.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0]]), Camera(LENS))
    assert not in_front.any()
    assert np.isnan(uv).all()


def test_project_refuses_points_without_w():
    with pytest.raises(ShapeMismatch, match="w = 1"):
        project(np.zeros((5, 3)), Camera(LENS))


def test_depth_of_another_size_is_refused():
    for call in (lambda d: unproject(d, intrinsics=LENS), lambda d: seed_points(d, Camera(LENS))):
        with pytest.raises(ShapeMismatch, match=r"\(50, 100\)"):
            call(np.ones((100, 50), np.float32))


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_seeds_project_onto_their_pixels_centres_at_their_pixels_depth(seed):
    rng = np.random.default_rng(seed)
    camera = random_camera(rng)
    depth = rng.uniform(0.5, 50, (40, 64)).astype(np.float32)
    depth[rng.random(depth.shape) < 0.2] = np.inf
    points = seed_points(depth, camera)
    assert points.dtype == np.float32
    uv, depth_m, in_front = project(points, camera)
    assert in_front.all()
    np.testing.assert_allclose(uv, seed_uv(64, 40), atol=1e-5)
    rows, columns = seed_pixels(64, 40)
    np.testing.assert_allclose(depth_m, depth[rows, columns], rtol=1e-5)
    sky = points[:, 3] == 0
    np.testing.assert_array_equal(sky, np.isinf(depth[rows, columns]))
    np.testing.assert_allclose(np.linalg.norm(points[sky, :3], axis=1), 1.0, atol=1e-6)


def test_a_direction_ignores_where_the_camera_stands():
    turn = Pose.look_at((0, 0, 0), (3, 1, 0.5)).matrix
    moved = turn.copy()
    moved[:3, 3] = (100, -20, 7)
    direction = np.array([[0.9, 0.3, 0.1, 0.0]])
    first, _, _ = project(direction, Camera(LENS, Pose(turn)))
    second, _, _ = project(direction, Camera(LENS, Pose(moved)))
    np.testing.assert_array_equal(first, second)
