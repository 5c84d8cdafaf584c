"""Generating a shot, as a machine that is turned by hand: `tick` does a slice of work and returns.

A modal operator turns it from a timer, `generate.py` from a loop, a test as it likes. States::

    CONNECTING --opened--> CAPTURING --all ticks captured--> WAITING --all frames here--> DONE
        |                      |                                |
        +----------------------+---- error, cancel() -----------+-----> FAILED, CANCELLED

Laws: in every end state the scene is as it was found; frames that came are on disk; FAILED has a sentence.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bridge.errors import BridgeError, InvalidValue

from .capture import ShotCapture
from .capture.camera import check_scene
from .capture.surfaces import hidden_in_viewport
from .frame_folder import FrameFolder
from .network import ShotSession
from .order import ServerAddress, ShotOrder, seconds_text
from .remedies import speak_to_artists
from .scene_guard import SceneGuard

__all__ = ["Job", "JobProgress", "JobState"]


class JobState(enum.Enum):
    """Where a job is."""

    CONNECTING = "connecting"
    CAPTURING = "capturing"
    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


_OVER = frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED})


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How far a job is.

    Args:
        captured: ticks sent to the server, those of an earlier run included.
        frames: on disk, likewise.
        total: of each.
        eta_s: until the last frame; negative while unknown, and when it is over.
        note: what happens now.
    """

    captured: int
    frames: int
    total: int
    eta_s: float
    note: str

    @property
    def fraction(self) -> float:
        """Of the whole, 0 to 1."""
        return self.frames / self.total

    def sentence(self) -> str:
        """Say it in one line."""
        left = f", {seconds_text(self.eta_s)} left" if self.eta_s >= 0 else ""
        return f"{self.frames} of {self.total} frames{left}: {self.note}"


class Job:
    """One shot in the making.

    Args:
        scene, view_layer: what is captured.
        address, order: where and what.
        resume: go on from the folder's resume point; otherwise an earlier shot in it is set aside at its start.
        clock: monotonic seconds.

    Raises:
        InvalidValue: the scene cannot be captured, or there is nothing to resume.
    """

    def __init__(
        self,
        scene: Any,
        view_layer: Any,
        *,
        address: ServerAddress,
        order: ShotOrder,
        resume: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        sampling = order.sampling
        check_scene(scene, frame_start=sampling.frame_start, frame_end=sampling.frame_end)
        self.folder = FrameFolder(order.out)
        state = None
        if resume:
            point = self.folder.load_point()
            point.check(order.facts())
            state = point.state
        else:
            self.folder.prepare()
        self.state = JobState.CONNECTING
        self.error: BridgeError | None = None
        self.order = order
        self.warnings = _warnings(scene, view_layer)
        self._scene, self._view_layer, self._clock = scene, view_layer, clock
        self._guard = SceneGuard(scene)
        self._capture: ShotCapture | None = None
        self._began_s = clock()
        self._session = ShotSession(address, order, self.folder, state)
        self._next = self._session.first_tick
        self._begun_with = self._session.last_frame

    @property
    def over(self) -> bool:
        """Whether it has ended, well or not."""
        return self.state in _OVER

    @property
    def needs_scene(self) -> bool:
        """Whether it is still to capture from the scene."""
        return self.state in (JobState.CONNECTING, JobState.CAPTURING)

    @property
    def last_frame(self) -> int:
        """Index of the newest frame on disk; -1 before the first."""
        return self._session.last_frame

    @property
    def can_resume(self) -> bool:
        """Whether it ended early and can go on from what is there."""
        return self.over and self.state is not JobState.DONE and self.folder.has_point()

    def tick(self, budget_s: float = 0.05) -> None:
        """Work for about `budget_s` seconds, at least one tick where there is one to capture."""
        if self.over:
            return
        try:
            self._advance(self._clock() + budget_s)
        except BridgeError as error:
            self._end(JobState.FAILED, error)
        except BaseException:
            # A bug, or Control-C: the scene is put back all the same, and whoever called hears of it.
            self._end(JobState.FAILED, BridgeError("failed inside", remedy="See the console, and please report it."))
            raise

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until `tick` may have something to do. For loops without an interface."""
        if not self.over and not (self.state is JobState.CAPTURING and self._session.has_room):
            self._session.wait(timeout_s)

    def cancel(self) -> None:
        """Stop now; frames that came stay."""
        if not self.over:
            self._end(JobState.CANCELLED)

    def lose_scene(self, why: BridgeError) -> None:
        """Stop where the scene is still needed: it is about to be taken away or changed. Frames that came stay."""
        if self.needs_scene:
            self._end(JobState.FAILED, why)

    def join(self, timeout_s: float | None = None) -> None:
        """Wait until the network thread of a job that is over has ended."""
        self._session.join(timeout_s)

    @property
    def progress(self) -> JobProgress:
        """How far it is."""
        total = self.order.sampling.count
        frames = self._session.last_frame + 1
        return JobProgress(self._next, frames, total, self._eta_s(frames, total), self._note())

    def _advance(self, deadline_s: float) -> None:
        session = self._session
        if session.error is not None:
            raise session.error
        if session.model is None:
            return
        if self._capture is None:
            self._start_capture(session.model.width, session.model.height)
        while self.state is JobState.CAPTURING and session.has_room:
            self._capture_next()
            if self._clock() >= deadline_s:
                break
        if session.over and self.state is JobState.WAITING:
            if session.error is not None:
                raise session.error
            self.folder.drop_point()
            self._end(JobState.DONE)

    def _start_capture(self, width: int, height: int) -> None:
        if self._session.first_tick == 0:
            self._set_aside()
        self._capture = ShotCapture(
            self._scene, self._view_layer, sampling=self.order.sampling, size=(width, height), fit=self.order.fit
        )
        self.state = JobState.CAPTURING

    def _set_aside(self) -> None:
        try:
            earlier = self.folder.set_aside()
        except OSError as error:
            raise InvalidValue(
                f"an earlier shot cannot be set aside: {error.strerror or error}",
                field="output folder",
                value=self.folder.path,
                remedy="Choose another folder.",
            ) from error
        if earlier is not None:
            self.warnings += (f"The shot that was in the folder is now in {earlier.name}.",)

    def _capture_next(self) -> None:
        assert self._capture is not None
        if self._next < self.order.sampling.count:
            tick = self._capture.tick(self._next, starts_clip=self._session.starts_clip(self._next))
            self._session.offer(tick)
            self._next += 1
        else:
            self._session.finish()
            self._guard.restore()
            self.state = JobState.WAITING

    def _end(self, state: JobState, error: BridgeError | None = None) -> None:
        self.state = state
        self.error = None if error is None else speak_to_artists(error, resumable=self.folder.has_point())
        self._guard.restore()
        if state is not JobState.DONE:
            self._session.cancel()

    def _eta_s(self, frames: int, total: int) -> float:
        """Return what is left at the pace so far; the server's own guess before the first clip is here."""
        made = frames - (self._begun_with + 1)
        if made <= 0 or self.over:
            return -1.0
        return (self._clock() - self._began_s) / made * (total - frames)

    def _note(self) -> str:
        session = self._session
        if self.state is JobState.FAILED:
            return str(self.error)
        if self.over:
            return str(self.state.value)
        if session.model is None:
            return "connecting"
        if not session.connected:
            return "the server is gone; trying to reach it again"
        now = session.progress
        if now is None:
            return "capturing the first clip"
        if now.stage == "queued" and now.queue_place > 0:
            return f"clip {now.clip + 1}: {now.queue_place} clips of others go first"
        step = f" {now.step} of {now.steps}" if now.steps > 1 else ""
        return f"clip {now.clip + 1}: {now.stage}{step}"


def _warnings(scene: Any, view_layer: Any) -> tuple[str, ...]:
    hidden = hidden_in_viewport(scene, view_layer)
    if not hidden:
        return ()
    names = ", ".join(hidden[:3]) + (f" and {len(hidden) - 3} more" if len(hidden) > 3 else "")
    return (f"Hidden in the viewport, so the shot is made without: {names}. Show them (Alt H) to include them.",)
