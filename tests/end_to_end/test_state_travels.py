"""The world state on its way: what a session keeps is what the model returned, on any server that goes on with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from servers import ServerFactory, server_urls
from shots import HEIGHT, PROMPT, RANGE, WIDTH, depth_of, ticks

import bridge
from bridge.recording import Recording
from bridge.tick import WorldState
from longvie_server.control.clip_geometry import ClipGeometry
from longvie_server.control.dense import encode_dense
from longvie_server.worker import ClipJob, PaintJob, WorkerSupervisor
from longvie_server.worker.paint import paint
from longvie_server.world_model.fake import FakeWorldModel

FIRST, AFTER_CUT = (np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8) for seed in (1001, 1002))


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[ClipJob]:
    """Every clip that is given to a worker; its geometry is kept, since a session writes into its buffers again."""
    seen: list[ClipJob] = []
    submit = WorkerSupervisor.submit

    def watched(supervisor: WorkerSupervisor, job: ClipJob) -> None:
        theirs = job.geometry
        geometry = ClipGeometry(
            depth_m=theirs.depth_m.copy(),
            track_uv=theirs.track_uv.copy(),
            track_depth_m=theirs.track_depth_m.copy(),
            track_drawn=theirs.track_drawn.copy(),
        )
        seen.append(replace(job, geometry=geometry))
        submit(supervisor, job)

    monkeypatch.setattr(WorkerSupervisor, "submit", watched)
    return seen


def returned(job: ClipJob) -> WorldState:
    """The state that the model returns after a job, as the worker has it made."""
    painted, controls = paint(
        PaintJob(job.job_id, job.geometry, job.measure_ticks, job.state.depth_range), height=HEIGHT, width=WIDTH
    )
    steps = FakeWorldModel(HEIGHT, WIDTH).step(replace(job.state, depth_range=painted.depth_range), controls)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            state: WorldState = stop.value
            return state


def check_same(one: WorldState, other: WorldState) -> None:
    for name in ("model", "clip", "next_tick", "shares_tick", "seed", "prompt", "negative_prompt", "depth_range"):
        assert getattr(one, name) == getattr(other, name), name
    for a, b in ((one.frames, other.frames), (one.anchor, other.anchor)):
        assert a is not None
        assert b is not None
        assert (a.shape, a.dtype, a.tobytes()) == (b.shape, b.dtype, b.tobytes())


def anchor_of(image: NDArray[np.uint8], index: int, depth_range: bridge.DepthRange) -> NDArray[np.uint8]:
    return np.dstack((image, encode_dense(depth_of(index)[None], depth_range)[0]))


@pytest.mark.parametrize("depth_range", [RANGE, None])
def test_a_session_keeps_the_state_that_the_model_returns(
    new_server: ServerFactory, jobs: list[ClipJob], depth_range: bridge.DepthRange | None
) -> None:
    """Clips 0..80, 80..160 and 160..199, then after a cut 200..280 and 280..299; the last of both are held."""
    server = new_server()
    with (
        bridge.connect(server.zeromq_endpoint) as client,
        client.open(prompt=PROMPT, first_frame=FIRST, seed=7, depth_range=depth_range) as session,
    ):
        for tick in ticks(300):
            if tick.index == 200:
                session.cut(at_tick=200, first_frame=AFTER_CUT, remeasure=depth_range is None)
            session.send(tick)
        assert len(list(session.frames())) == 300
        last = session.state
    assert last is not None
    begun = [job.state for job in jobs]
    assert [state.clip for state in begun] == [0, 1, 2, 3, 4]
    assert begun[0].anchor is None
    assert begun[3].anchor is None, "a cut begins anew"
    for before, after in ((jobs[0], begun[1]), (jobs[1], begun[2]), (jobs[3], begun[4]), (jobs[4], last)):
        check_same(returned(before), after)
    for image, index, later in ((FIRST, 0, begun[1:3]), (AFTER_CUT, 200, [begun[4], last])):
        for state in later:
            assert state.depth_range is not None
            np.testing.assert_array_equal(state.anchor, anchor_of(image, index, state.depth_range))


@pytest.mark.parametrize("transport", ["zeromq", "grpc", "memory"])
def test_the_anchor_goes_on_with_the_state_to_another_server(
    new_server: ServerFactory, jobs: list[ClipJob], transport: str
) -> None:
    first, second = new_server(), new_server()
    expected = anchor_of(FIRST, 0, RANGE)
    with (
        bridge.connect(server_urls(first)[transport]) as client,
        client.open(prompt=PROMPT, first_frame=FIRST, depth_range=RANGE) as session,
    ):
        for tick in ticks(161):
            session.send(tick)
        assert len(list(session.frames())) == 161
        state = session.state
    assert state is not None
    np.testing.assert_array_equal(state.anchor, expected)
    for continued, wanted in ((state, expected), (replace(state, anchor=None), None)):
        jobs.clear()
        with (
            bridge.connect(server_urls(second)[transport]) as client,
            client.open(continue_from=continued) as session,
        ):
            for tick in ticks(81, start=state.next_tick):
                session.send(tick)
            assert len(list(session.frames())) == 80
            after = session.state
        # A client of before there were anchors: the model has none, and then that of the frame it went on from.
        (job,) = jobs
        np.testing.assert_array_equal(job.state.anchor, wanted)
        assert after is not None
        check_same(returned(job), after)
        if wanted is None:
            wanted = anchor_of(state.image, 160, RANGE)
        np.testing.assert_array_equal(after.anchor, wanted)


def test_both_recordings_hold_the_anchor(new_server: ServerFactory, tmp_path: Path) -> None:
    server = new_server(session={"record_dir": tmp_path / "kept"})
    options = bridge.SessionOptions(record_to=tmp_path / "own.mcap")
    with (
        bridge.connect(server.zeromq_endpoint) as client,
        client.open(prompt=PROMPT, first_frame=FIRST, depth_range=RANGE, record=True, options=options) as session,
    ):
        for tick in ticks(100):
            session.send(tick)
        assert len(list(session.frames())) == 100
    server.stop()
    (kept,) = (tmp_path / "kept").glob("*.mcap")
    for path in (kept, tmp_path / "own.mcap"):
        states = list(Recording.open(path).states())
        assert [state.clip for state in states] == [1, 2]
        for state in states:
            np.testing.assert_array_equal(state.anchor, anchor_of(FIRST, 0, RANGE))
