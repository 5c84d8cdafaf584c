"""Cameras: intrinsics in pixels and poses in the world.

Laws: pixel (0, 0) is the image's top-left corner and (0.5, 0.5) the centre of its first pixel; camera axes are
x right, y down, z forward; the world is right-handed; lengths are metres. An engine's own convention is turned
into this one in `bridge.geometry.conventions`, and nowhere else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InvalidValue, ShapeMismatch

__all__ = ["Camera", "Intrinsics", "Pose"]


@dataclass(frozen=True, slots=True)
class Intrinsics:
    """A pinhole camera in pixels of a `width` x `height` image.

    Args:
        fx_px, fy_px: focal lengths, positive.
        cx_px, cy_px: principal point from the image's top-left corner; (width / 2, height / 2) is the middle.
        width, height: the image these pixels belong to.

    Raises:
        InvalidValue: a value is not finite, or a focal length or a size is not positive.
    """

    fx_px: float
    fy_px: float
    cx_px: float
    cy_px: float
    width: int
    height: int

    def __post_init__(self) -> None:
        for name in ("fx_px", "fy_px", "cx_px", "cy_px", "width", "height"):
            value = getattr(self, name)
            if not math.isfinite(value):
                raise InvalidValue("must be finite", field=f"intrinsics.{name}", value=value, remedy="Check the lens.")
            if name[0] != "c" and value <= 0:
                raise InvalidValue(
                    "must be positive",
                    field=f"intrinsics.{name}",
                    value=value,
                    remedy="Focal lengths and sizes are in pixels; flip no axis here, use a convention preset instead.",
                )

    @classmethod
    def from_fov(cls, *, fov_x_rad: float, width: int, height: int) -> Intrinsics:
        """Return square-pixel intrinsics from the horizontal field of view."""
        if not 0.0 < fov_x_rad < np.pi:
            raise InvalidValue(
                "must lie between 0 and pi",
                field="fov_x_rad",
                value=fov_x_rad,
                remedy="Give the field of view in radians.",
            )
        focal = 0.5 * width / float(np.tan(0.5 * fov_x_rad))
        return cls(focal, focal, 0.5 * width, 0.5 * height, width, height)

    def resized(self, width: int, height: int) -> Intrinsics:
        """Return the same lens for an image of another size (each axis scaled on its own)."""
        sx, sy = width / self.width, height / self.height
        return Intrinsics(self.fx_px * sx, self.fy_px * sy, self.cx_px * sx, self.cy_px * sy, width, height)


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """Where a camera or a rigid body stands: `world_from_local`, a (4, 4) float64 rigid transform.

    Args:
        matrix: (4, 4), maps homogeneous column vectors in the local frame to the world; metres.

    Raises:
        ShapeMismatch: the matrix is not (4, 4).
        InvalidValue: it is not finite, not rigid, or mirrors (determinant -1).
    """

    matrix: NDArray[np.float64]

    def __post_init__(self) -> None:
        matrix = np.asarray(self.matrix, dtype=np.float64)
        if matrix.shape != (4, 4):
            raise ShapeMismatch("must be (4, 4)", field="pose", value=matrix.shape, remedy="Send world_from_camera.")
        # Plain floats: a pose comes with every tick, and numpy's own checks cost ten times as much on 16 numbers.
        (a, b, c, _), (d, e, f, _), (g, h, i, _), last = matrix.tolist()
        if not math.isfinite(sum(matrix.ravel().tolist())):
            raise InvalidValue("must be finite", field="pose", remedy="Check the camera's transform for NaN.")
        if max(map(abs, (last[0], last[1], last[2], last[3] - 1.0))) > 1e-6:
            raise InvalidValue(
                "last row must be 0 0 0 1", field="pose", value=last, remedy="Transpose a row-major matrix."
            )
        off_unit = (a * a + b * b + c * c - 1.0, d * d + e * e + f * f - 1.0, g * g + h * h + i * i - 1.0)
        off_right = (a * d + b * e + c * f, a * g + b * h + c * i, d * g + e * h + f * i)
        if max(map(abs, off_unit + off_right)) > 1e-3:
            raise InvalidValue(
                "rotation must be orthonormal",
                field="pose",
                value=np.round(np.linalg.norm(matrix[:3, :3], axis=0), 4).tolist(),
                remedy="Remove scale and shear from the camera's transform.",
            )
        if a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g) < 0:
            raise InvalidValue(
                "mirrors the world (determinant -1)",
                field="pose",
                remedy="The world is right-handed: convert with your engine's preset (bridge.geometry.conventions).",
            )
        object.__setattr__(self, "matrix", np.ascontiguousarray(matrix))

    @classmethod
    def identity(cls) -> Pose:
        """Return the pose of the world's origin."""
        return cls(np.eye(4))

    @classmethod
    def look_at(cls, eye: ArrayLike, target: ArrayLike, *, up: ArrayLike = (0.0, 0.0, 1.0)) -> Pose:
        """Return the pose of a camera at `eye` that looks at `target`; `up` is the world's up, (3,) each, metres."""
        eye, target, up = (np.asarray(v, dtype=np.float64) for v in (eye, target, up))
        forward = target - eye
        right = np.cross(forward, up)
        if np.linalg.norm(right) < 1e-12:
            raise InvalidValue("is parallel to the view", field="up", value=up.tolist(), remedy="Choose another up.")
        forward, right = forward / np.linalg.norm(forward), right / np.linalg.norm(right)
        matrix = np.eye(4)
        matrix[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
        matrix[:3, 3] = eye
        return cls(matrix)

    def inverse(self) -> NDArray[np.float64]:
        """Return `local_from_world`, (4, 4) float64."""
        result = np.eye(4)
        result[:3, :3] = self.matrix[:3, :3].T
        result[:3, 3] = -self.matrix[:3, :3].T @ self.matrix[:3, 3]
        return result

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Pose) and bool(np.array_equal(self.matrix, other.matrix))

    def __hash__(self) -> int:
        return hash(self.matrix.tobytes())


@dataclass(frozen=True, slots=True)
class Camera:
    """What saw the depth of a tick: the lens and where it stood."""

    intrinsics: Intrinsics
    world_from_camera: Pose = field(default_factory=Pose.identity)
