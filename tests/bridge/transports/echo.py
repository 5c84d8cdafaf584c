"""A sink that records what arrives and answers ticks and pings: the smallest hub for tests of transports."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from bridge.errors import BridgeError
from bridge.messages import ClientMessage, ErrorMessage, Ping, Plane, Pong, Receipt, TickMessage
from bridge.transports.base import ClientTransport, TransportEvent
from longvie_server.frontend.peer import PeerLink

PATIENCE_S = 20.0


class EchoSink:
    """Implements `PeerSink`."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.log: list[tuple[str, Any]] = []
        self.links: list[PeerLink] = []
        self.may_arrive = threading.Event()
        self.may_arrive.set()

    def arrived(self, link: PeerLink, message: ClientMessage) -> None:
        assert self.may_arrive.wait(PATIENCE_S)
        self._note("arrived", link, message)
        if isinstance(message, Ping):
            link.send(Pong(message.nonce))
        elif isinstance(message, TickMessage):
            link.send(Receipt(message.session, message.index, message.seq, 97))

    def broken(self, link: PeerLink, error: BridgeError) -> None:
        self._note("broken", link, error)
        link.send(ErrorMessage(error.code, error.problem, error.field, error.value, error.remedy, fatal=True))
        link.close()

    def settle(self) -> None:
        """Nothing waits: everything is answered as it arrives."""

    def gone(self, link: PeerLink) -> None:
        self._note("gone", link, None)

    def _note(self, what: str, link: PeerLink, value: Any) -> None:
        with self.changed:
            self.log.append((what, value))
            if link not in self.links:
                self.links.append(link)
            self.changed.notify_all()

    def wait(self, condition: Callable[[EchoSink], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: condition(self), PATIENCE_S), self.log

    def said(self, what: str) -> list[Any]:
        return [value for kind, value in self.log if kind == what]


def receive(transport: ClientTransport, count: int) -> list[TransportEvent]:
    """Return the next `count` events; a poll may come back early with none."""
    deadline = time.monotonic() + PATIENCE_S
    events: list[TransportEvent] = []
    while len(events) < count:
        assert time.monotonic() < deadline, f"nothing after {events}"
        events += transport.poll(PATIENCE_S)
    assert len(events) == count, events
    return events


def only(event: TransportEvent, kind: type[Any]) -> Any:
    """Return an event that has to be of this kind."""
    assert isinstance(event, kind), event
    return event


def tick(index: int, *, size: int = 640 * 352 * 4) -> TickMessage:
    """Return a tick whose depth is `size` bytes that tell its index."""
    depth = Plane("uint8", (size,), bytes([index % 256]) * size)
    return TickMessage("s", index + 1, index, 0, 1.0, 1.0, 1.0, 1.0, 640, 352, (0.0,) * 16, depth)
