"""The followed grid against places that are worked out by hand. Prints one JSON object: case -> figures.

Each scene says where a point of its moving thing is at a time, from the place that it had at the first tick. The
truth knows no triangle: it is a formula of the motion.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix
from scenes import add_camera, add_cube, add_grid, empty_scene, keyframe, linear

from bridge.geometry.projection import project
from engine_plugins.blender.longvie.capture.shot import ShotCapture
from engine_plugins.blender.longvie.sampling import Sampling

SIZE = (640, 360)
LAST = 15
Motion = Callable[[np.ndarray, float], np.ndarray]
"""(points at tick 0, (n, 3); seconds) -> points then."""


def turn_z(points: np.ndarray, angle: float) -> np.ndarray:
    c, s = math.cos(angle), math.sin(angle)
    return points @ np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])


def spinning_cube() -> Motion:
    """Turns by 0.9 rad a second about z, and rises."""
    scene = empty_scene()
    cube = add_cube(scene)
    keyframe(cube, "rotation_euler", {1: (0, 0, 0), 25: (0, 0, 0.9)})
    keyframe(cube, "location", {1: (0, 0, 0), 25: (0, 0, 0.5)})
    return lambda points, t: turn_z(points, 0.9 * t) + np.array((0.0, 0.0, 0.5)) * t


def bending_plane() -> Motion:
    """A shape key lifts the sheet to z = 0.3 x^2 within a second; each vertex moves on a line."""
    scene = empty_scene()
    sheet = add_grid(scene, "Sheet", cells=200, size=4.0)
    sheet.shape_key_add(name="Basis")
    bent = sheet.shape_key_add(name="Bent")
    for vertex, place in zip(sheet.data.vertices, bent.data, strict=True):
        place.co.z = 0.3 * vertex.co.x**2
    bent.value = 0.0
    bent.keyframe_insert("value", frame=1)
    bent.value = 1.0
    bent.keyframe_insert("value", frame=25)
    linear(sheet.data.shape_keys)
    return lambda points, t: points + np.stack([0 * points[:, 0], 0 * points[:, 0], 0.3 * t * points[:, 0] ** 2], 1)


def armature() -> Motion:
    """A rod whose upper half hangs on a bone that turns by 0.8 rad a second about x = 0, z = 1."""
    scene = empty_scene()
    rod = add_cube(scene, "Rod", size=1.0)
    upper = add_cube(scene, "Upper", size=1.0)
    upper.data.transform(Matrix.Translation((0.0, 0.0, 1.6)))
    data = bpy.data.armatures.new("Bones")
    bones = bpy.data.objects.new("Bones", data)
    scene.collection.objects.link(bones)
    bpy.context.view_layer.objects.active = bones
    bpy.ops.object.mode_set(mode="EDIT")
    low, high = data.edit_bones.new("low"), data.edit_bones.new("high")
    low.head, low.tail = (0, 0, 0), (0, 0, 1)
    high.head, high.tail, high.parent = (0, 0, 1), (0, 0, 2), low
    bpy.ops.object.mode_set(mode="OBJECT")
    for thing, bone in ((rod, "low"), (upper, "high")):
        group = thing.vertex_groups.new(name=bone)
        group.add(range(len(thing.data.vertices)), 1.0, "REPLACE")
        thing.modifiers.new("Armature", "ARMATURE").object = bones
    pose = bones.pose.bones["high"]
    pose.rotation_mode = "XYZ"
    for frame, angle in ((1, 0.0), (25, 0.8)):
        pose.rotation_euler = (0.0, 0.0, angle)
        pose.keyframe_insert("rotation_euler", frame=frame)
    linear(bones)
    # The bone points along z with its x axis along x: its local z is the world's -y.
    axis = np.array(pose.bone.matrix_local.to_3x3().col[2])

    def motion(points: np.ndarray, t: float) -> np.ndarray:
        c, s = math.cos(0.8 * t), math.sin(0.8 * t)
        arm = points - (0.0, 0.0, 1.0)
        turned = arm * c + np.cross(axis, arm) * s + np.outer(arm @ axis, axis) * (1 - c) + (0.0, 0.0, 1.0)
        return np.where(points[:, 2:] > 0.9, turned, points)

    return motion


def instances() -> Motion:
    """Three instances of a collection, of which the middle one slides; the collection itself stands aside."""
    scene = empty_scene()
    group = bpy.data.collections.new("Group")
    member = add_cube(scene, "Member", size=0.8)
    scene.collection.objects.unlink(member)
    group.objects.link(member)
    for i, x in enumerate((-1.5, 0.0, 1.5)):
        empty = bpy.data.objects.new(f"Instance{i}", None)
        empty.instance_type, empty.instance_collection = "COLLECTION", group
        empty.location = (x, 0, 0)
        scene.collection.objects.link(empty)
    keyframe(bpy.data.objects["Instance1"], "location", {1: (0, 0, 0), 25: (0.2, -0.4, 0.7)})
    return lambda points, t: points + np.where(np.abs(points[:, :1]) < 0.5, 1.0, 0.0) * np.array((0.2, -0.4, 0.7)) * t


def modifier_and_scale() -> Motion:
    """A cube under a subdivision, on a parent that grows by half a size a second."""
    scene = empty_scene()
    cube = add_cube(scene, size=1.6)
    cube.modifiers.new("Subdivision", "SUBSURF").levels = 3
    parent = bpy.data.objects.new("Parent", None)
    scene.collection.objects.link(parent)
    cube.parent = parent
    keyframe(parent, "scale", {1: (1, 1, 1), 25: (1.5, 1.5, 1.5)})
    return lambda points, t: points * (1.0 + 0.5 * t)


CASES = (spinning_cube, bending_plane, armature, instances, modifier_and_scale)


def follow(make: Callable[[], Motion]) -> dict[str, float]:
    motion = make()
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = SIZE
    camera = add_camera(scene, (1.0, -6.0, 3.2), (0.0, 0.0, 0.4), lens=40.0)
    keyframe(camera, "location", {1: (1.0, -6.0, 3.2), 25: (1.6, -5.5, 3.0)})
    capture = ShotCapture(scene, bpy.context.view_layer, sampling=Sampling(1, 25, 24.0), size=SIZE, fit=None)
    first = capture.tick(0, starts_clip=True)
    assert first.seeds is not None
    on_thing = first.seeds.points[:, 3] == 1
    start = first.seeds.points[on_thing, :3].astype(np.float64)
    worst, lost, moved = 0.0, 0, 0.0
    for index in range(1, LAST + 1):
        tick = capture.tick(index, starts_clip=False)
        assert tick.tracks is not None
        truth = np.ones((len(start), 4))
        truth[:, :3] = motion(start, index / 16)
        still = np.append(start, np.ones((len(start), 1)), axis=1)
        expected, got, unmoved = (
            project(points, tick.camera)[0] * SIZE for points in (truth, tick.tracks.points[on_thing], still)
        )
        worst = max(worst, float(np.abs(got - expected).max()))
        moved = max(moved, float(np.abs(unmoved - expected).max()))
        lost += int((tick.tracks.visibility == 2).sum())
        sky = first.seeds.points[:, 3] == 0
        assert np.array_equal(tick.tracks.points[sky], first.seeds.points[sky])
    return {"worst_px": worst, "moved_px": moved, "on_thing": int(on_thing.sum()), "lost": lost}


def lost_points() -> dict[str, Any]:
    """One cube vanishes at frame 7, another gains faces at frame 7, a third only bends its quads."""
    scene = empty_scene()
    scene.render.resolution_x, scene.render.resolution_y = SIZE
    gone, changed, kept = (add_cube(scene, name, size=1.2) for name in ("Gone", "Changed", "Kept"))
    gone.location, changed.location, kept.location = (-1.6, 0, 0), (0, 0, 0), (1.6, 0, 0)
    for hidden in ("hide_viewport", "hide_render"):
        for frame, value in ((1, False), (7, True)):
            setattr(gone, hidden, value)
            gone.keyframe_insert(hidden, frame=frame)
    modifier = changed.modifiers.new("Subdivision", "SUBSURF")
    modifier.subdivision_type = "SIMPLE"
    for frame, value in ((1, False), (7, True)):
        modifier.show_viewport = value
        modifier.keyframe_insert("show_viewport", frame=frame)
    kept.shape_key_add(name="Basis")
    twisted = kept.shape_key_add(name="Twisted")
    for i, place in enumerate(twisted.data):
        place.co.z += 0.4 * (-1) ** i * place.co.x
    for frame, value in ((1, 0.0), (25, 1.0)):
        twisted.value = value
        twisted.keyframe_insert("value", frame=frame)
    add_camera(scene, (0.5, -6.0, 2.0), (0.0, 0.0, 0.0), lens=40.0)
    capture = ShotCapture(scene, bpy.context.view_layer, sampling=Sampling(1, 25, 24.0), size=SIZE, fit=None)
    seeds = capture.tick(0, starts_clip=True).seeds
    assert seeds is not None
    x = seeds.points[:, 0]
    thing = np.where(seeds.points[:, 3] == 0, 3, np.where(x < -0.85, 0, np.where(x > 0.85, 2, 1)))
    result: dict[str, Any] = {"seeded": [int((thing == i).sum()) for i in range(3)]}
    for index in range(1, 9):
        tick = capture.tick(index, starts_clip=False)
        assert tick.tracks is not None
        lost = tick.tracks.visibility == 2
        result[f"lost at {index}"] = [int(lost[thing == i].sum()) for i in range(3)]
    return result


def main() -> None:
    results: dict[str, Any] = {make.__name__: follow(make) for make in CASES}
    results["lost_points"] = lost_points()
    sys.stdout.write("RESULT " + json.dumps(results) + "\n")


main()
