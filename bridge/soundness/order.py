"""Are the ticks in order, and a sixteenth of a second apart?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from ..tick import FPS, Tick
from .finding import Figure, Finding, Severity

__all__ = ["examine_order", "examine_time"]

_PERIOD_NS: Final = 1e9 / FPS
# A host's timer jitters; a wrong rate is off by more, and by the same at every tick.
_TOLERANCE: Final = 0.05


def examine_order(ticks: Sequence[Tick]) -> list[Finding]:
    """Return a finding where indices are repeated, go back or skip."""
    index = np.array([tick.index for tick in ticks])
    wrong = np.flatnonzero(np.diff(index) != 1)
    if wrong.size == 0:
        return []
    before, after = int(index[wrong[0]]), int(index[wrong[0] + 1])
    what = "is repeated" if after == before else "comes late" if after < before else "leaves a gap"
    return [
        Finding(
            "order",
            Severity.ERROR,
            f"Ticks are out of order: tick {after} {what}, right after tick {before}",
            "Number ticks consecutively and send each one once, in order.",
            (Figure("wrong steps", float(wrong.size)), Figure("ticks", float(index.size))),
        )
    ]


def examine_time(ticks: Sequence[Tick]) -> list[Finding]:
    """Return a finding where time stamps are not 1/16 s per tick. A stream without any (all equal) is left alone."""
    time_ns = np.array([tick.time_ns for tick in ticks], np.float64)
    steps = np.diff([tick.index for tick in ticks])
    if time_ns.size < 2 or (time_ns == time_ns[0]).all():
        return []
    per_tick_ns = np.diff(time_ns) / steps
    if (per_tick_ns <= 0).any():
        at = int(np.flatnonzero(per_tick_ns <= 0)[0])
        return [
            Finding(
                "time_order",
                Severity.ERROR,
                f"Time stands still or runs backwards between ticks {ticks[at].index} and {ticks[at + 1].index}",
                "Stamp every tick with the engine's own time, in integer nanoseconds.",
                (Figure("step", float(per_tick_ns[at]) / 1e6, "ms"),),
            )
        ]
    off = np.abs(per_tick_ns / _PERIOD_NS - 1.0) > _TOLERANCE
    if off.mean() <= 0.1:
        return []
    median_ns = float(np.median(per_tick_ns))
    figures = (Figure("median step", median_ns / 1e6, "ms"), Figure("steps off", 100.0 * float(off.mean()), "%"))
    if abs(median_ns / _PERIOD_NS - 1.0) > _TOLERANCE:
        sentence = f"Ticks are {median_ns / 1e6:.2f} ms apart, not 62.5: motion will look {_speed(median_ns)}"
    else:
        sentence = "Ticks are 1/16 s apart only on average: motion will stutter"
    remedy = (
        "Sample the shot at i/16 s, with subframes where the host has them, or choose one tick per frame knowingly."
    )
    return [Finding("time_step", Severity.WARNING, sentence, remedy, figures)]


def _speed(step_ns: float) -> str:
    ratio = _PERIOD_NS / step_ns
    return f"{ratio:.3g} times slower" if ratio > 1 else f"{1 / ratio:.3g} times faster"
