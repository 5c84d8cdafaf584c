"""gRPC: one bidirectional stream is one connection.

The channel's own threads send; a thread of ours receives and decodes. The server answers a new stream at once with its
initial metadata, which is how a client learns that it is up.

Laws: a stream, its channel and its queue are thrown away together, so nothing left over can reach the next one; a
message is encoded when it is about to leave, so what waits costs no second copy; a server that cannot be reached is
tried again with growing pauses.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, TypeAlias

import grpc

from ..codecs.protobuf_codec import decode_server_message, encode
from ..errors import BridgeError, InvalidValue, LimitExceeded, Unauthorized
from ..messages import ClientMessage, ErrorMessage, Limits
from .base import Down, TransportEvent, Up, drain

__all__ = ["CONNECT_METHOD", "GREETING", "KEEPALIVE_MS", "MESSAGE_SLACK", "GrpcTransport"]

CONNECT_METHOD: Final = "/longvie.bridge.v1.Bridge/Connect"
GREETING: Final = ("longvie-bridge", "1")
"""The server's initial metadata: it tells an accepted stream from one that failed."""
KEEPALIVE_MS: Final = 10_000
"""A peer is asked for a sign of life this often, and has as long to give one."""
MESSAGE_SLACK: Final = 2**20
"""gRPC's own limit lies this far above ours, so that a message a little too large is refused in our words."""

_PAUSES_S: Final = (0.1, 0.2, 0.4, 0.8, 1.6)
_GOODBYE_S: Final = 1.0
# What gRPC's TLS says where trying again cannot help; a handshake that only broke off may do better next time.
_TLS_TROUBLE: Final = ("CERTIFICATE_VERIFY_FAILED", "WRONG_VERSION_NUMBER", "Hostname Verification", "Peer name")

_Incoming: TypeAlias = "tuple[_Stream, TransportEvent] | None"


class GrpcTransport:
    """The client's end of gRPC.

    Args:
        address: host:port.
        tls: encrypt.
        ca_file: PEM file of the authority that signed the server's certificate; empty: the system's.
        limits: what is taken from the server.
    """

    def __init__(self, address: str, *, tls: bool = False, ca_file: str = "", limits: Limits | None = None) -> None:
        self._address, self._tls, self._ca_file = address, tls, ca_file
        self._limits = limits or Limits(max_plane_bytes=2**30, max_message_bytes=2**30)
        self._incoming: SimpleQueue[_Incoming] = SimpleQueue()
        self._stream: _Stream | None = None
        self._failures = 0

    def open(self) -> None:
        """Begin to connect, with a fresh channel.

        Raises:
            InvalidValue: the certificate file cannot be read.
        """
        self._drop(linger_s=0.0)
        pause_s = _PAUSES_S[min(self._failures, len(_PAUSES_S) - 1)]
        self._stream = _Stream(self._channel(), self._incoming, self._limits, pause_s)

    def send(self, message: ClientMessage) -> None:
        """Have a message sent, after those before it."""
        if self._stream is not None:
            self._stream.outgoing.put(message)

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
        """Close; what was sent has a second to leave."""
        self._drop(linger_s=_GOODBYE_S)

    def _take(self, item: _Incoming, events: list[TransportEvent]) -> None:
        if item is None or item[0] is not self._stream:
            return
        if isinstance(item[1], Down):
            self._failures += 1
        elif not isinstance(item[1], Up):
            self._failures = 0
        events.append(item[1])

    def _drop(self, *, linger_s: float) -> None:
        if self._stream is not None:
            self._stream.close(linger_s=linger_s)
        self._stream = None

    def _channel(self) -> grpc.Channel:
        options = [
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", min(self._limits.max_message_bytes + MESSAGE_SLACK, 2**31 - 1)),
            ("grpc.keepalive_time_ms", KEEPALIVE_MS),
            ("grpc.keepalive_timeout_ms", KEEPALIVE_MS),
            ("grpc.http2.max_pings_without_data", 0),
            ("grpc.use_local_subchannel_pool", 1),  # a new channel is a new connection
        ]
        if not self._tls:
            return grpc.insecure_channel(self._address, options)
        try:
            authority = Path(self._ca_file).read_bytes() if self._ca_file else None
        except OSError as error:
            raise InvalidValue(
                f"cannot be read ({error.strerror})", field="ca_file", value=self._ca_file, remedy="Give a PEM file."
            ) from error
        return grpc.secure_channel(self._address, grpc.ssl_channel_credentials(authority), options)


class _Stream:
    """One attempt at a connection: its channel, its call, its queue and its thread."""

    def __init__(self, channel: grpc.Channel, incoming: SimpleQueue[_Incoming], limits: Limits, pause_s: float) -> None:
        self.outgoing: SimpleQueue[ClientMessage | None] = SimpleQueue()
        self._channel, self._incoming, self._limits, self._pause_s = channel, incoming, limits, pause_s
        self._sender: threading.Thread | None = None
        self._closing = threading.Event()
        self._heard = False
        # Without serializers the messages of a call are bytes.
        self._call: Any = channel.stream_stream(CONNECT_METHOD, None, None)(self._requests())
        self._thread = threading.Thread(target=self._run, name="longvie-bridge-grpc", daemon=True)
        self._thread.start()

    def close(self, *, linger_s: float) -> None:
        """End the stream: let what was sent leave for a while, then cut it."""
        self._closing.set()
        self.outgoing.put(None)
        if linger_s > 0:
            self._thread.join(linger_s)
        self._call.cancel()
        self._thread.join()

    def _requests(self) -> Iterator[bytes]:
        self._sender = threading.current_thread()
        while (message := self.outgoing.get()) is not None:
            try:
                yield encode(message)
            except BridgeError as error:
                self._emit(Down("a message cannot be sent", error))
                return

    def _run(self) -> None:
        try:
            self._receive()
        except grpc.RpcError:
            self._emit_down(_down(self._call))
        else:
            self._emit_down(Down("the server closed the connection"))
        finally:
            self.outgoing.put(None)
            self._channel.close()
            if self._sender is not None:
                self._sender.join()

    def _receive(self) -> None:
        if GREETING[0] in dict(self._call.initial_metadata() or ()):
            self._emit(Up())
        for data in self._call:
            self._heard = True
            try:
                self._emit(decode_server_message(data, self._limits))
            except BridgeError as error:
                # What cannot be read names no session: the connection as a whole is at fault.
                self._emit(ErrorMessage(error.code, error.problem, error.field, error.value, error.remedy, fatal=True))

    def _emit_down(self, event: Down) -> None:
        if not self._heard and event.error is None:
            # Nobody there, or nobody who talks to us: not again at once.
            self._closing.wait(self._pause_s)
        self._emit(event)

    def _emit(self, event: TransportEvent) -> None:
        self._incoming.put((self, event))


def _down(call: Any) -> Down:
    details = str(call.details())
    if call.code() is grpc.StatusCode.UNAVAILABLE and any(words in details for words in _TLS_TROUBLE):
        return Down(
            details,
            Unauthorized(
                "the encrypted handshake failed: the certificate is not to be trusted, or only one side is encrypted",
                field="ca_file",
                value=details[:300],
                remedy="Pass ca_file= with the authority that signed the server's certificate, and a host name that "
                "the certificate names; use grpc:// for a server without TLS.",
            ),
        )
    if call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in details:
        return Down(
            details,
            LimitExceeded(
                "a message was over the receiver's limit",
                field="message",
                value=details[:300],
                remedy="Send smaller planes: the model's own size is enough.",
            ),
        )
    return Down(f"{call.code().name.lower().replace('_', ' ')}: {details}")
