from dataclasses import replace

import numpy as np
import pytest

from bridge.geometry import Camera, Intrinsics
from bridge.soundness import Severity, examine
from bridge.tick import Tick

CAMERA = Camera(Intrinsics(8.0, 8.0, 4.0, 4.0, 8, 8))
WALL = np.full((8, 8), 3.0, np.float32)


def ticks(*indices, period_ns=62_500_000):
    return [Tick(index=i, camera=CAMERA, depth=WALL, time_ns=1_000 + i * period_ns) for i in indices]


def test_in_order_and_in_time():
    assert examine(ticks(*range(5, 25))) == []


@pytest.mark.parametrize(
    ("indices", "words"),
    [((0, 1, 1, 2), "tick 1 is repeated"), ((0, 2, 1), "tick 2 leaves a gap"), ((1, 2, 0), "tick 0 comes late")],
)
def test_out_of_order(indices, words):
    (finding,) = examine(ticks(*indices))
    assert finding.code == "order"
    assert finding.severity is Severity.ERROR
    assert words in finding.sentence


def test_another_rate():
    (finding,) = examine(ticks(*range(20), period_ns=41_666_667))
    assert finding.code == "time_step"
    assert finding.severity is Severity.WARNING
    assert "41.67 ms apart, not 62.5" in finding.sentence
    assert "1.5 times slower" in finding.sentence
    (finding,) = examine(ticks(*range(20), period_ns=125_000_000))
    assert "2 times faster" in finding.sentence


def test_uneven_steps():
    uneven = [
        replace(tick, time_ns=tick.time_ns + (20_000_000 if i % 4 == 0 else 0))
        for i, tick in enumerate(ticks(*range(20)))
    ]
    (finding,) = examine(uneven)
    assert finding.code == "time_step"
    assert "stutter" in finding.sentence


def test_a_little_jitter_is_sound():
    assert examine([replace(t, time_ns=t.time_ns + (-1) ** t.index * 1_000_000) for t in ticks(*range(20))]) == []


def test_time_that_runs_backwards():
    backwards = [replace(tick, time_ns=10**9 - tick.time_ns // 10) for tick in ticks(*range(6))]
    (finding,) = examine(backwards)
    assert finding.code == "time_order"
    assert "between ticks 0 and 1" in finding.sentence


def test_no_time_at_all_is_left_alone():
    assert examine([replace(tick, time_ns=0) for tick in ticks(*range(6))]) == []


def test_depth_that_holds_nothing():
    empty = [replace(tick, depth=np.full((8, 8), np.inf, np.float32)) for tick in ticks(0, 1)]
    assert [finding.code for finding in examine(empty)] == ["depth_empty"]
    black = [replace(tick, depth=np.zeros((8, 8), np.float32)) for tick in ticks(0, 1)]
    assert [finding.code for finding in examine(black)] == ["depth_empty"]


def test_background_by_a_number():
    depth = WALL.copy()
    depth[:4] = 1e10
    (finding,) = examine([replace(tick, depth=depth) for tick in ticks(0, 1)])
    assert finding.code == "background"
    assert "background=1e+10" in finding.remedy
    assert finding.figures[1].value == pytest.approx(50.0)
