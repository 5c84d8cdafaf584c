"""The gRPC front end against a bare client: nonsense, addresses, the order of what its sink hears."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import grpc
import pytest

from bridge.codecs.protobuf_codec import decode_server_message, encode
from bridge.errors import BridgeError, InvalidValue, ProtocolError
from bridge.messages import ClientMessage, ErrorMessage, Limits, Ping, Pong
from bridge.transports.grpc import CONNECT_METHOD, GREETING
from longvie_server.frontend.grpc_frontend import GrpcFrontend, TlsFiles
from longvie_server.frontend.peer import PeerLink

PATIENCE_S = 20.0


class LogSink:
    """Answers pings; notes everything."""

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.over = threading.Event()

    def arrived(self, link: PeerLink, message: ClientMessage) -> None:
        self.log.append(message)
        link.send(Pong(7))

    def broken(self, link: PeerLink, error: BridgeError) -> None:
        self.log.append(error)
        link.send(ErrorMessage(error.code, error.problem, fatal=True))
        link.close()

    def gone(self, link: PeerLink) -> None:
        self.log.append("gone")
        self.over.set()


@pytest.fixture
def sink() -> LogSink:
    return LogSink()


@pytest.fixture
def frontend(sink: LogSink) -> Iterator[GrpcFrontend]:
    frontend = GrpcFrontend("127.0.0.1:0", sink, limits=Limits())
    frontend.start()
    yield frontend
    frontend.stop()


class BareClient:
    """A stream of bytes, as any language's gRPC opens it."""

    def __init__(self, port: int) -> None:
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self.requests: SimpleQueue[bytes | None] = SimpleQueue()
        connect: Any = self.channel.stream_stream(CONNECT_METHOD, None, None)
        self.call = connect(iter(self.requests.get, None))

    def __enter__(self) -> BareClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.requests.put(None)
        self.call.cancel()
        self.channel.close()


def test_the_greeting_comes_before_any_message(frontend: GrpcFrontend) -> None:
    with BareClient(frontend.port) as client:
        assert GREETING in tuple(client.call.initial_metadata())


def test_a_goodbye_ends_the_stream_well(frontend: GrpcFrontend, sink: LogSink) -> None:
    with BareClient(frontend.port) as client:
        client.requests.put(encode(Ping(1)))
        client.requests.put(None)
        assert [decode_server_message(data, Limits()) for data in client.call] == [Pong(7)]
        assert client.call.code() is grpc.StatusCode.OK
    assert sink.over.wait(PATIENCE_S)
    assert sink.log == [Ping(1), "gone"]


def test_a_client_that_vanishes_is_gone(frontend: GrpcFrontend, sink: LogSink) -> None:
    with BareClient(frontend.port) as client:
        client.requests.put(encode(Ping(1)))
        assert decode_server_message(next(client.call), Limits()) == Pong(7)
        client.call.cancel()
        assert sink.over.wait(PATIENCE_S)
    assert sink.log == [Ping(1), "gone"]


@pytest.mark.parametrize("nonsense", [b"", b"\xff" * 20, b"\x1a\x05\x08"])
def test_nonsense_is_told_and_nothing_more_is_read(frontend: GrpcFrontend, sink: LogSink, nonsense: bytes) -> None:
    with BareClient(frontend.port) as client:
        for data in (encode(Ping(1)), nonsense, encode(Ping(2))):
            client.requests.put(data)
        answers = [decode_server_message(data, Limits()) for data in client.call]
        assert sink.over.wait(PATIENCE_S)
    assert answers[0] == Pong(7)
    assert isinstance(answers[1], ErrorMessage)
    assert answers[1].code == ProtocolError.code
    assert len(answers) == 2
    assert sink.log[0] == Ping(1)
    assert isinstance(sink.log[1], ProtocolError)
    assert sink.log[2:] == ["gone"]


def test_a_client_that_never_says_anything_is_not_told_of(frontend: GrpcFrontend, sink: LogSink) -> None:
    with BareClient(frontend.port) as client:
        client.call.initial_metadata()
    frontend.stop()
    assert sink.log == []


def test_stop_lets_the_last_word_out(frontend: GrpcFrontend, sink: LogSink) -> None:
    with BareClient(frontend.port) as client:
        client.requests.put(encode(Ping(1)))
        assert decode_server_message(next(client.call), Limits()) == Pong(7)
        frontend.stop()
        assert list(client.call) == []
        assert client.call.code() is grpc.StatusCode.OK
    assert sink.log == [Ping(1), "gone"]


def test_a_port_is_taken_once(frontend: GrpcFrontend, sink: LogSink) -> None:
    with pytest.raises(InvalidValue) as caught:
        GrpcFrontend(f"127.0.0.1:{frontend.port}", sink).start()
    assert caught.value.value == f"127.0.0.1:{frontend.port}"


def test_a_certificate_that_is_not_there(sink: LogSink) -> None:
    with pytest.raises(InvalidValue) as caught:
        GrpcFrontend("127.0.0.1:0", sink, tls=TlsFiles("/nowhere/key.pem", "/nowhere/cert.pem")).start()
    assert caught.value.field == "listen.tls_key"
