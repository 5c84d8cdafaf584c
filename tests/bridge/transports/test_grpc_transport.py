"""gRPC: what its address, its certificates and its limits can get wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from echo import EchoSink, only, receive, tick

from bridge.errors import InvalidValue, LimitExceeded, Unauthorized
from bridge.messages import ErrorMessage, Limits, Notice, Ping, Pong
from bridge.transports.base import Down, Up
from bridge.transports.grpc import MESSAGE_SLACK, GrpcTransport
from longvie_server.frontend.grpc_frontend import GrpcFrontend, TlsFiles

PEM = Path(__file__).parents[2] / "golden" / "tls"
TLS = TlsFiles(key=str(PEM / "server.key.pem"), certificate=str(PEM / "server.pem"))
CA = str(PEM / "server.pem")


@contextmanager
def listening(address: str = "127.0.0.1:0", **options: Any) -> Iterator[GrpcFrontend]:
    frontend = GrpcFrontend(address, EchoSink(), **options)
    frontend.start()
    try:
        yield frontend
    finally:
        frontend.stop()


@contextmanager
def opened(address: str, **options: Any) -> Iterator[GrpcTransport]:
    transport = GrpcTransport(address, **options)
    try:
        transport.open()
        yield transport
    finally:
        transport.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_encrypted(host: str) -> None:
    with listening(tls=TLS) as server, opened(f"{host}:{server.port}", tls=True, ca_file=CA) as client:
        assert receive(client, 1) == [Up()]
        client.send(Ping(1))
        assert receive(client, 1) == [Pong(1)]


@pytest.mark.parametrize("ca_file", ["", str(PEM / "stranger.pem")], ids=["system", "stranger"])
def test_a_certificate_that_is_not_trusted(ca_file: str) -> None:
    with listening(tls=TLS) as server, opened(f"127.0.0.1:{server.port}", tls=True, ca_file=ca_file) as client:
        down = only(receive(client, 1)[0], Down)
        assert isinstance(down.error, Unauthorized)
        assert down.error.field == "ca_file"


def test_a_certificate_of_another_host() -> None:
    with listening("0.0.0.0:0", tls=TLS) as server, opened(f"127.0.0.2:{server.port}", tls=True, ca_file=CA) as client:
        assert isinstance(only(receive(client, 1)[0], Down).error, Unauthorized)


def test_only_the_client_is_encrypted() -> None:
    with listening() as server, opened(f"127.0.0.1:{server.port}", tls=True, ca_file=CA) as client:
        assert isinstance(only(receive(client, 1)[0], Down).error, Unauthorized)


def test_only_the_server_is_encrypted() -> None:
    with listening(tls=TLS) as server, opened(f"127.0.0.1:{server.port}") as client:
        # A connection that is cut without a word: this may pass, so it is tried again.
        assert only(receive(client, 1)[0], Down).error is None


def test_nobody_listens_and_a_server_that_starts_later() -> None:
    with listening() as server:
        address = f"127.0.0.1:{server.port}"
    with opened(address) as client:
        down = only(receive(client, 1)[0], Down)
        assert down.error is None
        assert "refused" in down.reason
        with listening(address):
            client.open()
            assert receive(client, 1) == [Up()]


def test_a_certificate_file_that_is_not_there() -> None:
    transport = GrpcTransport("127.0.0.1:1", tls=True, ca_file="/nowhere/ca.pem")
    with pytest.raises(InvalidValue) as caught:
        transport.open()
    assert caught.value.field == "ca_file"
    transport.close()


def test_a_message_a_little_over_the_limit_is_refused_in_our_words() -> None:
    limits = Limits(max_message_bytes=2**20)
    with listening(limits=limits) as server, opened(f"127.0.0.1:{server.port}") as client:
        assert receive(client, 1) == [Up()]
        client.send(tick(0, size=2**20))
        refusal, down = receive(client, 2)
        assert only(refusal, ErrorMessage).code == LimitExceeded.code
        assert only(refusal, ErrorMessage).fatal
        assert isinstance(down, Down)


def test_a_message_far_over_the_limit_is_not_sent_again_and_again() -> None:
    limits = Limits(max_message_bytes=2**20)
    with listening(limits=limits) as server, opened(f"127.0.0.1:{server.port}") as client:
        assert receive(client, 1) == [Up()]
        client.send(tick(0, size=2**20 + MESSAGE_SLACK))
        assert isinstance(only(receive(client, 1)[0], Down).error, LimitExceeded)


def test_what_the_server_says_is_limited_too() -> None:
    limits = Limits(max_message_bytes=1_000)
    sink = EchoSink()
    frontend = GrpcFrontend("127.0.0.1:0", sink)
    frontend.start()
    try:
        with opened(f"127.0.0.1:{frontend.port}", limits=limits) as client:
            assert receive(client, 1) == [Up()]
            client.send(Ping(1))
            assert receive(client, 1) == [Pong(1)]
            sink.links[0].send(Notice("s", 1, "long", "x" * 1_000))
            assert only(receive(client, 1)[0], ErrorMessage).code == LimitExceeded.code
    finally:
        frontend.stop()


def test_a_message_that_cannot_be_sent_is_told() -> None:
    with listening() as server, opened(f"127.0.0.1:{server.port}") as client:
        assert receive(client, 1) == [Up()]
        client.send(Ping(2**63))
        down = only(receive(client, 1)[0], Down)
        assert isinstance(down.error, InvalidValue)
        assert down.error.field == "Ping.nonce"
