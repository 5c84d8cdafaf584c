"""Numbered streams: what makes a session survive its connection.

Each direction of a session is a stream of messages numbered 1, 2, 3, ... The sender keeps a message until the receiver
has acknowledged its number; after a reconnect it sends again what the receiver did not have. The receiver takes each
number once, in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from ..errors import ProtocolError

__all__ = ["NumberedReceiver", "NumberedSender"]

M = TypeVar("M")


class NumberedSender(Generic[M]):
    """The sending end: numbers messages and keeps those that may have to be sent again."""

    def __init__(self) -> None:
        self._kept: deque[M] = deque()
        self._last = 0

    def append(self, make: Callable[[int], M]) -> M:
        """Make the next message from its number, keep it and return it."""
        self._last += 1
        message = make(self._last)
        self._kept.append(message)
        return message

    def acknowledge(self, seq: int) -> list[M]:
        """Forget, and return, what is numbered `seq` or lower.

        Raises:
            ProtocolError: the number was never sent.
        """
        if seq > self._last:
            raise ProtocolError(
                f"acknowledges more than the {self._last} messages that were sent",
                field="received_seq",
                value=seq,
                remedy="Acknowledge the last number that arrived.",
            )
        first = self._last - len(self._kept) + 1
        return [self._kept.popleft() for _ in range(max(0, seq - first + 1))]

    def unacknowledged(self) -> Iterator[M]:
        """Yield what may have to be sent again, in order."""
        return iter(tuple(self._kept))

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def last(self) -> int:
        """The last number given out; 0 before the first."""
        return self._last


class NumberedReceiver:
    """The receiving end: takes each number once."""

    def __init__(self) -> None:
        self.received = 0

    def take(self, seq: int) -> bool:
        """Return True for the next number, False for one that was taken already.

        Raises:
            ProtocolError: a number was left out.
        """
        if seq <= self.received:
            return False
        if seq != self.received + 1:
            raise ProtocolError(
                f"expected message number {self.received + 1}",
                field="seq",
                value=seq,
                remedy="Number the messages of a session 1, 2, 3, ...; after a reconnect go on as `resumed` says.",
            )
        self.received = seq
        return True
