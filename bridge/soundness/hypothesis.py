"""The mistakes that a stream can contain, each as a way to read the stream that undoes it.

A `Hypothesis` is data: how to read poses, points and depth. `catalogue` lists those worth trying, the likelier first;
which one explains a stream is found by `bridge.soundness.evidence`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import permutations, product
from typing import Final

import numpy as np

from ..geometry.conventions import BLENDER, ROS_BODY, UNITY, UNREAL
from ..geometry.depth import DepthDeclaration, DepthKind

__all__ = ["AS_SENT", "Hypothesis", "PoseReading", "catalogue"]

Rows = tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]
_SAME: Final[Rows] = ((1, 0, 0), (0, 1, 0), (0, 0, 1))


class PoseReading(enum.Enum):
    """What the matrix that was sent as `world_from_camera` really is."""

    AS_SENT = "world_from_camera"
    INVERTED = "camera_from_world"
    TRANSPOSED = "world_from_camera with a transposed rotation"
    IGNORED = "of no use: the points are in the camera's frame"


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One way to read a stream; the default reads it as sent.

    Args:
        code, sentence, remedy: of the finding, if it is this.
        axes: 3 x 3 rows; columns are right, down and forward in the axes of the camera that was sent.
        pose: what the pose is.
        world: 3 x 3 rows; takes the points that were sent to the camera's world.
        points_scale: metres per unit of the points.
        position_scale: metres per unit of the camera's position.
        declaration: what the depth is; None as declared.
        mirrored_columns: depth runs from right to left.
    """

    code: str = ""
    sentence: str = ""
    remedy: str = ""
    axes: Rows = _SAME
    pose: PoseReading = PoseReading.AS_SENT
    world: Rows = _SAME
    points_scale: float = 1.0
    position_scale: float = 1.0
    declaration: DepthDeclaration | None = None
    mirrored_columns: bool = False

    def over(self, base: Hypothesis) -> Hypothesis:
        """Return this mistake on top of another: every field that differs from "as sent" replaces the base's."""
        changed = {
            name: getattr(self, name)
            for name in self.__slots__
            if name in ("code", "sentence", "remedy") or getattr(self, name) != getattr(AS_SENT, name)
        }
        return replace(base, **changed)


AS_SENT: Final = Hypothesis()
"""The stream is what it says."""


def catalogue(
    declared: DepthDeclaration, *, scale: float | None, device: DepthDeclaration | None, with_points: bool
) -> Iterator[Hypothesis]:
    """Yield the mistakes worth trying, the likelier first.

    Args:
        declared: what the stream says its depth is.
        scale: by how much depth would have to be multiplied to meet the points, if that is known.
        device: the declaration under which depth would be a depth buffer's value, if it can be one.
        with_points: the stream has points of its own; else it is held against itself.
    """
    yield from _depth_mistakes(declared, device)
    yield from (
        _scaled(declared, factor, with_points) for factor in ([scale] if scale else (0.01, 0.001, 100.0, 1000.0))
    )
    yield _MIRRORED_COLUMNS
    yield Hypothesis(
        "pose_inverted",
        "The pose that is sent is camera_from_world (a view matrix, or extrinsics)",
        "Send its inverse, world_from_camera: where the camera stands.",
        pose=PoseReading.INVERTED,
    )
    yield from (_axes(rows) for rows in _NAMED_AXES)
    if with_points:
        yield Hypothesis(
            "points_in_camera",
            "The followed points are in the camera's frame, not in the world",
            "Send p_in_world: multiply the points by world_from_camera.",
            pose=PoseReading.IGNORED,
        )
    yield Hypothesis(
        "pose_transposed",
        "The rotation of the pose is transposed",
        "Send matrices for column vectors: transpose those of an engine that multiplies from the left.",
        pose=PoseReading.TRANSPOSED,
    )
    if with_points:
        yield from _points_mistakes()
    yield from (_axes(rows) for rows in _ALL_AXES if rows not in _NAMED_AXES)
    yield from (_inverted_axes(rows) for rows in (*_NAMED_AXES, *(r for r in _ALL_AXES if r not in _NAMED_AXES)))


def _depth_mistakes(declared: DepthDeclaration, device: DepthDeclaration | None) -> Iterator[Hypothesis]:
    up = not declared.bottom_row_first
    yield Hypothesis(
        "rows_mirrored",
        "The depth image stands upside down",
        f"Declare DepthDeclaration(bottom_row_first={up}), or flip the rows before sending. "
        "Is the image upright? Then the camera's y axis points up: use your engine's convention preset.",
        declaration=replace(declared, bottom_row_first=up),
    )
    if declared.kind is DepthKind.DEVICE:
        yield Hypothesis(
            "reversed_z",
            f"The depth buffer is {'not ' if declared.reversed_z else ''}reversed-Z, against its declaration",
            f"Declare DepthDeclaration(reversed_z={not declared.reversed_z}).",
            declaration=replace(declared, reversed_z=not declared.reversed_z),
        )
    else:
        radial = declared.kind is DepthKind.PLANAR
        yield Hypothesis(
            "depth_radial" if radial else "depth_planar",
            "Depth is the distance along each ray, but declared as distance along the view axis"
            if radial
            else "Depth is the distance along the view axis, but declared as distance along each ray",
            f"Declare DepthDeclaration(kind=DepthKind.{'RADIAL' if radial else 'PLANAR'}).",
            declaration=replace(declared, kind=DepthKind.RADIAL if radial else DepthKind.PLANAR),
        )
    if device is not None:
        yield Hypothesis(
            "depth_device",
            f"Depth is a depth buffer's value ({'reversed-Z, ' if device.reversed_z else ''}0..1), declared as metres",
            f"Declare DepthDeclaration(kind=DepthKind.DEVICE, near={device.near:.4g}, far={device.far:.4g}, "
            f"reversed_z={device.reversed_z}); near and far are measured here: take your camera's own.",
            declaration=device,
        )


_UNITS: Final = {0.01: "centimetres", 0.001: "millimetres", 0.3048: "feet", 0.0254: "inches"}


def _scaled(declared: DepthDeclaration, factor: float, with_points: bool) -> Hypothesis:
    # Exact unit factors, so that a measured 0.0101 is told, and undone, as centimetres.
    world = "The camera and the points are" if with_points else "The camera's position is"
    unit = next((name for name in _UNITS if abs(factor / name - 1.0) < 0.03), None)
    inverse = next((name for name in _UNITS if abs(factor * name - 1.0) < 0.03), None)
    if inverse is not None:
        return Hypothesis(
            "world_scale",
            f"{world} in {_UNITS[inverse]}, depth is in metres",
            f"Multiply {'camera positions and points' if with_points else 'camera positions'} by {inverse:g}, or use "
            "your engine's convention preset.",
            declaration=replace(declared, metres_per_unit=declared.metres_per_unit / inverse),
        )
    unit_m = declared.metres_per_unit * (factor if unit is None else unit)
    return Hypothesis(
        "depth_scale",
        f"Depth and the points differ by a factor of {1.0 / factor:.4g}"
        if unit is None
        else f"Depth is in {_UNITS[unit]}. {world} in metres",
        f"Declare DepthDeclaration(metres_per_unit={unit_m:.4g}), or send metres.",
        declaration=replace(declared, metres_per_unit=unit_m),
    )


_MIRRORED_COLUMNS: Final = Hypothesis(
    "columns_mirrored",
    "The depth image is mirrored, left for right",
    "Flip the columns before sending. Is the image right? Then the camera's x axis points left: use your engine's "
    "convention preset.",
    mirrored_columns=True,
)


def _points_mistakes() -> Iterator[Hypothesis]:
    preset = {rows: name for name, rows in (("UNITY", UNITY.world_from_engine), ("UNREAL", UNREAL.world_from_engine))}
    for rows in (*preset, *(r for r in _ALL_AXES if r not in preset)):
        name = preset.get(rows)
        yield Hypothesis(
            "points_handedness" if _mirrors(rows) else "points_axes",
            "The followed points are in a world of other "
            f"{'handedness' if _mirrors(rows) else 'axes'} than the camera's pose",
            f"Convert the points as well as the camera: bridge.geometry.{name}.points."
            if name
            else f"Convert the points with the camera: x, y, z of the camera's world are {_spelled(rows)} of theirs.",
            world=rows,
        )
    for scale, unit in _UNITS.items():
        yield Hypothesis(
            "points_scale",
            f"The followed points are in {unit}, the camera is in metres",
            f"Multiply the points by {scale:g}.",
            points_scale=scale,
        )
        yield Hypothesis(
            "camera_scale",
            f"The camera's position is in {unit}, the points are in metres",
            f"Multiply the camera's position by {scale:g}.",
            position_scale=scale,
        )


def _signed_permutations() -> tuple[Rows, ...]:
    found: list[Rows] = []
    for order in permutations(range(3)):
        for signs in product((1, -1), repeat=3):
            a, b, c = (
                (sign * (axis == 0), sign * (axis == 1), sign * (axis == 2))
                for axis, sign in zip(order, signs, strict=True)
            )
            found.append((a, b, c))
    return tuple(rows for rows in found if rows != _SAME)


def _mirrors(rows: Rows) -> bool:
    return float(np.linalg.det(np.array(rows))) < 0


def _spelled(rows: Iterable[Sequence[int]]) -> str:
    return ", ".join(f"{'-' if min(row) < 0 else ''}{'xyz'[int(np.argmax(np.abs(row)))]}" for row in rows)


_ALL_AXES: Final = _signed_permutations()
_NAMED_AXES: Final[dict[Rows, tuple[str, str]]] = {
    BLENDER.engine_camera_from_camera: ("BLENDER (also OPENGL, MUJOCO)", "y up and z backward"),
    UNITY.engine_camera_from_camera: ("UNITY", "y up, as Unity's"),
    UNREAL.engine_camera_from_camera: ("UNREAL", "x forward, y right and z up, as Unreal's"),
    ROS_BODY.engine_camera_from_camera: ("ROS_BODY", "x forward, y left and z up, as a ROS body frame's"),
}


def _axes(rows: Rows) -> Hypothesis:
    mirrors = _mirrors(rows)
    right, down, forward = _spelled(tuple(zip(*rows, strict=True))).split(", ")
    preset, words = _NAMED_AXES.get(rows, ("", f"right = {right}, down = {down}, forward = {forward}"))
    what = f"The camera's axes are {words}"
    return Hypothesis(
        "handedness" if mirrors else "camera_axes",
        f"The world is left-handed: {what[0].lower()}{what[1:]}" if mirrors else what,
        f"Convert poses{' and points' if mirrors else ''} with the preset bridge.geometry.{preset}."
        if preset
        else "Convert to x right, y down, z forward: make a bridge.geometry.Convention for your engine.",
        axes=rows,
    )


def _inverted_axes(rows: Rows) -> Hypothesis:
    axes = _axes(rows)
    return replace(
        axes,
        code="pose_inverted",
        sentence=f"The pose that is sent is camera_from_world (a view matrix). {axes.sentence}",
        remedy=f"Invert it first. {axes.remedy}",
        pose=PoseReading.INVERTED,
    )
