"""Keeps a worker alive: a dead one is replaced, and its jobs are asked for again, within bounds.

Two bounds keep a fault from repeating for ever. A job that was running at the death of so many workers fails. So many
restarts in a short time without one clip done in between, and no worker is started any more.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from bridge.errors import BridgeError, OutOfOrder, WorldModelFailed

from ..world_model.interface import ModelSpec
from .choice import ModelChoice
from .events import (
    Cancelled,
    Died,
    Done,
    Failed,
    GaveUp,
    Interrupted,
    LoadFailed,
    Ready,
    Restarting,
    SupervisorEvent,
    WorkerEvent,
)
from .job import ClipJob, PaintJob
from .process import WORKER_COMMAND
from .worker import Worker

__all__ = ["RestartPolicy", "WorkerSupervisor"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How much is tried.

    Args:
        restarts: at most so many without a clip done in between ...
        window_s: ... within so many seconds. Restarts that never got as far as a loaded model count for longer.
        deaths_per_job: a job fails when so many workers have died on it.
    """

    restarts: int = 5
    window_s: float = 60.0
    deaths_per_job: int = 3


class WorkerSupervisor:
    """A worker that is replaced when it dies.

    Args:
        choice, command, load_timeout_s, quiet_timeout_s, grace_s: of each `Worker`.
        on_event: called with every event, in order, from one thread at a time that is not the caller's. A job whose
            worker died is told of as `Interrupted`, to be submitted again under its own `job_id`.
        policy: how much is tried.
        clock: seconds, for the policy's window.
    """

    def __init__(
        self,
        choice: ModelChoice,
        *,
        on_event: Callable[[SupervisorEvent], None],
        command: Sequence[str] = WORKER_COMMAND,
        load_timeout_s: float = 3600.0,
        quiet_timeout_s: float = 3600.0,
        grace_s: float = 5.0,
        policy: RestartPolicy | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        def make() -> Worker:
            return Worker(
                choice,
                on_event=self._hear,
                command=command,
                load_timeout_s=load_timeout_s,
                quiet_timeout_s=quiet_timeout_s,
                grace_s=grace_s,
            )

        self._make = make
        self._on_event = on_event
        self._policy = policy or RestartPolicy()
        self._clock = clock
        # Guards all that follows; never held while `on_event` runs. Taken before a worker's own lock, never after.
        self._lock = threading.Condition()
        self._worker = make()
        self._spec: ModelSpec | None = None
        self._open_jobs: dict[int, int] = {}
        self._deaths: dict[int, int] = {}
        self._restarts_s: list[float] = []
        self._error: BridgeError | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The running worker's process id; None before `start`."""
        with self._lock:
            return self._worker.pid

    @property
    def spec(self) -> ModelSpec:
        """What a client has to know of the model, from the first `Ready` on.

        Raises:
            OutOfOrder: the model is not loaded yet.
        """
        if self._spec is None:
            raise OutOfOrder(
                "the model is not loaded yet", field="worker.spec", remedy="Wait for Ready, or call wait_ready()."
            )
        return self._spec

    def start(self) -> None:
        """Start the first worker and return at once; `Ready` or `GaveUp` follows.

        Raises:
            OutOfOrder: it was started or closed before.
            ServerError: the process cannot be started.
        """
        with self._lock:
            self._worker.start()

    def wait_ready(self) -> ModelSpec:
        """Wait until a worker has loaded the model.

        Raises:
            BridgeError: it cannot be loaded.
            OutOfOrder: the supervisor was closed.
        """
        with self._lock:
            self._lock.wait_for(lambda: self._spec is not None or self._error is not None or self._closed)
            self._check_open()
            return self.spec

    def submit(self, job: ClipJob) -> None:
        """Have a clip made after those that were submitted before; while a worker starts, it waits.

        Raises:
            ShapeMismatch: an array is not of the model's size.
            ServerBusy: 8 jobs are waiting already.
            WorldModelFailed: no worker is started any more.
            OutOfOrder: the supervisor was closed.
        """
        with self._lock:
            self._check_open()
            if self._spec is not None:
                job.check_size(self._spec.height, self._spec.width)
            # Out of order: it died just now, and its listener waits for this lock to tell so, the job included.
            with suppress(OutOfOrder):
                self._worker.submit(job)
            self._open_jobs[job.job_id] = job.state.clip

    def prepare(self, job: PaintJob) -> bool:
        """Have a job's control videos painted while the one before is denoised; see `Worker.prepare`.

        Raises:
            ShapeMismatch: an array is not of the model's size.
        """
        with self._lock:
            return self._error is None and not self._closed and self._worker.prepare(job)

    def cancel(self, job_id: int) -> None:
        """Ask for the end of a job; `Cancelled` follows, or what ended it before. An unknown job is ignored."""
        with self._lock:
            self._deaths.pop(job_id, None)
            self._worker.cancel(job_id)

    def close(self) -> None:
        """End the worker and start no other. No event follows."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()
            worker = self._worker
        worker.close()

    def __enter__(self) -> WorkerSupervisor:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._error is not None:
            raise self._error
        if self._closed:
            raise OutOfOrder("the supervisor was closed", field="worker", remedy="Make another WorkerSupervisor.")

    def _hear(self, event: WorkerEvent) -> None:
        """Take what the worker tells, in its listener's thread."""
        if isinstance(event, (Died, LoadFailed)):
            self._replace(event)
            return
        with self._lock:
            if isinstance(event, Ready):
                self._spec = event.spec
                # A restart that led to a loaded model is forgotten after a while; others are not.
                oldest_s = self._clock() - self._policy.window_s
                self._restarts_s = [at_s for at_s in self._restarts_s if at_s > oldest_s]
                self._lock.notify_all()
            elif isinstance(event, (Done, Failed, Cancelled)):
                self._open_jobs.pop(event.job_id, None)
                self._deaths.pop(event.job_id, None)
                if isinstance(event, Done):
                    self._restarts_s.clear()
        self._tell(event)

    def _replace(self, cause: Died | LoadFailed) -> None:
        """Tell what became of the dead worker's jobs and start another worker, or none."""
        with self._lock:
            if self._closed:
                return
            error = self._reason_to_stop(cause)
            events: list[SupervisorEvent] = []
            for job_id, clip in self._open_jobs.items():
                events.append(self._end_of_job(job_id, clip, cause) if error is None else Failed(job_id, error))
            self._open_jobs.clear()
            if error is not None:
                self._error = error
                self._lock.notify_all()
                events.append(GaveUp(error))
            else:
                self._restarts_s.append(self._clock())
                events.append(Restarting(len(self._restarts_s), cause))
                # Made before its events are told: what is submitted on hearing them waits in the new worker.
                self._worker = self._make()
            worker = self._worker
        for event in events:
            self._tell(event)
        if error is None:
            self._start_replacement(worker)

    def _tell(self, event: SupervisorEvent) -> None:
        try:
            self._on_event(event)
        except Exception:
            # The receiver's mistake must not leave the server without a worker.
            _log.exception("on_event failed on %s", type(event).__name__)

    def _start_replacement(self, worker: Worker) -> None:
        try:
            with self._lock:
                if not self._closed:
                    worker.start()
        except BridgeError as error:
            self._replace(LoadFailed(error))

    def _reason_to_stop(self, cause: Died | LoadFailed) -> BridgeError | None:
        """Return why no other worker is started; None when one is."""
        # A first start that fails is a mistake in what was asked for; its own message says so best.
        if isinstance(cause, LoadFailed) and self._spec is None:
            return cause.error
        if len(self._restarts_s) < self._policy.restarts:
            return None
        return WorldModelFailed(
            f"the worker ended {len(self._restarts_s) + 1} times without making a clip",
            field="worker",
            value=_describe(cause),
            remedy="Look at its log above for the cause, and start the server again.",
        )

    def _end_of_job(self, job_id: int, clip: int, cause: Died | LoadFailed) -> Failed | Interrupted:
        if not isinstance(cause, Died) or cause.job_id != job_id:
            return Interrupted(job_id)
        deaths = self._deaths.get(job_id, 0) + 1
        self._deaths[job_id] = deaths
        if deaths < self._policy.deaths_per_job:
            return Interrupted(job_id)
        del self._deaths[job_id]
        return Failed(
            job_id,
            WorldModelFailed(
                f"{deaths} workers in a row died on this clip; the last: {_describe(cause)}",
                field="clip",
                value=clip,
                remedy="Open a session from the last state with another prompt or seed, or see the worker's log.",
            ),
        )


def _describe(cause: Died | LoadFailed) -> str:
    if isinstance(cause, LoadFailed):
        return str(cause.error)
    how = (
        f"exit code {cause.exit_code}"
        if cause.quiet_s is None
        else f"killed, having said nothing for {cause.quiet_s:g} s"
    )
    return f"{how}: {cause.stderr_tail or 'no last words'}"
