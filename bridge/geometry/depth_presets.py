"""What each engine's depth image is: declarations, and ROS's depth images as ours."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeMismatch
from .depth import DepthDeclaration, DepthKind

__all__ = [
    "BLENDER_DEPTH",
    "UNREAL_DEPTH",
    "mujoco_depth",
    "opengl_depth",
    "ros_depth",
    "unity_depth",
]

BLENDER_DEPTH: Final = DepthDeclaration(background=1e10)
"""The Z pass of Cycles, EEVEE and Workbench, anti-aliasing off: planar metres, 1e10 where nothing was hit."""

UNREAL_DEPTH: Final = DepthDeclaration(metres_per_unit=0.01, background=1e7)
"""Scene depth into a 32-bit target: planar centimetres. The sky reads about 1e8; past 100 km all is taken for sky."""


def unity_depth(
    *, near: float, far: float = math.inf, reversed_z: bool = True, bottom_row_first: bool = True
) -> DepthDeclaration:
    """Return the declaration of Unity's `_CameraDepthTexture`, as it is stored.

    Args:
        near, far: `camera.nearClipPlane`, `camera.farClipPlane`, metres.
        reversed_z: `SystemInfo.usesReversedZBuffer`: true on all graphics APIs but OpenGL.
        bottom_row_first: as `Texture2D` counts rows. False where the plugin's copy shader has already turned the image.
    """
    return DepthDeclaration(
        kind=DepthKind.DEVICE, near=near, far=far, reversed_z=reversed_z, bottom_row_first=bottom_row_first
    )


def opengl_depth(*, near: float, far: float, bottom_row_first: bool = True) -> DepthDeclaration:
    """Return the declaration of an OpenGL depth buffer, as `glReadPixels` gives it (default depth range 0..1).

    Args:
        near, far: the projection's clip planes, metres.
        bottom_row_first: as `glReadPixels` orders rows.
    """
    return DepthDeclaration(kind=DepthKind.DEVICE, near=near, far=far, bottom_row_first=bottom_row_first)


def mujoco_depth(*, far: float) -> DepthDeclaration:
    """Return the declaration of what `mujoco.Renderer` gives with depth rendering enabled: planar metres.

    Args:
        far: `model.vis.map.zfar * model.stat.extent`, metres: what the sky reads. A part in a thousand before it counts
            as sky, since the buffer is coarse there.
    """
    return DepthDeclaration(background=0.999 * far)


def ros_depth(image: NDArray[np.uint16] | NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a ROS depth image (REP 118) as planar metres.

    ROS says "no measurement" by 0 (16UC1) and NaN (32FC1), "too near" by -inf and "too far" by +inf; we only know
    "nothing was hit". All of these become inf, that is far away. A sensor's holes are better filled before: each is a
    white spot in the control video.

    Args:
        image: (height, width) uint16 millimetres (16UC1), or float32 metres (32FC1).

    Returns:
        (height, width) float32, metres; inf where ROS has no measurement.

    Raises:
        ShapeMismatch: neither of the two encodings.
    """
    if image.ndim != 2 or image.dtype not in (np.uint16, np.float32):
        raise ShapeMismatch(
            "must be (height, width) uint16 millimetres or float32 metres",
            field="image",
            value=f"{image.shape} {image.dtype}",
            remedy="Decode the message as 16UC1 or 32FC1.",
        )
    metres = image.astype(np.float32)
    if image.dtype == np.uint16:
        metres /= np.float32(1000.0)
    metres[~(metres > 0.0)] = np.inf  # zero, negative and NaN alike
    return metres
