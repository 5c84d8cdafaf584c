"""A worker in a real process: the same pixels, an orderly and a violent end, nothing left behind."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from worker_cases import (
    FAKE,
    HEIGHT,
    PATIENCE_S,
    SCRIPTED,
    WIDTH,
    Mailbox,
    expected_frames,
    make_geometry,
    make_job,
    shared_blocks,
)

from bridge.errors import InvalidValue, OutOfOrder, ServerBusy, ServerError, ShapeMismatch, WorldModelFailed
from bridge.tick import DepthRange
from longvie_server.control.dense import measure_depth_range, saturated_fraction
from longvie_server.worker import (
    Cancelled,
    ClipJob,
    Died,
    Done,
    Failed,
    Frames,
    LoadFailed,
    ModelChoice,
    Painted,
    Progress,
    Ready,
    Worker,
)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def scripted(mailbox: Mailbox, model: str = FAKE.name, **options: float) -> Worker:
    return Worker(ModelChoice(model), on_event=mailbox.put, command=SCRIPTED, **options)  # type: ignore[arg-type]


def test_the_worker_makes_the_pixels_of_the_model_called_directly_and_leaves_nothing_behind() -> None:
    mailbox = Mailbox()
    job = make_job()
    with Worker(FAKE, on_event=mailbox.put) as worker:
        spec = worker.wait_ready()
        pid = worker.pid
        assert pid is not None
        assert pid != os.getpid()
        # While it runs the memory has no name any more, so no end whatever can leave it behind.
        assert shared_blocks(os.getpid()) == []
        worker.submit(job)
        done = mailbox.until(Done)
    assert (spec.name, spec.height, spec.width, worker.spec) == (FAKE.name, HEIGHT, WIDTH, spec)
    assert np.array_equal(mailbox.frames(1), expected_frames(job))
    (painted,) = mailbox.all_of(Painted)
    depth_range = measure_depth_range(job.geometry.depth_m)
    assert painted == Painted(1, depth_range, saturated_fraction(job.geometry.depth_m, depth_range))
    assert set(done.timings) == {"control", "encode", "denoise", "decode", "total"}
    assert done.timings["total"] >= sum(done.timings[s] for s in ("control", "encode", "denoise", "decode")) > 0
    stages = [event.stage for event in mailbox.all_of(Progress)]
    assert list(dict.fromkeys(stages)) == ["control", "encode", "denoise", "decode"]
    assert isinstance(mailbox.seen[0], Ready)
    assert mailbox.seen.index(painted) < mailbox.seen.index(mailbox.all_of(Frames)[0])
    # A quiet log: no tracker complained of the memory, no thread of its end. And no event after the close.
    assert worker.stderr_tail == ""
    assert mailbox.empty()
    assert not is_running(pid)
    assert shared_blocks(os.getpid()) == []


def test_jobs_run_in_order_each_with_its_own_state_and_the_frames_are_the_receivers_own() -> None:
    mailbox = Mailbox()
    jobs = [make_job(job_id, prompt=f"prompt {job_id}", seed=job_id) for job_id in range(1, 5)]
    jobs[1] = replace(jobs[1], state=replace(jobs[1].state, depth_range=DepthRange(5.0, 9.0)))
    jobs[2] = replace(jobs[2], measure_ticks=3)
    with Worker(FAKE, on_event=mailbox.put) as worker:
        for job in jobs:  # before Ready: they wait
            worker.submit(job)
        for _ in jobs:
            mailbox.until(Done)
    assert [event.job_id for event in mailbox.all_of(Done)] == [1, 2, 3, 4]
    for job in jobs:
        assert np.array_equal(mailbox.frames(job.job_id), expected_frames(job))
    ranges = [painted.depth_range for painted in mailbox.all_of(Painted)]
    assert ranges[1] == DepthRange(5.0, 9.0)
    assert ranges[2] == measure_depth_range(jobs[2].geometry.depth_m[:3])


def test_two_workers_make_the_same_bytes() -> None:
    results = []
    for _ in range(2):
        mailbox = Mailbox()
        with Worker(FAKE, on_event=mailbox.put) as worker:
            worker.submit(make_job())
            mailbox.until(Done)
        results.append(mailbox.frames(1).tobytes())
    assert results[0] == results[1]


def test_a_history_of_eight_frames_arrives() -> None:
    mailbox = Mailbox()
    job = make_job()
    frames = expected_frames(job)
    later = replace(job, job_id=2, state=job.state.after_clip(frames, frames[0, ..., 0]))
    with Worker(FAKE, on_event=mailbox.put) as worker:
        worker.submit(later)
        mailbox.until(Done)
    assert np.array_equal(mailbox.frames(2), expected_frames(later))


def test_the_anchor_arrives_as_it_is_and_none_where_there_is_none() -> None:
    mailbox = Mailbox()
    job = make_job(1, prompt="anchor")
    frames = expected_frames(job)
    later = replace(job, job_id=2, state=job.state.after_clip(frames, frames[0, ..., 0]))
    with scripted(mailbox) as worker:
        # The third has none again, though the second one's still lies in the shared memory.
        for each in (job, later, replace(job, job_id=3)):
            worker.submit(each)
            mailbox.until(Done)
    assert later.state.anchor is not None
    shown = mailbox.frames(2)
    assert np.array_equal(shown[0], later.state.anchor[..., :3])
    assert np.array_equal(shown[1:], np.broadcast_to(later.state.anchor[..., 3:], shown[1:].shape))
    assert not mailbox.frames(1).any()
    assert not mailbox.frames(3).any()


def test_a_killed_worker_tells_of_its_job_and_takes_no_other() -> None:
    mailbox = Mailbox()
    worker = scripted(mailbox)
    worker.start()
    worker.wait_ready()
    worker.submit(make_job(41, prompt="hang"))
    while mailbox.until(Frames).first != 1:
        pass
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    assert mailbox.until(Died) == Died(41, -signal.SIGKILL, "")
    with pytest.raises(OutOfOrder):
        worker.submit(make_job())
    worker.close()
    assert mailbox.empty()
    assert shared_blocks(os.getpid()) == []


def test_a_worker_that_dies_by_itself_leaves_its_last_words() -> None:
    mailbox = Mailbox()
    with scripted(mailbox) as worker:
        worker.submit(make_job(3, prompt="die"))
        assert mailbox.until(Died) == Died(3, 9, "about to die")


def test_a_running_and_a_waiting_job_are_cancelled_and_the_next_one_runs() -> None:
    mailbox = Mailbox()
    with scripted(mailbox) as worker:
        worker.wait_ready()
        worker.submit(make_job(1, prompt="endless"))
        worker.submit(make_job(2))
        worker.submit(make_job(3))
        while mailbox.until(Progress).stage != "denoise":
            pass
        worker.cancel(2)
        worker.cancel(99)
        worker.cancel(1)
        assert mailbox.until(Cancelled).job_id == 1
        assert mailbox.until(Cancelled).job_id == 2
        assert mailbox.until(Done).job_id == 3
        worker.cancel(3)  # too late, hence ignored
        worker.submit(make_job(1))  # and a cancelled job may be submitted again
        assert mailbox.until(Done).job_id == 1
    assert np.array_equal(mailbox.frames(3), expected_frames(make_job(3)))


@pytest.mark.parametrize(("boom", "told"), [("boom", "RuntimeError: boom"), ("é" * 3, "RuntimeError: ééé")])
def test_an_exception_fails_the_clip_and_the_worker_goes_on(boom: str, told: str) -> None:
    mailbox = Mailbox()
    with scripted(mailbox) as worker:
        worker.submit(make_job(1, prompt=f"raise {boom}"))
        worker.submit(make_job(2))
        failed = mailbox.until(Failed)
        assert failed.job_id == 1
        assert isinstance(failed.error, WorldModelFailed)
        assert told in failed.error.problem
        assert (failed.error.field, failed.error.value) == ("clip", "0")
        assert failed.error.remedy
        assert mailbox.until(Done).job_id == 2
    assert "Traceback" in worker.stderr_tail


def test_a_fault_of_the_device_ends_the_process_since_every_later_call_would_fail() -> None:
    mailbox = Mailbox()
    with scripted(mailbox) as worker:
        worker.submit(make_job(1, prompt="raise CUDA error: an illegal memory access was encountered"))
        died = mailbox.until(Died)
    assert (died.job_id, died.exit_code) == (1, 1)
    assert "illegal memory access" in died.stderr_tail


def test_what_a_library_prints_goes_to_the_log_and_not_between_the_messages() -> None:
    mailbox = Mailbox()
    job = make_job(1, prompt="print")
    with scripted(mailbox) as worker:
        worker.submit(job)
        mailbox.until(Done)
    assert np.array_equal(mailbox.frames(1), expected_frames(job))
    assert worker.stderr_tail == "this goes to the log"


def test_jobs_of_another_size_are_refused_by_name() -> None:
    mailbox = Mailbox()
    wrong = ClipJob(5, make_job().state, make_geometry(height=HEIGHT, width=WIDTH + 1))
    with Worker(FAKE, on_event=mailbox.put) as worker:
        worker.submit(wrong)
        failed = mailbox.until(Failed)
        assert isinstance(failed.error, ShapeMismatch)
        assert (failed.job_id, failed.error.field) == (5, "geometry.depth_m")
        with pytest.raises(ShapeMismatch):
            worker.submit(wrong)


def test_waiting_jobs_are_bounded() -> None:
    worker = Worker(FAKE, on_event=Mailbox().put)
    for job_id in range(8):
        worker.submit(make_job(job_id))
    with pytest.raises(ServerBusy):
        worker.submit(make_job(8))


@pytest.mark.parametrize(
    ("model", "error", "words"),
    [("refused", InvalidValue, "no such model"), ("broken", WorldModelFailed, "OSError: weights are torn")],
)
def test_a_model_that_cannot_be_loaded_is_told_with_its_own_error(
    model: str, error: type[Exception], words: str
) -> None:
    mailbox = Mailbox()
    worker = scripted(mailbox, model)
    with worker, pytest.raises(error, match=words):
        worker.wait_ready()
    assert isinstance(mailbox.until(LoadFailed).error, error)


def test_a_crash_while_loading_and_a_load_without_end_are_told() -> None:
    mailbox = Mailbox()
    with scripted(mailbox, "crash") as worker, pytest.raises(WorldModelFailed, match="segmentation fault, so to speak"):
        worker.wait_ready()
    assert mailbox.until(Died).exit_code == 11
    with (
        scripted(mailbox, "never", load_timeout_s=0.01) as worker,
        pytest.raises(WorldModelFailed, match=r"not loaded within 0\.01 s"),
    ):
        worker.wait_ready()
    assert "Allow more time" in mailbox.until(LoadFailed).error.remedy


def test_close_kills_what_does_not_listen_and_ends_a_wait() -> None:
    mailbox = Mailbox()
    worker = scripted(mailbox, grace_s=0.05)
    worker.start()
    worker.submit(make_job(prompt="hang"))
    while mailbox.until(Frames).first != 1:
        pass
    pid = worker.pid
    worker.close()
    worker.close()
    assert pid is not None
    assert not is_running(pid)
    assert mailbox.ends() == [], "a worker that was closed has nothing to tell"
    with pytest.raises(OutOfOrder):
        worker.start()


def test_a_clip_that_close_cuts_short_is_not_told_of() -> None:
    mailbox = Mailbox()
    worker = scripted(mailbox)
    worker.start()
    worker.submit(make_job(prompt="endless"))
    while mailbox.until(Progress).stage != "denoise":
        pass
    worker.close()  # it listens, and answers that the clip is cancelled
    assert mailbox.ends() == []


def test_closing_from_an_event_and_a_receiver_that_raises_are_survived(caplog: pytest.LogCaptureFixture) -> None:
    mailbox = Mailbox()

    def receive(event: object) -> None:
        mailbox.put(event)
        if isinstance(event, Painted):
            raise ZeroDivisionError
        if isinstance(event, Done):
            worker.close()

    worker = Worker(FAKE, on_event=receive)
    worker.start()
    worker.submit(make_job())
    mailbox.until(Done)
    worker.close()
    assert "on_event failed on Painted" in caplog.text


def test_a_program_that_is_not_there_is_named() -> None:
    worker = Worker(FAKE, on_event=Mailbox().put, command=("/no/such/program",))
    with pytest.raises(ServerError, match="/no/such/program"):
        worker.start()
    worker.close()


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waits for a process that is not its child")
def test_a_worker_does_not_outlive_a_parent_that_is_killed() -> None:
    parent_code = textwrap.dedent(
        f"""
        import sys, threading
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from worker_cases import FAKE, SCRIPTED, Mailbox, make_job
        from longvie_server.worker import Frames, Worker
        mailbox = Mailbox()
        worker = Worker(FAKE, on_event=mailbox.put, command=SCRIPTED)
        worker.start()
        worker.submit(make_job(prompt="hang"))
        mailbox.until(Frames)
        print(worker.pid, flush=True)
        threading.Event().wait()
        """
    )
    root = str(Path(__file__).parents[3])
    with subprocess.Popen(
        [sys.executable, "-c", parent_code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": root},
    ) as parent:
        assert parent.stdout is not None
        assert parent.stderr is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        try:
            assert select.select([child], [], [], 0)[0] == [], "it runs"
            parent.kill()
            assert select.select([child], [], [], PATIENCE_S)[0] == [child], "it has ended"
        finally:
            os.close(child)
        assert parent.stderr.read() == b""
    assert shared_blocks(parent.pid) == []
