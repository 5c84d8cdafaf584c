"""Every frame shows its own tick, once, in order: over every transport, for streams of any length."""

from __future__ import annotations

import pytest
from servers import ServerFactory, server_urls
from shots import FIRST_FRAME, PROMPT, RANGE, check_frame, tick_of, ticks

import bridge
from longvie_server.server import BridgeServer

TRANSPORTS = ["zeromq", "grpc", "memory"]


def open_on(server: bridge.Server, **options: object) -> bridge.Session:
    settings = {"prompt": PROMPT, "first_frame": FIRST_FRAME, "seed": 7, "depth_range": RANGE, **options}
    return server.open(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("count", [1, 80, 81, 82, 161, 500])
def test_streams_of_any_length(fake_server: BridgeServer, transport: str, count: int) -> None:
    with bridge.connect(server_urls(fake_server)[transport]) as server, open_on(server) as session:
        for tick in ticks(count):
            session.send(tick)
        frames = list(session.frames())
    assert [frame.index for frame in frames] == list(range(count))
    for frame in frames:
        check_frame(frame)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_cuts_and_prompts_in_odd_places(fake_server: BridgeServer, transport: str) -> None:
    # Clips start at 0, then where a cut or a full clip says so: 0..36 | 37..79 | 80 | 81..161, 161..200 | 201..260.
    cuts = {37, 80, 81, 201}
    prompts = {1: "one", 80: "two", 100: "three", 202: "never used"}
    starts_and_prompts = [(0, PROMPT), (37, "one"), (80, "two"), (81, "two"), (161, "three"), (201, "three")]
    with bridge.connect(server_urls(fake_server)[transport]) as server, open_on(server) as session:
        for from_tick, text in prompts.items():
            session.prompt(text, from_tick=from_tick)
        for tick in ticks(261):
            if tick.index in cuts:
                session.cut(at_tick=tick.index, first_frame=FIRST_FRAME)
            session.send(tick)
        frames = list(session.frames())
    assert [frame.index for frame in frames] == list(range(261))
    for frame in frames:
        # A shared tick's frame is the earlier clip's last one, so it shows the earlier clip's prompt.
        (prompt,) = [p for start, p in starts_and_prompts if start < frame.index or start == frame.index != 161][-1:]
        check_frame(frame, prompt=prompt)


def test_frames_arrive_while_sending(fake_server: BridgeServer) -> None:
    seen: list[int] = []
    with bridge.connect(fake_server.zeromq_endpoint) as server, open_on(server) as session:
        for tick in ticks(200):
            session.send(tick)
            if tick.index == 100:
                assert session.wait_until(lambda s: s.last_clip is not None, timeout_s=60)
            seen.extend(frame.index for frame in session.arrived())
        assert len(seen) >= 81
        seen.extend(frame.index for frame in session.frames())
    assert seen == list(range(200))


def test_continue_from_on_a_second_server(new_server: ServerFactory) -> None:
    first, second = new_server(), new_server()
    frames: list[bridge.Frame] = []
    with bridge.connect(first.zeromq_endpoint) as server, open_on(server) as session:
        for tick in ticks(120):
            session.send(tick)
        assert session.wait_until(lambda s: s.last_clip is not None, timeout_s=60)
        frames.extend(session.arrived())
        state = session.state
    first.stop()
    assert state is not None
    assert (state.next_tick, state.clip, state.shares_tick) == (80, 1, True)
    with (
        bridge.connect(f"grpc://127.0.0.1:{second.grpc_port}") as server,
        server.open(continue_from=state) as session,
    ):
        for tick in ticks(220, start=state.next_tick):
            session.send(tick)
        frames.extend(session.frames())
    assert [frame.index for frame in frames] == list(range(300))
    for frame in frames:
        check_frame(frame)
    assert [frame.clip for frame in frames] == [0] * 81 + [1] * 80 + [2] * 80 + [3] * 59


def test_sessions_start_at_any_tick(fake_server: BridgeServer) -> None:
    with bridge.connect(fake_server.zeromq_endpoint) as server, open_on(server, first_tick=1000) as session:
        assert session.starts_clip(1000)
        assert session.starts_clip(1080)
        assert not session.starts_clip(1079)
        for tick in ticks(100, start=1000):
            session.send(tick)
        frames = list(session.frames())
    assert [frame.index for frame in frames] == list(range(1000, 1100))
    check_frame(frames[-1])


def test_ticks_are_consecutive(fake_server: BridgeServer) -> None:
    with bridge.connect(fake_server.zeromq_endpoint) as server, open_on(server) as session:
        session.send(tick_of(0))
        with pytest.raises(bridge.UsageError, match="tick 1 comes next"):
            session.send(tick_of(2))
        with pytest.raises(bridge.UsageError, match="tick 1 comes next"):
            session.send(tick_of(0))
        session.send(tick_of(1))
        assert [frame.index for frame in session.frames()] == [0, 1]
