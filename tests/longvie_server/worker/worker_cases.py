"""What the worker's tests share: small jobs, the pixels that the fake must make of them, and a mailbox for events."""

from __future__ import annotations

import queue
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bridge.tick import CLIP_TICKS, TRACK_COUNT, WorldState
from longvie_server.control.clip_geometry import ClipGeometry
from longvie_server.control.dense import measure_depth_range
from longvie_server.control.encode import encode_controls
from longvie_server.worker import ClipJob, Frames, ModelChoice, Painted, Progress
from longvie_server.world_model.fake import FakeWorldModel
from longvie_server.world_model.interface import StepFrames, new_state

HEIGHT, WIDTH = 24, 40
FAKE = ModelChoice(f"fake:{HEIGHT}x{WIDTH}")
SCRIPTED = (sys.executable, str(Path(__file__).with_name("scripted_worker.py")))
# Long enough for a busy machine, short enough for a failing test to end.
PATIENCE_S = 200

_Event = TypeVar("_Event")


def make_geometry(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> ClipGeometry:
    rng = np.random.default_rng(seed)
    depth_m = rng.uniform(2.0, 30.0, (CLIP_TICKS, height, width)).astype(np.float32)
    drawn = rng.random((CLIP_TICKS, TRACK_COUNT)) < 0.9
    uv = rng.random((CLIP_TICKS, TRACK_COUNT, 2)).astype(np.float32)
    uv[~drawn] = np.nan
    track_depth_m = rng.uniform(2.0, 30.0, (CLIP_TICKS, TRACK_COUNT)).astype(np.float32)
    return ClipGeometry(depth_m=depth_m, track_uv=uv, track_depth_m=track_depth_m, track_drawn=drawn)


def make_job(job_id: int = 1, *, prompt: str = "a road", seed: int = 0) -> ClipJob:
    first = np.random.default_rng(seed + 100).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    state = new_state(FakeWorldModel(HEIGHT, WIDTH).spec, first_frame=first, prompt=prompt, seed=7)
    return ClipJob(job_id, state, make_geometry(seed))


def expected_frames(job: ClipJob) -> NDArray[np.uint8]:
    """What the fake makes of a job when it is called directly."""
    depth_range = job.state.depth_range or measure_depth_range(job.geometry.depth_m[: job.measure_ticks])
    state: WorldState = replace(job.state, depth_range=depth_range)
    controls = encode_controls(job.geometry, depth_range, height=HEIGHT, width=WIDTH)
    events = FakeWorldModel(HEIGHT, WIDTH).step(state, controls)
    return np.concatenate([event.frames for event in events if isinstance(event, StepFrames)])


class Mailbox:
    """Collects events; the test waits for the one that it is about."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self._queue: queue.Queue[Any] = queue.Queue()

    def put(self, event: Any) -> None:
        self._queue.put(event)

    def until(self, kind: type[_Event]) -> _Event:
        while True:
            event = self._queue.get(timeout=PATIENCE_S)
            self.seen.append(event)
            if isinstance(event, kind):
                return event

    def all_of(self, kind: type[_Event]) -> list[_Event]:
        return [event for event in self.seen if isinstance(event, kind)]

    def frames(self, job_id: int) -> NDArray[np.uint8]:
        """The job's frames since they last began with number 0, checked for order."""
        chunks: list[NDArray[np.uint8]] = []
        for event in self.all_of(Frames):
            if event.job_id == job_id:
                chunks = chunks if event.first else []
                assert event.first == sum(map(len, chunks))
                chunks.append(event.frames)
        return np.concatenate(chunks)

    def ends(self) -> list[Any]:
        """The ends of jobs and of the worker that nobody has waited for."""
        waiting = [self._queue.get_nowait() for _ in range(self._queue.qsize())]
        return [event for event in waiting if not isinstance(event, (Frames, Painted, Progress))]

    def empty(self) -> bool:
        return self._queue.empty()


def shared_blocks(pid: int) -> list[str]:
    """Names of the shared memory that the process has made and not unlinked (Linux)."""
    folder = Path("/dev/shm")
    return [path.name for path in folder.glob(f"longvie-{pid}-*")]
