"""In one process: names, and bytes as on a wire."""

from __future__ import annotations

import pytest
from echo import EchoSink, receive, tick

from bridge.errors import InvalidValue
from bridge.messages import Ping, Pong
from bridge.transports.base import Up
from bridge.transports.memory import MemoryTransport
from longvie_server.frontend.memory_frontend import MemoryFrontend


def test_a_server_may_come_later() -> None:
    client = MemoryTransport("later")
    client.open()
    client.send(Ping(1))
    assert client.poll(0.0) == []
    frontend = MemoryFrontend("later", EchoSink())
    frontend.start()
    assert receive(client, 2) == [Up(), Pong(1)]
    client.close()
    frontend.stop()


def test_a_name_is_taken_once() -> None:
    frontend = MemoryFrontend("taken", EchoSink())
    frontend.start()
    with pytest.raises(InvalidValue) as caught:
        MemoryFrontend("taken", EchoSink()).start()
    assert caught.value.value == "memory://taken"
    frontend.stop()
    frontend.start()
    frontend.stop()


def test_what_arrives_shares_no_memory_with_what_was_sent() -> None:
    sink = EchoSink()
    frontend = MemoryFrontend("bytes", sink)
    frontend.start()
    client = MemoryTransport("bytes")
    client.open()
    buffer = bytearray(b"\x01" * 8)
    message = tick(1, size=8)
    object.__setattr__(message.depth, "data", memoryview(buffer))
    client.send(message)
    buffer[:] = b"\xff" * 8
    receive(client, 2)
    assert bytes(sink.said("arrived")[0].depth.data) == b"\x01" * 8
    client.close()
    frontend.stop()
