"""The in-process front end: nonsense is told, the last word gets out."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import Any

from bridge.codecs.msgpack_codec import decode_server_message, encode
from bridge.errors import BridgeError, ProtocolError
from bridge.messages import ClientMessage, ErrorMessage, Limits, Ping
from bridge.transports.base import Down, Up
from bridge.transports.memory import MemoryPipe, connect
from longvie_server.frontend.memory_frontend import MemoryFrontend
from longvie_server.frontend.peer import PeerLink

PATIENCE_S = 20.0


class SlowSink:
    """Answers what is broken from another thread, as a hub does."""

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.over = threading.Event()

    def arrived(self, link: PeerLink, message: ClientMessage) -> None:
        self.log.append(message)

    def broken(self, link: PeerLink, error: BridgeError) -> None:
        self.log.append(error)

        def tell() -> None:
            link.send(ErrorMessage(error.code, error.problem, fatal=True))
            link.close()

        threading.Timer(0.05, tell).start()

    def gone(self, link: PeerLink) -> None:
        self.log.append("gone")
        self.over.set()


def test_nonsense_is_told_before_the_end() -> None:
    sink = SlowSink()
    frontend = MemoryFrontend("nonsense", sink)
    frontend.start()
    inbox: SimpleQueue[Any] = SimpleQueue()
    pipe = MemoryPipe(inbox)
    connect("nonsense", pipe)
    for parts in (encode(Ping(1)), [b"\xc1"], encode(Ping(2))):
        pipe.to_server.put(parts)
    assert inbox.get(timeout=PATIENCE_S)[1] == Up()
    answer = decode_server_message(inbox.get(timeout=PATIENCE_S)[1], Limits())
    assert isinstance(answer, ErrorMessage)
    assert answer.code == ProtocolError.code
    assert isinstance(inbox.get(timeout=PATIENCE_S)[1], Down)
    assert sink.over.wait(PATIENCE_S)
    assert sink.log[0] == Ping(1)
    assert isinstance(sink.log[1], ProtocolError)
    assert sink.log[2:] == ["gone"]
    frontend.stop()
