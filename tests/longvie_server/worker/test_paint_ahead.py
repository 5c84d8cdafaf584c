"""Controls that are painted while the clip before is made: the same pixels, whoever comes next."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import numpy as np
import pytest
from worker_cases import FAKE, HEIGHT, SCRIPTED, WIDTH, Mailbox, expected_frames, make_geometry, make_job

from bridge.errors import ShapeMismatch
from bridge.tick import DepthRange
from longvie_server.worker import (
    Cancelled,
    ClipJob,
    Done,
    Frames,
    Interrupted,
    PaintJob,
    Progress,
    Ready,
    Worker,
    WorkerSupervisor,
    make_clip,
)
from longvie_server.worker.messages import PaintAhead
from longvie_server.worker.paint import AheadPainter, Painting, paint
from longvie_server.worker.planes import SharedPlanes
from longvie_server.world_model.fake import FakeWorldModel
from longvie_server.world_model.interface import StepFrames


def denoising(mailbox: Mailbox) -> None:
    """Wait until the running clip is in its first step: from then on the next one can be painted."""
    while (event := mailbox.until(Progress)).stage != "denoise" or event.step != 1:
        pass


def spoil(job: ClipJob) -> None:
    """Change a job's arrays in this process: the worker's block has them already, and they are not written again."""
    job.geometry.depth_m[...] = 3.0


def test_the_next_clip_is_painted_while_one_is_denoised() -> None:
    mailbox, job = Mailbox(), make_job(2, seed=4)
    expected = expected_frames(job)
    with Worker(FAKE, on_event=mailbox.put, command=SCRIPTED) as worker:
        assert not worker.prepare(job.painting)
        worker.wait_ready()
        assert not worker.prepare(job.painting)
        worker.submit(make_job(1, prompt="endless"))
        denoising(mailbox)
        assert worker.prepare(job.painting)
        # One clip ahead and no more.
        assert not worker.prepare(make_job(3).painting)
        spoil(job)
        worker.cancel(1)
        assert mailbox.until(Cancelled).job_id == 1
        worker.submit(job)
        mailbox.until(Done)
    assert np.array_equal(mailbox.frames(2), expected)


def test_a_wrong_guess_changes_no_pixel() -> None:
    mailbox = Mailbox()
    guessed, other, declared = make_job(2, seed=2), make_job(3, seed=3), make_job(4, seed=4)
    declared = replace(declared, state=replace(declared.state, depth_range=DepthRange(2.0, 9.0)))
    with Worker(FAKE, on_event=mailbox.put, command=SCRIPTED) as worker:
        worker.wait_ready()
        worker.submit(make_job(1, prompt="endless"))
        denoising(mailbox)
        assert worker.prepare(guessed.painting)
        worker.cancel(1)
        # Another one comes first, and the one that was guessed has to be written and painted again.
        for job in (other, guessed):
            worker.submit(job)
            mailbox.until(Done)
        worker.submit(make_job(5, prompt="endless"))
        denoising(mailbox)
        # The right clip, by another range than it has when it comes.
        assert worker.prepare(replace(declared.painting, depth_range=None))
        worker.cancel(5)
        worker.submit(declared)
        mailbox.until(Done)
    for job in (other, guessed, declared):
        assert np.array_equal(mailbox.frames(job.job_id), expected_frames(job))


def test_a_job_of_another_size_is_refused() -> None:
    mailbox = Mailbox()
    with Worker(FAKE, on_event=mailbox.put, command=SCRIPTED) as worker:
        worker.wait_ready()
        worker.submit(make_job(1, prompt="endless"))
        denoising(mailbox)
        with pytest.raises(ShapeMismatch, match=r"geometry\.depth_m"):
            worker.prepare(PaintJob(2, make_geometry(0, 8, 16), 81, None))


@pytest.mark.skipif(os.name == "nt", reason="sends a signal")
def test_what_was_painted_is_gone_with_its_worker_and_painted_again() -> None:
    mailbox, job = Mailbox(), make_job(2, seed=2)
    with WorkerSupervisor(FAKE, on_event=mailbox.put, command=SCRIPTED) as supervisor:
        supervisor.wait_ready()
        supervisor.submit(make_job(1, prompt="hang"))
        denoising(mailbox)
        while mailbox.until(Frames).first != 1:
            pass
        assert supervisor.prepare(job.painting)
        assert supervisor.pid is not None
        os.kill(supervisor.pid, signal.SIGKILL)
        assert mailbox.until(Interrupted).job_id == 1
        mailbox.until(Ready)
        supervisor.submit(job)
        mailbox.until(Done)
    assert not supervisor.prepare(job.painting)
    assert np.array_equal(mailbox.frames(2), expected_frames(job))


@pytest.fixture
def planes() -> SharedPlanes:
    return SharedPlanes.create(HEIGHT, WIDTH)


def test_a_painting_is_for_one_clip_alone(planes: SharedPlanes) -> None:
    painter, job = AheadPainter(), make_job(7).painting
    planes.write_geometry(job.geometry)
    order = PaintAhead(7, 81, None)
    painter.begin(order)
    assert painter.take(job) is None, "there was nothing to paint from yet"
    painter.use(planes, height=HEIGHT, width=WIDTH)
    painter.begin(order)
    told, controls = painter.take(job) or pytest.fail("it was painted")
    wanted_told, wanted = paint(job, height=HEIGHT, width=WIDTH)
    assert told == wanted_told
    assert np.array_equal(controls.dense, wanted.dense)
    assert np.array_equal(controls.sparse, wanted.sparse)
    assert painter.take(job) is None, "it was taken"
    for other in (replace(job, job_id=8), replace(job, measure_ticks=80), replace(job, depth_range=DepthRange(1, 2))):
        painter.begin(order)
        assert painter.take(other) is None
        assert painter.take(job) is None, "it was dropped"
    painter.begin(order)
    painter.close()
    # Nothing points into the block any more, or it could not be closed.
    planes.close()


def test_a_clip_is_made_of_what_was_painted_ahead(planes: SharedPlanes) -> None:
    class Watched(AheadPainter):
        given: Painting | None = None

        def take(self, job: PaintJob) -> Painting | None:
            self.given = super().take(job)
            return self.given

    painter, job = Watched(), make_job(7)
    planes.write_geometry(job.geometry)
    painter.use(planes, height=HEIGHT, width=WIDTH)
    painter.begin(PaintAhead(7, 81, None))
    events = list(make_clip(FakeWorldModel(HEIGHT, WIDTH), job, ahead=painter))
    assert painter.given is not None
    assert events[1] is painter.given[0]
    frames = np.concatenate([event.frames for event in events if isinstance(event, StepFrames)])
    assert np.array_equal(frames, expected_frames(job))
    painter.close()
    planes.close()


def test_a_painting_that_fails_is_none(planes: SharedPlanes) -> None:
    painter, job = AheadPainter(), make_job(7).painting
    planes.write_geometry(job.geometry)
    painter.use(planes, height=HEIGHT + 8, width=WIDTH)
    painter.begin(PaintAhead(7, 81, None))
    assert painter.take(job) is None
    painter.close()
    planes.close()
