"""Depth against `scene.ray_cast` on every pixel. Prints one JSON object: case -> figures."""

from __future__ import annotations

import json
import sys
from typing import Any

import bpy
import numpy as np
from mathutils import Vector
from scenes import add_camera, clutter, empty_scene

from engine_plugins.blender.longvie.capture.shot import ShotCapture
from engine_plugins.blender.longvie.sampling import Sampling

LENSES: dict[str, dict[str, Any]] = {
    "plain": {"lens": 35.0},
    "wide": {"lens": 14.0},
    "shifted": {"lens": 40.0, "shift_x": 0.21, "shift_y": -0.13},
    "fit by width": {"lens": 30.0, "sensor_fit": "HORIZONTAL", "sensor_width": 24.0, "shift_y": 0.1},
    "fit by height": {"lens": 30.0, "sensor_fit": "VERTICAL", "sensor_height": 18.0, "shift_x": -0.1},
}


def capture(scene: Any, size: tuple[int, int]) -> Any:
    sampling = Sampling(1, 10, scene.render.fps / scene.render.fps_base)
    return ShotCapture(scene, bpy.context.view_layer, sampling=sampling, size=size, fit=None).view(0)


def cast(scene: Any, view: Any) -> np.ndarray:
    """Return planar depth by rays, from Blender's own frame of the camera: it knows nothing of our conventions.

    The corners of the picture come from `camera.view_frame`, which Blender's own add-ons use.
    """
    depsgraph = bpy.context.evaluated_depsgraph_get()
    height, width = view.depth.shape
    matrix = scene.camera.matrix_world.normalized()
    # Top right, bottom right, bottom left, top left; z is negative in front.
    top_right, _, bottom_left, _ = (np.array(corner) for corner in scene.camera.data.view_frame(scene=scene))
    depth = np.full((height, width), np.inf)
    origin = matrix.translation
    for row in range(height):
        for column in range(width):
            u, v = (column + 0.5) / width, (row + 0.5) / height
            x = bottom_left[0] + u * (top_right[0] - bottom_left[0])
            y = top_right[1] + v * (bottom_left[1] - top_right[1])
            direction = matrix.to_3x3() @ Vector((x, y, top_right[2]))
            hit, at, *_ = scene.ray_cast(depsgraph, origin, direction)
            if hit:
                depth[row, column] = -(matrix.inverted() @ at).z
    return depth


def figures(scene: Any, size: tuple[int, int]) -> dict[str, float]:
    view = capture(scene, size)
    rays = cast(scene, view)
    both = np.isfinite(rays) & np.isfinite(view.depth)
    error = np.abs(view.depth[both] - rays[both]) / rays[both]
    return {
        "median": float(np.median(error)),
        "p99": float(np.percentile(error, 99)),
        "same_sky": float((np.isfinite(rays) == np.isfinite(view.depth)).mean()),
        "hit": float(both.mean()),
        "nearest": float(rays.min()),
    }


def main() -> None:
    results = {}
    for name, lens in LENSES.items():
        scene = empty_scene()
        clutter(scene)
        add_camera(scene, (-4.0, -9.0, 3.0), (0.0, 0.0, 0.3), **lens)
        results[name] = figures(scene, (160, 90))
    for scale in (0.01, 100.0):
        scene = empty_scene()
        clutter(scene, scale=scale)
        add_camera(scene, np.array((-4.0, -9.0, 3.0)) * scale, (0.0, 0.0, 0.3 * scale), lens=35.0)
        results[f"scale {scale:g}"] = figures(scene, (160, 90))
    scene = empty_scene()
    clutter(scene)
    scene.render.resolution_x, scene.render.resolution_y = 90, 160
    add_camera(scene, (-4.0, -9.0, 3.0), (0.0, 0.0, 0.3), lens=35.0, shift_x=0.1, shift_y=0.05)
    results["upright"] = figures(scene, (90, 160))
    scene = empty_scene()
    clutter(scene)
    scene.render.resolution_x, scene.render.pixel_aspect_x = 80, 2.0
    add_camera(scene, (-4.0, -9.0, 3.0), (0.0, 0.0, 0.3), lens=35.0, shift_x=0.1, shift_y=0.05)
    results["wide pixels"] = figures(scene, (160, 90))
    sys.stdout.write("RESULT " + json.dumps(results) + "\n")


main()
