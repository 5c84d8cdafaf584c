"""Within one process: a client and a server that meet by name, for tests and for embedding.

Messages really become msgpack parts and back, so what works here works on the wire. A client may come first: it is
connected when somebody listens.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Final, TypeAlias

from ..codecs.msgpack_codec import Part, decode_server_message, encode
from ..errors import BridgeError, InvalidValue
from ..messages import ClientMessage, ErrorMessage, Limits, ServerMessage
from .base import Down, TransportEvent, Up, drain

__all__ = ["Acceptor", "MemoryPipe", "MemoryTransport", "connect", "listen", "unlisten"]

_Delivery: TypeAlias = "tuple[MemoryPipe, list[Part] | Up | Down] | None"


@dataclass(eq=False, slots=True)
class MemoryPipe:
    """One connection: what the server reads (None at the end), and how its answers reach the client."""

    to_client: SimpleQueue[_Delivery]
    to_server: SimpleQueue[list[Part] | None] = field(default_factory=SimpleQueue)

    def send_to_server(self, message: ClientMessage) -> None:
        """Send a message, as the bytes that a wire would carry."""
        self.to_server.put([bytes(part) for part in encode(message)])

    def send_to_client(self, message: ServerMessage) -> None:
        """Send a message, as the bytes that a wire would carry."""
        self.to_client.put((self, [bytes(part) for part in encode(message)]))

    def tell_client(self, event: Up | Down) -> None:
        """Tell the client that it is connected, or no longer."""
        self.to_client.put((self, event))


Acceptor: TypeAlias = Callable[[MemoryPipe], None]

_lock: Final = threading.Lock()
_acceptors: Final[dict[str, Acceptor]] = {}
_waiting: Final[dict[str, list[MemoryPipe]]] = {}


def listen(name: str, accept: Acceptor) -> None:
    """Have `accept` called with each connection to `name`, those that wait already included.

    Raises:
        InvalidValue: somebody listens there.
    """
    with _lock:
        if name in _acceptors:
            raise InvalidValue("is taken", field="listen", value=f"memory://{name}", remedy="Choose another name.")
        _acceptors[name] = accept
        waiting = _waiting.pop(name, [])
    for pipe in waiting:
        accept(pipe)


def unlisten(name: str) -> None:
    """Accept no more connections to `name`."""
    with _lock:
        _acceptors.pop(name, None)


def connect(name: str, pipe: MemoryPipe) -> None:
    """Connect a pipe, now or when somebody listens."""
    with _lock:
        accept = _acceptors.get(name)
        if accept is None:
            _waiting.setdefault(name, []).append(pipe)
            return
    accept(pipe)


def _disconnect(name: str, pipe: MemoryPipe) -> None:
    with _lock:
        if pipe in _waiting.get(name, ()):
            _waiting[name].remove(pipe)
    pipe.to_server.put(None)


class MemoryTransport:
    """The client's end.

    Args:
        name: where the server listens.
        limits: what is taken from the server.
    """

    def __init__(self, name: str, *, limits: Limits | None = None) -> None:
        self._name = name
        self._limits = limits or Limits(max_plane_bytes=2**30, max_message_bytes=2**30)
        self._incoming: SimpleQueue[_Delivery] = SimpleQueue()
        self._pipe: MemoryPipe | None = None

    def open(self) -> None:
        """Connect, now or when somebody listens."""
        self.close()
        self._pipe = MemoryPipe(self._incoming)
        connect(self._name, self._pipe)

    def send(self, message: ClientMessage) -> None:
        """Send a message."""
        if self._pipe is not None:
            self._pipe.send_to_server(message)

    def poll(self, timeout_s: float) -> list[TransportEvent]:
        """Return connection changes and messages."""
        events: list[TransportEvent] = []
        for item in drain(self._incoming, timeout_s):
            self._take(item, events)
        return events

    def wake(self) -> None:
        """Make `poll` return now."""
        self._incoming.put(None)

    def close(self) -> None:
        """Disconnect; the server still reads what was sent."""
        if self._pipe is not None:
            _disconnect(self._name, self._pipe)
        self._pipe = None

    def _take(self, item: _Delivery, events: list[TransportEvent]) -> None:
        if item is None or item[0] is not self._pipe:
            return
        if isinstance(item[1], (Up, Down)):
            events.append(item[1])
            return
        try:
            events.append(decode_server_message(item[1], self._limits))
        except BridgeError as error:
            events.append(ErrorMessage(error.code, error.problem, error.field, error.value, error.remedy, fatal=True))
