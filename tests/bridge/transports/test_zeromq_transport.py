"""ZeroMQ: what a handshake that fails says, before and after the connection has been up."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest
from echo import PATIENCE_S, EchoSink, receive

from bridge.errors import Unauthorized
from bridge.messages import Limits, Ping, Pong
from bridge.transports.base import Down, Up
from bridge.transports.zeromq import CurveKeys, ZeroMQTransport
from longvie_server.frontend.reactor import Reactor
from longvie_server.frontend.zeromq_frontend import CurveServerKeys, ZeroMQFrontend


@contextmanager
def listening(keys: CurveServerKeys | None, endpoint: str = "tcp://127.0.0.1:0") -> Iterator[str]:
    """Run a front end and yield its endpoint."""
    errors: list[BaseException] = []
    reactor = Reactor(on_error=errors.append)
    reactor.start()
    frontend = ZeroMQFrontend(reactor, endpoint, EchoSink(), limits=Limits(), keys=keys)
    reactor.run(frontend.start)
    try:
        yield frontend.endpoint
    finally:
        reactor.run(frontend.stop)
        reactor.stop()
    assert errors == []


@contextmanager
def hanging_up(port: int = 0) -> Iterator[int]:
    """Listen where every connection is closed before its handshake is over: a server that dies. Yields the port."""
    listener = socket.create_server(("127.0.0.1", port))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(10)

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(PATIENCE_S)


def transport(endpoint: str, keys: CurveServerKeys | None) -> closing[ZeroMQTransport]:
    curve = None if keys is None else CurveKeys.anonymous(keys.public)
    return closing(ZeroMQTransport(endpoint, keys=curve))


def next_downs(client: ZeroMQTransport) -> list[Down]:
    """Return the next end of a connection as it is told: one event or several at once."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        downs = [event for event in client.poll(PATIENCE_S) if isinstance(event, Down)]
        if downs:
            return downs
    raise AssertionError("the connection did not end")


@pytest.mark.parametrize("keys", [None, CurveServerKeys.generate()], ids=["clear", "encrypted"])
def test_a_handshake_that_fails_after_the_connection_was_up_is_a_loss(keys: CurveServerKeys | None) -> None:
    with ExitStack() as server:
        endpoint = server.enter_context(listening(keys))
        with transport(endpoint, keys) as client:
            client.open()
            assert receive(client, 1) == [Up()]
            client.send(Ping(1))
            assert receive(client, 1) == [Pong(1)]
            server.close()
            assert all(down.error is None for down in next_downs(client))
            with hanging_up(int(endpoint.rpartition(":")[2])):
                client.open()
                # The key was right before: trying again can help, so there is no error.
                assert all(down.error is None for down in next_downs(client))
            with listening(keys, endpoint):
                client.open()
                assert receive(client, 1) == [Up()]


def test_the_same_failure_of_a_first_connection_is_a_wrong_key() -> None:
    with hanging_up() as port, transport(f"tcp://127.0.0.1:{port}", CurveServerKeys.generate()) as client:
        client.open()
        (error,) = (down.error for down in next_downs(client) if down.error is not None)
        assert isinstance(error, Unauthorized)
        assert error.field == "server_key"


@pytest.mark.parametrize(
    ("server", "client"),
    [
        (CurveServerKeys.generate(), CurveServerKeys.generate()),
        (CurveServerKeys.generate(), None),
        (None, CurveServerKeys.generate()),
    ],
    ids=["another key", "only the server", "only the client"],
)
def test_a_wrong_key_is_refused(server: CurveServerKeys | None, client: CurveServerKeys | None) -> None:
    with listening(server) as endpoint, transport(endpoint, client) as mine:
        mine.open()
        assert any(isinstance(down.error, Unauthorized) for down in next_downs(mine))
