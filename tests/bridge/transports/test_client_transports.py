"""What every client transport does, over gRPC and in memory: one set of tests for the seam."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest
from echo import PATIENCE_S, EchoSink, only, receive, tick

from bridge.messages import Finish, Limits, Ping, Pong, Receipt
from bridge.transports.base import ClientTransport, Down, Up
from bridge.transports.grpc import GrpcTransport
from bridge.transports.memory import MemoryTransport
from longvie_server.frontend.grpc_frontend import GrpcFrontend
from longvie_server.frontend.memory_frontend import MemoryFrontend

_names = itertools.count()


@dataclass
class Wire:
    """A front end that a test may stop and start, and the way to it."""

    start: Callable[[EchoSink], Callable[[], None]]
    transport: Callable[[], ClientTransport]
    clients: list[ClientTransport] = field(default_factory=list)

    def connect(self) -> ClientTransport:
        client = self.transport()
        self.clients.append(client)
        client.open()
        assert receive(client, 1) == [Up()]
        return client


def grpc_wire() -> Wire:
    ports: list[int] = []

    def start(sink: EchoSink) -> Callable[[], None]:
        frontend = GrpcFrontend(f"127.0.0.1:{ports[0] if ports else 0}", sink, limits=Limits())
        frontend.start()
        ports[:] = [frontend.port]
        return frontend.stop

    return Wire(start, lambda: GrpcTransport(f"127.0.0.1:{ports[0]}"))


def memory_wire() -> Wire:
    name = f"wire-{next(_names)}"

    def start(sink: EchoSink) -> Callable[[], None]:
        frontend = MemoryFrontend(name, sink)
        frontend.start()
        return frontend.stop

    return Wire(start, lambda: MemoryTransport(name))


@pytest.fixture
def sink() -> EchoSink:
    return EchoSink()


@pytest.fixture(params=[grpc_wire, memory_wire], ids=["grpc", "memory"])
def wire(request: pytest.FixtureRequest) -> Iterator[Wire]:
    before = set(threading.enumerate())
    wire: Wire = request.param()
    yield wire
    for client in wire.clients:
        client.close()
    # gRPC's own threads need a moment to see that their channel is closed.
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE_S)
    assert set(threading.enumerate()) <= before


@pytest.fixture
def stop(wire: Wire, sink: EchoSink) -> Iterator[Callable[[], None]]:
    with ExitStack() as stack:
        stack.callback(wire.start(sink))
        yield stack.close


@pytest.mark.usefixtures("stop")
def test_messages_arrive_in_order_both_ways(wire: Wire, sink: EchoSink) -> None:
    client = wire.connect()
    for nonce in range(50):
        client.send(Ping(nonce))
    assert receive(client, 50) == [Pong(nonce) for nonce in range(50)]
    assert sink.said("arrived") == [Ping(nonce) for nonce in range(50)]


@pytest.mark.usefixtures("stop")
def test_planes_arrive_whole(wire: Wire, sink: EchoSink) -> None:
    client = wire.connect()
    client.send(tick(7))
    assert receive(client, 1) == [Receipt("s", 7, 8, 97)]
    assert sink.said("arrived") == [tick(7)]


@pytest.mark.usefixtures("stop")
def test_send_does_not_wait_for_a_server_that_does_not_read(wire: Wire, sink: EchoSink) -> None:
    client = wire.connect()
    sink.may_arrive.clear()
    for index in range(40):
        client.send(tick(index))
    assert client.poll(0.0) == []
    sink.may_arrive.set()
    assert [only(event, Receipt).index for event in receive(client, 40)] == list(range(40))


@pytest.mark.usefixtures("stop")
def test_what_was_sent_before_close_is_delivered(wire: Wire, sink: EchoSink) -> None:
    client = wire.connect()
    for index in range(5):
        client.send(tick(index))
    client.send(Finish("s", 6))
    client.close()
    sink.wait(lambda sink: len(sink.said("gone")) == 1)
    assert [kind for kind, _ in sink.log] == ["arrived"] * 6 + ["gone"]


def test_a_server_that_stops_is_down_and_one_that_starts_again_is_up(
    wire: Wire, sink: EchoSink, stop: Callable[[], None]
) -> None:
    client = wire.connect()
    client.send(Ping(1))
    assert receive(client, 1) == [Pong(1)]
    stop()
    down = only(receive(client, 1)[0], Down)
    assert down.reason
    assert down.error is None
    client.send(Ping(2))  # into the void: the old connection is over, and a new one starts with nothing left over
    again = wire.start(sink)
    try:
        client.open()
        assert receive(client, 1) == [Up()]
        client.send(Ping(3))
        assert receive(client, 1) == [Pong(3)]
        client.close()
    finally:
        again()
    assert sink.said("arrived") == [Ping(1), Ping(3)]


@pytest.mark.usefixtures("stop")
def test_open_again_drops_what_the_old_connection_held(wire: Wire, sink: EchoSink) -> None:
    client = wire.connect()
    client.send(Ping(1))
    sink.wait(lambda sink: len(sink.said("arrived")) == 1)
    client.open()
    assert receive(client, 1) == [Up()]
    sink.wait(lambda sink: len(sink.said("gone")) == 1)
    client.send(Ping(2))
    assert receive(client, 1) == [Pong(2)]


@pytest.mark.usefixtures("stop")
def test_the_server_may_hang_up_after_its_last_word(wire: Wire, sink: EchoSink) -> None:
    client = wire.connect()
    client.send(Ping(1))
    receive(client, 1)
    (link,) = sink.links
    assert link.send(Pong(2))
    link.close()
    events = receive(client, 2)
    assert events[0] == Pong(2)
    assert isinstance(events[1], Down)
    sink.wait(lambda sink: bool(sink.said("gone")))
    assert not link.send(Pong(3))


@pytest.mark.usefixtures("stop")
def test_wake_ends_a_wait(wire: Wire) -> None:
    client = wire.connect()
    waker = threading.Timer(0.01, client.wake)
    waker.start()
    assert client.poll(PATIENCE_S) == []
    waker.join()


@pytest.mark.usefixtures("stop")
def test_clients_do_not_hear_each_other(wire: Wire, sink: EchoSink) -> None:
    first, second = wire.connect(), wire.connect()
    first.send(Ping(1))
    assert receive(first, 1) == [Pong(1)]
    second.send(Ping(2))
    assert receive(second, 1) == [Pong(2)]
    first.close()
    sink.wait(lambda sink: len(sink.said("gone")) == 1)
    second.send(Ping(3))
    assert receive(second, 1) == [Pong(3)]


def test_close_without_a_server(wire: Wire, sink: EchoSink) -> None:
    wire.start(sink)()
    client = wire.transport()
    client.open()
    client.send(Ping(1))
    client.close()
    client.close()
    assert sink.log == []
