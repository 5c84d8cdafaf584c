"""A worker as its parent sees it: jobs go in, events come out of a thread of its own.

Jobs run one at a time, in order. A worker that has died stays dead: `WorkerSupervisor` starts others.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from bridge.errors import BridgeError, OutOfOrder, ServerBusy, WorldModelFailed

from ..world_model.interface import ModelSpec
from .choice import ModelChoice
from .deadline import Deadline
from .events import Cancelled, Died, Done, Failed, Frames, LoadFailed, Painted, Progress, Ready, WorkerEvent
from .job import ClipJob, PaintJob
from .messages import CancelClip, Close, FramesWritten, Message, PaintAhead, PlanesAt, PlanesAttached, RunClip
from .planes import SharedPlanes
from .process import WORKER_COMMAND, ChildProcess

__all__ = ["Worker"]

_WAITING_JOBS: Final = 8

_log = logging.getLogger(__name__)


class Worker:
    """The world model in a process of its own.

    Args:
        choice: of the model.
        on_event: called with every event, in order, from one thread that is not the caller's. It should be quick: while
            it runs nothing is read from the worker.
        command: what is run; the choice is added to it, as flags.
        load_timeout_s: how long loading the model may take.
        quiet_timeout_s: a process that is making a clip and has said nothing for so long hangs, and is killed.
        grace_s: how long `close` waits before it kills.
    """

    def __init__(
        self,
        choice: ModelChoice,
        *,
        on_event: Callable[[WorkerEvent], None],
        command: Sequence[str] = WORKER_COMMAND,
        load_timeout_s: float = 3600.0,
        quiet_timeout_s: float = 3600.0,
        grace_s: float = 5.0,
    ) -> None:
        self._choice = choice
        self._command = [*command, *choice.flags]
        self._on_event = on_event
        self._load_timeout_s = load_timeout_s
        self._quiet_timeout_s = quiet_timeout_s
        self._grace_s = grace_s
        # Guards all that follows; never held while `on_event` runs.
        self._lock = threading.Condition()
        self._process: ChildProcess | None = None
        self._deadline: Deadline | None = None
        self._listener: threading.Thread | None = None
        self._planes: SharedPlanes | None = None
        self._spec: ModelSpec | None = None
        self._ready = False
        self._waiting: deque[ClipJob] = deque()
        self._running: int | None = None
        # Whether the running job's geometry has been read by all who make it, so that another may lie in its place.
        self._geometry_read = False
        self._painted_ahead: int | None = None
        self._cancelled: list[int] = []
        self._load_error: BridgeError | None = None
        self._hung = False
        self._closing = False
        self._end: LoadFailed | Died | None = None
        self._gone = False

    @property
    def pid(self) -> int | None:
        """The process's id; None before `start`."""
        return None if self._process is None else self._process.pid

    @property
    def spec(self) -> ModelSpec:
        """What a client has to know of the model.

        Raises:
            OutOfOrder: the model is not loaded yet.
        """
        if self._spec is None or not self._ready:
            raise OutOfOrder(
                "the model is not loaded yet", field="worker.spec", remedy="Wait for Ready, or call wait_ready()."
            )
        return self._spec

    @property
    def stderr_tail(self) -> str:
        """The last lines that the process wrote to its log."""
        return "" if self._process is None else self._process.stderr_tail

    def start(self) -> None:
        """Start the process and return at once; `Ready`, `LoadFailed` or `Died` follows.

        Raises:
            OutOfOrder: it was started or closed before.
            ServerError: the process cannot be started.
        """
        with self._lock:
            if self._process is not None or self._closing:
                raise OutOfOrder("a worker is started once", field="worker.start", remedy="Make another Worker.")
            process = ChildProcess(self._command, threads=self._choice.threads)
            deadline = Deadline(lambda: self._stop_waiting(process))
            deadline.put(self._load_timeout_s)
            self._process, self._deadline = process, deadline
            self._listener = threading.Thread(
                target=self._listen, args=(process, deadline), name="worker-events", daemon=True
            )
            self._listener.start()

    def wait_ready(self) -> ModelSpec:
        """Wait until the model is loaded.

        Raises:
            BridgeError: it could not be loaded, or not in time; the process died; the worker was closed.
        """
        with self._lock:
            self._lock.wait_for(lambda: self._ready or self._gone or self._closing)
            if self._ready and self._spec is not None:
                return self._spec
            if isinstance(self._end, LoadFailed):
                raise self._end.error
            raise WorldModelFailed(
                "the worker ended before its model was loaded",
                field="model",
                value=self._choice.name,
                remedy=f"Its last words: {self.stderr_tail or '(none)'}",
            )

    def submit(self, job: ClipJob) -> None:
        """Have a clip made after those that were submitted before; before `Ready` it waits.

        Raises:
            ShapeMismatch: an array is not of the model's size. (Before `Ready`, the job ends with `Failed` instead.)
            ServerBusy: 8 jobs are waiting already.
            OutOfOrder: the process is gone.
        """
        with self._lock:
            if self._gone or self._closing:
                raise OutOfOrder("the worker is gone", field="worker.submit", remedy="Start another Worker.")
            if len(self._waiting) >= _WAITING_JOBS:
                raise ServerBusy(
                    f"{_WAITING_JOBS} clips are waiting for this worker already",
                    field="worker.submit",
                    value=job.job_id,
                    remedy="Submit the next one when one has ended.",
                )
            if self._spec is not None:
                job.check_size(self._spec.height, self._spec.width)
            if self._ready and self._running is None and self._process is not None:
                self._send(job, self._process)
            else:
                # The listener sends it when its turn comes.
                self._waiting.append(job)

    def prepare(self, job: PaintJob) -> bool:
        """Have the control videos of a job that comes next painted while the running one is denoised.

        It changes no pixel and no event. Another job may come next all the same: then this one is painted when it
        comes, as without.

        Args:
            job: of a clip that will be submitted under this `job_id`, with this very geometry.

        Returns:
            whether they are painted: one job at a time, from the first denoising step of the running one on.

        Raises:
            ShapeMismatch: an array is not of the model's size.
        """
        with self._lock:
            planes, spec, process = self._planes, self._spec, self._process
            if not self._geometry_read or self._waiting or planes is None or spec is None or process is None:
                return False
            job.check_size(spec.height, spec.width)
            planes.write_geometry(job.geometry)
            process.send(PaintAhead(job.job_id, job.measure_ticks, job.depth_range))
            self._geometry_read, self._painted_ahead = False, job.job_id
            return True

    def cancel(self, job_id: int) -> None:
        """Ask for the end of a job; `Cancelled` follows, or what ended it before. An unknown job is ignored."""
        with self._lock:
            if job_id == self._running and self._process is not None:
                self._process.send(CancelClip(job_id))
                return
            kept = deque(job for job in self._waiting if job.job_id != job_id)
            if len(kept) < len(self._waiting):
                # Its memory is given back now. It is told of by the listener, later: events have one thread.
                self._waiting = kept
                self._cancelled.append(job_id)

    def close(self) -> None:
        """End the process: asked first, killed after `grace_s`. No event follows; the shared memory is given back."""
        with self._lock:
            self._closing = True
            self._lock.notify_all()
            process, listener = self._process, self._listener
        if process is None or listener is None or listener is threading.current_thread():
            if process is not None:
                process.kill()
            return
        process.send(Close())
        listener.join(self._grace_s)
        if listener.is_alive():
            process.kill()
            listener.join(self._grace_s)

    def __enter__(self) -> Worker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run_next(self, process: ChildProcess) -> list[WorkerEvent]:
        """Send the next waiting job, with the lock held, and return how those ended that cannot be sent."""
        ended: list[WorkerEvent] = [Cancelled(job_id) for job_id in self._cancelled]
        self._cancelled.clear()
        while self._waiting and self._running is None:
            job = self._waiting.popleft()
            try:
                self._send(job, process)
            except BridgeError as error:
                ended.append(Failed(job.job_id, error))
        return ended

    def _send(self, job: ClipJob, process: ChildProcess) -> None:
        """Send a job to the idle worker, with the lock held."""
        planes, spec = self._planes, self._spec
        assert planes is not None, "the worker is ready, hence has the block"
        assert spec is not None, "the worker is ready, hence has said what its model is"
        job.check_size(spec.height, spec.width)
        if job.job_id != self._painted_ahead:
            planes.write_geometry(job.geometry)
        planes.write_state(job.state)
        self._geometry_read, self._painted_ahead = False, None
        process.send(_order(job))
        self._running = job.job_id
        self._put_off()

    def _put_off(self) -> None:
        """Give a process that makes a clip time for its next word, with the lock held; an idle one any time."""
        if self._deadline is not None and self._ready:
            self._deadline.put(None if self._running is None else self._quiet_timeout_s)

    def _listen(self, process: ChildProcess, deadline: Deadline) -> None:
        try:
            while (message := process.receive()) is not None:
                self._handle(process, message)
                with self._lock:
                    self._put_off()
        except BridgeError as error:
            process.kill()
            with self._lock:
                self._load_error = None if self._ready else error
            _log.error("worker %d: %s", process.pid, error)
        finally:
            deadline.close()
            self._finish(process.reap(grace_s=self._grace_s), process.stderr_tail)

    def _stop_waiting(self, process: ChildProcess) -> None:
        """End a process that takes too long, at the deadline."""
        with self._lock:
            if self._ready:
                if self._running is None:
                    return
                self._hung = True
                _log.error(
                    "worker %d has said nothing for %g s of a clip and is killed (worker.quiet_timeout_s)",
                    process.pid,
                    self._quiet_timeout_s,
                )
            elif self._load_error is None:
                self._load_error = WorldModelFailed(
                    f"the model was not loaded within {self._load_timeout_s:g} s",
                    field="model",
                    value=self._choice.name,
                    remedy="Allow more time (worker.load_timeout_s), or look at the worker's log for what it waits on.",
                )
        process.kill()

    def _handle(self, process: ChildProcess, message: Message) -> None:
        """Do what a message asks for and tell the event that it is."""
        events: list[WorkerEvent] = []
        if isinstance(message, Ready):
            self._share_planes(process, message.spec)
        elif isinstance(message, PlanesAttached):
            events = self._become_ready(process)
        elif isinstance(message, LoadFailed):
            with self._lock:
                self._load_error = message.error
        elif isinstance(message, FramesWritten):
            assert self._planes is not None, "frames follow a job, which follows the block"
            events = [Frames(message.job_id, message.first, self._planes.copy_frames(message.first, message.count))]
        elif isinstance(message, (Done, Failed, Cancelled)):
            with self._lock:
                self._running = None
                events = [message, *self._run_next(process)]
        elif isinstance(message, (Painted, Progress)):
            events = [message]
            if isinstance(message, Progress) and message.stage == "denoise" and message.step == 1:
                # Several processes take a denoising step together, so by its end each of them has painted.
                with self._lock:
                    self._geometry_read = message.job_id == self._running
        for event in events:
            self._tell(event)

    def _share_planes(self, process: ChildProcess, spec: ModelSpec) -> None:
        planes = SharedPlanes.create(spec.height, spec.width)
        with self._lock:
            self._spec, self._planes = spec, planes
        process.send(PlanesAt(planes.name, spec.height, spec.width))

    def _become_ready(self, process: ChildProcess) -> list[WorkerEvent]:
        with self._lock:
            assert self._planes is not None, "the block was shared before"
            assert self._spec is not None, "it came with the model"
            self._planes.unlink()
            self._ready = True
            self._lock.notify_all()
            return [Ready(self._spec), *self._run_next(process)]

    def _finish(self, exit_code: int, stderr_tail: str) -> None:
        with self._lock:
            if self._load_error is not None:
                self._end = LoadFailed(self._load_error)
            else:
                self._end = Died(self._running, exit_code, stderr_tail, self._quiet_timeout_s if self._hung else None)
            self._gone = True
            self._waiting.clear()
            if self._planes is not None:
                self._planes.close()
                self._planes = None
            end = self._end
            self._lock.notify_all()
        self._tell(end)

    def _tell(self, event: WorkerEvent) -> None:
        if self._closing:
            return
        try:
            self._on_event(event)
        except Exception:
            # The receiver's mistake must not cost the listener, which has more to tell and a process to reap.
            _log.exception("on_event failed on %s", type(event).__name__)


def _order(job: ClipJob) -> RunClip:
    state = job.state
    return RunClip(
        job_id=job.job_id,
        measure_ticks=job.measure_ticks,
        model=state.model,
        clip=state.clip,
        next_tick=state.next_tick,
        shares_tick=state.shares_tick,
        seed=state.seed,
        prompt=state.prompt,
        negative_prompt=state.negative_prompt,
        depth_range=state.depth_range,
        history=len(state.frames),
        anchor=state.anchor is not None,
    )
