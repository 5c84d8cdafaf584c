"""The front end within one process: what `memory://name` reaches. Each connection is read by a thread of its own."""

from __future__ import annotations

import threading

from bridge.codecs.msgpack_codec import decode_client_message
from bridge.errors import BridgeError
from bridge.messages import Limits, ServerMessage
from bridge.transports.base import Down, Up
from bridge.transports.memory import MemoryPipe, listen, unlisten

from .peer import PeerSink

__all__ = ["MemoryFrontend"]


class _MemoryLink:
    """One connected client."""

    def __init__(self, pipe: MemoryPipe) -> None:
        self.pipe = pipe
        self._closed = False

    def send(self, message: ServerMessage) -> bool:
        """Send without waiting; False if the peer is gone."""
        if not self._closed:
            self.pipe.send_to_client(message)
        return not self._closed

    def close(self) -> None:
        """Let go of the client."""
        self._closed = True
        self.pipe.to_server.put(None)


class MemoryFrontend:
    """Listens at memory://name.

    Args:
        name: of the place.
        sink: takes the messages, on a thread per client.
        limits: on what is read.
    """

    def __init__(self, name: str, sink: PeerSink, *, limits: Limits | None = None) -> None:
        self._name, self._sink, self._limits = name, sink, limits or Limits()
        self._readers: dict[_MemoryLink, threading.Thread] = {}
        self._lock = threading.Lock()

    def start(self) -> None:
        """Listen. Raises InvalidValue if somebody else does."""
        listen(self._name, self._accept)

    def stop(self) -> None:
        """Stop listening and let go of every client."""
        unlisten(self._name)
        with self._lock:
            readers = dict(self._readers)
        for link in readers:
            link.close()
        for reader in readers.values():
            reader.join()

    def _accept(self, pipe: MemoryPipe) -> None:
        link = _MemoryLink(pipe)
        reader = threading.Thread(target=self._read, args=(link,), name="longvie-memory-read", daemon=True)
        pipe.tell_client(Up())
        with self._lock:
            self._readers[link] = reader
            reader.start()  # under the lock: whoever sees it may join it

    def _read(self, link: _MemoryLink) -> None:
        known = unreadable = False
        while (parts := link.pipe.to_server.get()) is not None:
            known = True
            if unreadable:  # the sink tells it why, then closes it
                continue
            try:
                message = decode_client_message(parts, self._limits)
            except BridgeError as error:
                unreadable = True
                self._sink.broken(link, error)
            else:
                self._sink.arrived(link, message)
        if known:
            self._sink.gone(link)
        link.close()
        link.pipe.tell_client(Down("the server closed the connection"))
        with self._lock:
            self._readers.pop(link, None)
