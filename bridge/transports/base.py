"""The transport seam: what a client's connection asks of the thing that moves its messages.

A transport is used by one thread, except `wake`, which any thread may call. It never retries by itself: after a `Down`
its user opens it again, and it starts with nothing left over from before.
"""

from __future__ import annotations

from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Protocol, TypeAlias, TypeVar

from ..errors import BridgeError
from ..messages import ClientMessage, ServerMessage

__all__ = ["ClientTransport", "Down", "TransportEvent", "Up", "drain"]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Up:
    """The peer is connected."""


@dataclass(frozen=True, slots=True)
class Down:
    """The peer is gone, or could not be reached.

    Args:
        reason: in words.
        error: set where trying again cannot help (a wrong key, a bad certificate).
    """

    reason: str
    error: BridgeError | None = None


TransportEvent: TypeAlias = Up | Down | ServerMessage


class ClientTransport(Protocol):
    """Moves messages between one client and one server."""

    def open(self) -> None:
        """Begin to connect; `poll` tells when it is `Up`. Whatever an earlier connection held is dropped."""
        ...

    def send(self, message: ClientMessage) -> None:
        """Send a message; never blocks. The protocol's credit bounds what can pile up."""
        ...

    def poll(self, timeout_s: float) -> list[TransportEvent]:
        """Return what has happened; wait at most `timeout_s` for it, less when woken."""
        ...

    def wake(self) -> None:
        """Make `poll` return now; callable from any thread."""
        ...

    def close(self) -> None:
        """Let go of the peer; what was sent before is still delivered where the connection stands."""
        ...


def drain(queue: SimpleQueue[_T], timeout_s: float) -> list[_T]:
    """Return all that is in a queue; wait at most `timeout_s` for the first item."""
    items: list[_T] = []
    try:
        items.append(queue.get(timeout=max(0.0, timeout_s)))
        while True:
            items.append(queue.get_nowait())
    except Empty:
        return items
