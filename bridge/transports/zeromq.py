"""ZeroMQ: a DEALER that talks to the server's ROUTER.

Laws: a socket is thrown away when its peer is gone, so nothing that was queued for the old connection can reach the new
one; planes leave and arrive without a copy; ZMTP heartbeats tell a silent peer from a slow one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import zmq
from zmq.utils.monitor import recv_monitor_message

from ..codecs.msgpack_codec import decode_server_message, encode
from ..errors import BridgeError, ConnectFailed, Unauthorized
from ..messages import ClientMessage, ErrorMessage, Limits, ServerMessage
from .base import Down, TransportEvent, Up

__all__ = ["HEARTBEAT_MS", "CurveKeys", "ZeroMQTransport"]

HEARTBEAT_MS: Final = 5_000
"""A peer that has not answered a heartbeat for three of these is gone."""
_COPY_BELOW: Final = 64 * 1024  # below this, a copy is cheaper than handing over the buffer


@dataclass(frozen=True, slots=True)
class CurveKeys:
    """CURVE keys in Z85 (40 characters): the server's public one, and the client's own pair."""

    server: str
    public: str
    secret: str

    @classmethod
    def anonymous(cls, server: str) -> CurveKeys:
        """Return keys for a server that knows its clients by token, not by key."""
        public, secret = zmq.curve_keypair()
        return cls(server, public.decode(), secret.decode())


class ZeroMQTransport:
    """The client's end of ZeroMQ.

    Args:
        endpoint: tcp://host:port or ipc://path.
        keys: CURVE keys, or None for a connection in the clear.
        limits: what is taken from the server.
    """

    def __init__(self, endpoint: str, *, keys: CurveKeys | None = None, limits: Limits | None = None) -> None:
        self._endpoint, self._keys, self._limits = endpoint, keys, limits or Limits(max_message_bytes=2**30)
        # The process's own context is never terminated: terminating one waits for sockets that still linger.
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self._wake_name = f"inproc://wake-{id(self)}"
        self._wake_in = self._context.socket(zmq.PULL)
        self._wake_in.bind(self._wake_name)
        self._wake_out = self._context.socket(zmq.PUSH)
        self._wake_out.connect(self._wake_name)
        self._woken = False
        self._was_up = False
        self._socket: zmq.Socket[bytes] | None = None
        self._monitor: zmq.Socket[bytes] | None = None
        self._poller = zmq.Poller()

    def open(self) -> None:
        """Begin to connect, with a fresh socket."""
        self._drop(linger_ms=0)
        socket = self._context.socket(zmq.DEALER)
        socket.set(zmq.SNDHWM, 0)  # bounded by the protocol's credit
        socket.set(zmq.RCVHWM, 0)
        socket.set(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
        socket.set(zmq.HEARTBEAT_TIMEOUT, 3 * HEARTBEAT_MS)
        socket.set(zmq.RECONNECT_IVL, _NEVER_MS)
        if self._keys is not None:
            socket.set(zmq.CURVE_SERVERKEY, self._keys.server.encode())
            socket.set(zmq.CURVE_PUBLICKEY, self._keys.public.encode())
            socket.set(zmq.CURVE_SECRETKEY, self._keys.secret.encode())
        monitor = socket.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED
            | zmq.EVENT_DISCONNECTED
            | zmq.EVENT_CLOSED
            | zmq.EVENT_HANDSHAKE_FAILED_AUTH
            | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
            | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
        )
        try:
            socket.connect(self._endpoint)
        except zmq.ZMQError as error:
            socket.disable_monitor()
            socket.close(linger=0)
            raise ConnectFailed(
                "is no address to connect to",
                field="url",
                value=self._endpoint,
                remedy=f"Write tcp://host:port ({error}).",
            ) from error
        self._socket, self._monitor = socket, monitor
        self._poller = zmq.Poller()
        for polled in (socket, monitor, self._wake_in):
            self._poller.register(polled, zmq.POLLIN)

    def send(self, message: ClientMessage) -> None:
        """Send a message; large planes are handed over without a copy."""
        if self._socket is None:
            return
        with contextlib.suppress(zmq.Again):  # the peer is gone: `poll` is about to say so, and sessions keep it
            send_parts(self._socket, encode(message))

    def poll(self, timeout_s: float) -> list[TransportEvent]:
        """Return connection changes and messages."""
        ready = dict(self._poller.poll(max(0, int(timeout_s * 1000))))
        if self._wake_in in ready:
            self._wake_in.recv()
            self._woken = False  # before the caller looks at what waits: whoever adds to it from now on wakes again
        events: list[TransportEvent] = []
        if self._monitor is not None and self._monitor in ready:
            events.extend(self._monitored())
            if any(isinstance(event, Down) for event in events):
                # What the old connection still holds would come after its end; the next one brings it again.
                self._drop(linger_ms=0)
        if self._socket is not None and self._socket in ready:
            events.extend(self._received())
        return events

    def wake(self) -> None:
        """Make `poll` return now. Callers take turns (the connection's lock), as ZeroMQ asks."""
        if not self._woken:
            self._woken = True
            self._wake_out.send(b"", zmq.DONTWAIT)

    def close(self) -> None:
        """Close; what was sent has a second to leave."""
        self._drop(linger_ms=1_000)
        self._wake_in.close(linger=0)
        self._wake_out.close(linger=0)

    def _drop(self, *, linger_ms: int) -> None:
        if self._socket is not None and self._monitor is not None:
            self._socket.disable_monitor()
            self._monitor.close(linger=0)  # the poller still holds it
            self._socket.close(linger=linger_ms)
        self._socket = self._monitor = None

    def _monitored(self) -> Iterator[TransportEvent]:
        assert self._monitor is not None
        while self._monitor is not None and self._monitor.poll(0):
            event = recv_monitor_message(self._monitor)
            kind = event["event"]
            if kind == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._was_up = True
                yield Up()
            elif kind == zmq.EVENT_DISCONNECTED:
                yield Down("the connection was closed")
            elif kind == zmq.EVENT_CLOSED:
                yield Down("nobody listens there")
            elif kind == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                yield Down(
                    "refused", Unauthorized("the server refused this key", field="server_key", remedy=_KEY_REMEDY)
                )
            elif kind == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL and self._was_up:
                # The key was right before: this is a server that dies while we come back, not one that refuses us.
                yield Down("the connection was closed")
            elif kind in (zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL):
                problem = "the encrypted handshake failed: only one side is encrypted, or the key is another server's"
                yield Down("refused", Unauthorized(problem, field="server_key", remedy=_KEY_REMEDY))

    def _received(self) -> Iterator[ServerMessage]:
        assert self._socket is not None
        while True:
            try:
                parts = self._socket.recv_multipart(zmq.DONTWAIT, copy=False)
            except zmq.Again:
                return
            try:
                yield decode_server_message([part.buffer for part in parts], self._limits)
            except BridgeError as error:
                # A header that cannot be read names no session: the connection as a whole is at fault.
                yield ErrorMessage(error.code, error.problem, error.field, error.value, error.remedy, fatal=True)


_NEVER_MS: Final = 24 * 3600 * 1000
"""A socket that connected again by itself would send the old connection's messages on the new one: `open` makes a fresh
one instead, long before this is over. (-1, which ZeroMQ offers for "never", ends a lost connection in the middle of a
message that is being read, and then aborts the process: fq.cpp, "Assertion failed: !_more", seen in 4.3.5.)"""
_KEY_REMEDY: Final = "Pass server_key= as `longvie serve` prints it, and tcp:// of that server."


def send_parts(socket: zmq.Socket[bytes], parts: list[bytes | memoryview], prefix: bytes | None = None) -> None:
    """Send a multipart message without waiting; parts above a size leave without a copy."""
    if prefix is not None:
        socket.send(prefix, zmq.SNDMORE | zmq.DONTWAIT)
    last = len(parts) - 1
    for number, part in enumerate(parts):
        flags = zmq.DONTWAIT | (zmq.SNDMORE if number < last else 0)
        socket.send(part, flags, copy=len(part) < _COPY_BELOW)
