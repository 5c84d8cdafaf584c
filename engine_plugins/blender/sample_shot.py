"""Make the sample shot: `blender -b -P sample_shot.py -- shot.blend`; with PyPI's bpy `python sample_shot.py -- ...`.

Ten seconds of a blocked-out street at 24 fps: a car drives by, a figure walks (an armature with a mesh on it), and the
camera dollies along. Grey boxes and plain colours, as previs is. Made from numbers: it is the same everywhere.
"""

import math
import os
import random
import sys
from collections.abc import Sequence
from typing import Any, Final

import bpy
from mathutils import Euler, Matrix, Vector

FPS: Final = 24
FRAMES: Final = 241
"""Ten seconds and one frame: 161 ticks, two clips of the model."""

_STRIDE_FRAMES: Final = 26
_WALK_SPEED: Final = 1.35  # metres a second
_CAR_SPEED: Final = 6.5

Colour = tuple[float, float, float]
Box = tuple[Sequence[float], Sequence[float]]
"""Centre and full size, metres."""


def make_shot() -> Any:
    """Make the whole shot in an empty file and return its scene."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.name = "Street"
    scene.render.fps, scene.frame_start, scene.frame_end = FPS, 1, FRAMES
    scene.render.resolution_x, scene.render.resolution_y = 1280, 704
    _light(scene)
    _street(scene)
    _car(scene)
    _walker(scene)
    _camera(scene)
    scene.frame_set(1)
    return scene


def _material(name: str, colour: Colour) -> Any:
    material = bpy.data.materials.get(name) or bpy.data.materials.new(name)
    material.diffuse_color = (*colour, 1.0)
    material.use_nodes = True
    material.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = (*colour, 1.0)
    return material


def _boxes(scene: Any, name: str, boxes: Sequence[Box], colour: Colour) -> Any:
    """Return one object made of boxes."""
    vertices: list[tuple[float, ...]] = []
    faces: list[tuple[int, ...]] = []
    for centre, size in boxes:
        base = len(vertices)
        corners = [(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)]
        vertices += [tuple(c + s * k for c, s, k in zip(centre, size, corner, strict=True)) for corner in corners]
        sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
        faces += [tuple(base + i for i in side) for side in sides]
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(vertices, [], faces)
    mesh.materials.append(_material(name, colour))
    thing = bpy.data.objects.new(name, mesh)
    scene.collection.objects.link(thing)
    return thing


def _light(scene: Any) -> None:
    sun = bpy.data.lights.new("Sun", "SUN")
    sun.energy, sun.angle = 3.0, 0.02
    lamp = bpy.data.objects.new("Sun", sun)
    lamp.rotation_euler = (math.radians(50), 0.0, math.radians(35))
    scene.collection.objects.link(lamp)
    world = bpy.data.worlds.new("Sky")
    world.use_nodes = True
    world.node_tree.nodes["Background"].inputs["Color"].default_value = (0.45, 0.62, 0.85, 1.0)
    scene.world = world


def _street(scene: Any) -> None:
    """Runs along y; the road is 7 m wide, with pavements and houses on both sides."""
    _boxes(scene, "Ground", [((0, 60, -0.25), (160, 260, 0.2))], (0.30, 0.33, 0.25))
    _boxes(scene, "Road", [((0, 60, -0.1), (7, 260, 0.2))], (0.08, 0.08, 0.09))
    _boxes(scene, "Lines", [((0, -60 + 4 * i, 0.005), (0.15, 2, 0.01)) for i in range(60)], (0.85, 0.85, 0.8))
    _boxes(scene, "Pavement", [((s * 5.25, 60, -0.05), (3.5, 260, 0.3)) for s in (-1, 1)], (0.42, 0.41, 0.40))
    numbers = random.Random(5)
    colours = ((0.62, 0.45, 0.35), (0.55, 0.53, 0.50), (0.72, 0.66, 0.55), (0.42, 0.30, 0.26))
    for side in (-1, 1):
        y = -20.0
        while y < 130:
            width, depth, height = numbers.uniform(8, 14), numbers.uniform(8, 12), numbers.uniform(6, 17)
            centre = (side * (7.2 + depth / 2), y + width / 2)
            floors = int(height // 3)
            house: list[Box] = [((*centre, height / 2), (depth, width - 0.3, height))]
            front = side * 7.2
            sills: list[Box] = [
                ((front, y + 1.5 + 2.2 * column, 1.6 + 3 * floor), (0.25, 1.2, 1.5))
                for floor in range(floors)
                for column in range(int((width - 2) // 2.2))
            ]
            _boxes(scene, f"House {side} {int(y)}", house, colours[numbers.randrange(4)])
            _boxes(scene, f"Windows {side} {int(y)}", sills, (0.12, 0.16, 0.2))
            y += width
    posts: list[Box] = []
    for i in range(9):
        posts += [((-3.9, 12.0 * i, 2.6), (0.12, 0.12, 5.2)), ((-3.4, 12.0 * i, 5.2), (1.1, 0.12, 0.12))]
    _boxes(scene, "Lamp posts", posts, (0.1, 0.12, 0.11))


def _car(scene: Any) -> None:
    body = _boxes(scene, "Car", [((0, 0, 0.62), (1.75, 4.2, 0.62))], (0.55, 0.06, 0.05))
    cabin = _boxes(scene, "Car cabin", [((0, -0.15, 1.18), (1.5, 2.2, 0.55))], (0.07, 0.08, 0.10))
    cabin.parent = body
    for x in (-0.82, 0.82):
        for y in (-1.3, 1.3):
            wheel = _wheel(scene, f"Wheel {x} {y}")
            wheel.parent = body
            wheel.location = (x, y, 0.33)
            turns = _CAR_SPEED * (FRAMES - 1) / FPS / 0.33
            _keys(wheel, "rotation_euler", {1: (0, 0, 0), FRAMES: (-turns, 0, 0)})
    way = _CAR_SPEED * (FRAMES - 1) / FPS
    _keys(body, "location", {1: (1.75, -6, 0), FRAMES: (1.75, -6 + way, 0)})


def _wheel(scene: Any, name: str) -> Any:
    ring = [(0.33 * math.cos(a * math.tau / 16), 0.33 * math.sin(a * math.tau / 16)) for a in range(16)]
    vertices = [(x, u, v) for x in (-0.11, 0.11) for u, v in ring]
    faces: list[tuple[int, ...]] = [(i, (i + 1) % 16, 16 + (i + 1) % 16, 16 + i) for i in range(16)]
    faces += [tuple(range(15, -1, -1)), tuple(range(16, 32))]
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(vertices, [], faces)
    mesh.materials.append(_material("Tyre", (0.03, 0.03, 0.03)))
    wheel = bpy.data.objects.new(name, mesh)
    scene.collection.objects.link(wheel)
    return wheel


_BONES: Final = {
    # name: (head, tail, parent, half width of its box)
    "hips": ((0, 0, 0.92), (0, 0, 1.08), "", 0.16),
    "spine": ((0, 0, 1.08), (0, 0, 1.50), "hips", 0.17),
    "head": ((0, 0, 1.52), (0, 0, 1.80), "spine", 0.10),
    "thigh.L": ((0.10, 0, 0.94), (0.10, 0, 0.50), "hips", 0.075),
    "thigh.R": ((-0.10, 0, 0.94), (-0.10, 0, 0.50), "hips", 0.075),
    "shin.L": ((0.10, 0, 0.50), (0.10, 0, 0.04), "thigh.L", 0.06),
    "shin.R": ((-0.10, 0, 0.50), (-0.10, 0, 0.04), "thigh.R", 0.06),
    "arm.L": ((0.24, 0, 1.46), (0.24, 0, 0.86), "spine", 0.05),
    "arm.R": ((-0.24, 0, 1.46), (-0.24, 0, 0.86), "spine", 0.05),
}


def _walker(scene: Any) -> None:
    """An armature that walks, with one skinned mesh on it."""
    data = bpy.data.armatures.new("Walker bones")
    bones = bpy.data.objects.new("Walker bones", data)
    scene.collection.objects.link(bones)
    bpy.context.view_layer.objects.active = bones
    bpy.ops.object.mode_set(mode="EDIT")
    for name, (head, tail, parent, _) in _BONES.items():
        bone = data.edit_bones.new(name)
        bone.head, bone.tail = head, tail
        if parent:
            bone.parent = data.edit_bones[parent]
    bpy.ops.object.mode_set(mode="OBJECT")
    _skin(scene, bones)
    swings = {"thigh.L": 0.5, "thigh.R": -0.5, "arm.L": -0.45, "arm.R": 0.45}
    for frame in range(1, FRAMES + 1, 2):
        phase = math.tau * (frame - 1) / _STRIDE_FRAMES
        for name, swing in swings.items():
            _swing(bones, name, swing * math.sin(phase), frame)
        for name, shift in (("shin.L", 0.0), ("shin.R", math.pi)):
            _swing(bones, name, -0.45 * (1 - math.cos(phase + shift + 0.6)), frame)
        _swing(bones, "spine", 0.04 * math.sin(2 * phase), frame)
    way = _WALK_SPEED * (FRAMES - 1) / FPS
    _keys(bones, "location", {1: (-4.6, 4, 0.1), FRAMES: (-4.6, 4 + way, 0.1)})


def _swing(bones: Any, name: str, angle: float, frame: int) -> None:
    """Key a turn about the world's x axis, which is the walker's side to side."""
    pose = bones.pose.bones[name]
    pose.rotation_mode = "QUATERNION"
    rest = pose.bone.matrix_local.to_3x3()
    turn = Euler((angle, 0, 0)).to_matrix()
    pose.rotation_quaternion = (rest.inverted() @ turn @ rest).to_quaternion()
    pose.keyframe_insert("rotation_quaternion", frame=frame)


def _skin(scene: Any, bones: Any) -> None:
    boxes: list[Box] = []
    for head, tail, _, half in _BONES.values():
        middle = (Vector(head) + Vector(tail)) / 2
        boxes.append((tuple(middle), (2 * half, 1.4 * half, abs(head[2] - tail[2]))))
    body = _boxes(scene, "Walker", boxes, (0.12, 0.22, 0.45))
    for number, name in enumerate(_BONES):
        body.vertex_groups.new(name=name).add(range(8 * number, 8 * number + 8), 1.0, "REPLACE")
    body.parent = bones
    body.modifiers.new("Armature", "ARMATURE").object = bones


def _camera(scene: Any) -> None:
    data = bpy.data.cameras.new("Dolly")
    data.lens, data.clip_start, data.clip_end = 32.0, 0.1, 400.0
    camera = bpy.data.objects.new("Dolly", data)
    scene.collection.objects.link(camera)
    scene.camera = camera
    for frame, place, target in (
        (1, (-1.2, -4.5, 1.7), (-3.4, 6.0, 1.2)),
        (121, (-0.9, 1.5, 1.6), (-3.2, 12.0, 1.3)),
        (FRAMES, (-1.5, 9.5, 1.9), (-2.4, 24.0, 1.6)),
    ):
        look = (Vector(target) - Vector(place)).to_track_quat("-Z", "Y")
        camera.matrix_world = Matrix.LocRotScale(Vector(place), look, None)
        camera.keyframe_insert("location", frame=frame)
        camera.keyframe_insert("rotation_euler", frame=frame)


def _keys(thing: Any, path: str, values: dict[int, Sequence[float]]) -> None:
    """Key a property so that it moves evenly."""
    before = bpy.context.preferences.edit.keyframe_new_interpolation_type
    bpy.context.preferences.edit.keyframe_new_interpolation_type = "LINEAR"
    for frame, value in values.items():
        setattr(thing, path, value)
        thing.keyframe_insert(path, frame=frame)
    bpy.context.preferences.edit.keyframe_new_interpolation_type = before


def main() -> None:
    """Make the shot and save it."""
    arguments = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    if len(arguments) != 1:
        sys.exit("usage: blender -b -P sample_shot.py -- shot.blend")
    make_shot()
    # Blender saves to whole paths only.
    bpy.ops.wm.save_as_mainfile(filepath=os.path.abspath(arguments[0]))


if __name__ == "__main__":
    main()
