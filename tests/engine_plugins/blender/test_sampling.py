"""Which moment a tick shows, in numbers worked out by hand."""

from __future__ import annotations

import pytest

from bridge.errors import InvalidValue
from engine_plugins.blender.longvie.sampling import Sampling, SamplingMode


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (16, [(10, 0.0), (11, 0.0), (12, 0.0)]),
        (24, [(10, 0.0), (11, 0.5), (13, 0.0)]),
        (25, [(10, 0.0), (11, 0.5625), (13, 0.125)]),
        (30, [(10, 0.0), (11, 0.875), (13, 0.75)]),
        (60, [(10, 0.0), (13, 0.75), (17, 0.5)]),
        (12, [(10, 0.0), (10, 0.75), (11, 0.5)]),
    ],
)
def test_ticks_are_moments(rate: float, expected: list[tuple[int, float]]) -> None:
    sampling = Sampling(10, 100, rate)
    assert [sampling.frame(i) for i in range(3)] == expected
    assert [sampling.time_ns(i) for i in range(3)] == [0, 62_500_000, 125_000_000]


@pytest.mark.parametrize(("rate", "count"), [(16, 91), (24, 61), (25, 58), (30, 49), (60, 25)])
def test_the_shot_ends_with_its_range(rate: float, count: int) -> None:
    sampling = Sampling(10, 100, rate)
    assert sampling.count == count
    frame, subframe = sampling.frame(count - 1)
    assert frame + subframe <= 100
    frame, subframe = sampling.frame(count)
    assert frame + subframe > 100


def test_a_rate_that_does_not_divide_never_slips() -> None:
    sampling = Sampling(1, 10**6, 24 / 1.001)
    # 16 * 1001 ticks are 1001 seconds of the shot, in which 24,000 frames pass.
    frame, subframe = sampling.frame(16 * 1001)
    assert (frame, round(subframe, 6)) == (24_001, 0.0)


def test_every_frame() -> None:
    sampling = Sampling(3, 12, 25, SamplingMode.EVERY_FRAME)
    assert sampling.count == 10
    assert [sampling.frame(i) for i in (0, 9)] == [(3, 0.0), (12, 0.0)]
    assert sampling.time_ns(5) == 200_000_000
    assert sampling.sentence() == "10 frames, one per scene frame: played at 16 fps, motion is 1.56 x slower"
    assert Sampling(1, 9, 12, SamplingMode.EVERY_FRAME).sentence().endswith("1.33 x faster")


def test_prompts_find_their_tick() -> None:
    sampling = Sampling(10, 100, 24)
    assert [sampling.first_tick_at(frame) for frame in (1, 10, 11, 13, 13.1)] == [0, 0, 1, 2, 3]


def test_an_empty_range_is_refused() -> None:
    with pytest.raises(InvalidValue, match=r"frame range: ends before it starts \(got 5 to 4\)\. Set Start and End"):
        Sampling(5, 4, 24)
    with pytest.raises(InvalidValue, match="frame rate"):
        Sampling(1, 4, 0)
