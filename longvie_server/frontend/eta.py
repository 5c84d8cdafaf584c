"""How long a clip will take: measured on the clips before it, and on the steps it has done."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["ClipClock"]

_SMOOTHING = 0.5


class ClipClock:
    """Times clips.

    Args:
        now: monotonic seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._began_s: float | None = None
        self._usual_s: float | None = None

    def begin(self) -> None:
        """A clip begins."""
        self._began_s = self._now()

    def done(self) -> None:
        """The clip is done."""
        if self._began_s is not None:
            took = self._now() - self._began_s
            self._usual_s = took if self._usual_s is None else self._usual_s + _SMOOTHING * (took - self._usual_s)
            self._began_s = None

    def progress(self, stage: str, step: int, steps: int) -> float:
        """Return the seconds that the running clip still needs; negative while nothing is known."""
        if self._began_s is None:
            return -1.0
        elapsed = self._now() - self._began_s
        if self._usual_s is not None:
            return max(0.0, self._usual_s - elapsed)
        if stage == "denoise" and step > 0:  # on the first clip: denoising is by far the longest stage
            return elapsed * (steps - step) / step
        return -1.0

    def expected_s(self, *, clips: int) -> float:
        """Return the seconds that so many clips from now on take; negative while nothing is known."""
        if self._usual_s is None:
            return -1.0
        elapsed = 0.0 if self._began_s is None else self._now() - self._began_s
        return max(0.0, clips * self._usual_s - elapsed)
