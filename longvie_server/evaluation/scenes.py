"""Held-out scenes: what a model is judged on, rendered once and kept.

In: numbers of evaluation scenes. Out: true frames and the control clips of a live session: the depth range is measured
on the first clip and kept. Nothing here is ever trained on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bridge.tick import CLIP_STRIDE, CLIP_TICKS
from engine_plugins.builtin import Renderer, capture_clip, evaluation_scene

from ..control.clip_geometry import ClipGeometry
from ..control.dense import measure_depth_range
from ..control.encode import encode_controls
from ..world_model.interface import ControlClip
from .truth import ClipTruth, Watcher

__all__ = ["HeldOutScene", "held_out_scene"]

_PLANES = ("rgb", "dense", "sparse")


@dataclass(frozen=True, slots=True, eq=False)
class HeldOutScene:
    """A scene that no model was trained on.

    Args:
        name: family and number.
        caption: the prompt.
        rgb: (1 + 80 * clips, height, width, 3) uint8, the truth.
        controls: one per clip.
        truths: one per clip, what else the engine knows of it.
    """

    name: str
    caption: str
    rgb: NDArray[np.uint8]
    controls: tuple[ControlClip, ...]
    truths: tuple[ClipTruth, ...]

    def clip(self, number: int) -> NDArray[np.uint8]:
        """Return the true frames of a clip, (81, height, width, 3) uint8."""
        return self.rgb[number * CLIP_STRIDE : number * CLIP_STRIDE + CLIP_TICKS]


def held_out_scene(number: int, *, clips: int, height: int, width: int, cache: Path) -> HeldOutScene:
    """Return an evaluation scene, rendered or from the cache."""
    folder = cache / f"held-{number:04d}-{clips}x{height}x{width}"
    mark = folder / "scene.json"
    if not mark.exists():
        _render(number, clips=clips, height=height, width=width, folder=folder)
    text = json.loads(mark.read_text())
    rgb, dense, sparse = (np.load(folder / f"{plane}.npy", allow_pickle=False) for plane in _PLANES)
    truths = tuple(ClipTruth.load(folder, k) for k in range(clips))
    seen = [(truth.tracks / np.array([width, height])).astype(np.float32) for truth in truths]
    controls = tuple(ControlClip(dense[k], sparse[k], seen[k]) for k in range(clips))
    return HeldOutScene(text["name"], text["caption"], rgb, controls, truths)


def _render(number: int, *, clips: int, height: int, width: int, folder: Path) -> None:
    scene = evaluation_scene(number)
    renderer = Renderer(scene, width=width, height=height)
    watchers = [Watcher(scene) for _ in range(clips)]
    captured = [capture_clip(renderer, CLIP_STRIDE * k, look_on=watchers[k]) for k in range(clips)]
    depth_range = measure_depth_range(captured[0].depth_m)
    controls = [
        encode_controls(
            ClipGeometry(clip.depth_m, clip.track_uv, clip.track_depth_m, clip.track_drawn),
            depth_range,
            height=height,
            width=width,
        )
        for clip in captured
    ]
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "rgb.npy", np.concatenate([captured[0].rgb[:1], *(clip.rgb[1:] for clip in captured)]))
    np.save(folder / "dense.npy", np.stack([control.dense for control in controls]))
    np.save(folder / "sparse.npy", np.stack([control.sparse for control in controls]))
    for k, watcher in enumerate(watchers):
        watcher.truth().save(folder, k)
    text = {"name": f"{scene.family}-{scene.seed}", "caption": scene.caption}
    (folder / "scene.json").write_text(json.dumps(text) + "\n")
