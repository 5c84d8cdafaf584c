"""A deadline is reached when nothing puts it off, again when it is put again, and not when it is taken back."""

from __future__ import annotations

import math
import threading
from contextlib import closing

from worker_cases import PATIENCE_S

from longvie_server.worker.deadline import Deadline


class Reached:
    def __init__(self) -> None:
        self.times = 0
        self._event = threading.Semaphore(0)

    def __call__(self) -> None:
        self.times += 1
        self._event.release()

    def wait(self) -> None:
        assert self._event.acquire(timeout=PATIENCE_S)


def after(seconds: float) -> None:
    """Wait for another deadline, put later than the one that is tested."""
    reached = Reached()
    with closing(Deadline(reached)) as other:
        other.put(seconds)
        reached.wait()


def test_it_is_reached_once_each_time_that_it_is_put() -> None:
    reached = Reached()
    with closing(Deadline(reached)) as deadline:
        for times in (1, 2):
            deadline.put(0.01)
            reached.wait()
            after(0.02)
            assert reached.times == times


def test_one_that_is_put_earlier_is_reached_earlier() -> None:
    reached = Reached()
    with closing(Deadline(reached)) as deadline:
        deadline.put(10 * PATIENCE_S)
        deadline.put(0.01)
        reached.wait()


def test_one_that_is_put_off_taken_back_or_closed_is_not_reached() -> None:
    put_off, taken_back, closed = Reached(), Reached(), Reached()
    with (
        closing(Deadline(put_off)) as first,
        closing(Deadline(taken_back)) as second,
        closing(Deadline(closed)) as third,
    ):
        for deadline in (first, second, third):
            deadline.put(0.05)
        first.put(math.inf)
        second.put(None)
        third.close()
        after(0.1)
    assert (put_off.times, taken_back.times, closed.times) == (0, 0, 0)
