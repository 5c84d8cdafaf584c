"""Connections are cut, workers are killed, servers start late: each frame still comes once, in order."""

from __future__ import annotations

import os
import random
import signal
import socket
import threading

import pytest
from cutting_proxy import CuttingProxy
from servers import ServerFactory
from shots import FIRST_FRAME, PROMPT, RANGE, check_frame, tick_of, ticks

import bridge
from longvie_server.config import load_config
from longvie_server.server import BridgeServer


def open_on(server: bridge.Server, **options: object) -> bridge.Session:
    settings = {"prompt": PROMPT, "first_frame": FIRST_FRAME, "seed": 7, "depth_range": RANGE, **options}
    return server.open(**settings)  # type: ignore[arg-type]


def port_of(server: BridgeServer, transport: str) -> int:
    return server.grpc_port if transport == "grpc" else int(server.zeromq_endpoint.rpartition(":")[2])


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["zeromq", "grpc"])
def test_a_connection_that_is_cut_a_hundred_times(fake_server: BridgeServer, transport: str) -> None:
    count, chance = 400, random.Random(5)
    scheme = "grpc" if transport == "grpc" else "tcp"
    cut_after_ticks = {chance.randrange(count) for _ in range(120)}
    frames: list[bridge.Frame] = []
    cuts = 0
    with (
        CuttingProxy("127.0.0.1", port_of(fake_server, transport)) as proxy,
        bridge.connect(f"{scheme}://127.0.0.1:{proxy.port}") as server,
        open_on(server) as session,
    ):
        for tick in ticks(count):
            session.send(tick)
            if tick.index in cut_after_ticks:
                # A connection that is still being made is no connection to cut.
                assert session.wait_until(lambda _: server.connected and proxy.stands, timeout_s=30)
                proxy.cut()
                cuts += 1
            frames.extend(session.arrived())
        for frame in session.frames():
            frames.append(frame)
            if frame.index % 16 == 0 and server.connected and proxy.stands:
                proxy.cut()
                cuts += 1
    assert cuts >= 100
    assert [frame.index for frame in frames] == list(range(count))
    for frame in frames:
        check_frame(frame)


@pytest.mark.slow
def test_a_worker_that_is_killed_ten_times_in_mid_clip(new_server: ServerFactory) -> None:
    server = new_server("fake:48x80,delay=0.4")
    frames: list[bridge.Frame] = []
    kills = 0
    with bridge.connect(server.zeromq_endpoint) as client, open_on(client) as session:
        sender = threading.Thread(target=lambda: [session.send(tick) for tick in ticks(10 * 80 + 1)])
        sender.start()
        for clip in range(10):
            # The clip is with the model, and some of it may have been sent.
            assert session.wait_until(
                lambda s, clip=clip: (
                    s.progress is not None and s.progress.clip == clip and s.progress.stage == "denoise"
                ),
                timeout_s=60,
            )
            pid = server.worker_pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            kills += 1
            if clip == 9:
                sender.join()
                session.finish()
            done = session.wait_until(
                lambda s, clip=clip: s.last_clip is not None and s.last_clip.clip >= clip, timeout_s=60
            )
            assert done, f"clip {clip} was not made again"
        frames.extend(session.frames())
    assert kills == 10
    assert [frame.index for frame in frames] == list(range(801))
    for frame in frames:
        check_frame(frame)


@pytest.mark.slow
def test_five_minutes_are_sent_before_the_first_read(fake_server: BridgeServer) -> None:
    options = bridge.SessionOptions(spool_bytes=4 * 2**20)
    with bridge.connect(fake_server.zeromq_endpoint) as server, open_on(server, options=options) as session:
        for tick in ticks(4801):
            session.send(tick)
        count = 0
        for frame in session.frames():
            assert frame.index == count
            if count % 37 == 0:
                check_frame(frame)
            count += 1
    assert count == 4801


def test_a_server_that_starts_later() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    indices: list[int] = []

    def use() -> None:
        with bridge.connect(f"tcp://127.0.0.1:{port}", timeout_s=60) as server, open_on(server) as session:
            session.send(tick_of(0))
            indices.extend(frame.index for frame in session.frames())

    client = threading.Thread(target=use)
    client.start()
    config = load_config(None, {"model": {"name": "fake:48x80"}, "listen": {"zeromq": f"tcp://127.0.0.1:{port}"}})
    with BridgeServer(config):
        client.join()
    assert indices == [0]


def test_a_server_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    for scheme in ("tcp", "grpc"):
        with pytest.raises(bridge.ConnectFailed, match="Is `longvie serve` running there"):
            bridge.connect(f"{scheme}://127.0.0.1:{port}", timeout_s=0.5)


def test_a_server_that_goes_away_for_good(new_server: ServerFactory) -> None:
    server = new_server()
    with bridge.connect(server.zeromq_endpoint, reconnect_timeout_s=1.0) as client:
        session = open_on(client)
        for tick in ticks(90):
            session.send(tick)
        assert session.wait_until(lambda s: s.last_clip is not None, timeout_s=60)
        server.stop()
        received: list[int] = []
        with pytest.raises(bridge.ConnectionLost, match=r"continue_from=session\.state"):
            received.extend(frame.index for frame in session.frames())
        assert received == list(range(81)), "what had arrived is kept"
        assert session.state is not None


def test_a_session_that_the_server_forgot(new_server: ServerFactory) -> None:
    """The client resumes at another server on the same port: it says what to do."""
    first = new_server()
    port = port_of(first, "zeromq")
    with bridge.connect(first.zeromq_endpoint) as client:
        session = open_on(client)
        for tick in ticks(81):
            session.send(tick)
        assert session.wait_until(lambda s: s.last_clip is not None, timeout_s=60)
        first.stop()
        new_server(listen={"zeromq": f"tcp://127.0.0.1:{port}"})
        with pytest.raises(bridge.ServerError, match=r"continue_from=session\.state"):
            list(session.frames())
