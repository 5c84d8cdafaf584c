"""A shot, captured tick by tick."""

from __future__ import annotations

from typing import Any

from bridge.errors import OutOfOrder
from bridge.geometry.fit import Fit
from bridge.tick import Tick, TrackSet

from ..sampling import Sampling
from .camera import between_bars, check_scene, convention_of, look
from .surfaces import MeshCache, surfaces_of
from .tracks import FollowedGrid
from .view import View, look_at_surfaces

__all__ = ["ShotCapture"]


class ShotCapture:
    """Plays a scene's shot as ticks. It moves the scene's frame: hold a `SceneGuard` around it.

    Args:
        scene: to capture.
        view_layer: of the scene, whose objects count.
        sampling: which moment a tick shows.
        size: (width, height) of depth, pixels: the model's own.
        fit: how the render's aspect becomes that of `size`. With `Fit.PAD`, ticks have the size of the picture between
            the bars; the server adds these.

    Raises:
        InvalidValue: the scene cannot be captured; the message says why and what to do.
    """

    def __init__(
        self, scene: Any, view_layer: Any, *, sampling: Sampling, size: tuple[int, int], fit: Fit | None
    ) -> None:
        check_scene(scene, frame_start=sampling.frame_start, frame_end=sampling.frame_end)
        self.sampling = sampling
        self._scene, self._view_layer = scene, view_layer
        self._size, self._fit = (between_bars(scene, size), Fit.STRETCH) if fit is Fit.PAD else (size, fit)
        self._meshes = MeshCache()
        self._grid: FollowedGrid | None = None
        self._grid_index = -1

    def view(self, index: int) -> View:
        """Move the scene to a tick and look at it."""
        frame, subframe = self.sampling.frame(index)
        self._scene.frame_set(frame, subframe=subframe)
        depsgraph = self._view_layer.depsgraph
        captured = look(self._scene, depsgraph, size=self._size, fit=self._fit)
        unit = convention_of(self._scene).metres_per_unit
        return look_at_surfaces(surfaces_of(depsgraph, self._meshes), captured, metres_per_unit=unit)

    def tick(self, index: int, *, starts_clip: bool) -> Tick:
        """Return one tick. Ask in order: a clip's points are followed from its first tick on.

        Args:
            index: of the tick.
            starts_clip: a clip begins here (`session.starts_clip`); the one that ends here is followed to the last.

        Raises:
            OutOfOrder: the tick belongs to a clip that was not begun.
            InvalidValue: the camera cannot be captured at this moment.
        """
        follows = self._grid is not None and self._grid_index == index - 1
        if not starts_clip and not follows:
            raise OutOfOrder(
                f"tick {index} belongs to a clip that was not begun",
                field="index",
                value=index,
                remedy="Capture a clip from its first tick on.",
            )
        view = self.view(index)
        tracks = self._grid.at(view) if follows and self._grid is not None else None
        seeds: TrackSet | None = None
        if starts_clip:
            self._grid = FollowedGrid.seeded(view, convention_of(self._scene))
            seeds = self._grid.start(view)
        self._grid_index = index
        return Tick(
            index=index,
            camera=view.camera,
            depth=view.depth,
            time_ns=self.sampling.time_ns(index),
            tracks=tracks,
            seeds=seeds,
        )
