"""Where clips start: the arithmetic that client and server share.

Clip 0 starts at the session's first tick; a clip that is full shares its last tick with the next; a cut starts a clip
at its tick and shares nothing.
"""

from __future__ import annotations

from ..tick import CLIP_STRIDE

__all__ = ["ClipStarts"]


class ClipStarts:
    """The clip starts of one session, as far as its cuts are known.

    Args:
        first_tick: the first clip starts here.
    """

    def __init__(self, first_tick: int) -> None:
        self._anchor = first_tick
        self._cuts: list[int] = []

    def cut(self, at_tick: int) -> None:
        """Start a clip at `at_tick`, at or after the ticks that were seen."""
        if at_tick not in self._cuts:
            self._cuts = sorted([*self._cuts, at_tick])

    def advance(self, index: int) -> None:
        """Forget what lies before tick `index`, which has been seen."""
        while self._cuts and self._cuts[0] <= index:
            self._anchor = self._cuts.pop(0)

    def starts_at(self, index: int) -> bool:
        """Tell whether a clip starts at tick `index`."""
        anchor = max((cut for cut in self._cuts if cut <= index), default=self._anchor)
        return (index - anchor) % CLIP_STRIDE == 0

    def is_cut(self, index: int) -> bool:
        """Tell whether `index` is a cut that was announced and not yet reached."""
        return index in self._cuts
