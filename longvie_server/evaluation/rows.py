"""What is compared: the model, the model with something taken away, and answers that need no model.

Every row turns a held-out scene into as many frames as the truth has. Rows of the model go clip by clip through
`WorldModel.step` and `WorldState`, as the server runs it, from the first frame alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.tick import CLIP_STRIDE

from ..world_model.interface import ControlClip, StepFrames, WorldModel, new_state
from .scenes import HeldOutScene
from .truth import HIDDEN

__all__ = ["MODEL_ROWS", "ROWS", "TRIVIAL_ROWS", "Video", "generate", "trivial"]

Video = NDArray[np.uint8]
_BLUR_SHARE: Final = 1 / 18
"""Sigma of the blurred first frame, of its width: details go, areas of colour stay."""
_GREY: Final = 127
_INPAINT_PX: Final = 3


@dataclass(frozen=True, slots=True)
class _ModelRow:
    """A row of the model: `controls(own, other)` are what it is given, of the scene's own and another scene's."""

    controls: Callable[[ControlClip, ControlClip], ControlClip]


def _repeat_first_frame(scene: HeldOutScene) -> Video:
    return np.broadcast_to(scene.rgb[0], scene.rgb.shape)


def _mean_colour(scene: HeldOutScene) -> Video:
    mean = np.rint(scene.rgb[0].reshape(-1, 3).mean(axis=0)).astype(np.uint8)
    return np.broadcast_to(mean, scene.rgb.shape)


def _blurred_first_frame(scene: HeldOutScene) -> Video:
    sigma_px = scene.rgb.shape[2] * _BLUR_SHARE
    blurred = cv2.GaussianBlur(scene.rgb[0], (0, 0), sigma_px, borderType=cv2.BORDER_REPLICATE)
    return np.broadcast_to(blurred, scene.rgb.shape)


def _forward_warp(scene: HeldOutScene) -> Video:
    """Each clip's first frame moved as the engine says, and painted in where it saw nothing; then on from the last."""
    frames = [scene.rgb[0]]
    for truth in scene.truths:
        pixels = frames[-1].reshape(-1, 3)
        for source in truth.warp[1:]:
            hidden = (source == HIDDEN).astype(np.uint8)
            frames.append(cv2.inpaint(pixels[source], hidden, _INPAINT_PX, cv2.INPAINT_TELEA))
    return np.stack(frames)


def _truth(scene: HeldOutScene) -> Video:
    return scene.rgb


_TRIVIAL: Final[dict[str, Callable[[HeldOutScene], Video]]] = {
    "repeat_first_frame": _repeat_first_frame,
    "mean_colour": _mean_colour,
    "blurred_first_frame": _blurred_first_frame,
    "forward_warp": _forward_warp,
    # What the measures say of the real thing: the tracker's own error, for one.
    "truth": _truth,
}
_MODEL: Final = {
    "model": _ModelRow(lambda own, other: own),
    "wrong_controls": _ModelRow(lambda own, other: other),
    # What the encoders paint where there is no depth, and no point.
    "dense_only": _ModelRow(lambda own, other: ControlClip(own.dense, np.zeros_like(own.sparse))),
    "sparse_only": _ModelRow(lambda own, other: ControlClip(np.full_like(own.dense, _GREY), own.sparse, own.points)),
}
TRIVIAL_ROWS: Final = tuple(_TRIVIAL)
"""Rows that need no model."""
MODEL_ROWS: Final = tuple(_MODEL)
"""Rows that the model generates."""
ROWS: Final = ("model", *TRIVIAL_ROWS[:-1], *MODEL_ROWS[1:], "truth")
"""All rows, in the order of the table."""


def trivial(row: str, scene: HeldOutScene) -> Video:
    """Return a trivial row's answer, of the shape of `scene.rgb`."""
    return _TRIVIAL[row](scene)


def generate(
    row: str,
    model: WorldModel,
    scene: HeldOutScene,
    other: HeldOutScene,
    *,
    seed: int,
    done: int = 0,
    last: Video | None = None,
) -> Iterator[tuple[Video, Video]]:
    """Yield a clip's frames, (81, height, width, 3), and those that the next goes on from, clip after clip.

    Args:
        row: of `MODEL_ROWS`.
        model: any.
        scene: what to make.
        other: whose controls are the wrong ones.
        seed: of the noise.
        done: clips that were made before.
        last: what the last of these left for the next one; None at the beginning.
    """
    state = new_state(model.spec, first_frame=np.ascontiguousarray(scene.rgb[0]), prompt=scene.caption, seed=seed)
    if last is not None:
        state = replace(state, clip=done, next_tick=done * CLIP_STRIDE, shares_tick=True, frames=last)
    for own, others in zip(scene.controls[done:], other.controls[done:], strict=True):
        steps = model.step(state, _MODEL[row].controls(own, others))
        pieces: list[Video] = []
        while True:
            try:
                event = next(steps)
            except StopIteration as stop:
                state = stop.value
                break
            if isinstance(event, StepFrames):
                pieces.append(event.frames)
        yield np.concatenate(pieces), state.frames
