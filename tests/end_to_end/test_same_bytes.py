"""The same seed and ticks give the same bytes: over every transport, beside another session, and from the recording."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from servers import ServerFactory, server_urls
from shots import FIRST_FRAME, PROMPT

import bridge
from bridge.recording import Recording
from engine_plugins.builtin import BuiltinEngine, make_scene
from longvie_server.drive.render import RenderRequest, render_recording
from longvie_server.server import BridgeServer

COUNT = 100


@pytest.fixture(scope="module")
def street() -> list[bridge.Tick]:
    engine = BuiltinEngine(make_scene("street", 3), width=80, height=48)
    return list(engine.ticks(COUNT))


def digest(
    url: str,
    ticks: list[bridge.Tick],
    *,
    record_to: Path | None = None,
    seed: int = 7,
    first_frame: NDArray[np.uint8] = FIRST_FRAME,
) -> str:
    found = hashlib.sha256()
    options = bridge.SessionOptions(record_to=record_to)
    with (
        bridge.connect(url) as server,
        server.open(prompt=PROMPT, first_frame=first_frame, seed=seed, tracks="engine", options=options) as session,
    ):
        for tick in ticks:
            session.send(tick)
        for frame in session.frames():
            found.update(frame.index.to_bytes(4, "little") + frame.image.tobytes())
    return found.hexdigest()


def digest_again(recording: Recording, server: BridgeServer, folder: Path) -> str:
    """Render a recording into a folder; return what its frames hash to."""
    summary = render_recording(
        recording,
        RenderRequest(depth_range="recorded"),
        out=folder,
        force=False,
        model="",
        server_url=server.zeromq_endpoint,
        token="",
        on_progress=lambda *_: None,
    )
    assert summary["frames"] == recording.tick_count
    again = hashlib.sha256()
    for frame in Recording.open(folder / "session.mcap").frames():
        again.update(frame.index.to_bytes(4, "little") + frame.image.tobytes())
    return again.hexdigest()


def test_every_transport(fake_server: BridgeServer, street: list[bridge.Tick]) -> None:
    digests = {name: digest(url, street) for name, url in server_urls(fake_server).items()}
    assert len(set(digests.values())) == 1, digests


def test_while_another_session_takes_turns(fake_server: BridgeServer, street: list[bridge.Tick]) -> None:
    alone = digest(fake_server.zeromq_endpoint, street)
    beside: list[str] = []
    threads = [
        threading.Thread(target=lambda: beside.append(digest(fake_server.zeromq_endpoint, street))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert beside == [alone, alone]


def test_from_the_recording(fake_server: BridgeServer, street: list[bridge.Tick], tmp_path: Path) -> None:
    live = digest(fake_server.zeromq_endpoint, street, record_to=tmp_path / "session.mcap")
    recording = Recording.open(tmp_path / "session.mcap")
    assert (recording.tick_count, recording.frame_count) == (COUNT, COUNT)
    assert digest_again(recording, fake_server, tmp_path / "again") == live


@pytest.mark.slow
def test_the_bundled_model(new_server: ServerFactory, tmp_path: Path) -> None:
    server = new_server("tiny")
    engine = BuiltinEngine(make_scene("hills", 4), width=144, height=80)
    ticks = list(engine.ticks(82))  # two clips, the second with history
    rng = np.random.default_rng(5)
    first_frame = np.repeat(np.repeat(rng.integers(0, 256, (10, 18, 3), np.uint8), 8, axis=0), 8, axis=1)
    live = digest(server.zeromq_endpoint, ticks, record_to=tmp_path / "session.mcap", first_frame=first_frame)
    beside: list[str] = []
    threads = [
        threading.Thread(target=lambda url=url: beside.append(digest(url, ticks, first_frame=first_frame)))
        for name, url in server_urls(server).items()
        if name != "zeromq"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert beside == [live, live]  # over memory and gRPC, taking turns
    assert digest_again(Recording.open(tmp_path / "session.mcap"), server, tmp_path / "again") == live


def test_a_recording_with_another_prompt(fake_server: BridgeServer, street: list[bridge.Tick], tmp_path: Path) -> None:
    digest(fake_server.zeromq_endpoint, street, record_to=tmp_path / "session.mcap")
    recording = Recording.open(tmp_path / "session.mcap")
    render_recording(
        recording,
        RenderRequest(prompt="another one", depth_range="recorded"),
        out=tmp_path / "again",
        force=False,
        model="",
        server_url=fake_server.zeromq_endpoint,
        token="",
        on_progress=lambda *_: None,
    )
    before = [frame.image for frame in recording.frames()]
    after = [frame.image for frame in Recording.open(tmp_path / "again" / "session.mcap").frames()]
    np.testing.assert_array_equal(np.stack(before)[..., :2], np.stack(after)[..., :2])
    assert (np.stack(before)[..., 2] != np.stack(after)[..., 2]).all(), "the fake model shows its prompt in blue"
    assert {path.name for path in (tmp_path / "again").iterdir()} == {
        "frames",
        "session.mcap",
        "side_by_side.mp4",
        "strip.png",
        "summary.json",
        "video.mp4",
    }


def test_the_server_keeps_the_same_recording(
    new_server: ServerFactory, street: list[bridge.Tick], tmp_path: Path
) -> None:
    server = new_server(session={"record_dir": tmp_path / "kept"})
    with (
        bridge.connect(server.zeromq_endpoint) as client,
        client.open(prompt=PROMPT, first_frame=FIRST_FRAME, tracks="engine", record=True) as session,
    ):
        session.prompt("another", from_tick=80)
        for tick in street:
            session.send(tick)
        live = [frame.image for frame in session.frames()]
    server.stop()
    (file,) = (tmp_path / "kept").glob("*.mcap")
    kept = Recording.open(file)
    assert kept.notice is None
    assert (kept.tick_count, kept.frame_count) == (COUNT, COUNT)
    np.testing.assert_array_equal(np.stack([frame.image for frame in kept.frames()]), np.stack(live))
    assert [state.clip for state in kept.states()] == [1, 2]
    for sent, back in zip(street, kept.ticks(), strict=True):
        np.testing.assert_array_equal(sent.depth, back.depth)


def test_a_server_that_keeps_no_recordings_says_so(fake_server: BridgeServer) -> None:
    with (
        bridge.connect(fake_server.zeromq_endpoint) as client,
        pytest.raises(bridge.UsageError, match=r"record: this server keeps no recordings.*--record-dir"),
    ):
        client.open(prompt=PROMPT, first_frame=FIRST_FRAME, record=True)
