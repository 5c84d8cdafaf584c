import math

import numpy as np
import pytest

from bridge.errors import InvalidValue, ShapeMismatch
from bridge.geometry.camera import Intrinsics
from bridge.geometry.lenses import (
    SensorFit,
    blender_intrinsics,
    opengl_intrinsics,
    ros_intrinsics,
    unity_intrinsics,
    unreal_intrinsics,
)


def values(lens):
    return (lens.fx_px, lens.fy_px, lens.cx_px, lens.cy_px, lens.width, lens.height)


# lens 50 mm, sensor 36 x 24 mm. By hand: the fitted side in pixels, times 50 over that side's millimetres.
BLENDER_CASES = {
    "wide, auto": ({"width": 720, "height": 400}, (1000, 1000, 360, 200)),
    "tall, auto: the height, by the sensor's width": ({"width": 400, "height": 720}, (1000, 1000, 200, 360)),
    "tall, horizontal": ({"width": 360, "height": 720, "sensor_fit": SensorFit.HORIZONTAL}, (500, 500, 180, 360)),
    "wide, vertical": ({"width": 720, "height": 480, "sensor_fit": SensorFit.VERTICAL}, (1000, 1000, 360, 240)),
    # 0.1 of 720 right: the middle moves left; 0.05 of 720 up: it moves down.
    "shift": ({"width": 720, "height": 400, "shift_x": 0.1, "shift_y": 0.05}, (1000, 1000, 288, 236)),
    # Pixels twice as wide as high: half as many per length across as down.
    "pixel aspect": ({"width": 720, "height": 400, "pixel_aspect_x": 2.0, "shift_y": 0.05}, (1000, 2000, 360, 272)),
    # 400 pixels of height 3 are longer than 720 of width 1: 1200 pixel widths over 36 mm, down a third of it.
    "tall by pixel aspect": (
        {"width": 720, "height": 400, "pixel_aspect_y": 3.0, "shift_x": 0.1, "shift_y": 0.1},
        (5000 / 3, 5000 / 9, 240, 240),
    ),
}


@pytest.mark.parametrize("case", BLENDER_CASES.values(), ids=BLENDER_CASES.keys())
def test_blender_by_hand(case):
    settings, expected = case
    lens = blender_intrinsics(lens_mm=50.0, sensor_width_mm=36.0, sensor_height_mm=24.0, **settings)
    assert values(lens) == pytest.approx((*expected, settings["width"], settings["height"]))


def test_blender_refuses_a_lens_of_nothing():
    with pytest.raises(InvalidValue, match="lens_mm"):
        blender_intrinsics(lens_mm=0.0, sensor_width_mm=36.0, sensor_height_mm=24.0, width=640, height=352)


def test_unity_measures_down_and_unreal_across():
    angle = 2 * math.atan(0.5)  # half the side is half the focal length
    assert values(unity_intrinsics(fov_y_rad=angle, width=640, height=352)) == pytest.approx(
        (352, 352, 320, 176, 640, 352)
    )
    assert values(unreal_intrinsics(fov_x_rad=angle, width=640, height=352)) == pytest.approx(
        (640, 640, 320, 176, 640, 352)
    )
    for bad in (0.0, math.pi, 60.0):
        with pytest.raises(InvalidValue, match="radians"):
            unity_intrinsics(fov_y_rad=bad, width=640, height=352)
        with pytest.raises(InvalidValue, match="radians"):
            unreal_intrinsics(fov_x_rad=bad, width=640, height=352)


def frustum(left, right, bottom, top, near, far):
    """glFrustum's matrix."""
    return np.array(
        [
            [2 * near / (right - left), 0, (right + left) / (right - left), 0],
            [0, 2 * near / (top - bottom), (top + bottom) / (top - bottom), 0],
            [0, 0, -(far + near) / (far - near), -2 * far * near / (far - near)],
            [0, 0, -1, 0],
        ]
    )


def test_opengl_by_hand():
    # At 1 m the window runs from 0.5 left to 1.5 right, 0.25 down to 0.75 up; 100 pixels per metre.
    lens = opengl_intrinsics(frustum(-0.05, 0.15, -0.025, 0.075, 0.1, 50), width=200, height=100)
    assert values(lens) == pytest.approx((100, 100, 50, 75, 200, 100))


def test_opengl_and_our_lens_put_a_point_on_the_same_pixel():
    projection = frustum(-0.07, 0.11, -0.05, 0.08, 0.1, 50)
    lens = opengl_intrinsics(projection, width=640, height=352)
    clip = projection @ (0.3, 0.2, -2.0, 1.0)  # OpenGL's axes: y up, z backward
    ndc = clip[:2] / clip[3]
    pixel = ((ndc[0] + 1) / 2 * 640, (1 - ndc[1]) / 2 * 352)
    assert pixel == pytest.approx((lens.fx_px * 0.3 / 2 + lens.cx_px, lens.fy_px * -0.2 / 2 + lens.cy_px))


def test_opengl_refuses_what_is_no_lens():
    good = frustum(-1, 1, -1, 1, 1, 10)
    with pytest.raises(InvalidValue, match="transpose"):
        opengl_intrinsics(good.T, width=10, height=10)
    with pytest.raises(InvalidValue, match="0 0 -1 0"):
        opengl_intrinsics(np.eye(4), width=10, height=10)  # orthographic
    sheared = good.copy()
    sheared[0, 1] = 0.1
    with pytest.raises(InvalidValue, match="shear"):
        opengl_intrinsics(sheared, width=10, height=10)
    with pytest.raises(ShapeMismatch):
        opengl_intrinsics(np.eye(3), width=10, height=10)


def test_ros_moves_the_principal_point_by_half_a_pixel():
    k = (400.0, 0.0, 319.5, 0.0, 410.0, 175.5, 0.0, 0.0, 1.0)
    expected = Intrinsics(400.0, 410.0, 320.0, 176.0, 640, 352)
    assert ros_intrinsics(k, width=640, height=352) == expected
    assert ros_intrinsics(np.reshape(k, (3, 3)), width=640, height=352) == expected
    with pytest.raises(InvalidValue, match="skew"):
        ros_intrinsics(np.reshape(k, (3, 3)) + np.eye(3, k=1), width=640, height=352)
    with pytest.raises(ShapeMismatch):
        ros_intrinsics(np.eye(4), width=640, height=352)
