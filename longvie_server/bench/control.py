"""The control encoders, beside a plain loop of OpenCV rectangles over the same frames and points on the same thread.

Both sides paint frame after frame on one canvas that they use again, with the drawing order found inside the clock. The
points' colours and sizes are given to the loop, while ours begins with bare positions; the loop's numbers are Python's
own, not numpy's slower scalars. Sides are measured in turn and the best of the repeats counts, so that another
program's load hits both or neither.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.tick import CLIP_TICKS, TRACK_COUNT, TRACK_GRID

from ..control.canvas import CANVAS_HEIGHT, CANVAS_WIDTH, canvas_from_uv
from ..control.clip_geometry import ClipGeometry
from ..control.dense import encode_dense, measure_depth_range
from ..control.encode import encode_controls, track_z
from ..control.point_colours import point_colours
from ..control.point_spacing import nearest_distances
from ..control.resize import resize_bicubic
from ..control.sparse import SparsePainter

__all__ = ["PAINTING_SPEEDUP_WANTED", "WHOLE_CLIP_SHARE_WANTED", "ControlBench", "bench_control", "bench_geometry"]

PAINTING_SPEEDUP_WANTED: Final = 4.0
"""The plain loop's time over ours is at least this."""
WHOLE_CLIP_SHARE_WANTED: Final = 2.0
"""The time of a whole clip over the plain loop's is at most this."""

_Clock: TypeAlias = Callable[[], float]


@dataclass(frozen=True, slots=True)
class ControlBench:
    """What was measured for one clip, seconds of wall time on one thread.

    Args:
        height, width: of the control videos.
        plain_loop_s: painting all rectangles by one call of OpenCV each.
        painting_s: our painting of the same pixels.
        whole_clip_s: `encode_controls`: dense, sparse, resize.
        dense_s, resize_s: two of its stages by themselves.
        measure_range_s: measuring the depth range, once per session and not part of a clip.
        same_pixels: the two paintings agree in every pixel.
    """

    height: int
    width: int
    plain_loop_s: float
    painting_s: float
    whole_clip_s: float
    dense_s: float
    resize_s: float
    measure_range_s: float
    same_pixels: bool
    frames: int = CLIP_TICKS
    points: int = TRACK_COUNT

    @property
    def painting_speedup(self) -> float:
        """The plain loop's time over ours."""
        return self.plain_loop_s / self.painting_s

    @property
    def whole_clip_share(self) -> float:
        """The whole clip's time over the plain loop's."""
        return self.whole_clip_s / self.plain_loop_s

    @property
    def passed(self) -> bool:
        """Same pixels, and both figures are as wanted."""
        return (
            self.same_pixels
            and self.painting_speedup >= PAINTING_SPEEDUP_WANTED
            and self.whole_clip_share <= WHOLE_CLIP_SHARE_WANTED
        )

    def as_json(self) -> dict[str, float | int | bool]:
        """Return all figures by name, ready to be written as JSON."""
        figures: dict[str, float | int | bool] = asdict(self)
        return figures | {
            "painting_speedup": self.painting_speedup,
            "whole_clip_share": self.whole_clip_share,
            "passed": self.passed,
        }

    def table_rows(self) -> list[tuple[str, str, str]]:
        """Return (what, measured, wanted) as text, for a table."""
        speedup, share = f"{self.painting_speedup:.1f} x as fast", f"{self.whole_clip_share:.2f} of the plain loop"
        return [
            (f"plain loop, {self.frames} x {self.points:,} rectangles", _milliseconds(self.plain_loop_s), ""),
            ("painting", _milliseconds(self.painting_s), ""),
            ("painting beside the plain loop", speedup, f"at least {PAINTING_SPEEDUP_WANTED:g}"),
            ("same pixels", "yes" if self.same_pixels else "no", "yes"),
            ("dense", _milliseconds(self.dense_s), ""),
            (f"resize to {self.width} x {self.height}", _milliseconds(self.resize_s), ""),
            ("whole clip: dense, sparse, resize", _milliseconds(self.whole_clip_s), ""),
            ("whole clip beside the plain loop", share, f"at most {WHOLE_CLIP_SHARE_WANTED:g}"),
            ("measuring the depth range, once", _milliseconds(self.measure_range_s), ""),
        ]


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.0f} ms"


def bench_control(
    *, height: int = 352, width: int = 640, repeats: int = 3, clock: _Clock = time.perf_counter
) -> ControlBench:
    """Measure the control encoders on one made-up clip.

    Args:
        height, width: of the control videos, pixels.
        repeats: of every measurement; the best counts.
        clock: seconds, monotonic.
    """
    geometry = bench_geometry(height=height, width=width)
    depth_range = measure_depth_range(geometry.depth_m)
    xy_px = canvas_from_uv(geometry.track_uv)
    z = track_z(geometry, depth_range, encode_dense(geometry.depth_m, depth_range))
    loop = _PlainLoop(xy_px, z)
    same_pixels = all(
        np.array_equal(plain, ours)
        for plain, ours in zip(loop, SparsePainter(xy_px, z, geometry.track_drawn), strict=True)
    )
    canvas = next(iter(loop))
    measured: dict[str, Callable[[], object]] = {
        "plain_loop": lambda: _drain(loop),
        "painting": lambda: _drain(SparsePainter(xy_px, z, geometry.track_drawn)),
        "whole_clip": lambda: encode_controls(geometry, depth_range, height=height, width=width),
        "dense": lambda: encode_dense(geometry.depth_m, depth_range),
        "resize": lambda: [resize_bicubic(canvas, height=height, width=width) for _ in range(CLIP_TICKS)],
        "measure_range": lambda: measure_depth_range(geometry.depth_m),
    }
    with _one_thread():
        rounds = [{name: _seconds(call, clock) for name, call in measured.items()} for _ in range(repeats)]
    best_s = {name: min(seconds[name] for seconds in rounds) for name in measured}
    return ControlBench(
        height=height,
        width=width,
        plain_loop_s=best_s["plain_loop"],
        painting_s=best_s["painting"],
        whole_clip_s=best_s["whole_clip"],
        dense_s=best_s["dense"],
        resize_s=best_s["resize"],
        measure_range_s=best_s["measure_range"],
        same_pixels=same_pixels,
    )


def bench_geometry(*, height: int, width: int) -> ClipGeometry:
    """Return a clip with the full grid of points over hills under a sky, which drift by as the camera travels.

    Nearer points drift faster, so that rectangles overlap and the drawing order counts. Few leave the picture, as ours
    skips what is outside.
    """
    seconds = np.arange(CLIP_TICKS, dtype=np.float32)[:, None, None] / 16.0
    depth_m = _hills(*np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height)), seconds)
    # The seeds of the training data's tracker, which worked at 576 x 384.
    u, v = np.meshgrid(np.linspace(9, 567, TRACK_GRID) / 576, np.linspace(9, 375, TRACK_GRID) / 384)
    track_depth_m = np.repeat(_hills(u, v, seconds[:1]).reshape(1, -1), CLIP_TICKS, axis=0)
    drift = seconds[:, 0] / track_depth_m
    track_uv = np.stack([u.reshape(1, -1) - 0.08 * drift, v.reshape(1, -1) + 0.02 * drift], axis=2)
    return ClipGeometry(
        depth_m=depth_m,
        track_uv=track_uv.astype(np.float32),
        track_depth_m=track_depth_m,
        track_drawn=np.ones(track_depth_m.shape, dtype=np.bool_),
    )


def _hills(u: NDArray[np.float64], v: NDArray[np.float64], seconds: NDArray[np.float32]) -> NDArray[np.float32]:
    relief = 1.0 + 0.3 * np.sin(9.0 * u + seconds) * np.cos(5.0 * v)
    return np.where(v < 0.01, np.inf, 2.0 / (0.05 + v) * relief).astype(np.float32)


class _PlainLoop:
    """One call of OpenCV per rectangle: what ours is measured beside."""

    def __init__(self, xy_px: NDArray[np.float32], z: NDArray[np.float32]) -> None:
        self._xy_px, self._z = xy_px, z
        self._colours = point_colours(xy_px[0], z[0])
        self._sizes = nearest_distances(np.column_stack([xy_px[0], z[0]])).astype(np.int64)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        canvas = np.zeros((CANVAS_HEIGHT, CANVAS_WIDTH, 3), dtype=np.uint8)
        sizes = self._sizes
        colours = self._colours.tolist()
        for xy_px, z in zip(self._xy_px, self._z, strict=True):
            canvas.fill(0)
            order = np.argsort(-z, kind="stable")
            for point, (x, y), size in zip(order.tolist(), xy_px[order].tolist(), sizes[order].tolist(), strict=True):
                half_width = size / 2
                half_height = half_width / 1.5
                top_left = int(x - half_width), int(y - half_height)
                bottom_right = int(x + half_width), int(y + half_height)
                cv2.rectangle(canvas, top_left, bottom_right, colours[point], cv2.FILLED)
            sizes = np.full_like(sizes, sizes[order[-1]])
            yield canvas


def _drain(frames: Iterable[object]) -> None:
    for _ in frames:
        pass


def _seconds(call: Callable[[], object], clock: _Clock) -> float:
    begin = clock()
    call()
    return clock() - begin


@contextmanager
def _one_thread() -> Iterator[None]:
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
