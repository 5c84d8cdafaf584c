"""Blender's camera as ours: lens, pose, clip planes, unit.

This is the one place where Blender's camera convention meets ours; the arithmetic is `bridge.geometry`'s.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.errors import InvalidValue
from bridge.geometry.camera import Camera, Intrinsics
from bridge.geometry.conventions import BLENDER, Convention
from bridge.geometry.fit import Fit, FitMap
from bridge.geometry.lenses import SensorFit, blender_intrinsics

__all__ = ["CapturedCamera", "between_bars", "check_scene", "convention_of", "look", "render_size"]


@dataclass(frozen=True, slots=True, eq=False)
class CapturedCamera:
    """The camera at one moment.

    Args:
        camera: lens and pose, metres.
        camera_from_world: (4, 4) float64, from Blender's world, in Blender's units, to our camera axes.
        near, far: clip planes, in Blender's units.
    """

    camera: Camera
    camera_from_world: NDArray[np.float64]
    near: float
    far: float


def convention_of(scene: Any) -> Convention:
    """Return Blender's convention with the scene's own unit: a scene may count in centimetres or feet."""
    units = scene.unit_settings
    return BLENDER if units.system == "NONE" else replace(BLENDER, metres_per_unit=float(units.scale_length))


def render_size(scene: Any) -> tuple[int, int]:
    """Return the width and height of the scene's render, the percentage applied.

    Raises:
        InvalidValue: there is no pixel.
    """
    render = scene.render
    percentage = render.resolution_percentage
    width, height = (side * percentage // 100 for side in (render.resolution_x, render.resolution_y))
    if width < 1 or height < 1:
        raise InvalidValue(
            "the render has no pixels",
            field="render resolution",
            value=f"{render.resolution_x} x {render.resolution_y} at {percentage} %",
            remedy="Raise Resolution or its percentage in the Output properties.",
        )
    return width, height


def between_bars(scene: Any, size: tuple[int, int]) -> tuple[int, int]:
    """Return the width and height, pixels, that the render's picture has inside a padded one of `size`."""
    left, top, right, bottom = FitMap.between(_seen_size(scene), size, fit=Fit.PAD).place
    return right - left, bottom - top


def check_scene(scene: Any, *, frame_start: int, frame_end: int) -> None:
    """Refuse a scene that cannot be captured, before anything is sent.

    Raises:
        InvalidValue: no camera, one without perspective, a render without pixels, or a cut to another camera.
    """
    _perspective(scene.camera)
    render_size(scene)
    bound = sorted((m.frame, m.camera) for m in scene.timeline_markers if m.camera is not None)
    at_start = [camera for frame, camera in bound if frame <= frame_start]
    running = at_start[-1] if at_start else None
    for frame, camera in bound:
        if frame_start < frame <= frame_end and camera is not running:
            raise InvalidValue(
                "the shot cuts to another camera inside the frame range",
                field="timeline marker",
                value=f"{camera.name} at frame {frame}",
                remedy=f"Generate the parts one by one: end this range at frame {frame - 1}.",
            )


def look(scene: Any, depsgraph: Any, *, size: tuple[int, int], fit: Fit | None) -> CapturedCamera:
    """Return the camera as it is evaluated now.

    Args:
        scene: whose camera and render settings count.
        depsgraph: evaluated at the moment.
        size: (width, height) of the capture, pixels.
        fit: how the render's aspect becomes the capture's.

    Raises:
        InvalidValue: there is no camera, it has no perspective, or the aspects differ and `fit` is None.
    """
    source = scene.camera
    _perspective(source)
    evaluated = source.evaluated_get(depsgraph)
    data, render = evaluated.data, scene.render
    whole = blender_intrinsics(
        lens_mm=data.lens,
        sensor_width_mm=data.sensor_width,
        sensor_height_mm=data.sensor_height,
        width=render_size(scene)[0],
        height=render_size(scene)[1],
        sensor_fit=SensorFit(data.sensor_fit),
        shift_x=data.shift_x,
        shift_y=data.shift_y,
        pixel_aspect_x=render.pixel_aspect_x,
        pixel_aspect_y=render.pixel_aspect_y,
    )
    convention = convention_of(scene)
    pose = convention.camera_pose(np.array(evaluated.matrix_world, dtype=np.float64))
    camera_from_world = pose.inverse()
    camera_from_world[:3, 3] /= convention.metres_per_unit
    return CapturedCamera(
        camera=Camera(_fitted(whole, _seen_size(scene), size, fit), pose),
        camera_from_world=camera_from_world,
        near=float(data.clip_start),
        far=float(data.clip_end),
    )


def _seen_size(scene: Any) -> tuple[int, int]:
    """Return the size of the render's picture with square pixels, counted finely: rounding must not show."""
    width, height = render_size(scene)
    # A pixel that is wider than high makes a wider picture.
    stretch = float(scene.render.pixel_aspect_x) / float(scene.render.pixel_aspect_y)
    return round(width * stretch * 64), height * 64


def _fitted(lens: Intrinsics, seen: tuple[int, int], size: tuple[int, int], fit: Fit | None) -> Intrinsics:
    """Return the lens of the capture: the render's picture with square pixels, then fitted to the capture's aspect."""
    return FitMap.between(seen, size, fit=fit).intrinsics(lens.resized(*seen))


def _perspective(camera: Any) -> None:
    if camera is None:
        raise InvalidValue(
            "the scene has no camera",
            field="scene.camera",
            value="None",
            remedy="Add one (Shift A, Camera), or choose one in the Scene properties.",
        )
    if camera.type != "CAMERA":
        raise InvalidValue(
            "is no camera, but an object that is used as one",
            field="scene.camera",
            value=f"{camera.name}, {camera.type.lower()}",
            remedy="Choose a camera in the Scene properties.",
        )
    if camera.data.type != "PERSP":
        raise InvalidValue(
            "only perspective cameras can be captured",
            field="camera type",
            value=f"{camera.name}, {camera.data.type.lower()}",
            remedy="Set the camera's Type to Perspective in its Lens properties.",
        )
