"""The asyncio client against a real server with the fake model."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest
from servers import server_urls

from bridge import aio
from bridge.errors import ConnectFailed, InvalidValue, OutOfOrder
from bridge.geometry.camera import Camera, Intrinsics, Pose
from bridge.messages import (
    ClientMessage,
    Closed,
    Finish,
    FrameMessage,
    Hello,
    ModelInfo,
    Open,
    Opened,
    Plane,
    Receipt,
    TickMessage,
    Welcome,
)
from bridge.tick import Tick
from bridge.transports.memory import MemoryTransport
from longvie_server.frontend.memory_frontend import MemoryFrontend
from longvie_server.frontend.peer import PeerLink
from longvie_server.server import BridgeServer

HEIGHT, WIDTH = 48, 80
IMAGE = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
CAMERA = Camera(Intrinsics(80.0, 80.0, 40.0, 24.0, WIDTH, HEIGHT), Pose(np.eye(4)))

_names = itertools.count()


def tick(index: int) -> Tick:
    return Tick(index, CAMERA, np.full((HEIGHT, WIDTH), 2.0 + index, np.float32), time_ns=index * 62_500_000)


class OneFramePerTick:
    """A hub without a model: grants `credit` ticks, one more per tick, and returns each as a frame of its index."""

    def __init__(self, credit: int = 4) -> None:
        self._credit = credit
        self.ticks = 0
        self.gone_peers = 0
        self.changed = threading.Condition()

    def arrived(self, link: PeerLink, message: ClientMessage) -> None:
        if isinstance(message, Hello):
            link.send(Welcome(1, models=(ModelInfo("echo", 1, 2, 16, 1),)))
        elif isinstance(message, Open):
            model = ModelInfo("echo", 1, 2, 16, 1)
            link.send(Opened(message.key, "s", "secret", model, message.first_tick, 0, self._credit, message.seed))
        elif isinstance(message, TickMessage):
            self.ticks += 1
            link.send(Receipt("s", message.index, message.seq, self._credit + self.ticks))
            plane = Plane("uint8", (1, 2, 3), bytes([message.index % 256] * 6))
            link.send(FrameMessage("s", message.seq, message.index, message.time_ns, 0, plane))
        elif isinstance(message, Finish):
            link.send(Closed("s", self.ticks + 1, "finished", self.ticks))

    def broken(self, link: PeerLink, error: Exception) -> None:
        raise AssertionError(error)

    def gone(self, link: PeerLink) -> None:
        with self.changed:
            self.gone_peers += 1
            self.changed.notify_all()


@asynccontextmanager
async def echo_server(hub: OneFramePerTick) -> AsyncIterator[aio.Server]:
    name = f"aio-{next(_names)}"
    frontend = MemoryFrontend(name, hub)
    frontend.start()
    try:
        async with await aio.connect(f"memory://{name}", timeout_s=20) as server:
            yield server
    finally:
        frontend.stop()


async def open_echo(server: aio.Server) -> aio.Session:
    return await server.open(prompt="a wall", first_frame=IMAGE)


def test_send_all_then_read_all() -> None:
    async def main() -> list[int]:
        async with echo_server(OneFramePerTick()) as server, await open_echo(server) as session:
            for index in range(300):
                await session.send(tick(index))
            frames = [frame async for frame in session.frames()]
            assert all((frame.image == frame.index % 256).all() for frame in frames)
            return [frame.index for frame in frames]

    assert asyncio.run(main()) == list(range(300))


def test_one_task_sends_while_another_reads() -> None:
    async def main() -> tuple[list[int], int]:
        async with echo_server(OneFramePerTick()) as server, await open_echo(server) as session:
            sent = 0

            async def send() -> None:
                nonlocal sent
                for index in range(200):
                    await session.send(tick(index))
                    sent += 1
                session.finish()

            sender = asyncio.create_task(send())
            indices, sent_at_first_frame = [], 0
            async for frame in session.frames(finish=False):
                sent_at_first_frame = sent_at_first_frame or sent
                indices.append(frame.index)
            await sender
            return indices, sent_at_first_frame

    indices, sent_at_first_frame = asyncio.run(main())
    assert indices == list(range(200))
    assert sent_at_first_frame < 200


def test_a_send_that_waits_lets_the_loop_run_and_takes_no_thread() -> None:
    class Stingy(OneFramePerTick):
        """Takes ticks in, and answers them when it is told to."""

        def __init__(self) -> None:
            super().__init__(credit=1)
            self.may_answer = threading.Event()

        def arrived(self, link: PeerLink, message: ClientMessage) -> None:
            if isinstance(message, TickMessage):
                assert self.may_answer.wait(20)
            super().arrived(link, message)

    async def main() -> None:
        hub = Stingy()
        async with echo_server(hub) as server, await open_echo(server) as session:
            await session.send(tick(0))
            threads = threading.active_count()
            waiting = asyncio.create_task(session.send(tick(1)))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not waiting.done()
            assert threading.active_count() == threads
            hub.may_answer.set()
            await asyncio.wait_for(waiting, 20)

    asyncio.run(main())


def test_a_cancelled_send_sends_nothing() -> None:
    async def main() -> list[int]:
        async with echo_server(OneFramePerTick(credit=0)) as server, await open_echo(server) as session:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(session.send(tick(0)), 0.01)
            session.cancel()
            return [session.next_tick]

    assert asyncio.run(main()) == [0]


def test_order_and_misuse_are_told_as_in_the_blocking_client() -> None:
    async def main() -> None:
        async with echo_server(OneFramePerTick()) as server:
            with pytest.raises(InvalidValue):
                await server.open(prompt="", first_frame=IMAGE)
            session = await open_echo(server)
            with pytest.raises(OutOfOrder):
                await session.send(tick(5))
            await session.close()
            await session.close()
            with pytest.raises(OutOfOrder):
                await session.send(tick(0))

    asyncio.run(main())


def test_wait_until_and_its_time_out() -> None:
    async def main() -> None:
        async with echo_server(OneFramePerTick()) as server, await open_echo(server) as session:
            assert not await session.wait_until(lambda session: session.accepted_tick >= 0, timeout_s=0.01)
            await session.send(tick(0))
            assert await session.wait_until(lambda session: session.accepted_tick >= 0, timeout_s=20)
            session.finish()

    asyncio.run(main())


@pytest.mark.timeout(60)
def test_nobody_answers() -> None:
    async def main() -> None:
        with pytest.raises(ConnectFailed):
            await aio.connect("memory://nobody", timeout_s=0.05)

    asyncio.run(main())


def test_a_closed_loop_does_not_stop_the_connection() -> None:
    hub = OneFramePerTick()
    frontend = MemoryFrontend("forgotten", hub)
    frontend.start()
    server = asyncio.run(aio.connect("memory://forgotten"))
    other = MemoryTransport("forgotten")
    other.open()
    other.close()
    frontend.stop()  # the connection hears of it after its loop has gone
    asyncio.run(server.close())
    assert not server.connected


@pytest.mark.parametrize("transport", ["memory", "zeromq", "grpc"])
def test_against_a_real_server(fake_server: BridgeServer, transport: str) -> None:
    async def main() -> list[tuple[int, int]]:
        async with (
            await aio.connect(server_urls(fake_server)[transport]) as server,
            await server.open(prompt="a wall", first_frame=IMAGE, seed=7) as session,
        ):
            for index in range(5):
                await session.send(tick(index))
            return [(frame.index, frame.time_ns) async for frame in session.frames()]

    assert asyncio.run(main()) == [(index, index * 62_500_000) for index in range(5)]
