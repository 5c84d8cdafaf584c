"""The floor of the wire: the same parts one way, 40 bytes back per tick, the same credit, and no bridge in between.

Each side runs in a process of its own, as client and server do.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from multiprocessing.connection import Connection
from typing import Any, Final

import zmq

__all__ = ["REPLY_BYTES", "bare_grpc", "bare_zeromq"]

REPLY_BYTES: Final = 40
_METHOD: Final = "/bare.Stream/Connect"


def bare_zeromq(parts: list[bytes], *, ticks: int, credit: int) -> float:
    """Return the ticks per second of a DEALER that sends these parts to a ROUTER."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.set(zmq.SNDHWM, 0)
    with _Peer(_zeromq_peer, ticks) as port:
        dealer.connect(f"tcp://127.0.0.1:{port}")
        dealer.send_multipart([b"", *parts], copy=False)  # connected, and warm
        dealer.recv()
        began_s = time.perf_counter()
        sent = received = 0
        while received < ticks:
            while sent < ticks and sent - received < credit and not dealer.poll(0):
                dealer.send_multipart([b"", *parts], copy=False)
                sent += 1
            dealer.recv()
            received += 1
        seconds = time.perf_counter() - began_s
    dealer.close(linger=0)
    context.term()
    return ticks / seconds


def bare_grpc(message: bytes, *, ticks: int, credit: int) -> float:
    """Return the ticks per second of a gRPC stream of messages of these bytes."""
    import threading

    import grpc

    with (
        _Peer(_grpc_peer, ticks) as port,
        grpc.insecure_channel(f"127.0.0.1:{port}", options=_grpc_options()) as channel,
    ):
        room = threading.Semaphore(credit)

        def messages() -> Iterator[bytes]:
            for _ in range(ticks + 1):
                room.acquire()
                yield message

        replies: Any = channel.stream_stream(_METHOD, request_serializer=None, response_deserializer=None)(messages())
        next(replies)
        room.release()
        began_s = time.perf_counter()
        for _ in range(ticks):
            next(replies)
            room.release()
        seconds = time.perf_counter() - began_s
    return ticks / seconds


class _Peer:
    """A function in a process of its own that tells its port."""

    def __init__(self, target: Callable[[Connection, int], None], ticks: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(target=target, args=(there, ticks))
        self._process.start()
        there.close()

    def __enter__(self) -> int:
        port: int = self._here.recv()
        return port

    def __exit__(self, *_: object) -> None:
        self._here.send("stop")
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._here.close()


def _zeromq_peer(pipe: Connection, ticks: int) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    router = context.socket(zmq.ROUTER)
    router.set(zmq.SNDHWM, 0)
    pipe.send(router.bind_to_random_port("tcp://127.0.0.1"))
    reply = bytes(REPLY_BYTES)
    for _ in range(ticks + 1):
        frames = router.recv_multipart(copy=False)
        router.send_multipart([frames[0], reply])
    pipe.recv()
    router.close(linger=0)
    context.term()


def _grpc_peer(pipe: Connection, ticks: int) -> None:
    import grpc

    reply = bytes(REPLY_BYTES)

    def stream(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        for _ in requests:
            yield reply

    service, _, method = _METHOD[1:].partition("/")
    server = grpc.server(futures.ThreadPoolExecutor(2), options=_grpc_options())
    handler = grpc.stream_stream_rpc_method_handler(stream)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    pipe.send(port)
    pipe.recv()
    server.stop(grace=0.5).wait()


def _grpc_options() -> list[tuple[str, int]]:
    return [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
