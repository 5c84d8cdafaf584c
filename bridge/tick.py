"""What an engine says at one moment, and what comes back: ticks, track sets, frames, receipts, world states.

These are the values that users touch. Their wire form is in `bridge.messages`; the two meet in `bridge.protocol`.
Laws: arrays are never copied on construction; a value is checked when it is made, so code that receives one trusts it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .errors import InvalidValue, ShapeMismatch
from .geometry.camera import Camera
from .geometry.depth import PLANAR_METRES, DepthDeclaration, check_depth

__all__ = [
    "CLIP_STRIDE",
    "CLIP_TICKS",
    "FPS",
    "HISTORY_FRAMES",
    "TRACK_COUNT",
    "TRACK_GRID",
    "DepthRange",
    "Frame",
    "Instances",
    "Receipt",
    "Tick",
    "TrackMode",
    "TrackSet",
    "Visibility",
    "WorldState",
]

CLIP_TICKS: Final = 81
"""Ticks, and frames, of one clip."""
CLIP_STRIDE: Final = 80
"""A clip starts this many ticks after the one before: neighbours share one tick."""
FPS: Final = 16
"""A tick is a moment of the shot, 1/16 s after the one before."""
HISTORY_FRAMES: Final = 8
"""Frames of the clip before that the next one sees."""
TRACK_GRID: Final = 50
"""Followed points per row and per column."""
TRACK_COUNT: Final = TRACK_GRID * TRACK_GRID


class Visibility(enum.IntEnum):
    """What became of a followed point."""

    VISIBLE = 0
    OCCLUDED = 1
    LOST = 2


class TrackMode(str, enum.Enum):
    """Who follows the points of a session."""

    ENGINE = "engine"
    """The engine: it sends every point's position at every tick."""
    INSTANCES = "instances"
    """The server, from the instance under each seed and every instance's transform at every tick."""
    SERVER = "server"
    """The server, from the seed tick's depth; the points are held still in the world."""


@dataclass(frozen=True, slots=True, eq=False)
class TrackSet:
    """The followed grid of one clip at one tick: 2,500 points in row-major grid order.

    Args:
        points: p_in_world, homogeneous, (2500, 4) float32, metres; w = 1 for a surface, w = 0 for a sky direction.
        visibility: (2500,) uint8 of `Visibility`.

    Raises:
        ShapeMismatch: another shape or dtype.
        InvalidValue: a point that is not lost is not finite, w is neither 0 nor 1, or an unknown visibility.
    """

    points: NDArray[np.float32]
    visibility: NDArray[np.uint8]

    def __post_init__(self) -> None:
        _check_array("tracks.points", self.points, (TRACK_COUNT, 4), np.float32)
        _check_array("tracks.visibility", self.visibility, (TRACK_COUNT,), np.uint8)
        if int(self.visibility.max()) > Visibility.LOST:
            raise InvalidValue(
                "must be 0 (visible), 1 (occluded) or 2 (lost)",
                field="tracks.visibility",
                value=int(self.visibility.max()),
                remedy="Use bridge.Visibility.",
            )
        # One pass in the common case: a sum that is finite has finite terms only (an overflow looks closer in vain).
        with np.errstate(over="ignore", invalid="ignore"):
            total = self.points.sum()
        if not np.isfinite(total):
            bad = ~np.isfinite(self.points).all(axis=1) & (self.visibility != Visibility.LOST)
            if bad.any():
                raise InvalidValue(
                    f"point {int(bad.argmax())} is not finite",
                    field="tracks.points",
                    value=self.points[int(bad.argmax())].tolist(),
                    remedy="Mark points that are gone as lost.",
                )
        w = self.points[:, 3]
        if not (w == 1).all() and not ((w == 0) | (w == 1) | (self.visibility == Visibility.LOST)).all():
            raise InvalidValue(
                "w must be 1 (a surface point) or 0 (a sky direction)",
                field="tracks.points",
                value=float(w[(w != 0) & (w != 1)][0]),
                remedy="Divide x, y, z by w.",
            )


@dataclass(frozen=True, slots=True, eq=False)
class Instances:
    """Where every rigid instance stands at one tick.

    Args:
        ids: (n,) uint32, unique. 0 is the static world and need not be listed.
        world_from_instance: (n, 4, 4) float64, metres; scale allowed.
    """

    ids: NDArray[np.uint32]
    world_from_instance: NDArray[np.float64]

    def __post_init__(self) -> None:
        count = self.ids.shape[0] if self.ids.ndim == 1 else -1
        _check_array("instances.ids", self.ids, (count,), np.uint32)
        _check_array("instances.world_from_instance", self.world_from_instance, (count, 4, 4), np.float64)
        if np.unique(self.ids).size != count:
            raise InvalidValue("must be unique", field="instances.ids", remedy="Send every instance once per tick.")
        if not np.isfinite(self.world_from_instance).all():
            raise InvalidValue("must be finite", field="instances.world_from_instance", remedy="Check for NaN.")


@dataclass(frozen=True, slots=True, eq=False)
class Tick:
    """One engine update: what the camera saw and where the followed points went.

    Args:
        index: tick number; consecutive from the session's first.
        camera: the lens of `depth` and its pose.
        depth: (height, width) float32 of `camera.intrinsics`; metres of planar z unless `depth_declaration` says
            otherwise; inf where nothing was hit.
        time_ns: the engine's time, integer nanoseconds; returned with the frame.
        tracks: the running clip's points at this tick. With `TrackMode.ENGINE`, every tick but a clip's first has them.
        seeds: the points of the clip that begins at this tick. With `TrackMode.ENGINE`, on every clip's first tick; the
            tick that two clips share has both.
        instances: with `TrackMode.INSTANCES`, every instance's transform.
        seed_instances: with `TrackMode.INSTANCES`, on every clip's first tick: (2500,) uint32, what is under each seed.
        depth_declaration: what `depth` means.

    Raises:
        ShapeMismatch: depth is not (height, width) float32, or another array has the wrong shape.
        InvalidValue: the index is negative, or depth holds NaN or negative values.
    """

    index: int
    camera: Camera
    depth: NDArray[np.float32]
    time_ns: int = 0
    tracks: TrackSet | None = None
    seeds: TrackSet | None = None
    instances: Instances | None = None
    seed_instances: NDArray[np.uint32] | None = None
    depth_declaration: DepthDeclaration = PLANAR_METRES

    def __post_init__(self) -> None:
        if self.index < 0:
            raise InvalidValue("must not be negative", field="tick.index", value=self.index, remedy="Count from 0.")
        lens = self.camera.intrinsics
        _check_array("tick.depth", self.depth, (lens.height, lens.width), np.float32)
        check_depth(self.depth, self.depth_declaration)
        if self.seed_instances is not None:
            _check_array("tick.seed_instances", self.seed_instances, (TRACK_COUNT,), np.uint32)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One generated image: (height, width, 3) uint8 RGB, the tick it shows, and that tick's time."""

    index: int
    image: NDArray[np.uint8]
    time_ns: int = 0
    clip: int = 0


@dataclass(frozen=True, slots=True)
class Receipt:
    """The server has accepted the tick of this index and will not ask for it again."""

    index: int


@dataclass(frozen=True, slots=True)
class DepthRange:
    """How depth becomes grey: linear in disparity (1 / z) between `near_m` (black) and `far_m` (white, may be inf).

    A range of zero (near = far) is legal and gives mid-grey: a wall that fills the view.
    """

    near_m: float
    far_m: float

    def __post_init__(self) -> None:
        if not (self.near_m > 0 and self.far_m >= self.near_m):
            raise InvalidValue(
                "needs 0 < near_m <= far_m",
                field="depth_range",
                value=f"near_m={self.near_m}, far_m={self.far_m}",
                remedy="Give metres; far_m may be inf.",
            )


@dataclass(frozen=True, slots=True, eq=False)
class WorldState:
    """All that the next clip needs: a small value from which any worker, on any server, can go on.

    Args:
        model: the model that made it.
        clip: number of the next clip.
        next_tick: index of its first tick.
        shares_tick: that tick's frame was already delivered as the last of the clip before.
        seed: of the one noise that every clip starts from.
        prompt: of the next clip.
        negative_prompt: None for the model's own.
        depth_range: None until the first clip has measured it.
        frames: (n, height, width, 3) uint8 RGB, lossless. The last one is the next clip's image condition. n is 1
            where there is no history (start, cut), else `HISTORY_FRAMES`.
        anchor: (height, width, 4) uint8, RGB and dense-control grey of the frame that the session, or what follows its
            last cut, began with: what a small model goes back to for its colours. None before the first clip of either.

    Raises:
        ShapeMismatch: frames or anchor have another shape or dtype.
        InvalidValue: the seed is out of range.
    """

    model: str
    clip: int
    next_tick: int
    shares_tick: bool
    seed: int
    prompt: str
    frames: NDArray[np.uint8] = field(repr=False)
    negative_prompt: str | None = None
    depth_range: DepthRange | None = None
    anchor: NDArray[np.uint8] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.frames.ndim != 4 or self.frames.shape[3] != 3 or self.frames.dtype != np.uint8:
            raise ShapeMismatch(
                "must be (n, height, width, 3) uint8",
                field="state.frames",
                value=f"{self.frames.shape} {self.frames.dtype}",
                remedy="Pass on the state exactly as the server gave it.",
            )
        if self.frames.shape[0] not in (1, HISTORY_FRAMES):
            raise ShapeMismatch(
                f"must hold 1 or {HISTORY_FRAMES} frames",
                field="state.frames",
                value=self.frames.shape[0],
                remedy="Pass on the state exactly as the server gave it.",
            )
        size = self.frames.shape[1:3]
        if self.anchor is not None and (self.anchor.shape != (*size, 4) or self.anchor.dtype != np.uint8):
            raise ShapeMismatch(
                f"must be {(*size, 4)} uint8, of the size of its frames",
                field="state.anchor",
                value=f"{self.anchor.shape} {self.anchor.dtype}",
                remedy="Pass on the state exactly as the server gave it.",
            )
        if not 0 <= self.seed < 2**63:
            raise InvalidValue(
                "must be in 0 .. 2**63 - 1", field="seed", value=self.seed, remedy="Choose another seed."
            )

    @property
    def image(self) -> NDArray[np.uint8]:
        """The next clip's first frame, (height, width, 3) uint8."""
        image: NDArray[np.uint8] = self.frames[-1]
        return image

    @property
    def history(self) -> NDArray[np.uint8] | None:
        """The frames before it, the image included, (8, height, width, 3) uint8; None at a start or a cut."""
        return self.frames if self.frames.shape[0] == HISTORY_FRAMES else None

    def after_clip(self, frames: NDArray[np.uint8], dense: NDArray[np.uint8]) -> WorldState:
        """Return the state after a clip, with its last tick shared.

        Args:
            frames: (81, height, width, 3) uint8, the clip; its last `HISTORY_FRAMES` are enough.
            dense: (height, width) uint8, the grey of the clip's first tick in the dense control video. It goes into the
                anchor where there is none yet; else the anchor stays.
        """
        anchor = self.anchor
        if anchor is None:
            anchor = np.concatenate((self.image, dense[..., None]), axis=2)
        return replace(
            self,
            clip=self.clip + 1,
            next_tick=self.next_tick + CLIP_STRIDE,
            shares_tick=True,
            frames=np.ascontiguousarray(frames[-HISTORY_FRAMES:]),
            anchor=anchor,
        )

    def after_cut(self, *, at_tick: int, first_frame: NDArray[np.uint8]) -> WorldState:
        """Return the state at a cut: no history, no shared tick, no anchor; the clip number goes on."""
        return replace(self, next_tick=at_tick, shares_tick=False, frames=first_frame[None], anchor=None)


def _check_array(name: str, array: NDArray[np.generic], shape: tuple[int, ...], dtype: type[np.generic]) -> None:
    if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != dtype:
        got = f"{array.shape} {array.dtype}" if isinstance(array, np.ndarray) else type(array).__name__
        raise ShapeMismatch(
            f"must be {shape} {np.dtype(dtype)}", field=name, value=got, remedy="Convert it before you make the tick."
        )
