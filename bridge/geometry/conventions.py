"""Engine conventions: from an engine's own axes, handedness and units to ours, once.

Ours: right-handed world, metres; camera axes x right, y down, z forward; planar depth. A `Convention` says how the
engine's world lies in ours and where the camera's right, down and forward point in the engine's own camera. Matrices
are column-vector matrices, `world_from_local @ p`: transpose those of an engine that writes `p * M` (Unreal's FMatrix,
USD). An engine whose matrix is `camera_from_world` (OpenGL's view matrix, OpenCV's extrinsics) inverts it first.

====================  =============================  ==============================  ======
preset                engine's world                 engine's camera                 units
====================  =============================  ==============================  ======
BLENDER               right-handed, z up             x right, y up, z backward       m
UNITY                 left-handed, y up              x right, y up, z forward        m
UNREAL                left-handed, z up              x forward, y right, z up        cm
OPENGL, MUJOCO        right-handed                   x right, y up, z backward       m
ROS, OPENCV           right-handed                   x right, y down, z forward      m
ROS_BODY              right-handed, z up             x forward, y left, z up         m
====================  =============================  ==============================  ======

A left-handed world becomes ours by exchanging two axes (Unity: y and z, so that z is up) or by turning one around
(Unreal: y). Intrinsics are in `bridge.geometry.lenses`, depth in `bridge.geometry.depth_presets`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InvalidValue, ShapeMismatch
from .camera import Pose

__all__ = ["BLENDER", "MUJOCO", "OPENCV", "OPENGL", "ROS", "ROS_BODY", "UNITY", "UNREAL", "Convention"]

_Rows = tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]


@dataclass(frozen=True, slots=True)
class Convention:
    """How an engine counts space.

    Args:
        name: of the engine.
        world_from_engine: 3 x 3 rows, a signed permutation: the engine's world axes in ours.
        engine_camera_from_camera: 3 x 3 rows, a signed permutation: its columns are right, down and forward in the
            engine's camera.
        metres_per_unit: of positions.

    Raises:
        InvalidValue: a matrix is no signed permutation, the two disagree on handedness, or the unit is not positive.
    """

    name: str
    world_from_engine: _Rows
    engine_camera_from_camera: _Rows
    metres_per_unit: float = 1.0

    def __post_init__(self) -> None:
        world, camera = np.array(self.world_from_engine), np.array(self.engine_camera_from_camera)
        for field, matrix in (("world_from_engine", world), ("engine_camera_from_camera", camera)):
            if matrix.shape != (3, 3) or not np.array_equal(matrix @ matrix.T, np.eye(3, dtype=int)):
                raise InvalidValue(
                    "must be a signed permutation of the axes",
                    field=f"convention.{field}",
                    value=matrix.tolist(),
                    remedy="Give three rows with one 1 or -1 each, no two in the same column.",
                )
        if np.linalg.det(world) * np.linalg.det(camera) < 0:
            raise InvalidValue(
                "world and camera differ in handedness",
                field="convention.engine_camera_from_camera",
                value=camera.tolist(),
                remedy="A left-handed engine is left-handed in both: check one axis's sign.",
            )
        if not 0 < self.metres_per_unit < float("inf"):
            raise InvalidValue(
                "must be positive",
                field="convention.metres_per_unit",
                value=self.metres_per_unit,
                remedy="1 for metres, 0.01 for centimetres.",
            )

    def camera_pose(self, engine_world_from_camera: ArrayLike) -> Pose:
        """Return our pose of the engine's camera.

        Args:
            engine_world_from_camera: (4, 4), the camera's transform as the engine has it. Scale is dropped, as engines
                do for cameras.

        Raises:
            ShapeMismatch: the matrix is not (4, 4).
            InvalidValue: it is not finite, is sheared, mirrors, or has no extent along an axis.
        """
        matrix = _matrices(engine_world_from_camera, "engine_world_from_camera")
        if matrix.ndim != 2:
            raise ShapeMismatch(
                "must be (4, 4)", field="engine_world_from_camera", value=matrix.shape, remedy="Give one matrix."
            )
        length = np.linalg.norm(matrix[:3, :3], axis=0)
        if not (length > 0).all():
            raise InvalidValue(
                "has no extent along an axis",
                field="engine_world_from_camera",
                value=length.tolist(),
                remedy="Undo the zero scale of the camera or its parents.",
            )
        world = np.array(self.world_from_engine, np.float64)
        pose = np.eye(4)
        pose[:3, :3] = world @ (matrix[:3, :3] / length) @ np.array(self.engine_camera_from_camera, np.float64)
        pose[:3, 3] = world @ matrix[:3, 3] * self.metres_per_unit
        return Pose(pose)

    def points(self, p_in_engine: ArrayLike) -> NDArray[np.float64]:
        """Return world points in our axes and metres.

        Args:
            p_in_engine: (..., 3) positions, or (..., 4) homogeneous ones; with w = 0 a direction, whose length is kept.

        Returns:
            p_in_world: of the same shape, float64, metres; w as given.

        Raises:
            ShapeMismatch: the last axis is neither 3 nor 4.
        """
        points = np.asarray(p_in_engine, dtype=np.float64)
        if points.ndim == 0 or points.shape[-1] not in (3, 4):
            raise ShapeMismatch(
                "must be (..., 3) or (..., 4)",
                field="p_in_engine",
                value=points.shape,
                remedy="Put the coordinates on the last axis.",
            )
        result = points.copy()
        result[..., :3] = points[..., :3] @ np.array(self.world_from_engine, np.float64).T
        if points.shape[-1] == 3:
            result *= self.metres_per_unit
        else:
            result[..., :3] *= np.where(points[..., 3:] == 0.0, 1.0, self.metres_per_unit)
        return result

    def instances(self, engine_world_from_instance: ArrayLike) -> NDArray[np.float64]:
        """Return the transforms of rigid instances, for `bridge.Instances`.

        The instance's own frame is converted along with the world (A M A^-1, A being this convention), so a transform
        that mirrors nothing still mirrors nothing, and points converted by `points` move with it.

        Args:
            engine_world_from_instance: (n, 4, 4), or (4, 4); scale allowed.

        Returns:
            world_from_instance: of the same shape, float64, metres.

        Raises:
            ShapeMismatch: not (..., 4, 4).
            InvalidValue: not finite.
        """
        matrix = _matrices(engine_world_from_instance, "engine_world_from_instance")
        world = np.array(self.world_from_engine, np.float64)
        result = matrix.copy()
        result[..., :3, :3] = world @ matrix[..., :3, :3] @ world.T
        result[..., :3, 3] = matrix[..., :3, 3] @ world.T * self.metres_per_unit
        return result


def _matrices(value: ArrayLike, field: str) -> NDArray[np.float64]:
    matrix = np.asarray(value, dtype=np.float64)
    if matrix.ndim < 2 or matrix.shape[-2:] != (4, 4):
        raise ShapeMismatch(
            "must be (..., 4, 4)", field=field, value=matrix.shape, remedy="Give homogeneous transforms."
        )
    if not np.isfinite(matrix).all():
        raise InvalidValue("must be finite", field=field, remedy="Check the transform for NaN.")
    if not np.allclose(matrix[..., 3, :], (0, 0, 0, 1), atol=1e-6):
        raise InvalidValue(
            "last row must be 0 0 0 1",
            field=field,
            value=matrix[..., 3, :].tolist(),
            remedy="Transpose a row-vector matrix.",
        )
    return matrix


_AS_IS: Final = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
# Columns: right (1, 0, 0), down (0, -1, 0), forward (0, 0, -1).
_Y_UP_Z_BACKWARD: Final = ((1, 0, 0), (0, -1, 0), (0, 0, -1))

BLENDER: Final = Convention("Blender", _AS_IS, _Y_UP_Z_BACKWARD)
"""`object.matrix_world` of the camera; also USD's (after transposing) and glTF's cameras."""
UNITY: Final = Convention("Unity", ((1, 0, 0), (0, 0, 1), (0, 1, 0)), ((1, 0, 0), (0, -1, 0), (0, 0, 1)))
"""`camera.transform.localToWorldMatrix`, not `cameraToWorldMatrix` (that one is OpenGL-like)."""
UNREAL: Final = Convention("Unreal", ((1, 0, 0), (0, -1, 0), (0, 0, 1)), ((0, 0, 1), (1, 0, 0), (0, -1, 0)), 0.01)
"""`GetComponentTransform().ToMatrixWithScale()` of the camera, transposed; centimetres."""
OPENGL: Final = Convention("OpenGL", _AS_IS, _Y_UP_Z_BACKWARD)
"""The inverse of the view matrix. OpenGL fixes no world axes: a right-handed world is taken as it is."""
MUJOCO: Final = Convention("MuJoCo", _AS_IS, _Y_UP_Z_BACKWARD)
"""`data.cam_xpos` and `data.cam_xmat`."""
ROS: Final = Convention("ROS", _AS_IS, _AS_IS)
"""The transform from an optical frame (`..._optical_frame`) to a fixed one (REP 103)."""
ROS_BODY: Final = Convention("ROS body frame", _AS_IS, ((0, 0, 1), (-1, 0, 0), (0, -1, 0)))
"""The transform from a body frame (`camera_link`: x forward, y left, z up) to a fixed one (REP 103)."""
OPENCV: Final = Convention("OpenCV", _AS_IS, _AS_IS)
"""The inverse of OpenCV's extrinsics, which are `camera_from_world`."""
