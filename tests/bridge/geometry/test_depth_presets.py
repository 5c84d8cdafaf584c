import numpy as np
import pytest

from bridge.errors import ShapeMismatch
from bridge.geometry.camera import Intrinsics
from bridge.geometry.depth import to_planar_metres
from bridge.geometry.depth_presets import (
    BLENDER_DEPTH,
    UNREAL_DEPTH,
    mujoco_depth,
    opengl_depth,
    ros_depth,
    unity_depth,
)

LENS = Intrinsics(2.0, 2.0, 1.0, 1.0, 2, 2)


def metres(values, declaration):
    return to_planar_metres(np.array(values, np.float32), declaration=declaration, intrinsics=LENS).tolist()


def test_blender():
    assert metres([[1.5, 2.5], [1e10, 3.5]], BLENDER_DEPTH) == [[1.5, 2.5], [np.inf, 3.5]]


def test_unreal():
    assert metres([[150, 250], [1e8, 400]], UNREAL_DEPTH) == [[1.5, 2.5], [np.inf, 4.0]]


def test_mujoco():
    assert metres([[1.5, 2.5], [49.99, 3.5]], mujoco_depth(far=50.0)) == [[1.5, 2.5], [np.inf, 3.5]]


def test_unity_reversed_z_bottom_row_first():
    # near 0.5, far infinite: z = 0.5 / value; 0 is the sky.
    assert metres([[1.0, 0.5], [0.25, 0.0]], unity_depth(near=0.5)) == [[2.0, np.inf], [0.5, 1.0]]


def test_opengl_bottom_row_first():
    # near 1, far 3: 1/z = 1/3 + (1 - value) * 2/3. Value 0.5: z = 1.5; value 0.75: z = 2.
    result = metres([[0.0, 0.5], [0.75, 1.0]], opengl_depth(near=1.0, far=3.0))
    assert result[0] == pytest.approx([2.0, np.inf])
    assert result[1] == pytest.approx([1.0, 1.5])


def test_ros_millimetres():
    assert ros_depth(np.array([[1500, 0], [65535, 2500]], np.uint16)).tolist() == [
        [1.5, np.inf],
        [pytest.approx(65.535), 2.5],
    ]


def test_ros_metres():
    image = np.array([[1.5, np.nan], [-np.inf, np.inf], [0.0, 2.5]], np.float32)
    assert ros_depth(image).tolist() == [[1.5, np.inf], [np.inf, np.inf], [np.inf, 2.5]]
    assert np.isnan(image[0, 1])  # the caller's image is left alone


def test_ros_refuses_other_encodings():
    with pytest.raises(ShapeMismatch, match="16UC1"):
        ros_depth(np.ones((2, 2), np.int32))
