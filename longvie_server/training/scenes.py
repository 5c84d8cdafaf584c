"""Rendering procedural scenes into a scene store: pictures, and the control videos made by the server's own encoders.

In: seeds of the built-in engine's training families. Out: whole scenes in a `SceneStore`. Laws: a scene depends on its
seed alone; the depth range is measured on the first clip and kept, as a live session does; scenes that are in the
store already are not rendered again, and several processes may fill one store.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bridge.tick import CLIP_STRIDE
from engine_plugins.builtin import Renderer, Scene, capture_clip, training_family, training_scene

from ..control.clip_geometry import ClipGeometry
from ..control.dense import measure_depth_range
from ..control.encode import encode_controls
from .store import SceneRecord, SceneStore, StoredScene, scene_name

__all__ = ["ScenesConfig", "render_scene", "render_scenes"]


@dataclass(frozen=True, slots=True)
class ScenesConfig:
    """Which scenes to render.

    Args:
        folder: of the store.
        seeds: first and last + 1.
        clips: consecutive clips per scene; from the second on there is history.
        workers: processes.
    """

    folder: Path
    seeds: tuple[int, int] = (0, 320)
    clips: int = 2
    height: int = 80
    width: int = 144
    workers: int = 2


def render_scenes(config: ScenesConfig) -> Iterator[str]:
    """Render what is missing, yielding every scene's name: those that are there first."""
    store = SceneStore(config.folder)
    missing = []
    for seed in range(*config.seeds):
        name = scene_name(training_family(seed), seed)
        if name in store:
            yield name
        else:
            missing.append(seed)
    if config.workers <= 1 or not missing:
        yield from (_render_one(config, seed) for seed in missing)
        return
    with ProcessPoolExecutor(config.workers) as pool:
        yield from pool.map(_render_one, [config] * len(missing), missing)


def render_scene(scene: Scene, *, first_tick: int, clips: int, height: int, width: int) -> StoredScene:
    """Return a scene's pixels and controls from a tick on, clip after clip."""
    renderer = Renderer(scene, width=width, height=height)
    captured = [capture_clip(renderer, first_tick + CLIP_STRIDE * k) for k in range(clips)]
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
    return StoredScene(
        SceneRecord(scene.family, scene.seed, clips, scene.caption),
        rgb=np.concatenate([captured[0].rgb[:1], *(clip.rgb[1:] for clip in captured)]),
        dense=np.stack([c.dense for c in controls]),
        sparse=np.stack([c.sparse for c in controls]),
        points=np.stack([c.points for c in controls if c.points is not None]),
    )


def _render_one(config: ScenesConfig, seed: int) -> str:
    scene = training_scene(seed)
    # Where in its endless camera path a scene is entered is part of the seed.
    first_tick = int(np.random.default_rng([seed, 1]).integers(0, 4000))
    stored = render_scene(scene, first_tick=first_tick, clips=config.clips, height=config.height, width=config.width)
    SceneStore(config.folder).save(stored)
    return stored.record.name
