"""The fake world model: it paints what it was told, so that alignment is visible.

A pixel of frame i is (dense control, brightest channel of the sparse control, a byte of the prompt) of frame i: exact,
deterministic, instant. Nothing is drawn over it, so a test can compare every pixel with the tick that it should show.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Generator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bridge.errors import InvalidValue, ShapeMismatch
from bridge.tick import CLIP_TICKS, WorldState

from .interface import ControlClip, ModelSpec, StepEvent, StepFrames, StepProgress

__all__ = ["FakeWorldModel", "paint"]

_HEIGHT: Final = 352
_WIDTH: Final = 640
_LARGEST_SIDE: Final = 4096


class FakeWorldModel:
    """A world model without weights, for tests and for plugin authors.

    Args:
        height, width: of its frames, pixels; 1 .. 4096.
        steps: denoising steps that it reports, at least 1.
        delay_s: seconds that a clip takes, spread evenly over the steps; 0 for none.
        sleep: how it waits.

    Raises:
        InvalidValue: a number is out of its range.
    """

    def __init__(
        self,
        height: int = _HEIGHT,
        width: int = _WIDTH,
        steps: int = 4,
        delay_s: float = 0.0,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        for field, side in (("height", height), ("width", width)):
            if not 1 <= side <= _LARGEST_SIDE:
                raise InvalidValue(
                    f"must be in 1 .. {_LARGEST_SIDE}", field=field, value=side, remedy="Choose another frame size."
                )
        if steps < 1:
            raise InvalidValue("must be at least 1", field="steps", value=steps, remedy="Choose 4, for example.")
        if not 0 <= delay_s < float("inf"):
            raise InvalidValue("must be 0 or more, finite", field="delay_s", value=delay_s, remedy="Give seconds.")
        self._delay_s = delay_s
        self._sleep = sleep
        size = (height, width)
        self._spec = ModelSpec(
            name="fake" if size == (_HEIGHT, _WIDTH) else f"fake:{height}x{width}",
            height=height,
            width=width,
            steps=steps,
            numerics={"device": "cpu", "dtype": "uint8"},
        )

    @property
    def spec(self) -> ModelSpec:
        """Its name, size and steps; the numerics are the same everywhere, since it only copies integers."""
        return self._spec

    def step(self, state: WorldState, controls: ControlClip) -> Generator[StepEvent, None, WorldState]:
        """Paint one clip: the first frame alone, then four at a time, as a causal video decoder gives them.

        Raises:
            ShapeMismatch: the state's frames or the controls are not of the model's size.
        """
        self._check("state.frames", state.frames.shape[1:3])
        self._check("controls.dense", controls.dense.shape[1:3])
        yield StepProgress("encode", 0, 1)
        yield StepProgress("encode", 1, 1)
        steps = self._spec.steps
        yield StepProgress("denoise", 0, steps)
        for done in range(1, steps + 1):
            if self._delay_s:
                self._sleep(self._delay_s / steps)
            yield StepProgress("denoise", done, steps)
        frames = paint(controls, state.prompt)
        yield StepProgress("decode", 0, CLIP_TICKS)
        done = 0
        while done < CLIP_TICKS:
            count = 4 if done else 1
            yield StepFrames(frames[done : done + count])
            done += count
            yield StepProgress("decode", done, CLIP_TICKS)
        return state.after_clip(frames, controls.dense[0])

    def _check(self, field: str, size: tuple[int, ...]) -> None:
        if size != (self._spec.height, self._spec.width):
            raise ShapeMismatch(
                f"must be {self._spec.height} x {self._spec.width} (height x width) for model {self._spec.name!r}",
                field=field,
                value=f"{size[0]} x {size[1]}",
                remedy="Make it in the model's own size.",
            )


def paint(controls: ControlClip, prompt: str) -> NDArray[np.uint8]:
    """Return the clip that the fake makes of its controls.

    Returns:
        frames: (81, height, width, 3) uint8: R is the dense control, G the largest channel of the sparse one, B the
            lowest byte of the CRC-32 of the prompt in UTF-8.
    """
    frames = np.empty(controls.sparse.shape, np.uint8)
    frames[..., 0] = controls.dense
    np.max(controls.sparse, axis=3, out=frames[..., 1])
    frames[..., 2] = zlib.crc32(prompt.encode()) & 0xFF
    return frames
