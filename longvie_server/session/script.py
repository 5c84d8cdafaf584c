"""What a client announced ahead of its tick: prompts and cuts, each until the clip that it is for begins.

In: prompts with the tick they hold from, cuts with their first frame. Out: what holds for the clip that starts there.
Law: what waits is bounded, so that no client fills the server's memory with announcements.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from bridge.errors import InvalidValue, LimitExceeded, OutOfOrder

__all__ = ["MAX_PROMPT_CHARACTERS", "Script"]

MAX_PENDING_CUTS: Final = 16
MAX_PENDING_PROMPTS: Final = 1024
MAX_PROMPT_CHARACTERS: Final = 8192


class Script:
    """Prompts and cuts of one session that are still to come."""

    def __init__(self) -> None:
        self._prompts: list[tuple[int, str]] = []
        self._images: dict[int, NDArray[np.uint8]] = {}
        self._last_begun = -1

    def prompt(self, text: str, *, from_tick: int) -> None:
        """Announce a prompt for the clips that start at `from_tick` or later.

        Raises:
            InvalidValue: it is empty.
            LimitExceeded: it is too long, or too many wait.
            OutOfOrder: its clip has already begun.
        """
        if not text.strip():
            raise InvalidValue("must not be empty", field="prompt.text", remedy="Describe what the video shows.")
        if len(text) > MAX_PROMPT_CHARACTERS or len(self._prompts) >= MAX_PENDING_PROMPTS:
            raise LimitExceeded(
                f"at most {MAX_PENDING_PROMPTS} prompts of {MAX_PROMPT_CHARACTERS} characters may wait",
                field="prompt.text",
                value=f"{len(text)} characters",
                remedy="Send shorter prompts, closer to their tick.",
            )
        if from_tick <= self._last_begun:
            raise OutOfOrder(
                f"the clip that starts at tick {self._last_begun} has already begun to be generated",
                field="prompt.from_tick",
                value=from_tick,
                remedy=f"Give a tick after {self._last_begun}: the prompt then holds from the next clip's start.",
            )
        self._prompts = sorted([*self._prompts, (from_tick, text)], key=lambda item: item[0])

    def check_room_for_cut(self, at_tick: int) -> None:
        """Refuse one cut too many.

        Raises:
            LimitExceeded: too many cuts wait.
        """
        if len(self._images) >= MAX_PENDING_CUTS:
            raise LimitExceeded(
                f"at most {MAX_PENDING_CUTS} cuts may be announced ahead",
                field="cut.at_tick",
                value=at_tick,
                remedy="Announce a cut shortly before its tick.",
            )

    def cut(self, at_tick: int, image: NDArray[np.uint8]) -> None:
        """Keep the first frame, (height, width, 3), of the clip that will start at this tick."""
        self._images[at_tick] = image

    def first_frame(self, start: int) -> NDArray[np.uint8]:
        """Return, and forget, the first frame of the cut at this tick."""
        return self._images.pop(start)

    def begin(self, start: int) -> str | None:
        """A clip begins: return the newest prompt that holds from its start or before, None where none is new."""
        due = [text for from_tick, text in self._prompts if from_tick <= start]
        self._prompts = self._prompts[len(due) :]
        self._last_begun = start
        return due[-1] if due else None
