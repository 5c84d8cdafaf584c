"""The built-in engine: a scene played as the ticks that any engine sends."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bridge.errors import OutOfOrder
from bridge.geometry.camera import Camera
from bridge.tick import CLIP_STRIDE, FPS, Instances, Tick, TrackMode, TrackSet, Visibility

from .rendering import RenderedFrame, Renderer
from .scene import Scene
from .tracking import FollowedGrid

__all__ = ["BuiltinEngine"]


class BuiltinEngine:
    """A scene, played tick by tick.

    Args:
        scene: what to play.
        width, height: of depth and pictures, pixels.
        track_mode: who follows the points: this engine exactly, the server from instances, or the server from depth.
        shadows: whether pictures have them.
        threads: of the CPU for rays; 0 takes all.

    Raises:
        InvalidValue: a size is not positive.
        UsageError: Open3D cannot be loaded.
    """

    def __init__(
        self,
        scene: Scene,
        *,
        width: int,
        height: int,
        track_mode: TrackMode = TrackMode.ENGINE,
        shadows: bool = True,
        threads: int = 0,
    ) -> None:
        self.scene = scene
        self.track_mode = track_mode
        self._renderer = Renderer(scene, width=width, height=height, shadows=shadows, threads=threads)
        self._grid: FollowedGrid | None = None
        self._grid_index = -1

    def ticks(self, count: int, *, start: int = 0, cuts: frozenset[int] = frozenset()) -> Iterator[Tick]:
        """Yield ticks `start` to `start + count - 1`.

        Clips begin at `start` and 80 ticks after the last beginning. Each tick in `cuts` begins one as well, which
        shares no tick with the clip before.
        """
        first = start
        for index in range(start, start + count):
            cut = index in cuts and index > start
            if cut or index - first == CLIP_STRIDE:
                first = index
            yield self.tick(index, clip_start=index == first, shared=not cut and index > start)

    def tick(self, index: int, *, clip_start: bool | None = None, shared: bool = True) -> Tick:
        """Return one tick.

        Args:
            index: its number; it shows the time index / 16 s.
            clip_start: whether a clip begins here; None for every 80th tick, as in a session without cuts.
            shared: whether a clip that runs ends on this tick where another begins; False at a cut.

        Raises:
            InvalidValue: the index is negative.
            OutOfOrder: the engine follows the points, and the clip that this tick belongs to was not begun.
        """
        begins = index % CLIP_STRIDE == 0 if clip_start is None else clip_start
        view = self._renderer.look(index)
        transforms = self._renderer.raycaster.transforms
        tracks: TrackSet | None = None
        seeds: TrackSet | None = None
        instances: Instances | None = None
        seed_ids = None
        if self.track_mode is TrackMode.INSTANCES:
            instances = Instances(np.array([body.id for body in self.scene.instances], dtype=np.uint32), transforms)
            seed_ids = FollowedGrid.seeded(self.scene, view, transforms).ids if begins else None
        elif self.track_mode is TrackMode.ENGINE:
            if self._grid is not None and self._grid_index < index and (shared or not begins):
                tracks = self._grid.at(self._renderer.raycaster, view.camera)
            elif not begins:
                raise OutOfOrder(
                    f"tick {index} belongs to a clip that was not begun",
                    field="index",
                    value=index,
                    remedy="Ask for the clip's first tick first, or say clip_start=True.",
                )
            if begins:
                self._grid = FollowedGrid.seeded(self.scene, view, transforms)
                self._grid_index = index
                points = self._grid.points(transforms)
                seeds = TrackSet(points, np.full(points.shape[0], Visibility.VISIBLE, np.uint8))
        return Tick(
            index=index,
            camera=view.camera,
            depth=view.depth,
            time_ns=index * 1_000_000_000 // FPS,
            tracks=tracks,
            seeds=seeds,
            instances=instances,
            seed_instances=seed_ids,
        )

    def render(self, index: int) -> RenderedFrame:
        """Return the engine's own picture at a tick, with its depth and instance ids."""
        return self._renderer.render(index)

    def camera(self, index: int) -> Camera:
        """Return the camera at a tick."""
        return self._renderer.camera(index)
