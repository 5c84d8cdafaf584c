"""What an engine's depth image means, and its one conversion to planar metres.

Comes in: a plane of numbers and a `DepthDeclaration`. Goes out: (height, width) float32, planar z in metres, top row
first, inf where nothing was hit.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidValue
from .camera import Intrinsics

__all__ = ["PLANAR_METRES", "DepthDeclaration", "DepthKind", "check_depth", "to_planar_metres"]


class DepthKind(str, enum.Enum):
    """What the numbers of a depth image measure."""

    PLANAR = "planar"
    """Distance along the view axis."""
    RADIAL = "radial"
    """Distance from the camera's centre along the pixel's ray."""
    DEVICE = "device"
    """A depth buffer's value in 0..1 (Direct3D, Metal, Vulkan, and what OpenGL stores)."""


@dataclass(frozen=True, slots=True)
class DepthDeclaration:
    """What a depth image is.

    Args:
        kind: what the numbers measure.
        metres_per_unit: for planar and radial depth; 0.01 for an engine that counts in centimetres. For device depth it
            scales `near` and `far`.
        near: device depth only: the near plane, in units.
        far: device depth only: the far plane, in units; inf for an infinite projection.
        reversed_z: device depth only: 1 is near and 0 is far.
        bottom_row_first: the first row in memory is the image's lowest.
        background: a finite value that means "nothing was hit" (Blender: 1e10); values at or above it become inf. None
            where the engine already writes inf. For device depth the far plane's own value is always background.

    Raises:
        InvalidValue: a number is out of range, or device depth lacks its planes.
    """

    kind: DepthKind = DepthKind.PLANAR
    metres_per_unit: float = 1.0
    near: float = 0.0
    far: float = 0.0
    reversed_z: bool = False
    bottom_row_first: bool = False
    background: float | None = None

    def __post_init__(self) -> None:
        if not (self.metres_per_unit > 0 and math.isfinite(self.metres_per_unit)):
            raise InvalidValue(
                "must be positive",
                field="depth_declaration.metres_per_unit",
                value=self.metres_per_unit,
                remedy="1 for metres, 0.01 for centimetres.",
            )
        if self.kind is DepthKind.DEVICE and not 0 < self.near < self.far:
            raise InvalidValue(
                "device depth needs 0 < near < far",
                field="depth_declaration.near",
                value=f"near={self.near}, far={self.far}",
                remedy="Send the projection's clip planes; far=inf for an infinite one.",
            )


PLANAR_METRES: Final = DepthDeclaration()
"""Planar metres, top row first, inf for nothing: what everything inside is."""


def check_depth(depth: NDArray[np.float32], declaration: DepthDeclaration) -> None:
    """Refuse depth that cannot mean anything: NaN, negative, or device depth above 1.

    Raises:
        InvalidValue: names the first bad pixel.
    """
    lowest = depth.min()  # NaN if any is NaN: one pass over the plane
    highest = depth.max() if declaration.kind is DepthKind.DEVICE else lowest
    if lowest >= 0 and highest <= max(1.0, lowest):
        return
    with np.errstate(invalid="ignore"):
        bad = ~(depth >= 0) if not lowest >= 0 else depth > 1
    row, column = (int(i) for i in np.unravel_index(int(bad.argmax()), depth.shape))
    others = int(bad.sum()) - 1
    raise InvalidValue(
        f"pixel (row {row}, column {column}) " + (f"and {others} more are no depth" if others else "is no depth"),
        field="tick.depth",
        value=depth[row, column],
        remedy="Send inf where nothing was hit; depth is never NaN or negative, and device depth stays within 0..1.",
    )


def to_planar_metres(
    depth: NDArray[np.float32], *, declaration: DepthDeclaration, intrinsics: Intrinsics
) -> NDArray[np.float32]:
    """Return planar metres, top row first.

    Args:
        depth: (height, width) float32, as the engine sent it.
        declaration: what it means.
        intrinsics: of the image as it stands upright, for radial depth.

    Returns:
        (height, width) float32, metres, inf where nothing was hit; the input itself where nothing had to be done.
    """
    if declaration == PLANAR_METRES:
        return depth
    if declaration.bottom_row_first:
        depth = depth[::-1]
    background = declaration.background
    if declaration.kind is DepthKind.DEVICE:
        metres = _from_device(depth, declaration)
    else:
        metres = depth.astype(np.float32) * np.float32(declaration.metres_per_unit)
        if declaration.kind is DepthKind.RADIAL:
            metres *= planar_over_radial(intrinsics)
    if background is not None:
        metres[depth >= background] = np.inf
    return np.ascontiguousarray(metres)


def planar_over_radial(intrinsics: Intrinsics) -> NDArray[np.float32]:
    """Return the cosine between each pixel's ray and the view axis, (height, width) float32."""
    x = (np.arange(intrinsics.width) + 0.5 - intrinsics.cx_px) / intrinsics.fx_px
    y = (np.arange(intrinsics.height) + 0.5 - intrinsics.cy_px) / intrinsics.fy_px
    return (1.0 / np.sqrt(1.0 + x[None, :] ** 2 + y[:, None] ** 2)).astype(np.float32)


def _from_device(depth: NDArray[np.float32], declaration: DepthDeclaration) -> NDArray[np.float32]:
    # Let s be 0 at the far plane and 1 at the near one. A perspective depth buffer is linear in 1 / z:
    # 1/z = 1/far + s (1/near - 1/far), with 1/far = 0 for an infinite projection.
    s = depth.astype(np.float64) if declaration.reversed_z else 1.0 - depth.astype(np.float64)
    inverse_far = 0.0 if math.isinf(declaration.far) else 1.0 / declaration.far
    inverse_z = inverse_far + s * (1.0 / declaration.near - inverse_far)
    with np.errstate(divide="ignore"):
        metres = declaration.metres_per_unit / inverse_z
    metres[s <= 0.0] = np.inf
    return metres.astype(np.float32)
