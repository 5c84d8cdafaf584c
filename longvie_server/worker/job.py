"""One clip to be made: all that the worker needs of it, and the part of it that is known earlier."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridge.errors import InvalidValue, ShapeMismatch
from bridge.tick import CLIP_TICKS, TRACK_COUNT, DepthRange, WorldState

from ..control.clip_geometry import ClipGeometry

__all__ = ["ClipJob", "PaintJob"]


@dataclass(frozen=True, slots=True, eq=False)
class PaintJob:
    """All that a clip's control videos depend on; known while the clip before is still being made.

    Args:
        job_id: of the clip's job.
        geometry, measure_ticks: as in `ClipJob`.
        depth_range: as in the clip's state.
    """

    job_id: int
    geometry: ClipGeometry
    measure_ticks: int
    depth_range: DepthRange | None

    def check_size(self, height: int, width: int) -> None:
        """Check that every array is of a model's frame size, so that none is broadcast into another shape.

        Raises:
            ShapeMismatch: one is not.
        """
        geometry = self.geometry
        _check("geometry.depth_m", geometry.depth_m, (CLIP_TICKS, height, width), np.float32)
        _check("geometry.track_uv", geometry.track_uv, (CLIP_TICKS, TRACK_COUNT, 2), np.float32)
        _check("geometry.track_depth_m", geometry.track_depth_m, (CLIP_TICKS, TRACK_COUNT), np.float32)
        _check("geometry.track_drawn", geometry.track_drawn, (CLIP_TICKS, TRACK_COUNT), np.bool_)


@dataclass(frozen=True, slots=True, eq=False)
class ClipJob:
    """A clip to be made. The caller keeps the arrays unchanged until the job has ended.

    Args:
        job_id: chosen by the caller; a job that is submitted again, after its worker died, keeps it.
        state: what the clip goes on from.
        geometry: 81 ticks, at the model's size.
        measure_ticks: 1 .. 81, how many of them are real and not held to fill the clip; where the state has no depth
            range yet, it is measured over these.

    Raises:
        InvalidValue: `measure_ticks` is out of range.
    """

    job_id: int
    state: WorldState
    geometry: ClipGeometry
    measure_ticks: int = CLIP_TICKS

    def __post_init__(self) -> None:
        if not 1 <= self.measure_ticks <= CLIP_TICKS:
            raise InvalidValue(
                f"must be in 1 .. {CLIP_TICKS}",
                field="measure_ticks",
                value=self.measure_ticks,
                remedy="Count the clip's real ticks.",
            )

    @property
    def painting(self) -> PaintJob:
        """Its part that the control videos depend on."""
        return PaintJob(self.job_id, self.geometry, self.measure_ticks, self.state.depth_range)

    def check_size(self, height: int, width: int) -> None:
        """Check that every array is of a model's frame size, as `PaintJob.check_size` does.

        Raises:
            ShapeMismatch: one is not.
        """
        self.painting.check_size(height, width)
        frames = self.state.frames
        _check("state.frames", frames, (len(frames), height, width, 3), np.uint8)


def _check(field: str, array: NDArray[np.generic], shape: tuple[int, ...], dtype: type[np.generic]) -> None:
    if array.shape != shape or array.dtype != dtype:
        raise ShapeMismatch(
            f"must be {shape} {np.dtype(dtype)}",
            field=field,
            value=f"{array.shape} {array.dtype}",
            remedy="Make the job in the size of the worker's model.",
        )
