"""A time until which something has to happen, put off again and again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

__all__ = ["Deadline"]


class Deadline:
    """Calls when it is reached, from a thread of its own, and then has to be put again; after `close` it never calls.

    Args:
        on_reached: what is called.
    """

    def __init__(self, on_reached: Callable[[], None]) -> None:
        self._on_reached = on_reached
        self._changed = threading.Condition()
        self._at_s: float | None = None
        self._over = False
        threading.Thread(target=self._watch, name="worker-deadline", daemon=True).start()

    def put(self, seconds: float | None) -> None:
        """Let it be so far from now; None for no deadline."""
        with self._changed:
            before_s = self._at_s
            self._at_s = None if seconds is None else time.monotonic() + seconds
            # Put off, the usual case, it wakes no one: the thread sees it when the old one is reached.
            if self._at_s is not None and (before_s is None or self._at_s < before_s):
                self._changed.notify()

    def close(self) -> None:
        """End its thread, without waiting for it."""
        with self._changed:
            self._over = True
            self._changed.notify()

    def _watch(self) -> None:
        while self._wait():
            self._on_reached()

    def _wait(self) -> bool:
        """Wait until it is reached, or False: closed."""
        with self._changed:
            while not self._over:
                left_s = None if self._at_s is None else self._at_s - time.monotonic()
                if left_s is not None and left_s <= 0:
                    self._at_s = None
                    return True
                # A longer wait, such as one without end, is cut into pieces that the system can count.
                self._changed.wait(None if left_s is None else min(left_s, threading.TIMEOUT_MAX))
            return False
