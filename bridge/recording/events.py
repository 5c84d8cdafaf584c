"""What a client said besides its ticks, as a recording keeps it: prompts, cuts, the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidValue
from ..tick import Tick
from .header import check_image, check_text

__all__ = ["CutEvent", "Event", "Finish", "PromptEvent"]


@dataclass(frozen=True, slots=True)
class PromptEvent:
    """From the first clip that starts at `from_tick` or later, the prompt is `text`.

    Raises:
        InvalidValue: the tick is negative, or the text cannot be written as UTF-8.
    """

    from_tick: int
    text: str

    def __post_init__(self) -> None:
        _check_tick("prompt.from_tick", self.from_tick)
        check_text("prompt.text", self.text)


@dataclass(frozen=True, slots=True, eq=False)
class CutEvent:
    """The running clip ends before `at_tick`; a new one without history starts there.

    Args:
        at_tick: first tick after the cut.
        first_frame: (height, width, 3) uint8 RGB, the new clip's image condition.
        remeasure: the new clip measures the depth range again.

    Raises:
        InvalidValue: the tick is negative.
        ShapeMismatch: the first frame is not (height, width, 3) uint8.
    """

    at_tick: int
    first_frame: NDArray[np.uint8] = field(repr=False)
    remeasure: bool = False

    def __post_init__(self) -> None:
        _check_tick("cut.at_tick", self.at_tick)
        check_image("cut.first_frame", self.first_frame)


@dataclass(frozen=True, slots=True)
class Finish:
    """No tick follows: the client said that it was done."""


Event: TypeAlias = Tick | PromptEvent | CutEvent | Finish
"""What a client sent, in the order in which it sent it."""


def _check_tick(name: str, tick: int) -> None:
    if tick < 0:
        raise InvalidValue("must not be negative", field=name, value=tick, remedy="Ticks count from 0.")
