"""Whose clip is next: sessions take turns, clip by clip, in the order in which they asked."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Turns"]


class Turns:
    """A round of names. The one that had its turn goes to the end."""

    def __init__(self) -> None:
        self._order: list[str] = []

    def add(self, name: str) -> None:
        """Join at the end."""
        self._order.append(name)

    def remove(self, name: str) -> None:
        """Leave; does nothing for a stranger."""
        if name in self._order:
            self._order.remove(name)

    def next(self, wants: Callable[[str], bool]) -> str | None:
        """Return the first name that wants a turn, and send it to the end; None if there is none."""
        for name in self._order:
            if wants(name):
                self._order.remove(name)
                self._order.append(name)
                return name
        return None

    def waiting(self, wants: Callable[[str], bool]) -> list[str]:
        """Return those that want a turn, in the order in which they will get it."""
        return [name for name in self._order if wants(name)]
