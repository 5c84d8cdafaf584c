"""Write the shot that the job's tests generate: `shots.py FPS FRAME_END PATH`. A wall glides towards the camera."""

from __future__ import annotations

import json
import sys

import bpy
import numpy as np
from scenes import add_camera, add_cube, add_grid, empty_scene, keyframe

from bridge.geometry.fit import Fit
from engine_plugins.blender.longvie.capture.shot import ShotCapture
from engine_plugins.blender.longvie.sampling import Sampling

# The wall stands 6 m from the camera at frame 1, and comes this much nearer every second.
SPEED, FAR = 0.35, 6.0


def approach(fps: int, frame_end: int) -> None:
    """A wall that fills the view comes nearer at SPEED; a small cube stands still before it; at frame 31 it rains."""
    scene = empty_scene(fps=fps, frame_end=frame_end)
    add_camera(scene, (0, 0, 0), (0, 1, 0), lens=30.0)
    wall = add_grid(scene, "Wall", cells=2, size=80.0)
    wall.rotation_euler = (np.pi / 2, 0, 0)
    seconds = (frame_end - 1) / fps
    keyframe(wall, "location", {1: (0, FAR, 0), frame_end: (0, FAR - SPEED * seconds, 0)})
    cube = add_cube(scene, size=0.2)
    cube.location = (0.2, 1.5, 0.1)
    scene.timeline_markers.new("prompt: rain", frame=31)


def main() -> None:
    fps, frame_end, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    approach(fps, frame_end)
    bpy.ops.wm.save_as_mainfile(filepath=path)
    capture = ShotCapture(
        bpy.context.scene,
        bpy.context.view_layer,
        sampling=Sampling(1, frame_end, float(fps)),
        size=(80, 48),
        fit=Fit.CROP,
    )
    sys.stdout.write("RESULT " + json.dumps({"depth": capture.view(0).depth[0, 0].item()}) + "\n")


main()
