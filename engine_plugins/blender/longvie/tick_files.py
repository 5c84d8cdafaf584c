"""Ticks as files, one each: the way out of a Blender whose Python has nothing but numpy.

What is written here is read by the program that started this Blender, and deleted as soon as it was read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bridge.geometry.camera import Camera, Intrinsics, Pose
from bridge.tick import Tick, TrackSet

__all__ = ["SAID", "read_tick", "tick_path", "write_tick"]

SAID: Final = "longvie-record: "
"""Begins each line in which Blender tells what it has written; Blender's own lines begin otherwise."""


def tick_path(folder: Path, index: int) -> Path:
    """Return the file of a tick."""
    return folder / f"{index:06d}.npz"


def write_tick(folder: Path, tick: Tick) -> None:
    """Write a tick, as Blender's capture makes it: planar metres, camera, followed points."""
    lens = tick.camera.intrinsics
    arrays: dict[str, NDArray[Any]] = {
        "index_time_ns": np.array([tick.index, tick.time_ns], np.int64),
        "lens_px": np.array([lens.fx_px, lens.fy_px, lens.cx_px, lens.cy_px], np.float64),
        "world_from_camera": tick.camera.world_from_camera.matrix,
        "depth": tick.depth,
    }
    for name, tracks in (("tracks", tick.tracks), ("seeds", tick.seeds)):
        if tracks is not None:
            arrays |= {f"{name}_points": tracks.points, f"{name}_visibility": tracks.visibility}
    with tick_path(folder, tick.index).open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def read_tick(folder: Path, index: int) -> Tick:
    """Return a tick that `write_tick` wrote."""
    with np.load(tick_path(folder, index), allow_pickle=False) as stored:
        arrays: dict[str, NDArray[Any]] = dict(stored)
    depth = arrays["depth"]
    fx, fy, cx, cy = (float(value) for value in arrays["lens_px"])
    return Tick(
        index=int(arrays["index_time_ns"][0]),
        time_ns=int(arrays["index_time_ns"][1]),
        camera=Camera(
            Intrinsics(fx_px=fx, fy_px=fy, cx_px=cx, cy_px=cy, width=depth.shape[1], height=depth.shape[0]),
            Pose(arrays["world_from_camera"]),
        ),
        depth=depth,
        tracks=_tracks(arrays, "tracks"),
        seeds=_tracks(arrays, "seeds"),
    )


def _tracks(arrays: dict[str, NDArray[Any]], name: str) -> TrackSet | None:
    points = arrays.get(f"{name}_points")
    return None if points is None else TrackSet(points, arrays[f"{name}_visibility"])
