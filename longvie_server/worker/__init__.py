"""Workers: the world model in a process of its own."""

from .choice import ModelChoice
from .clip import ClipEvent, make_clip
from .events import (
    Cancelled,
    Died,
    Done,
    Failed,
    Frames,
    GaveUp,
    Interrupted,
    LoadFailed,
    Painted,
    Progress,
    Ready,
    Restarting,
    SupervisorEvent,
    WorkerEvent,
)
from .job import ClipJob, PaintJob
from .process import WORKER_COMMAND
from .supervisor import RestartPolicy, WorkerSupervisor
from .worker import Worker

__all__ = [
    "WORKER_COMMAND",
    "Cancelled",
    "ClipEvent",
    "ClipJob",
    "Died",
    "Done",
    "Failed",
    "Frames",
    "GaveUp",
    "Interrupted",
    "LoadFailed",
    "ModelChoice",
    "PaintJob",
    "Painted",
    "Progress",
    "Ready",
    "RestartPolicy",
    "Restarting",
    "SupervisorEvent",
    "Worker",
    "WorkerEvent",
    "WorkerSupervisor",
    "make_clip",
]
