"""The world model's contract: `start` makes a state, `step` turns (state, controls) into frames and the next state.

Weights are shared; nothing per client lives on a model. Everything that a clip depends on is in its `WorldState` and
its `ControlClip`, so the same two values give the same bytes on any worker with the same numerics.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bridge.errors import InvalidValue, ShapeMismatch
from bridge.tick import CLIP_TICKS, FPS, DepthRange, WorldState

__all__ = ["ControlClip", "ModelSpec", "StepEvent", "StepFrames", "StepProgress", "WorldModel", "new_state"]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What a client has to know of a model.

    Args:
        name: as `longvie serve --model` and `open(model=...)` spell it.
        height, width: of its frames, pixels.
        steps: denoising steps per clip (for progress and ETA).
        numerics: device, dtype, threads, attention, versions: what "the same bytes again" is promised for.
    """

    name: str
    height: int
    width: int
    steps: int
    numerics: Mapping[str, str]
    fps: int = FPS


@dataclass(frozen=True, slots=True, eq=False)
class ControlClip:
    """The two control videos of one clip, and the points that the second shows.

    Args:
        dense: (frames=81, height, width) uint8, near is black; the model sees it as three equal channels.
        sparse: (frames=81, height, width, 3) uint8, coloured rectangles on black.
        points: (frames=81, points, 2) float32, where the followed points are seen, normalised image coordinates, NaN
            where one is not. None where only videos are known. LongVie's own weights do not ask for them.
    """

    dense: NDArray[np.uint8]
    sparse: NDArray[np.uint8]
    points: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.dense.ndim != 3 or self.dense.dtype != np.uint8 or self.dense.shape[0] != CLIP_TICKS:
            raise ShapeMismatch(
                f"must be ({CLIP_TICKS}, height, width) uint8",
                field="controls.dense",
                value=f"{self.dense.shape} {self.dense.dtype}",
                remedy="Encode a whole clip of ticks.",
            )
        if self.sparse.shape != (*self.dense.shape, 3) or self.sparse.dtype != np.uint8:
            raise ShapeMismatch(
                f"must be {(*self.dense.shape, 3)} uint8",
                field="controls.sparse",
                value=f"{self.sparse.shape} {self.sparse.dtype}",
                remedy="Encode it for the size of the dense video.",
            )
        points = self.points
        if points is not None and (points.shape != (CLIP_TICKS, points.size // CLIP_TICKS // 2, 2)):
            raise ShapeMismatch(
                f"must be ({CLIP_TICKS}, points, 2)",
                field="controls.points",
                value=points.shape,
                remedy="Encode a whole clip of ticks.",
            )


@dataclass(frozen=True, slots=True)
class StepProgress:
    """A stage has begun or gone on.

    Args:
        stage: "encode", "denoise" or "decode".
        step, steps: work units of the stage that are done, and their number.
    """

    stage: str
    step: int
    steps: int


@dataclass(frozen=True, slots=True, eq=False)
class StepFrames:
    """Frames that are ready while later ones are still decoded: (n, height, width, 3) uint8, in order."""

    frames: NDArray[np.uint8]


StepEvent: TypeAlias = StepProgress | StepFrames


class WorldModel(Protocol):
    """A world model: LongVie 2 at any size, or the fake one.

    `step` yields events: progress, and all 81 frames in order in one or more `StepFrames`; it returns the next state
    (`state.after_clip(frames, controls.dense[0])`). Abandoning the generator cancels the clip.
    """

    @property
    def spec(self) -> ModelSpec:
        """What a client has to know of this model."""
        ...

    def step(self, state: WorldState, controls: ControlClip) -> Generator[StepEvent, None, WorldState]:
        """Generate one clip.

        Raises:
            ShapeMismatch: the state's frames or the controls are not of the model's size.
        """
        ...


def new_state(
    spec: ModelSpec,
    *,
    first_frame: NDArray[np.uint8],
    prompt: str,
    seed: int,
    first_tick: int = 0,
    negative_prompt: str | None = None,
    depth_range: DepthRange | None = None,
) -> WorldState:
    """Return the state before a session's first clip (the contract's `start`: it needs no weights).

    Args:
        spec: of the model that will step it.
        first_frame: (spec.height, spec.width, 3) uint8 RGB.
        prompt: what the video shows.
        seed: of the unified noise.
        first_tick: index of the session's first tick.
        negative_prompt: None for the model's own.
        depth_range: None where the first clip will measure it.

    Raises:
        ShapeMismatch: the first frame is not of the model's size.
        InvalidValue: the prompt is empty.
    """
    if first_frame.shape != (spec.height, spec.width, 3) or first_frame.dtype != np.uint8:
        raise ShapeMismatch(
            f"must be {(spec.height, spec.width, 3)} uint8 for model {spec.name!r}",
            field="first_frame",
            value=f"{first_frame.shape} {first_frame.dtype}",
            remedy="Resize it to the size in the server's answer, or open the session with a fit.",
        )
    if not prompt.strip():
        raise InvalidValue("must not be empty", field="prompt", remedy="Describe what the video shows.")
    return WorldState(
        model=spec.name,
        clip=0,
        next_tick=first_tick,
        shares_tick=False,
        seed=seed,
        prompt=prompt,
        negative_prompt=negative_prompt,
        depth_range=depth_range,
        frames=np.ascontiguousarray(first_frame)[None],
    )
