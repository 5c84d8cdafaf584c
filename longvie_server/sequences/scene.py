"""Sequences of the built-in engine: rendered, with everything that an engine knows.

The depth range is measured on the first clip and kept, as a live session does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import count

import numpy as np

from bridge.tick import CLIP_STRIDE
from engine_plugins.builtin import Renderer, Scene, capture_clip, evaluation_family, make_scene, training_family

from ..control.clip_geometry import ClipGeometry
from ..control.dense import measure_depth_range
from ..control.encode import encode_controls
from .sequence import SequenceClip
from .truth import ClipTruth, Watcher

__all__ = ["SceneSource", "held_out_scenes", "training_scenes"]


@dataclass(frozen=True)
class SceneSource:
    """A scene of a family.

    Args:
        number: evaluation or training scene of this number.
        held_out: for evaluation: no training sees its family, and what the engine knows is kept.
    """

    number: int
    held_out: bool

    @property
    def family(self) -> str:
        """The scene's, known before it is built."""
        return evaluation_family(self.number) if self.held_out else training_family(self.number)

    @cached_property
    def scene(self) -> Scene:
        """The scene itself, built when it is first asked for."""
        return make_scene(self.family, self.number)

    @property
    def key(self) -> str:
        """Family and seed."""
        return f"{self.family}-{self.number:08d}"

    @property
    def first_tick(self) -> int:
        """Where its endless camera path is entered: a training scene's seed decides."""
        return 0 if self.held_out else int(np.random.default_rng([self.number, 1]).integers(0, 4000))

    def length(self) -> None:
        """A scene has no end."""

    def clips(self, *, height: int, width: int, first: int) -> Iterator[SequenceClip]:
        """Yield clips from number `first` on."""
        renderer = Renderer(self.scene, width=width, height=height)
        depth_range = measure_depth_range(capture_clip(renderer, self.first_tick).depth_m) if first else None
        for number in count(first):
            watcher = Watcher(self.scene) if self.held_out else None
            clip = capture_clip(renderer, self.first_tick + CLIP_STRIDE * number, look_on=watcher)
            depth_range = depth_range or measure_depth_range(clip.depth_m)
            geometry = ClipGeometry(clip.depth_m, clip.track_uv, clip.track_depth_m, clip.track_drawn)
            controls = encode_controls(geometry, depth_range, height=height, width=width)
            truth = ClipTruth() if watcher is None else watcher.truth()
            yield SequenceClip(self.scene.caption, clip.rgb, controls, truth)


def held_out_scenes(many: int) -> list[SceneSource]:
    """Return evaluation scenes 0 .. many - 1."""
    return [SceneSource(number, held_out=True) for number in range(many)]


def training_scenes(first: int, many: int) -> list[SceneSource]:
    """Return training scenes of seeds first .. first + many - 1."""
    return [SceneSource(number, held_out=False) for number in range(first, first + many)]
