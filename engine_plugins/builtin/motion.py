"""How bodies and cameras move: smooth functions of time that never end and stay on their path.

Laws: a motion is called with seconds and returns `world_from_local`, (4, 4) float64; bodies have x forward, y left,
z up; cameras follow `bridge.geometry.camera`. Paths are closed, so a scene lasts as long as anyone looks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bridge.geometry.camera import Pose

from .mesh import UP

__all__ = [
    "CameraMotion",
    "Hover",
    "LaneDrive",
    "LoopPath",
    "Motion",
    "OrbitCamera",
    "PathCamera",
    "Roll",
    "Spin",
    "Swing",
]


class Motion(Protocol):
    """A rigid body's motion."""

    def __call__(self, time_s: float) -> NDArray[np.float64]:
        """Return `world_from_local`, (4, 4) float64, at a time."""
        ...


class CameraMotion(Protocol):
    """A camera's motion."""

    def __call__(self, time_s: float) -> Pose:
        """Return `world_from_camera` at a time."""
        ...


@dataclass(frozen=True, slots=True)
class Swing:
    """A value that swings about a mean: mean + amplitude * sin(2 pi (t / period + phase))."""

    mean: float
    amplitude: float = 0.0
    period_s: float = 30.0
    phase: float = 0.0

    def at(self, time_s: float) -> float:
        """Return the value at a time."""
        return self.mean + self.amplitude * float(np.sin(2.0 * np.pi * (time_s / self.period_s + self.phase)))


class LoopPath:
    """A closed smooth line in the world, walked by its length.

    Args:
        centre: (2,) metres.
        radius_m: mean distance from the centre.
        waves: rows of (n, relative amplitude, phase): the radius is radius_m * (1 + sum of a cos(n angle + phase)).
        height: z at x, y; arrays in, array out.
    """

    _SAMPLES = 4096

    def __init__(
        self,
        centre: NDArray[np.float64],
        radius_m: float,
        waves: NDArray[np.float64],
        height: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]],
    ) -> None:
        angle = np.linspace(0.0, 2.0 * np.pi, self._SAMPLES + 1)
        radius = radius_m * (
            1.0 + (waves[:, 1, None] * np.cos(waves[:, 0, None] * angle + waves[:, 2, None])).sum(axis=0)
        )
        x, y = centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)
        line = np.stack([x, y, height(x, y)], axis=1)
        line[-1] = line[0]
        walked = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
        self.length_m = float(walked[-1])
        even = np.linspace(0.0, self.length_m, self._SAMPLES + 1)
        points = np.stack([np.interp(even, walked, line[:, axis]) for axis in range(3)], axis=1)
        # Directions over about two metres: a polyline has corners, a car on it should not.
        reach = max(1, round(self._SAMPLES / self.length_m))
        forward = _unit(np.roll(points[:-1], -reach, axis=0) - np.roll(points[:-1], reach, axis=0))
        left = _unit(np.stack([-forward[:, 1], forward[:, 0], np.zeros(self._SAMPLES)], axis=1))
        self._points = points
        # One row per sample, the first again at the end: point, direction of travel, direction to the left.
        self._rows = np.concatenate([points, _closed(forward), _closed(left)], axis=1)

    def point(self, along_m: float | NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the point after a length of way from the start, (..., 3)."""
        return self._at(along_m)[..., :3]

    def forward(self, along_m: float | NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the direction of travel, (..., 3) unit vectors."""
        return _unit(self._at(along_m)[..., 3:6])

    def beside(self, along_m: float | NDArray[np.float64], left_m: float | NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the point `left_m` to the left of the line (level with it), (..., 3)."""
        row = self._at(along_m)
        offset: NDArray[np.float64] = row[..., :3] + np.asarray(left_m)[..., None] * row[..., 6:9]
        return offset

    def station(self, along_m: float) -> tuple[float, float, float, float, float, float]:
        """Return the point and the direction of travel as plain numbers: x, y, z each. Fast, for one place."""
        place = along_m % self.length_m * (self._SAMPLES / self.length_m)
        sample = min(int(place), self._SAMPLES - 1)
        share = place - sample
        here, there = self._rows[sample, :6].tolist(), self._rows[sample + 1, :6].tolist()
        px, py, pz, x, y, z = (a + (b - a) * share for a, b in zip(here, there, strict=True))
        length = math.sqrt(x * x + y * y + z * z)
        return px, py, pz, x / length, y / length, z / length

    def _at(self, along_m: float | NDArray[np.float64]) -> NDArray[np.float64]:
        place = np.asarray(along_m, dtype=np.float64) % self.length_m * (self._SAMPLES / self.length_m)
        sample = np.minimum(place.astype(np.int64), self._SAMPLES - 1)
        share = (place - sample)[..., None]
        row: NDArray[np.float64] = self._rows[sample] * (1.0 - share) + self._rows[sample + 1] * share
        return row

    def nearest(self, xy: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the level distance to the line and the line's height there, (n,) each, for `xy` (n, 2)."""
        line = self._points[:: self._SAMPLES // 512]
        square = (xy**2).sum(axis=1)[:, None] + (line[:, :2] ** 2).sum(axis=1) - 2.0 * xy @ line[:, :2].T
        closest = square.argmin(axis=1)
        return np.sqrt(np.maximum(square[np.arange(len(xy)), closest], 0.0)), line[closest, 2]


@dataclass(frozen=True, slots=True)
class LaneDrive:
    """A vehicle on a lane of a path; a negative speed drives the other way round."""

    path: LoopPath
    start_m: float
    left_m: float
    speed_mps: float
    lift_m: float = 0.0

    def __call__(self, time_s: float) -> NDArray[np.float64]:
        """Return `world_from_local`."""
        along = self.start_m + self.speed_mps * time_s
        at_x, at_y, at_z, x, y, z = self.path.station(along)
        way = math.copysign(1.0, self.speed_mps)
        x, y, z = way * x, way * y, way * z
        level = math.hypot(x, y)
        left_x, left_y = -y / level, x / level
        up_x, up_y, up_z = -z * left_y, z * left_x, x * left_y - y * left_x
        aside, lift = way * self.left_m, self.lift_m
        at_x, at_y = at_x + aside * left_x, at_y + aside * left_y
        return np.array(
            [
                [x, left_x, up_x, at_x + lift * up_x],
                [y, left_y, up_y, at_y + lift * up_y],
                [z, 0.0, up_z, at_z + lift * up_z],
                [0.0, 0.0, 0.0, 1.0],
            ]
        )


@dataclass(frozen=True, slots=True)
class Roll:
    """A ball that rolls round a circle on a level floor."""

    centre: tuple[float, float, float]
    circle_m: float
    radius_m: float
    speed_mps: float
    phase_rad: float

    def __call__(self, time_s: float) -> NDArray[np.float64]:
        """Return `world_from_local`: the ball's middle."""
        angle = self.phase_rad + self.speed_mps * time_s / self.circle_m
        roll = self.speed_mps * time_s / self.radius_m
        outward = np.array([np.cos(angle), np.sin(angle), 0.0])
        forward = np.array([-np.sin(angle), np.cos(angle), 0.0])
        c, s = np.cos(roll), np.sin(roll)
        # Rolling forward turns the top (z) towards the direction of travel.
        body = np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
        result = np.eye(4)
        result[:3, :3] = np.stack([forward, -outward, UP], axis=1) @ body
        result[:3, 3] = np.asarray(self.centre) + self.circle_m * outward + self.radius_m * UP
        return result


@dataclass(frozen=True, slots=True)
class Hover:
    """A body that drifts round an ellipse while it bobs: boats, balloons, drones. It looks where it goes."""

    centre: tuple[float, float, float]
    radii_m: tuple[float, float]
    speed_mps: float
    phase_rad: float
    bob: Swing
    sway_rad: float = 0.0

    def __call__(self, time_s: float) -> NDArray[np.float64]:
        """Return `world_from_local`."""
        angle = self.phase_rad + self.speed_mps * time_s / max(self.radii_m)
        yaw = np.arctan2(self.radii_m[1] * np.cos(angle), -self.radii_m[0] * np.sin(angle))
        yaw += 0.0 if self.speed_mps >= 0 else np.pi
        heel = self.sway_rad * np.sin(2.0 * np.pi * time_s / (0.7 * self.bob.period_s))
        turn = np.array([[np.cos(yaw), -np.sin(yaw), 0.0], [np.sin(yaw), np.cos(yaw), 0.0], [0.0, 0.0, 1.0]])
        lean = np.array([[1.0, 0.0, 0.0], [0.0, np.cos(heel), -np.sin(heel)], [0.0, np.sin(heel), np.cos(heel)]])
        result = np.eye(4)
        result[:3, :3] = turn @ lean
        x, y, z = self.centre
        result[:3, 3] = (
            x + self.radii_m[0] * np.cos(angle),
            y + self.radii_m[1] * np.sin(angle),
            z + self.bob.at(time_s),
        )
        return result


@dataclass(frozen=True, slots=True, eq=False)
class Spin:
    """A body that turns about an axis of its own: windmills, carousels, radar dishes."""

    world_from_hub: NDArray[np.float64]
    axis: int
    period_s: float
    phase: float = 0.0

    def __call__(self, time_s: float) -> NDArray[np.float64]:
        """Return `world_from_local`."""
        angle = 2.0 * np.pi * (time_s / self.period_s + self.phase)
        turn = np.eye(4)
        first, second = (self.axis + 1) % 3, (self.axis + 2) % 3
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
        result: NDArray[np.float64] = self.world_from_hub @ turn
        return result


@dataclass(frozen=True, slots=True)
class PathCamera:
    """A camera that goes along a path: drives, follows, flies, rises, looks aside.

    Args:
        path: the line it follows.
        start_m, speed_mps: where it begins and how fast it goes.
        left_m, height_m: place beside and above the line.
        yaw_rad: turned to the left of the way ahead.
        pitch_rad: upwards.
        ahead_m: it looks at the way this far ahead, which smooths bends.
    """

    path: LoopPath
    start_m: float
    speed_mps: float
    left_m: Swing
    height_m: Swing
    yaw_rad: Swing
    pitch_rad: Swing
    ahead_m: float = 16.0

    def __call__(self, time_s: float) -> Pose:
        """Return `world_from_camera`."""
        along = self.start_m + self.speed_mps * time_s
        eye = self.path.beside(along, self.left_m.at(time_s)) + self.height_m.at(time_s) * UP
        ahead = self.path.point(along + self.ahead_m) - self.path.point(along)
        yaw = np.arctan2(ahead[1], ahead[0]) + self.yaw_rad.at(time_s)
        return _looking(eye, float(yaw), self.pitch_rad.at(time_s))


@dataclass(frozen=True, slots=True)
class OrbitCamera:
    """A camera that goes round a place, or stands (a period of inf) and pans.

    Args:
        centre: (x, y, z) that it goes round.
        radius_m, height_m: its place; height above the centre.
        period_s: of one round; negative goes clockwise, inf stands still.
        yaw_rad, pitch_rad: where it looks, relative to the centre's direction.
    """

    centre: tuple[float, float, float]
    radius_m: Swing
    height_m: Swing
    period_s: float
    phase_rad: float
    yaw_rad: Swing
    pitch_rad: Swing

    def __call__(self, time_s: float) -> Pose:
        """Return `world_from_camera`."""
        angle = self.phase_rad + 2.0 * np.pi * time_s / self.period_s
        radius, height = self.radius_m.at(time_s), self.height_m.at(time_s)
        eye = np.asarray(self.centre) + np.array([radius * np.cos(angle), radius * np.sin(angle), height])
        pitch = self.pitch_rad.at(time_s) - float(np.arctan2(height, radius))
        return _looking(eye, float(angle + np.pi) + self.yaw_rad.at(time_s), pitch)


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    unit: NDArray[np.float64] = vectors / np.sqrt((vectors * vectors).sum(axis=-1, keepdims=True))
    return unit


def _closed(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([rows, rows[:1]])


def _looking(eye: NDArray[np.float64], yaw: float, pitch: float) -> Pose:
    direction = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), np.sin(pitch)])
    return Pose.look_at(eye, eye + direction)
