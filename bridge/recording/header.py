"""What a session was opened with: all that generating it again needs, besides its events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidValue, ShapeMismatch
from ..geometry.fit import Fit
from ..tick import FPS, DepthRange, TrackMode

__all__ = ["SessionHeader", "check_image", "check_text"]


@dataclass(frozen=True, slots=True, eq=False)
class SessionHeader:
    """How a session was opened.

    Args:
        prompt: what the video shows at the start.
        seed: of the unified noise, 0 .. 2**63 - 1.
        model: the model's name.
        track_mode: who follows the points.
        first_frame: (height, width, 3) uint8 RGB, the first clip's image condition.
        depth_range: as declared; None where the first clip measures it.
        fit: how another aspect was met; None where the engine's aspect is the model's.
        negative_prompt: None for the model's own.
        fps: ticks per second of the shot.
        numerics: device, dtype, threads, versions: what "the same bytes again" is promised for.

    Raises:
        ShapeMismatch: the first frame is not (height, width, 3) uint8.
        InvalidValue: another value is out of its range.
    """

    prompt: str
    seed: int
    model: str
    track_mode: TrackMode
    first_frame: NDArray[np.uint8] = field(repr=False)
    depth_range: DepthRange | None = None
    fit: Fit | None = None
    negative_prompt: str | None = None
    fps: int = FPS
    numerics: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_image("first_frame", self.first_frame)
        for name in ("prompt", "model", "negative_prompt"):
            check_text(name, getattr(self, name) or "")
        if not 0 <= self.seed < 2**63:
            raise InvalidValue(
                "must be in 0 .. 2**63 - 1", field="seed", value=self.seed, remedy="Choose another seed."
            )
        if self.fps < 1:
            raise InvalidValue("must be positive", field="fps", value=self.fps, remedy=f"LongVie runs at {FPS}.")
        if self.fit is not None and self.fit not in tuple(Fit):
            raise InvalidValue(
                "unknown", field="fit", value=self.fit, remedy="Use bridge.geometry.Fit, or None for no fit."
            )


def check_image(name: str, image: NDArray[np.uint8]) -> None:
    """Refuse what is not an image, (height, width, 3) uint8.

    Raises:
        ShapeMismatch: names the field.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ShapeMismatch(
            "must be (height, width, 3) uint8 RGB",
            field=name,
            value=f"{image.shape} {image.dtype}",
            remedy="Drop alpha, scale 0..1 floats by 255 and convert to uint8.",
        )


def check_text(name: str, text: str) -> None:
    """Refuse text that UTF-8 cannot hold (half of a surrogate pair).

    Raises:
        InvalidValue: names the field.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidValue(
            "is no valid Unicode text", field=name, value=ascii(text)[:80], remedy="Decode it as UTF-8 first."
        ) from error
