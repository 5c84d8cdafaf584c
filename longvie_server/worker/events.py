"""What a worker, and its supervisor, tell about jobs.

Laws, per job: `Painted` once, then `Progress` and `Frames` (all 81 in order, from 0), then exactly one of `Done`,
`Failed`, `Cancelled`, `Died` (worker) or `Interrupted` (supervisor). A job that is submitted again tells all of it
again, from `Painted` on, with the same pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from bridge.errors import BridgeError
from bridge.tick import DepthRange

from ..world_model.interface import ModelSpec

__all__ = [
    "Cancelled",
    "Died",
    "Done",
    "Failed",
    "Frames",
    "GaveUp",
    "Interrupted",
    "LoadFailed",
    "Painted",
    "Progress",
    "Ready",
    "Restarting",
    "SupervisorEvent",
    "WorkerEvent",
]


@dataclass(frozen=True, slots=True)
class Ready:
    """The model is loaded."""

    spec: ModelSpec


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """The worker is gone, because its model could not be loaded, or not in time."""

    error: BridgeError


@dataclass(frozen=True, slots=True)
class Painted:
    """The job's ticks have become control pixels: the caller may forget them, except to submit the job again.

    Args:
        job_id: of the job.
        depth_range: by which depth became grey; the state's own, or measured.
        saturated_fraction: 0 .. 1, of the real ticks' pixels that lie outside of it.
        fitting_range: the clip's own p5 and p95, where more than a fifth is outside.
    """

    job_id: int
    depth_range: DepthRange
    saturated_fraction: float
    fitting_range: DepthRange | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """A stage ("control", "encode", "denoise", "decode") has begun or gone on: `step` of its `steps` are done."""

    job_id: int
    stage: str
    step: int
    steps: int


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Frames `first` .. `first + n - 1` of the clip: (n, height, width, 3) uint8 RGB, the receiver's own copy."""

    job_id: int
    first: int
    frames: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Done:
    """All 81 frames were given. `timings`: seconds of control, encode, denoise, decode and total."""

    job_id: int
    timings: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Failed:
    """The job cannot be done, and will not be when it is submitted again. The worker goes on."""

    job_id: int
    error: BridgeError


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The job was cancelled before its end."""

    job_id: int


@dataclass(frozen=True, slots=True)
class Died:
    """The worker's process is gone, not because `close` asked for it.

    Args:
        job_id: the job that it was on, if any. Jobs that were waiting are lost as well.
        exit_code: of the process; negative is the signal that ended it (POSIX).
        stderr_tail: the last lines that it wrote.
        quiet_s: it was killed because it had said nothing of its job for so many seconds; None: it ended by itself.
    """

    job_id: int | None
    exit_code: int
    stderr_tail: str
    quiet_s: float | None = None


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The job's worker died: submit it again, under its own `job_id`."""

    job_id: int


@dataclass(frozen=True, slots=True)
class Restarting:
    """A dead worker is replaced. `restarts`: how many times in a row without a clip done in between."""

    restarts: int
    cause: Died | LoadFailed


@dataclass(frozen=True, slots=True)
class GaveUp:
    """The supervisor starts no more workers; every job has failed."""

    error: BridgeError


WorkerEvent: TypeAlias = Ready | LoadFailed | Painted | Progress | Frames | Done | Failed | Cancelled | Died
SupervisorEvent: TypeAlias = (
    Ready | Painted | Progress | Frames | Done | Failed | Cancelled | Interrupted | Restarting | GaveUp
)
