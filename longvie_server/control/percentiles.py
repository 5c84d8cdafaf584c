"""Exact percentiles of more numbers than one would want to sort, or to hold in memory.

A non-negative float32 orders like its bits. So one pass counts the upper halves of all bit patterns, which tells the
upper half of every order statistic that is needed, and a second pass counts the lower halves of those that share it.
Memory: a few tables of 65,536 counters, however many numbers there are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bridge.errors import InvalidValue

__all__ = ["percentiles"]

_HALF: Final = 1 << 16
_LARGEST: Final = float(np.finfo(np.float32).max)

_Counts: TypeAlias = NDArray[np.int64]


def percentiles(chunks: Iterable[NDArray[np.float32]], percents: Sequence[float]) -> list[float]:
    """Return the percentiles of all numbers in the chunks, as `numpy.percentile` interpolates them (linear).

    Args:
        chunks: float32 arrays of any shape, non-negative, no NaN; gone through twice. inf counts as the largest number.
        percents: in 0..100.

    Raises:
        InvalidValue: there is no number at all.
    """
    upper_counts = np.zeros(_HALF, dtype=np.int64)
    for chunk in chunks:
        upper_counts += _count(_bits(chunk) >> np.uint32(16))
    total = int(upper_counts.sum())
    if total == 0:
        raise InvalidValue("holds no number", field="depth", remedy="Measure at least one frame.")

    places = [percent / 100.0 * (total - 1) for percent in percents]
    ranks = sorted({rank for place in places for rank in (math.floor(place), math.ceil(place))})
    cumulated = np.cumsum(upper_counts)
    upper_of = {rank: int(np.searchsorted(cumulated, rank, side="right")) for rank in ranks}
    lower_counts = _count_lower_halves(chunks, set(upper_of.values()))
    value_of = {}
    for rank, upper in upper_of.items():
        rank_within = rank - int(cumulated[upper] - upper_counts[upper])
        lower = int(np.searchsorted(np.cumsum(lower_counts[upper]), rank_within, side="right"))
        value_of[rank] = np.array([upper << 16 | lower], dtype=np.uint32).view(np.float32)[0]
    return [_between(value_of[math.floor(place)], value_of[math.ceil(place)], place % 1.0) for place in places]


def _bits(chunk: NDArray[np.float32]) -> NDArray[np.uint32]:
    return np.ascontiguousarray(chunk, dtype=np.float32).reshape(-1).view(np.uint32)


def _count(halves: NDArray[np.uint32]) -> _Counts:
    return np.bincount(halves, minlength=_HALF)


def _count_lower_halves(chunks: Iterable[NDArray[np.float32]], uppers: set[int]) -> dict[int, _Counts]:
    counts = {upper: np.zeros(_HALF, dtype=np.int64) for upper in uppers}
    for chunk in chunks:
        bits = _bits(chunk)
        chunk_uppers = bits >> np.uint32(16)
        for upper, count in counts.items():
            count += _count(bits[chunk_uppers == upper] & np.uint32(_HALF - 1))
    return counts


def _between(low: np.float32, high: np.float32, fraction: float) -> float:
    # From the nearer end and with the step in float32: numpy's arithmetic, to the last bit.
    start, end = min(float(low), _LARGEST), min(float(high), _LARGEST)
    step = float(np.float32(end) - np.float32(start))
    return start + step * fraction if fraction < 0.5 else end - step * (1.0 - fraction)
