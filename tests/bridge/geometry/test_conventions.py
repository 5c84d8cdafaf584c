import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import InvalidValue, ShapeMismatch
from bridge.geometry.camera import Camera, Intrinsics
from bridge.geometry.conventions import (
    BLENDER,
    MUJOCO,
    OPENCV,
    OPENGL,
    ROS,
    ROS_BODY,
    UNITY,
    UNREAL,
    Convention,
)
from bridge.geometry.projection import project

ALL = [BLENDER, MUJOCO, OPENCV, OPENGL, ROS, ROS_BODY, UNITY, UNREAL]


def transform(x_axis, y_axis, z_axis, position):
    matrix = np.eye(4)
    matrix[:3] = np.array([x_axis, y_axis, z_axis, position], np.float64).T
    return matrix


# Per engine: a camera that looks along some world axis, its pose in our world by hand (columns right, down, forward,
# position), and a point in the engine's world with its p_in_camera: 5 ahead, 2 right and 1 up, in metres.
CASES = {
    # z up; camera looks along +x, its right is -y, its up +z. Blender's camera: x right, y up, z backward.
    "blender": (
        BLENDER,
        transform((0, -1, 0), (0, 0, 1), (-1, 0, 0), (10, 20, 30)),
        [(0, -1, 0), (0, 0, -1), (1, 0, 0), (10, 20, 30)],
        (15, 18, 31),
    ),
    # Looks along -y, right is -x, up +z.
    "mujoco": (
        MUJOCO,
        transform((-1, 0, 0), (0, 0, 1), (0, 1, 0), (1, 2, 3)),
        [(-1, 0, 0), (0, 0, -1), (0, -1, 0), (1, 2, 3)],
        (-1, -3, 4),
    ),
    # y up world; looks along -z, right +x, up +y.
    "opengl": (
        OPENGL,
        transform((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 2, 3)),
        [(1, 0, 0), (0, -1, 0), (0, 0, -1), (1, 2, 3)],
        (3, 3, -2),
    ),
    # Unity: y up, left-handed. Looks along +x, so its right is -z. Ours is (x, z, y): right -y, up z, forward x.
    "unity": (
        UNITY,
        transform((0, 0, -1), (0, 1, 0), (1, 0, 0), (10, 20, 30)),
        [(0, -1, 0), (0, 0, -1), (1, 0, 0), (10, 30, 20)],
        (15, 21, 28),
    ),
    # Unreal: z up, left-handed, centimetres. Looks along +y, so its right is -x. Ours is (x, -y, z) / 100.
    "unreal": (
        UNREAL,
        transform((0, 1, 0), (-1, 0, 0), (0, 0, 1), (1000, 2000, 3000)),
        [(-1, 0, 0), (0, 0, -1), (0, -1, 0), (10, -20, 30)],
        (800, 2500, 3100),
    ),
    # An optical frame that looks along +y: right +x, down -z.
    "ros": (
        ROS,
        transform((1, 0, 0), (0, 0, -1), (0, 1, 0), (1, 2, 3)),
        [(1, 0, 0), (0, 0, -1), (0, 1, 0), (1, 2, 3)],
        (3, 7, 4),
    ),
    "opencv": (
        OPENCV,
        transform((0, -1, 0), (0, 0, -1), (1, 0, 0), (1, 2, 3)),
        [(0, -1, 0), (0, 0, -1), (1, 0, 0), (1, 2, 3)],
        (6, 0, 4),
    ),
    # A camera link that looks along +y: x forward is +y, y left is -x.
    "ros_body": (
        ROS_BODY,
        transform((0, 1, 0), (-1, 0, 0), (0, 0, 1), (1, 2, 3)),
        [(1, 0, 0), (0, 0, -1), (0, 1, 0), (1, 2, 3)],
        (3, 7, 4),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_camera_and_points_by_hand(case):
    convention, engine_camera, columns, engine_point = case
    pose = convention.camera_pose(engine_camera)
    np.testing.assert_allclose(pose.matrix[:3], np.array(columns, np.float64).T, atol=1e-12)
    p_in_camera = pose.inverse() @ np.append(convention.points(engine_point), 1.0)
    assert p_in_camera[:3] == pytest.approx([2.0, -1.0, 5.0])
    # And in the image: right of and above the middle.
    lens = Intrinsics(100.0, 100.0, 50.0, 50.0, 100, 100)
    uv, depth_m, _ = project(np.append(convention.points(engine_point), 1.0)[None], Camera(lens, pose))
    assert uv[0] == pytest.approx([0.9, 0.3])
    assert depth_m[0] == pytest.approx(5.0)


def test_every_preset_has_a_hand_computed_case():
    assert {case[0].name for case in CASES.values()} == {preset.name for preset in ALL}


def test_homogeneous_points_and_directions():
    # Unreal: y turns around; positions shrink by 100, directions do not.
    points = UNREAL.points([[100, 200, 300, 1], [0.1, 0.2, 0.3, 0]])
    assert points == pytest.approx(np.array([[1, -2, 3, 1], [0.1, -0.2, 0.3, 0]]))
    assert UNITY.points([1, 2, 3]).tolist() == [1, 3, 2]
    assert ROS.points(np.zeros((4, 5, 3))).shape == (4, 5, 3)


def test_instances_by_hand():
    # Unity: scaled by (1, 2, 3), stands at (4, 5, 6): ours is scaled by (1, 3, 2), at (4, 6, 5).
    matrix = np.diag([1.0, 2.0, 3.0, 1.0])
    matrix[:3, 3] = (4, 5, 6)
    expected = np.diag([1.0, 3.0, 2.0, 1.0])
    expected[:3, 3] = (4, 6, 5)
    np.testing.assert_allclose(UNITY.instances(matrix[None])[0], expected)
    # Unreal: a quarter turn that takes x to y takes our x to -y.
    turn = transform((0, 1, 0), (-1, 0, 0), (0, 0, 1), (100, 200, 300))
    expected = transform((0, -1, 0), (1, 0, 0), (0, 0, 1), (1, -2, 3))
    np.testing.assert_allclose(UNREAL.instances(turn), expected, atol=1e-12)


@settings(deadline=None)
@given(st.sampled_from(ALL), st.integers(0, 2**32 - 1))
def test_points_move_with_their_instance(convention, seed):
    rng = np.random.default_rng(seed)
    matrix = np.eye(4)
    matrix[:3] = rng.uniform(-2, 2, (3, 4))
    p_in_instance = rng.uniform(-2, 2, 3)
    in_engine = convention.points((matrix @ np.append(p_in_instance, 1))[:3])
    in_ours = convention.instances(matrix) @ np.append(convention.points(p_in_instance), 1)
    np.testing.assert_allclose(in_ours[:3], in_engine, atol=1e-9)
    assert np.linalg.det(convention.instances(matrix)) * np.linalg.det(matrix) >= 0


def test_a_cameras_scale_is_dropped():
    matrix = CASES["blender"][1] @ np.diag([2.0, 3.0, 4.0, 1.0])
    assert BLENDER.camera_pose(matrix) == BLENDER.camera_pose(CASES["blender"][1])


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.diag([1.0, 1.0, 0.0, 1.0]), "no extent"),
        (np.diag([-1.0, 1.0, 1.0, 1.0]), "mirrors"),
        (np.full((4, 4), np.nan), "finite"),
        (transform((1, 0, 0), (0, 1, 0), (0, 0, 1), (5, 6, 7)).T, "Transpose"),
    ],
    ids=["flat", "mirrored", "nan", "transposed"],
)
def test_cameras_that_cannot_be(matrix, message):
    with pytest.raises(InvalidValue, match=message):
        BLENDER.camera_pose(matrix)


def test_shapes_that_cannot_be():
    for call in (
        lambda: BLENDER.camera_pose(np.eye(3)),
        lambda: BLENDER.camera_pose(np.eye(4)[None]),
        lambda: BLENDER.points([1.0, 2.0]),
        lambda: BLENDER.points(1.0),
        lambda: BLENDER.instances(np.eye(3)),
    ):
        with pytest.raises(ShapeMismatch):
            call()


def test_conventions_that_cannot_be():
    same, flipped = ((1, 0, 0), (0, 1, 0), (0, 0, 1)), ((1, 0, 0), (0, -1, 0), (0, 0, 1))
    with pytest.raises(InvalidValue, match="handedness"):
        Convention("mine", same, flipped)
    with pytest.raises(InvalidValue, match="signed permutation"):
        Convention("mine", ((1, 1, 0), (0, 1, 0), (0, 0, 1)), same)
    with pytest.raises(InvalidValue, match="centimetres"):
        Convention("mine", same, same, 0.0)
