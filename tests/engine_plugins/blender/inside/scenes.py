"""Scenes for tests, made by hand inside Blender. Runs in the Python that has bpy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import bpy
import numpy as np
from mathutils import Euler, Matrix, Vector

WIDTH, HEIGHT = 160, 90


def empty_scene(*, fps: int = 24, frame_end: int = 250) -> Any:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = WIDTH, HEIGHT
    scene.render.resolution_percentage = 100
    scene.render.fps, scene.frame_start, scene.frame_end = fps, 1, frame_end
    return scene


def add_camera(scene: Any, location: Sequence[float], target: Sequence[float], **settings: Any) -> Any:
    data = bpy.data.cameras.new("Camera")
    data.clip_start, data.clip_end = 1e-3, 1e6
    for name, value in settings.items():
        setattr(data, name, value)
    camera = bpy.data.objects.new("Camera", data)
    camera.location = location
    camera.rotation_euler = (Vector(target) - Vector(location)).to_track_quat("-Z", "Y").to_euler()
    scene.collection.objects.link(camera)
    scene.camera = camera
    return camera


def add_mesh(scene: Any, name: str, vertices: Any, faces: Any) -> Any:
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata([tuple(v) for v in vertices], [], [tuple(f) for f in faces])
    mesh.update()
    thing = bpy.data.objects.new(name, mesh)
    scene.collection.objects.link(thing)
    return thing


def add_cube(scene: Any, name: str = "Cube", *, size: float = 2.0) -> Any:
    h = size / 2
    corners = [(x, y, z) for x in (-h, h) for y in (-h, h) for z in (-h, h)]
    faces = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    return add_mesh(scene, name, corners, faces)


def add_grid(scene: Any, name: str, *, cells: int, size: float) -> Any:
    """A square in the xy plane, `cells` x `cells` quads."""
    line = np.linspace(-size / 2, size / 2, cells + 1)
    vertices = [(x, y, 0.0) for y in line for x in line]
    n = cells + 1
    faces = [
        (j * n + i, j * n + i + 1, (j + 1) * n + i + 1, (j + 1) * n + i) for j in range(cells) for i in range(cells)
    ]
    return add_mesh(scene, name, vertices, faces)


def clutter(scene: Any, *, scale: float = 1.0) -> None:
    """A floor that reaches behind the camera, boxes, a dense bumpy sheet, text and an instanced collection."""
    floor = add_grid(scene, "Floor", cells=1, size=60.0 * scale)
    floor.location.z = -1.0 * scale
    for i, (x, y, z, turn) in enumerate([(-2, 1, 0, 0.3), (1.5, 2.5, 0.4, 1.1), (0.2, -1.0, -0.3, 2.0)]):
        box = add_cube(scene, f"Box{i}", size=1.4 * scale)
        box.matrix_world = (
            Matrix.Translation(Vector((x, y, z)) * scale) @ Euler((turn, turn / 2, turn)).to_matrix().to_4x4()
        )
    sheet = add_grid(scene, "Sheet", cells=60, size=3.0 * scale)
    for vertex in sheet.data.vertices:
        vertex.co.z = 0.2 * scale * math.sin(vertex.co.x * 4 / scale) * math.cos(vertex.co.y * 3 / scale)
    sheet.location = Vector((3.0, 0.0, 0.5)) * scale
    subdivided = add_cube(scene, "Ball", size=1.5 * scale)
    subdivided.location = Vector((-3.0, -1.0, 0.3)) * scale
    modifier = subdivided.modifiers.new("Subdivision", "SUBSURF")
    modifier.levels = modifier.render_levels = 3
    curve = bpy.data.curves.new("Text", "FONT")
    curve.body, curve.extrude, curve.size = "LV", 0.2 * scale, 1.5 * scale
    text = bpy.data.objects.new("Text", curve)
    text.location = Vector((-1.0, 4.0, 0.5)) * scale
    text.rotation_euler = (math.pi / 2, 0, 0.2)
    scene.collection.objects.link(text)
    group = bpy.data.collections.new("Group")
    member = add_cube(scene, "Member", size=0.5 * scale)
    scene.collection.objects.unlink(member)
    group.objects.link(member)
    for i in range(3):
        empty = bpy.data.objects.new(f"Instance{i}", None)
        empty.instance_type, empty.instance_collection = "COLLECTION", group
        empty.location = Vector((-1.5 + 1.5 * i, -2.0, 0.6 * i)) * scale
        scene.collection.objects.link(empty)


def keyframe(thing: Any, path: str, values: dict[float, Any]) -> None:
    """Key a property linearly; frames may lie between two."""
    for frame, value in values.items():
        setattr(thing, path, value)
        thing.keyframe_insert(path, frame=frame)
    linear(thing)


def linear(thing: Any) -> None:
    """Let everything that is keyed move evenly."""
    action = thing.animation_data.action
    curves = action.fcurves if hasattr(action, "fcurves") else action.layers[0].strips[0].channelbags[0].fcurves
    for curve in curves:
        for point in curve.keyframe_points:
            point.interpolation = "LINEAR"
