"""The seam between front ends and the hub: who a message came from, and how an answer gets there."""

from __future__ import annotations

from typing import Protocol

from bridge.errors import BridgeError
from bridge.messages import ClientMessage, ServerMessage

__all__ = ["PeerLink", "PeerSink"]


class PeerLink(Protocol):
    """The way to one connected client. Used by the hub's thread only."""

    def send(self, message: ServerMessage) -> bool:
        """Send a message without waiting; False if the peer is gone. The protocol's credit bounds what piles up."""
        ...

    def close(self) -> None:
        """Let go of the peer after what was sent has left."""
        ...


class PeerSink(Protocol):
    """What a front end hands to the hub; all but `settle` may be called from any thread."""

    def arrived(self, link: PeerLink, message: ClientMessage) -> None:
        """A message came from a peer; the first one makes the peer known. Waits while the hub's inbox is full."""
        ...

    def broken(self, link: PeerLink, error: BridgeError) -> None:
        """A peer sent what cannot be read: it is told, and let go."""
        ...

    def settle(self) -> None:
        """Answer what has arrived. A front end on the hub's own thread calls it after each batch of messages."""
        ...

    def gone(self, link: PeerLink) -> None:
        """A peer is disconnected; its sessions wait for it to resume."""
        ...
