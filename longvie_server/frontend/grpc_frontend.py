"""The gRPC front end: each `Connect` stream is one peer.

A stream has two threads: the call's own writes what the peer's outbox holds, another reads and hands messages to the
sink. A sink that waits stops the reading, and with it, by HTTP/2's flow control, the client.

Laws: `gone` is told once per peer that said anything, after all else; a peer that sent what cannot be read is not read
from again; a message over the limit is refused before it is taken apart.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Final

import grpc

from bridge.codecs.protobuf_codec import decode_client_message, encode
from bridge.errors import BridgeError, InvalidValue
from bridge.messages import Limits, ServerMessage
from bridge.transports.grpc import CONNECT_METHOD, GREETING, KEEPALIVE_MS, MESSAGE_SLACK

from .peer import PeerSink

__all__ = ["GrpcFrontend", "TlsFiles"]

_MAX_CONNECTIONS: Final = 256
_GOODBYE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the server's private key and its certificate chain."""

    key: str
    certificate: str


class _GrpcLink:
    """One connected stream."""

    def __init__(self) -> None:
        self._outbox: SimpleQueue[ServerMessage | None] = SimpleQueue()
        self._closed = False

    def send(self, message: ServerMessage) -> bool:
        """Send without waiting; False if the peer is gone."""
        if self._closed:
            return False
        self._outbox.put(message)
        return True

    def close(self) -> None:
        """End the stream after what was sent has left."""
        self._closed = True
        self._outbox.put(None)

    def responses(self) -> Iterator[bytes]:
        """Yield what is to be sent, until the end."""
        while (message := self._outbox.get()) is not None:
            yield encode(message)


class GrpcFrontend:
    """Listens for gRPC clients.

    Args:
        address: host:port; port 0 for a free one.
        sink: takes the messages, on a thread per peer.
        tls: certificate and key; None for connections in the clear.
        limits: on what is read.
    """

    def __init__(
        self, address: str, sink: PeerSink, *, tls: TlsFiles | None = None, limits: Limits | None = None
    ) -> None:
        self._address, self._sink, self._tls = address, sink, tls
        self._limits = limits or Limits()
        self._executor: ThreadPoolExecutor | None = None
        self._server: grpc.Server | None = None
        self._links: set[_GrpcLink] = set()
        self._readers: set[threading.Thread] = set()
        self._lock = threading.Lock()
        self.port = 0
        """Where it listens, once it does."""

    def start(self) -> None:
        """Listen.

        Raises:
            InvalidValue: the address is taken or no address, or a certificate cannot be used.
        """
        credentials = None if self._tls is None else _credentials(self._tls)
        self._executor = ThreadPoolExecutor(_MAX_CONNECTIONS, thread_name_prefix="longvie-grpc-write")
        server = grpc.server(
            self._executor,
            handlers=[
                grpc.method_handlers_generic_handler(
                    CONNECT_METHOD.split("/")[1],
                    {CONNECT_METHOD.split("/")[2]: grpc.stream_stream_rpc_method_handler(self._connect)},
                )
            ],
            options=_options(self._limits),
            maximum_concurrent_rpcs=_MAX_CONNECTIONS,
        )
        try:
            if credentials is None:
                self.port = server.add_insecure_port(self._address)
            else:
                self.port = server.add_secure_port(self._address, credentials)
        except RuntimeError as error:
            self._executor.shutdown()
            raise InvalidValue(
                "cannot listen there",
                field="listen",
                value=self._address,
                remedy="Choose a free port (0 takes any) and an address of this machine"
                + (" (and a key that belongs to the certificate)." if self._tls else "."),
            ) from error
        server.start()
        self._server = server

    def stop(self) -> None:
        """Stop listening; peers get what was sent to them, within a second."""
        if self._server is None or self._executor is None:
            return
        with self._lock:
            links = tuple(self._links)
        for link in links:
            link.close()
        self._server.stop(_GOODBYE_S).wait()
        self._executor.shutdown()
        with self._lock:  # only now: until here, a stream could still begin
            readers = tuple(self._readers)
        for reader in readers:
            reader.join()
        self._server = self._executor = None

    def _connect(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        context.send_initial_metadata((GREETING,))
        link = _GrpcLink()
        reader = threading.Thread(target=self._read, args=(link, requests), name="longvie-grpc-read", daemon=True)
        with self._lock:
            self._links.add(link)
            self._readers.add(reader)
            reader.start()  # under the lock: whoever sees it may join it
        if not context.add_callback(link.close):  # wakes the writer when the client is gone
            link.close()
        return link.responses()

    def _read(self, link: _GrpcLink, requests: Iterator[bytes]) -> None:
        known = unreadable = False
        # The iterator raises when the client is gone; that is told below, like a client that says goodbye.
        with contextlib.suppress(grpc.RpcError):
            for data in requests:
                known = True
                try:
                    message = decode_client_message(data, self._limits)
                except BridgeError as error:
                    unreadable = True
                    self._sink.broken(link, error)
                    break
                self._sink.arrived(link, message)
        if known:
            self._sink.gone(link)
        if not unreadable:  # else the sink closes it, after it has told it why
            link.close()
        with self._lock:
            self._links.discard(link)
            self._readers.discard(threading.current_thread())


def _options(limits: Limits) -> list[tuple[str, int]]:
    return [
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", min(limits.max_message_bytes + MESSAGE_SLACK, 2**31 - 1)),
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_MS),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", KEEPALIVE_MS // 2),
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.so_reuseport", 0),  # a second server on the same port is an error, not a lottery
    ]


def _credentials(tls: TlsFiles) -> grpc.ServerCredentials:
    pair = []
    for field, path in (("listen.tls_key", tls.key), ("listen.tls_certificate", tls.certificate)):
        try:
            pair.append(Path(path).read_bytes())
        except OSError as error:
            raise InvalidValue(
                f"cannot be read ({error.strerror})", field=field, value=path, remedy="Give a PEM file."
            ) from error
    return grpc.ssl_server_credentials([(pair[0], pair[1])])
