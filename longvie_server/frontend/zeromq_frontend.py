"""The ZeroMQ front end: one ROUTER socket, read and written on the reactor's thread.

Laws: the ROUTER is mandatory, so a message to a peer that is gone is told, not dropped; a frame over the limit closes
its sender's connection before it is read; what cannot be decoded is answered once and its sender is let go.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import zmq
from zmq.utils.monitor import recv_monitor_message

from bridge.codecs.msgpack_codec import decode_client_message, encode
from bridge.errors import BridgeError, InvalidValue
from bridge.messages import Limits, ServerMessage
from bridge.transports.zeromq import HEARTBEAT_MS, send_parts

from .peer import PeerSink
from .reactor import Reactor

__all__ = ["CurveServerKeys", "ZeroMQFrontend", "curve_keys"]

_BATCH: Final = 32  # messages per wake-up, so that no peer keeps the loop to itself


@dataclass(frozen=True, slots=True)
class CurveServerKeys:
    """The server's CURVE key pair, Z85."""

    public: str
    secret: str

    @classmethod
    def generate(cls) -> CurveServerKeys:
        """Return a new pair."""
        public, secret = zmq.curve_keypair()
        return cls(public.decode(), secret.decode())


def curve_keys(secret: str) -> CurveServerKeys | None:
    """Return the key pair of a secret key; "auto" makes a new one, an empty secret none.

    Raises:
        InvalidValue: it is no Z85 key.
    """
    if not secret:
        return None
    if secret == "auto":
        return CurveServerKeys.generate()
    try:
        return CurveServerKeys(zmq.curve_public(secret.encode()).decode(), secret)
    except (ValueError, zmq.ZMQError) as error:
        raise InvalidValue(
            "is no Z85 key of 40 characters",
            field="listen.curve_secret",
            value=f"{len(secret)} characters",
            remedy="Make one with `longvie serve --curve-secret auto`, which prints it.",
        ) from error


class ZeroMQLink:
    """One connected DEALER."""

    def __init__(self, socket: zmq.Socket[bytes], routing_id: bytes) -> None:
        self._socket, self.routing_id = socket, routing_id
        self.refused = False

    def send(self, message: ServerMessage) -> bool:
        """Send without waiting; False if the peer is gone."""
        try:
            send_parts(self._socket, encode(message), prefix=self.routing_id)
        except zmq.ZMQError as error:
            if error.errno in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                return False
            raise
        return True

    def close(self) -> None:
        """Take nothing more from this peer: ZeroMQ cannot hang up on one DEALER; it leaves when it was told why."""
        self.refused = True


class ZeroMQFrontend:
    """Listens for ZeroMQ clients.

    Args:
        reactor: whose thread it lives on.
        endpoint: tcp://host:port; port 0 or * for a free one.
        sink: takes the messages.
        limits: on what is read.
        keys: CURVE keys; None for connections in the clear.
    """

    def __init__(
        self, reactor: Reactor, endpoint: str, sink: PeerSink, *, limits: Limits, keys: CurveServerKeys | None
    ) -> None:
        self._reactor, self._sink, self._limits = reactor, sink, limits
        self._links: dict[bytes, ZeroMQLink] = {}
        self._by_fd: dict[int, set[bytes]] = {}
        self._socket = socket = reactor.context.socket(zmq.ROUTER)
        socket.set(zmq.ROUTER_MANDATORY, 1)
        socket.set(zmq.SNDHWM, 0)  # bounded by frame credit and acknowledgements
        socket.set(zmq.RCVHWM, 32)
        socket.set(zmq.MAXMSGSIZE, limits.max_plane_bytes)
        socket.set(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
        socket.set(zmq.HEARTBEAT_TIMEOUT, 3 * HEARTBEAT_MS)
        socket.set(zmq.LINGER, 1_000)
        if keys is not None:
            socket.set(zmq.CURVE_SERVER, 1)
            socket.set(zmq.CURVE_PUBLICKEY, keys.public.encode())
            socket.set(zmq.CURVE_SECRETKEY, keys.secret.encode())
        try:
            socket.bind(endpoint)
        except zmq.ZMQError as error:
            socket.close(linger=0)
            raise InvalidValue(
                f"cannot listen there ({error})",
                field="listen",
                value=endpoint,
                remedy="Choose a free port (0 takes any) and an address of this machine.",
            ) from error
        self.endpoint = socket.get_string(zmq.LAST_ENDPOINT)
        self._monitor = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)

    def start(self) -> None:
        """Begin to read; on the reactor's thread, or before it starts."""
        self._reactor.watch(self._socket, self._readable)
        self._reactor.watch(self._monitor, self._monitored)

    def stop(self) -> None:
        """Stop listening; on the reactor's thread."""
        self._reactor.unwatch(self._socket)
        self._reactor.unwatch(self._monitor)
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close()

    def _readable(self) -> None:
        for _ in range(_BATCH):
            try:
                parts = self._socket.recv_multipart(zmq.DONTWAIT, copy=False)
            except zmq.Again:
                break
            self._take(parts)
        self._sink.settle()

    def _take(self, parts: list[zmq.Frame]) -> None:
        routing_id = parts[0].bytes
        link = self._links.get(routing_id)
        if link is None:
            # Descriptors are used again: whoever had this one before has left, and that is told first.
            self._monitored()
            link = self._links[routing_id] = ZeroMQLink(self._socket, routing_id)
            self._by_fd.setdefault(parts[0].get(zmq.SRCFD), set()).add(routing_id)
        if link.refused:
            return
        try:
            message = decode_client_message([part.buffer for part in parts[1:]], self._limits)
        except BridgeError as error:
            self._sink.broken(link, error)
            return
        self._sink.arrived(link, message)

    def _monitored(self) -> None:
        while self._monitor.poll(0):
            event = recv_monitor_message(self._monitor)
            for routing_id in self._by_fd.pop(event["value"], ()):
                link = self._links.pop(routing_id, None)
                if link is not None:
                    self._sink.gone(link)
