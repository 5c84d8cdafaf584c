"""A worker of several processes: one process's clip, one end for all of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import psutil
import pytest
import torch
from miniature import HEIGHT, MINIATURE, WIDTH
from worker_cases import FAKE, Mailbox, make_geometry

from bridge.errors import InvalidValue
from bridge.tick import CLIP_TICKS
from longvie_server.worker import (
    Cancelled,
    ClipJob,
    Done,
    Interrupted,
    ModelChoice,
    Progress,
    Ready,
    Worker,
    WorkerSupervisor,
)
from longvie_server.worker.ranks import device_of_rank
from longvie_server.world_model.interface import ModelSpec, new_state
from longvie_server.world_model.longvie2 import build
from longvie_server.world_model.longvie2.checkpoint import save_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("model")
    save_checkpoint(build(replace(MINIATURE, num_inference_steps=3), seed=0), path, dtype=torch.float32)
    return str(path)


def job_for(spec: ModelSpec, job_id: int = 1) -> ClipJob:
    first = np.random.default_rng(5).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    state = new_state(spec, first_frame=first, prompt="a road", seed=7)
    # A later clip: history is shared out as well.
    later = replace(state, clip=1, next_tick=80, shares_tick=True, frames=np.repeat(first[None], 8, axis=0))
    return ClipJob(job_id, later, make_geometry(1, HEIGHT, WIDTH))


def others(worker_pid: int | None) -> list[psutil.Process]:
    assert worker_pid is not None
    return [p for p in psutil.Process(worker_pid).children() if "--rank" in p.cmdline()]


def test_two_processes_make_the_clip_of_one_and_end_with_it(folder: str) -> None:
    made = []
    for gpus in (1, 2):
        mailbox = Mailbox()
        with Worker(ModelChoice(folder, device="cpu", threads=1, gpus=gpus), on_event=mailbox.put) as worker:
            spec = worker.wait_ready()
            assert spec.numerics["gpus"] == str(gpus)
            companions = others(worker.pid)
            assert len(companions) == gpus - 1
            for job_id in (1, 2):
                worker.submit(job_for(spec, job_id))
                mailbox.until(Done)
        assert not any(companion.is_running() for companion in companions)
        assert np.array_equal(mailbox.frames(1), mailbox.frames(2))
        made.append(mailbox.frames(1))
    alone, together = (frames.astype(int) for frames in made)
    assert together.shape == (CLIP_TICKS, HEIGHT, WIDTH, 3)
    assert together.std() > 0
    # Sums in another order: at most a pixel's last place.
    assert np.abs(together - alone).max() <= 1


def test_both_of_two_processes_paint_the_next_clip_ahead(folder: str) -> None:
    mailbox = Mailbox()
    with Worker(ModelChoice(folder, device="cpu", threads=1, gpus=2), on_event=mailbox.put) as worker:
        spec = worker.wait_ready()
        ahead = job_for(spec, 2)
        worker.submit(job_for(spec, 1))
        while (event := mailbox.until(Progress)).stage != "denoise" or event.step != 1:
            pass
        assert worker.prepare(ahead.painting)
        # In this process alone: the block has it already, and it is not written again.
        ahead.geometry.depth_m[...] = 3.0
        worker.submit(ahead)
        assert mailbox.until(Done).job_id == 1
        assert mailbox.until(Done).job_id == 2
    # The second job is the first one once more.
    assert np.array_equal(mailbox.frames(1), mailbox.frames(2))


def test_a_cancelled_clip_leaves_all_of_them_ready_for_the_next(folder: str) -> None:
    mailbox = Mailbox()
    with Worker(ModelChoice(folder, device="cpu", threads=1, gpus=2), on_event=mailbox.put) as worker:
        spec = worker.wait_ready()
        for job_id in range(1, 4):
            worker.submit(job_for(spec, job_id))
        for job_id in (1, 2):
            while mailbox.until(Progress).job_id != job_id:
                pass
            worker.cancel(job_id)
            assert mailbox.until(Cancelled).job_id == job_id
        assert mailbox.until(Done).job_id == 3
    assert len(mailbox.frames(3)) == CLIP_TICKS


@pytest.mark.skipif(os.name == "nt", reason="sends a signal")
def test_where_one_dies_all_are_started_anew_and_the_clip_is_made(folder: str) -> None:
    mailbox = Mailbox()
    supervisor = WorkerSupervisor(ModelChoice(folder, device="cpu", threads=1, gpus=2), on_event=mailbox.put)
    supervisor.start()
    try:
        spec = supervisor.wait_ready()
        mailbox.until(Ready)
        first = psutil.Process(supervisor.pid)
        (companion,) = others(supervisor.pid)
        supervisor.submit(job_for(spec))
        mailbox.until(Progress)
        companion.send_signal(signal.SIGKILL)
        assert mailbox.until(Interrupted).job_id == 1
        mailbox.until(Ready)
        assert not first.is_running()
        supervisor.submit(job_for(spec))
        mailbox.until(Done)
        assert len(mailbox.frames(1)) == CLIP_TICKS
    finally:
        supervisor.close()


def test_a_model_that_cannot_be_shared_out_is_refused() -> None:
    with (
        Worker(replace(FAKE, device="cpu", gpus=2), on_event=Mailbox().put) as worker,
        pytest.raises(InvalidValue, match="only LongVie 2") as caught,
    ):
        worker.wait_ready()
    assert caught.value.field == "gpus"
    assert "Leave --gpus out" in caught.value.remedy


def test_devices_of_ranks() -> None:
    assert [device_of_rank("cpu", rank, 2) for rank in (0, 1)] == ["cpu", "cpu"]
    assert device_of_rank("cuda:1", 0, 1) == "cuda:1"
    with pytest.raises(InvalidValue, match="names one device"):
        device_of_rank("cuda:1", 0, 2)
    with pytest.raises(InvalidValue, match="more than this machine has"):
        device_of_rank("auto", 0, 1 + torch.cuda.device_count() + 1)


def test_a_companion_that_cannot_load_the_model_has_the_reason_told() -> None:
    script = """
        import sys, threading
        from longvie_server.worker.ranks import Ranks
        command = (sys.executable, "-c", "raise SystemExit('no weights here')")
        Ranks(command, 2, on_load_failed=lambda error: print(error, flush=True))
        threading.Event().wait()
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "process 2 of 2 ended before its model was loaded" in ended.stdout
    assert "no weights here" in ended.stdout
