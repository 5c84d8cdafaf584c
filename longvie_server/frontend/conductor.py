"""The conductor: gives the worker one clip after the other, and the sessions what comes back.

Sessions take turns clip by clip. A clip whose worker died is made again from the same state. Runs on the reactor's
thread; frames are encoded on the worker's listener thread before they get here, so the loop stays free.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from bridge.errors import BridgeError
from bridge.messages import Plane
from bridge.planes import image_to_plane
from bridge.tick import HISTORY_FRAMES

from ..session.clip_work import ClipWork
from ..session.registry import Entry, SessionRegistry
from ..session.turns import Turns
from ..worker.events import Done, Failed, Frames, GaveUp, Interrupted, Painted, Progress, Restarting, SupervisorEvent
from ..worker.job import ClipJob, PaintJob
from .eta import ClipClock
from .metrics import Metrics
from .peer import PeerLink
from .reactor import Reactor

__all__ = ["Conductor", "WorkerPort"]

_log = structlog.get_logger("longvie.conductor")


class WorkerPort(Protocol):
    """What the conductor asks of a worker."""

    def submit(self, job: ClipJob) -> None:
        """Make this clip."""
        ...

    def prepare(self, job: PaintJob) -> bool:
        """Paint this clip's controls while the one before is made; return whether that is done."""
        ...

    def cancel(self, job_id: int) -> None:
        """Stop making it."""
        ...


class Conductor:
    """Gives clips to one worker.

    Args:
        reactor: whose thread this runs on.
        metrics: counts.
    """

    def __init__(self, reactor: Reactor, *, metrics: Metrics) -> None:
        self._reactor, self._metrics = reactor, metrics
        self._clock = ClipClock(reactor.now)
        self._turns = Turns()
        self._ids = itertools.count(1)
        self._worker: WorkerPort | None = None
        self._sessions: SessionRegistry[PeerLink] | None = None
        self._flush: Callable[[Entry[PeerLink]], None] | None = None
        self._job: ClipJob | None = None
        # Whose clip was painted while this one is made, under the id that its job will have.
        self._ahead: tuple[str, PaintJob] | None = None
        self._owner = ""
        self._tail: list[NDArray[np.uint8]] = []
        self._encodings: dict[int, tuple[str, int]] = {}
        self.broken: BridgeError | None = None

    def use(self, sessions: SessionRegistry[PeerLink], *, flush: Callable[[Entry[PeerLink]], None]) -> None:
        """Serve these sessions."""
        self._sessions, self._flush = sessions, flush

    def employ(self, worker: WorkerPort) -> None:
        """Give clips to this worker."""
        self._worker = worker

    def join(self, name: str) -> None:
        """A session was opened."""
        self._turns.add(name)

    def leave(self, name: str) -> None:
        """A session was dropped; its clip, if it runs, is stopped."""
        self._turns.remove(name)
        self._stop_if_over()

    def advance(self) -> None:
        """Stop what nobody wants; give the worker the next clip, or what is known of it while it makes another."""
        self._stop_if_over()
        if self._worker is None or self.broken is not None:
            return
        if self._job is not None:
            self._paint_ahead()
            return
        name = self._turns.next(self._wants_turn)
        entry = self._entry(name)
        if name is None or entry is None:
            return
        self._owner = name
        self._submit(entry, entry.session.begin_clip())
        self._tell_queue()

    # --- from the worker

    def on_event(self, event: SupervisorEvent) -> None:
        """Take a worker's event on its listener thread: encode there, then go on on the reactor."""
        if isinstance(event, Frames):
            planes = self._encode(event)
            self._reactor.post(lambda: self._frames(event, planes))
        else:
            self._reactor.post(lambda: self._take(event))

    def _encode(self, event: Frames) -> list[Plane]:
        encoding, quality = self._encodings.get(event.job_id, ("raw", 90))
        return [image_to_plane(frame, encoding=encoding, quality=quality) for frame in event.frames]

    def _take(self, event: SupervisorEvent) -> None:
        match event:
            case Restarting():
                _log.warning("worker.restarting", restarts=event.restarts, cause=repr(event.cause))
                self._metrics.worker_restarts.inc()
            case GaveUp():
                self._give_up(event.error)
            case Interrupted() if self._is_current(event.job_id):
                self._repeat()
            case Painted() | Progress() | Done() | Failed() if self._is_current(event.job_id):
                self._take_of_clip(event)
            case _:
                pass  # of a clip that nobody wants any more

    def _take_of_clip(self, event: Painted | Progress | Done | Failed) -> None:
        entry = self._entry(self._owner)
        assert entry is not None
        session = entry.session
        match event:
            case Painted():
                session.painted(event.depth_range, event.saturated_fraction, event.fitting_range)
            case Progress():
                eta = self._clock.progress(event.stage, event.step, event.steps)
                session.progress(stage=event.stage, step=event.step, steps=event.steps, eta_s=eta)
            case Done():
                self._metrics.clip(event.timings)
                self._clock.done()
                _log.info("clip.done", session=session.name, clip=session.clip, **event.timings)
                session.clip_done(np.stack(self._tail), event.timings)
                self._clear()
            case Failed():
                _log.error("clip.failed", session=session.name, clip=session.clip, problem=event.error.problem)
                session.fail(event.error)
                self._clear()
        self._flush_entry(entry)
        self.advance()

    def _give_up(self, error: BridgeError) -> None:
        self.broken = error
        _log.error("worker.gave_up", problem=error.problem, remedy=error.remedy)
        self._clear()
        for entry in self._sessions or ():
            entry.session.fail(error)
            self._flush_entry(entry)

    def _frames(self, event: Frames, planes: list[Plane]) -> None:
        entry = self._entry(self._owner)
        if entry is None or not self._is_current(event.job_id):
            return
        self._tail = [*self._tail, *event.frames][-HISTORY_FRAMES:]
        for offset, plane in enumerate(planes):
            entry.session.frame(event.first + offset, plane)
        self._flush_entry(entry)

    # --- inside

    def _paint_ahead(self) -> None:
        """Have the clip painted that comes next, as far as can be told; where another does, only that was in vain."""
        if self._ahead is not None or self._worker is None:
            return
        for name in self._turns.waiting(self._has_ahead)[:1]:
            entry = self._entry(name)
            ahead = None if entry is None else entry.session.clip_ahead
            if ahead is not None:
                job = PaintJob(next(self._ids), ahead.geometry, ahead.real_ticks, ahead.depth_range)
                self._ahead = (name, job) if self._worker.prepare(job) else None

    def _job_id(self, work: ClipWork) -> int:
        """Return a new job's id: that of its painting, where it was painted ahead."""
        ahead, self._ahead = self._ahead, None
        # A buffer is another session's once its clip was made or dropped; within a session a clip that waits is begun.
        if ahead is not None and ahead[0] == self._owner and ahead[1].geometry is work.geometry:
            return ahead[1].job_id
        return next(self._ids)

    def _submit(self, entry: Entry[PeerLink], work: ClipWork) -> None:
        job_id = self._job_id(work)
        self._encodings = {job_id: (entry.request.frame_encoding, entry.request.jpeg_quality)}
        self._job = ClipJob(job_id, work.state, work.geometry, work.real_ticks)
        self._tail = []
        self._clock.begin()
        assert self._worker is not None
        try:
            self._worker.submit(self._job)
        except BridgeError as error:
            entry.session.fail(error)
            self._clear()
            self._flush_entry(entry)

    def _repeat(self) -> None:
        entry = self._entry(self._owner)
        if entry is None or not entry.session.is_running:
            self._clear()
            self.advance()
            return
        _log.warning("clip.repeated", session=entry.session.name, clip=entry.session.clip)
        self._metrics.clips_repeated.inc()
        # What was painted is gone with the worker.
        self._ahead = None
        assert self._job is not None
        assert self._worker is not None
        self._tail = []
        self._clock.begin()
        self._worker.submit(self._job)

    def _stop_if_over(self) -> None:
        if self._job is None:
            return
        entry = self._entry(self._owner)
        if entry is None or not entry.session.is_running:
            assert self._worker is not None
            self._worker.cancel(self._job.job_id)
            self._clear()

    def _clear(self) -> None:
        self._job, self._owner, self._tail = None, "", []

    def _is_current(self, job_id: int | None) -> bool:
        return self._job is not None and self._job.job_id == job_id

    def _entry(self, name: str | None) -> Entry[PeerLink] | None:
        return self._sessions.get(name) if name and self._sessions is not None else None

    def _has_ahead(self, name: str) -> bool:
        entry = self._entry(name)
        return entry is not None and entry.session.clip_ahead is not None

    def _wants_turn(self, name: str) -> bool:
        entry = self._entry(name)
        return entry is not None and entry.session.wants_turn

    def _tell_queue(self) -> None:
        for place, name in enumerate(self._turns.waiting(self._wants_turn), start=1):
            entry = self._entry(name)
            if entry is not None:
                eta = self._clock.expected_s(clips=place + 1)
                entry.session.progress(stage="queued", eta_s=eta, queue_place=place)
                self._flush_entry(entry)

    def _flush_entry(self, entry: Entry[PeerLink]) -> None:
        assert self._flush is not None
        self._flush(entry)
