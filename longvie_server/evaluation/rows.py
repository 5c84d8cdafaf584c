"""What is compared: the model, the model with something taken away, and answers that need no model.

Every row turns a sequence into as many clips as the truth has, one in memory at a time. Rows of the model go through
`WorldModel.step` and `WorldState`, as the server runs it, from the first frame alone and with each clip's own prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.tick import CLIP_STRIDE, CLIP_TICKS, WorldState

from ..sequences import ClipSequence
from ..sequences.truth import HIDDEN
from ..world_model.interface import ControlClip, StepFrames, WorldModel, new_state

__all__ = ["MODEL_ROWS", "ROWS", "Video", "can_have", "row_clips"]

Video: TypeAlias = NDArray[np.uint8]
_Trivial: TypeAlias = Callable[[ClipSequence, int, Video | None], Iterator[tuple[Video, Video | None]]]
_BLUR_SHARE: Final = 1 / 18
"""Sigma of the blurred first frame, of its width: details go, areas of colour stay."""
_GREY: Final = 127
_INPAINT_PX: Final = 3


@dataclass(frozen=True, slots=True)
class _ModelRow:
    """A row of the model.

    Args:
        controls: `controls(own, other)` are what it is given, of the scene's own and another scene's.
        frames: `frames(last)` are what it goes on from, of the last ones of the clip before.
        seed: `seed(row's, clip)` is the noise's.
        anchored: whether clips after the first are told of the first frame.
    """

    controls: Callable[[ControlClip, ControlClip], ControlClip] = lambda own, other: own
    frames: Callable[[Video], Video] = lambda last: last
    seed: Callable[[int, int], int] = lambda seed, clip: seed
    anchored: bool = True


def _still(make: Callable[[Video], Video]) -> _Trivial:
    """A row that shows one picture all the while, made of the very first frame."""

    def clips(sequence: ClipSequence, done: int, last: Video | None) -> Iterator[tuple[Video, None]]:
        picture = make(np.asarray(sequence.clip(0).rgb[0]))
        for _ in range(done, len(sequence)):
            yield np.broadcast_to(picture, (CLIP_TICKS, *picture.shape)), None

    return clips


def _mean_colour(image: Video) -> Video:
    mean = np.rint(image.reshape(-1, 3).mean(axis=0)).astype(np.uint8)
    return np.broadcast_to(mean, image.shape)


def _blurred(image: Video) -> Video:
    sigma_px = image.shape[1] * _BLUR_SHARE
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_px, borderType=cv2.BORDER_REPLICATE), np.uint8)


def _forward_warp(sequence: ClipSequence, done: int, last: Video | None) -> Iterator[tuple[Video, Video]]:
    """Each clip's first frame moved as the engine says, and painted in where it saw nothing; then on from the last."""
    image = np.asarray(sequence.clip(0).rgb[0]) if last is None else last[-1]
    for number in range(done, len(sequence)):
        warp = sequence.clip(number).truth.warp
        assert warp is not None, "can_have() comes first"
        frames = [image]
        for source in warp[1:]:
            hidden = (source == HIDDEN).astype(np.uint8)
            frames.append(cv2.inpaint(image.reshape(-1, 3)[source], hidden, _INPAINT_PX, cv2.INPAINT_TELEA))
        image = frames[-1]
        yield np.stack(frames), image[None]


def _truth(sequence: ClipSequence, done: int, last: Video | None) -> Iterator[tuple[Video, None]]:
    for number in range(done, len(sequence)):
        yield np.asarray(sequence.clip(number).rgb), None


def _ranged_by_itself(own: ControlClip) -> ControlClip:
    """Depth as a range of this clip alone makes it: the greys of its own 5th and 95th percentile become the ends."""
    near, far = np.percentile(own.dense, (5, 95))
    grey = (own.dense.astype(np.float32) - near) / max(far - near, 1) * 255
    return replace(own, dense=np.clip(grey, 0, 255).astype(np.uint8))


_TRIVIAL: Final[dict[str, _Trivial]] = {
    "repeat_first_frame": _still(lambda image: image),
    "mean_colour": _still(_mean_colour),
    "blurred_first_frame": _still(_blurred),
    "forward_warp": _forward_warp,
    # What the measures say of the real thing: the tracker's own error, for one.
    "truth": _truth,
}
_MODEL: Final = {
    "model": _ModelRow(),
    "wrong_controls": _ModelRow(lambda own, other: other),
    # What the encoders paint where there is no depth, and no point.
    "dense_only": _ModelRow(lambda own, other: ControlClip(own.dense, np.zeros_like(own.sparse))),
    "sparse_only": _ModelRow(lambda own, other: ControlClip(np.full_like(own.dense, _GREY), own.sparse, own.points)),
    # What holds clips together, one thing after the other taken away.
    "without_history": _ModelRow(frames=lambda last: last[-1:]),
    "without_anchor": _ModelRow(anchored=False),
    "new_noise": _ModelRow(seed=lambda seed, clip: 1000 * seed + clip),
    "clip_depth_range": _ModelRow(lambda own, other: _ranged_by_itself(own)),
}
MODEL_ROWS: Final = tuple(_MODEL)
"""Rows that the model generates."""
ROWS: Final = ("model", *tuple(_TRIVIAL)[:-1], *MODEL_ROWS[1:], "truth")
"""All rows, in the order of the table."""


def can_have(row: str, sequences: Sequence[ClipSequence]) -> str:
    """Return why a row cannot be had of these sequences; empty where it can."""
    if row == "wrong_controls" and len(sequences) < 2:
        return "wrong controls are another sequence's"
    if row == "forward_warp" and any(sequence.clip(0).truth.warp is None for sequence in sequences):
        return "only the engine's own scenes know where every pixel went"
    return ""


def row_clips(
    row: str,
    model: WorldModel,
    sequence: ClipSequence,
    other: ClipSequence,
    *,
    seed: int,
    done: int = 0,
    last: Video | None = None,
) -> Iterator[tuple[Video, Video | None]]:
    """Yield a clip's frames, (81, height, width, 3), and those that the next goes on from, clip after clip.

    Args:
        row: of `ROWS`.
        model: any.
        sequence: what to make.
        other: whose controls are the wrong ones.
        seed: of the noise.
        done: clips that were made before.
        last: what the last of these left for the next one; None at the beginning.
    """
    if row in _TRIVIAL:
        yield from _TRIVIAL[row](sequence, done, last)
        return
    beginning = sequence.clip(0)
    first_frame = np.ascontiguousarray(beginning.rgb[0])
    state = new_state(model.spec, first_frame=first_frame, prompt=beginning.prompt, seed=seed)
    given = _MODEL[row]
    if last is not None:
        # As the first clip left it: with the grey that this row was given.
        dense = given.controls(beginning.controls, other.clip(0).controls).dense[0]
        state = replace(state.after_clip(last, dense), clip=done, next_tick=done * CLIP_STRIDE)
    for number in range(done, len(sequence)):
        own, wrong = sequence.clip(number), other.clip(number % len(other))
        controls = given.controls(own.controls, wrong.controls)
        before = replace(
            state,
            prompt=own.prompt,
            frames=given.frames(state.frames),
            seed=given.seed(seed, number),
            anchor=state.anchor if given.anchored else None,
        )
        video, state = _step(model, before, controls)
        yield video, state.frames


def _step(model: WorldModel, state: WorldState, controls: ControlClip) -> tuple[Video, WorldState]:
    # Of its own memory: a model may take no array that cannot be written to.
    points = None if controls.points is None else np.array(controls.points)
    events = model.step(state, ControlClip(np.array(controls.dense), np.array(controls.sparse), points))
    pieces: list[Video] = []
    while True:
        try:
            event = next(events)
        except StopIteration as stop:
            return np.concatenate(pieces), stop.value
        if isinstance(event, StepFrames):
            pieces.append(event.frames)
