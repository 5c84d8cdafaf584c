"""Sessions whose next clip is painted ahead get the frames of those whose next clip is not."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from servers import ServerFactory
from shots import FIRST_FRAME, HEIGHT, PROMPT, WIDTH, ticks

import bridge
from longvie_server.worker import PaintJob, WorkerSupervisor

MODEL = f"fake:{HEIGHT}x{WIDTH},delay=0.3"


@dataclass
class Prepared:
    """Stands before the worker: counts what is painted ahead, or lets nothing be."""

    allowed: bool = True
    jobs: list[PaintJob] = field(default_factory=list)

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        prepare = WorkerSupervisor.prepare

        def watched(supervisor: WorkerSupervisor, job: PaintJob) -> bool:
            taken = self.allowed and prepare(supervisor, job)
            self.jobs += [job] if taken else []
            return taken

        monkeypatch.setattr(WorkerSupervisor, "prepare", watched)


def shot(url: str, *, seed: int) -> list[bridge.Frame]:
    """Clips 0..80, 80..160, 160..199 | 200..230, the last of another depth range, with a prompt that changes."""
    with (
        bridge.connect(url) as server,
        # Without a range: the first clip's is measured.
        server.open(prompt=PROMPT, first_frame=FIRST_FRAME, seed=seed) as session,
    ):
        session.prompt("later", from_tick=100)
        for tick in ticks(231):
            if tick.index == 200:
                session.cut(at_tick=200, first_frame=FIRST_FRAME, remeasure=True)
            session.send(tick)
        return list(session.frames())


def same(a: list[bridge.Frame], b: list[bridge.Frame]) -> bool:
    return [f.index for f in a] == [f.index for f in b] and all(
        np.array_equal(one.image, other.image) for one, other in zip(a, b, strict=True)
    )


def test_the_same_frames_with_cuts_prompts_and_measured_ranges(
    new_server: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, prepared = new_server(MODEL), Prepared()
    prepared.watch(monkeypatch)
    ahead = shot(server.zeromq_endpoint, seed=1)
    # Every clip but the first, where ticks come faster than clips are made; only the last one, 31 ticks, is measured.
    painted = len(prepared.jobs)
    assert 1 <= painted <= 3
    assert len({job.job_id for job in prepared.jobs}) == painted
    assert all((job.depth_range is None) == (job.measure_ticks == 31) for job in prepared.jobs)
    prepared.allowed = False
    assert same(shot(server.zeromq_endpoint, seed=1), ahead)
    assert len(prepared.jobs) == painted


def test_a_session_that_is_cancelled_leaves_its_painting_to_nobody(
    new_server: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, prepared = new_server(MODEL), Prepared()
    prepared.watch(monkeypatch)
    alone = shot(server.zeromq_endpoint, seed=2)
    prepared.jobs.clear()
    with bridge.connect(server.zeromq_endpoint) as client:
        gone = client.open(prompt="gone", first_frame=FIRST_FRAME, seed=3)
        for tick in ticks(170):
            gone.send(tick)
        assert gone.wait_until(lambda s: s.last_clip is not None, timeout_s=60)
        gone.cancel()
        assert same(shot(server.zeromq_endpoint, seed=2), alone)
    assert prepared.jobs


def test_sessions_that_take_turns_get_their_own(new_server: ServerFactory) -> None:
    server = new_server(MODEL)
    alone = shot(server.zeromq_endpoint, seed=4)
    with (
        bridge.connect(server.zeromq_endpoint) as client,
        client.open(prompt="other", first_frame=FIRST_FRAME, seed=5) as other,
    ):
        for tick in ticks(170):
            other.send(tick)
        assert same(shot(server.zeromq_endpoint, seed=4), alone)
        assert [frame.index for frame in other.frames()] == list(range(170))
