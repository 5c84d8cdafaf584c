"""A clip's control pixels: painted when the clip begins, or ahead of it, while the clip before is being made.

In: `PaintJob`. Out: the control videos, and what is told of them.
Laws: both ways give the same pixels; one clip is painted ahead and no more; what was painted ahead is taken by the clip
that it was painted for, or by none.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Final, TypeAlias

from ..control.dense import measure_depth_range, saturated_fraction
from ..control.encode import encode_controls
from ..world_model.interface import ControlClip
from .events import Painted
from .job import PaintJob
from .messages import PaintAhead
from .planes import SharedPlanes

__all__ = ["AheadPainter", "Painting", "paint"]

SATURATION_WARNING: Final = 0.2
"""Where more of the depth than this is plain black or white, the range that would fit is measured as well."""

Painting: TypeAlias = tuple[Painted, ControlClip]

_log = logging.getLogger(__name__)


def paint(job: PaintJob, *, height: int, width: int) -> Painting:
    """Return what is told of a clip's control pixels, and these.

    Args:
        job: whose geometry is at this size.
        height, width: of the model's frames, pixels.

    Raises:
        ShapeMismatch: the job is of another size.
    """
    real_m = job.geometry.depth_m[: job.measure_ticks]
    depth_range = job.depth_range or measure_depth_range(real_m)
    controls = encode_controls(job.geometry, depth_range, height=height, width=width)
    saturated = saturated_fraction(real_m, depth_range)
    fitting = measure_depth_range(real_m) if saturated > SATURATION_WARNING else None
    return Painted(job.job_id, depth_range, saturated, fitting), controls


@dataclass(slots=True)
class _Ahead:
    order: PaintAhead
    thread: threading.Thread
    painting: Painting | None = None


class AheadPainter:
    """Paints the clip after the running one, on a thread of its own, from the block of planes."""

    def __init__(self) -> None:
        self._planes: SharedPlanes | None = None
        self._size = (0, 0)
        self._ahead: _Ahead | None = None
        self._thread: threading.Thread | None = None

    def use(self, planes: SharedPlanes, *, height: int, width: int) -> None:
        """Paint from this block, for a model of this size."""
        self._planes, self._size = planes, (height, width)

    def begin(self, order: PaintAhead) -> None:
        """Begin to paint what lies in the block; what was painted before and not taken is dropped."""
        planes, before = self._planes, self._thread
        if planes is None:
            return
        job = PaintJob(order.job_id, planes.geometry, order.measure_ticks, order.depth_range)

        def run() -> None:
            if before is not None:
                before.join()
            try:
                ahead.painting = paint(job, height=self._size[0], width=self._size[1])
            except Exception:
                # Whatever it is: the clip paints for itself then, and that is where a lasting fault is told.
                _log.exception("a clip could not be painted ahead")

        self._thread = threading.Thread(target=run, name="paint-ahead", daemon=True)
        ahead = self._ahead = _Ahead(order, self._thread)
        self._thread.start()

    def take(self, job: PaintJob) -> Painting | None:
        """Return a clip's painting, once it is complete; None where it was not painted ahead, or otherwise."""
        ahead, self._ahead = self._ahead, None
        if ahead is None or ahead.order != PaintAhead(job.job_id, job.measure_ticks, job.depth_range):
            return None
        ahead.thread.join()
        return ahead.painting

    def close(self) -> None:
        """Let go of the block; return when nothing is painted from it any more."""
        self._planes = self._ahead = None
        if self._thread is not None:
            self._thread.join()
            self._thread = None
