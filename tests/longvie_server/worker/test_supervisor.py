"""A supervised worker: deaths cost a clip's time and nothing else, and faults do not repeat for ever."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from worker_cases import FAKE, SCRIPTED, Mailbox, expected_frames, make_geometry, make_job, shared_blocks

from bridge.errors import InvalidValue, OutOfOrder, ShapeMismatch, WorldModelFailed
from longvie_server.worker import (
    Cancelled,
    ClipJob,
    Died,
    Done,
    Failed,
    Frames,
    GaveUp,
    Interrupted,
    ModelChoice,
    Ready,
    Restarting,
    RestartPolicy,
    WorkerSupervisor,
)


def supervise(mailbox: Mailbox, model: str = FAKE.name, **options: Any) -> WorkerSupervisor:
    return WorkerSupervisor(ModelChoice(model), on_event=mailbox.put, command=SCRIPTED, **options)


def test_a_clip_that_was_killed_halfway_is_made_again_with_the_same_bytes(tmp_path: Path) -> None:
    mailbox = Mailbox()
    job = make_job(5, prompt=f"hang-once {tmp_path / 'mark'}")
    with supervise(mailbox) as supervisor:
        supervisor.wait_ready()
        first_pid = supervisor.pid
        assert first_pid is not None
        supervisor.submit(job)
        supervisor.submit(make_job(6))
        while mailbox.until(Frames).first != 1:
            pass
        os.kill(first_pid, signal.SIGKILL)
        # The waiting job was lost with the running one. Both are submitted while the next worker still starts.
        assert mailbox.until(Interrupted).job_id == 5
        assert mailbox.until(Interrupted).job_id == 6
        assert mailbox.until(Restarting) == Restarting(1, Died(5, -signal.SIGKILL, ""))
        supervisor.submit(job)
        supervisor.submit(make_job(6))
        assert mailbox.until(Ready).spec == supervisor.spec
        assert mailbox.until(Done).job_id == 5
        assert mailbox.until(Done).job_id == 6
        assert supervisor.pid != first_pid
    assert np.array_equal(mailbox.frames(5), expected_frames(job))
    assert np.array_equal(mailbox.frames(6), expected_frames(make_job(6)))
    assert mailbox.empty()
    assert shared_blocks(os.getpid()) == []


def test_a_worker_that_hangs_is_killed_and_its_clip_made_again_with_the_same_bytes(tmp_path: Path) -> None:
    mailbox = Mailbox()
    job = make_job(5, prompt=f"hang-once {tmp_path / 'mark'}")
    with supervise(mailbox, quiet_timeout_s=1.0) as supervisor:
        supervisor.submit(job)
        assert mailbox.until(Interrupted).job_id == 5
        cause = mailbox.until(Restarting).cause
        assert isinstance(cause, Died)
        assert (cause.job_id, cause.quiet_s) == (5, 1.0)
        supervisor.submit(job)
        assert mailbox.until(Done).job_id == 5
    assert np.array_equal(mailbox.frames(5), expected_frames(job))


def test_a_clip_that_hangs_every_worker_fails_and_says_that_it_did() -> None:
    mailbox = Mailbox()
    poison = make_job(1, prompt="hang")
    with supervise(mailbox, quiet_timeout_s=0.5) as supervisor:
        for _ in range(2):
            supervisor.submit(poison)
            mailbox.until(Restarting)
        supervisor.submit(poison)
        problem = mailbox.until(Failed).error.problem
    assert "3 workers in a row died on this clip; the last: killed, having said nothing for 0.5 s" in problem


def test_a_job_that_kills_three_workers_fails_and_the_next_one_runs() -> None:
    mailbox = Mailbox()
    poison = make_job(1, prompt="die")
    with supervise(mailbox) as supervisor:
        for _ in range(2):
            supervisor.submit(poison)
            assert mailbox.until(Interrupted).job_id == 1
            mailbox.until(Restarting)
        supervisor.submit(poison)
        failed = mailbox.until(Failed)
        assert failed.job_id == 1
        assert isinstance(failed.error, WorldModelFailed)
        assert (failed.error.field, failed.error.value) == ("clip", "0")
        assert "3 workers in a row" in failed.error.problem
        assert "about to die" in failed.error.problem
        assert failed.error.remedy
        supervisor.submit(make_job(2))
        assert mailbox.until(Done).job_id == 2
    assert [event.restarts for event in mailbox.all_of(Restarting)] == [1, 2, 3]


def test_a_worker_that_never_makes_a_clip_is_given_up_with_its_last_words() -> None:
    mailbox = Mailbox()
    with supervise(mailbox, "crash", policy=RestartPolicy(restarts=2)) as supervisor:
        supervisor.submit(make_job(7))
        assert mailbox.until(Interrupted).job_id == 7
        gave_up = mailbox.until(GaveUp)
        assert len(mailbox.all_of(Restarting)) == 2
        assert "3 times" in gave_up.error.problem
        assert "segmentation fault, so to speak" in gave_up.error.value
        with pytest.raises(WorldModelFailed, match="3 times"):
            supervisor.submit(make_job(8))
        with pytest.raises(WorldModelFailed, match="3 times"):
            supervisor.wait_ready()


def test_open_jobs_fail_when_it_gives_up() -> None:
    mailbox = Mailbox()
    with supervise(mailbox, policy=RestartPolicy(restarts=0)) as supervisor:
        supervisor.submit(make_job(1, prompt="die"))
        supervisor.submit(make_job(2))
        mailbox.until(GaveUp)
    assert [event.job_id for event in mailbox.all_of(Failed)] == [1, 2]


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize("relief", ["time", "a clip"])
def test_restarts_are_forgotten_after_a_while_and_after_a_clip(relief: str) -> None:
    mailbox = Mailbox()
    clock = Clock()
    with supervise(mailbox, policy=RestartPolicy(restarts=1, window_s=60.0), clock=clock) as supervisor:
        for job_id in (1, 2):
            supervisor.submit(make_job(job_id, prompt="die"))
            mailbox.until(Restarting)
            clock.now_s += 61.0 if relief == "time" else 0.0
            mailbox.until(Ready)
            if relief == "a clip":
                supervisor.submit(make_job(10))
                mailbox.until(Done)
        supervisor.submit(make_job(3, prompt="die"))
        mailbox.until(Restarting)
    assert mailbox.all_of(GaveUp) == []


def test_a_first_start_that_fails_is_not_tried_again() -> None:
    mailbox = Mailbox()
    with supervise(mailbox, "refused") as supervisor, pytest.raises(InvalidValue, match="no such model"):
        supervisor.wait_ready()
    assert isinstance(mailbox.until(GaveUp).error, InvalidValue)
    assert mailbox.all_of(Restarting) == []


def test_cancelled_jobs_end_and_jobs_of_another_size_are_refused() -> None:
    mailbox = Mailbox()
    with supervise(mailbox) as supervisor:
        spec = supervisor.wait_ready()
        supervisor.submit(make_job(1, prompt="endless"))
        with pytest.raises(ShapeMismatch):
            supervisor.submit(ClipJob(2, make_job().state, make_geometry(height=spec.height + 1)))
        supervisor.cancel(1)
        assert mailbox.until(Cancelled).job_id == 1


def test_calls_out_of_order_are_refused() -> None:
    supervisor = WorkerSupervisor(FAKE, on_event=Mailbox().put)
    with pytest.raises(OutOfOrder):
        _ = supervisor.spec
    supervisor.close()
    for call in (supervisor.start, supervisor.wait_ready, lambda: supervisor.submit(make_job())):
        with pytest.raises(OutOfOrder):
            call()
