"""Intrinsics from what each engine calls a lens.

Laws: the result counts pixels from the image's top-left corner, the first pixel's centre being (0.5, 0.5), whatever
the engine counts from. Fields of view are in radians.
"""

from __future__ import annotations

import enum
import math

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InvalidValue, ShapeMismatch
from .camera import Intrinsics

__all__ = [
    "SensorFit",
    "blender_intrinsics",
    "opengl_intrinsics",
    "ros_intrinsics",
    "unity_intrinsics",
    "unreal_intrinsics",
]


class SensorFit(str, enum.Enum):
    """Blender's choice of the image side that the sensor's size belongs to."""

    AUTO = "AUTO"
    """The longer side, measured by the sensor's width either way."""
    HORIZONTAL = "HORIZONTAL"
    """The width."""
    VERTICAL = "VERTICAL"
    """The height, measured by the sensor's height."""


def blender_intrinsics(
    *,
    lens_mm: float,
    sensor_width_mm: float,
    sensor_height_mm: float,
    width: int,
    height: int,
    sensor_fit: SensorFit = SensorFit.AUTO,
    shift_x: float = 0.0,
    shift_y: float = 0.0,
    pixel_aspect_x: float = 1.0,
    pixel_aspect_y: float = 1.0,
) -> Intrinsics:
    """Return the intrinsics of a Blender perspective camera (`bpy.types.Camera` and the scene's render settings).

    Args:
        lens_mm: `camera.lens`.
        sensor_width_mm, sensor_height_mm: `camera.sensor_width`, `camera.sensor_height`.
        width, height: the rendered image, the resolution percentage applied.
        sensor_fit: `camera.sensor_fit`.
        shift_x, shift_y: `camera.shift_x`, `camera.shift_y`, in fractions of the fitted side; positive moves the view
            right and up.
        pixel_aspect_x, pixel_aspect_y: `render.pixel_aspect_x`, `render.pixel_aspect_y`.

    Raises:
        InvalidValue: a length, size or aspect is not positive.
    """
    positive = {
        "lens_mm": lens_mm,
        "sensor_width_mm": sensor_width_mm,
        "sensor_height_mm": sensor_height_mm,
        "width": width,
        "height": height,
        "pixel_aspect_x": pixel_aspect_x,
        "pixel_aspect_y": pixel_aspect_y,
    }
    for field, value in positive.items():
        if not 0 < value < math.inf:
            raise InvalidValue("must be positive", field=field, value=value, remedy="Copy it from Blender's camera.")
    # Everything is measured in pixel widths; a pixel is this much higher than wide.
    pixel_height = pixel_aspect_y / pixel_aspect_x
    horizontal = sensor_fit is SensorFit.HORIZONTAL or (
        sensor_fit is SensorFit.AUTO and pixel_aspect_x * width >= pixel_aspect_y * height
    )
    fitted_side = width if horizontal else height * pixel_height
    sensor_mm = sensor_height_mm if sensor_fit is SensorFit.VERTICAL else sensor_width_mm
    focal = lens_mm / sensor_mm * fitted_side
    return Intrinsics(
        fx_px=focal,
        fy_px=focal / pixel_height,
        cx_px=0.5 * width - shift_x * fitted_side,
        cy_px=0.5 * height + shift_y * fitted_side / pixel_height,
        width=width,
        height=height,
    )


def unity_intrinsics(*, fov_y_rad: float, width: int, height: int) -> Intrinsics:
    """Return the intrinsics of a Unity camera (`Mathf.Deg2Rad * camera.fieldOfView`) or a MuJoCo one (`fovy`).

    A physical Unity camera with lens shift: give `camera.projectionMatrix` to `opengl_intrinsics` instead.

    Raises:
        InvalidValue: the vertical field of view is not between 0 and pi.
    """
    if not 0.0 < fov_y_rad < math.pi:
        raise InvalidValue(
            "must lie between 0 and pi", field="fov_y_rad", value=fov_y_rad, remedy="Turn degrees into radians."
        )
    focal = 0.5 * height / math.tan(0.5 * fov_y_rad)
    return Intrinsics(focal, focal, 0.5 * width, 0.5 * height, width, height)


def unreal_intrinsics(*, fov_x_rad: float, width: int, height: int) -> Intrinsics:
    """Return the intrinsics of an Unreal camera or scene capture (`FOVAngle`, horizontal, in radians).

    Raises:
        InvalidValue: the horizontal field of view is not between 0 and pi.
    """
    return Intrinsics.from_fov(fov_x_rad=fov_x_rad, width=width, height=height)


def opengl_intrinsics(projection: ArrayLike, *, width: int, height: int) -> Intrinsics:
    """Return the intrinsics of a perspective projection matrix in OpenGL's convention (camera looks along -z).

    Only the rows of x, y and w are read, so any depth range and a reversed z do as well. Unity's
    `camera.projectionMatrix` is in this convention on all platforms.

    Args:
        projection: (4, 4), clip_from_camera for column vectors.
        width, height: of the viewport, pixels.

    Raises:
        ShapeMismatch: the matrix is not (4, 4).
        InvalidValue: it is no perspective projection along -z, or it shears.
    """
    matrix = np.asarray(projection, dtype=np.float64)
    if matrix.shape != (4, 4):
        raise ShapeMismatch("must be (4, 4)", field="projection", value=matrix.shape, remedy="Give the whole matrix.")
    if not np.allclose(matrix[3], (0, 0, -1, 0)):
        raise InvalidValue(
            "last row must be 0 0 -1 0",
            field="projection",
            value=matrix[3].tolist(),
            remedy="Give a perspective projection for column vectors; transpose a row-vector one.",
        )
    if not np.allclose((matrix[0, 1], matrix[1, 0], matrix[0, 3], matrix[1, 3]), 0.0):
        raise InvalidValue(
            "must not shear or move",
            field="projection",
            value=matrix[:2].tolist(),
            remedy="Give the camera's own projection, without the view matrix.",
        )
    # x_ndc = P00 x / -z - P02, and pixels run from x_ndc = -1 to 1, and from y_ndc = 1 down to -1.
    return Intrinsics(
        fx_px=float(0.5 * width * matrix[0, 0]),
        fy_px=float(0.5 * height * matrix[1, 1]),
        cx_px=float(0.5 * width * (1.0 - matrix[0, 2])),
        cy_px=float(0.5 * height * (1.0 + matrix[1, 2])),
        width=width,
        height=height,
    )


def ros_intrinsics(k: ArrayLike, *, width: int, height: int) -> Intrinsics:
    """Return the intrinsics of a rectified ROS or OpenCV camera: `CameraInfo.k` (or a projection's left 3 x 3).

    These count from the first pixel's CENTRE, we from the image's corner: the principal point moves by half a pixel.

    Args:
        k: (3, 3), or its 9 numbers row by row.
        width, height: of the image, pixels.

    Raises:
        ShapeMismatch: not 9 numbers.
        InvalidValue: K has skew, or its last row is not 0 0 1.
    """
    matrix = np.asarray(k, dtype=np.float64)
    if matrix.size != 9:
        raise ShapeMismatch("must be (3, 3)", field="k", value=matrix.shape, remedy="Give CameraInfo.k.")
    matrix = matrix.reshape(3, 3)
    if not np.allclose(matrix[2], (0, 0, 1)) or not np.allclose((matrix[0, 1], matrix[1, 0]), 0.0):
        raise InvalidValue(
            "must be [fx 0 cx; 0 fy cy; 0 0 1]",
            field="k",
            value=matrix.tolist(),
            remedy="Rectify the images first; skew is not supported.",
        )
    fx, fy, cx, cy = (float(matrix[i]) for i in ((0, 0), (1, 1), (0, 2), (1, 2)))
    return Intrinsics(fx, fy, cx + 0.5, cy + 0.5, width, height)
