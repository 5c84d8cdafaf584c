"""One client's life on the server, as pure logic: messages and clip events in, messages and clip jobs out.

States: *taking* ticks, *draining* (no tick follows, clips are still to come), *over*. Laws:

- every client message is numbered; each is taken once, in order, also over many connections;
- what the client must not lose (frames, finished clips, notices, the end) is numbered and kept until acknowledged;
- one clip is with the world model at a time; a clip that was interrupted is made again from the same `WorldState`, and
  frames of it that were sent are not sent twice;
- credit: `granted_ticks` grows when ticks have become control pixels; a clip begins only while frames are granted.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bridge.errors import BridgeError, LimitExceeded
from bridge.messages import (
    Ack,
    Cancel,
    ClipDone,
    Closed,
    Cut,
    ErrorMessage,
    Finish,
    FrameMessage,
    Limits,
    Notice,
    Plane,
    Progress,
    PromptChange,
    Receipt,
    ServerMessage,
    TickMessage,
)
from bridge.protocol.numbered import NumberedReceiver, NumberedSender
from bridge.protocol.values import state_to_message, tick_from_message
from bridge.tick import CLIP_TICKS, DepthRange, WorldState

from ..control.dense import encode_dense
from .assembler import ClipAssembler, CutFrame, PlannedClip
from .clip_buffer import BufferPool
from .clip_work import ClipAhead, ClipWork
from .recorder import SessionRecorder
from .script import Script

__all__ = ["CREDIT_TICKS", "Phase", "Session"]

CREDIT_TICKS: Final = CLIP_TICKS + 16
"""Ticks that a client may be ahead of the control signals, memory permitting."""

SessionMessage = TickMessage | PromptChange | Cut | Finish | Cancel
_Kept = FrameMessage | ClipDone | Notice | Closed


class Phase(enum.Enum):
    """Where a session is."""

    TAKING = "taking"
    DRAINING = "draining"
    OVER = "over"


class Session:
    """A session.

    Args:
        name: public.
        state: before its first clip.
        assembler: for its track mode, model and first tick.
        pool: where the assembler's buffers go back.
        limits: on planes.
        frame_credit: frames that the client takes at first.
        credit_ticks: ticks that the client may be ahead.
        fit_image: turns a first frame as sent into (height, width, 3) uint8 at the model's size.
        recorder: keeps everything, where the client asked for it.
    """

    def __init__(
        self,
        *,
        name: str,
        state: WorldState,
        assembler: ClipAssembler,
        pool: BufferPool,
        limits: Limits,
        frame_credit: int,
        credit_ticks: int = CREDIT_TICKS,
        fit_image: Callable[[Plane], NDArray[np.uint8]],
        recorder: SessionRecorder | None = None,
    ) -> None:
        self.name = name
        self.phase = Phase.TAKING
        self.granted_ticks = credit_ticks
        self._credit_ticks = credit_ticks
        self.frames_sent = 0
        self._first_tick = assembler.next_tick
        self._state = state
        self._assembler = assembler
        self._pool = pool
        self._limits = limits
        self._granted_frames = frame_credit
        self._fit_image = fit_image
        self._recorder = recorder
        self._receiver = NumberedReceiver()
        self._sender: NumberedSender[_Kept] = NumberedSender()
        self._output: list[ServerMessage] = []
        self._planned: deque[PlannedClip] = deque()
        self._running: PlannedClip | None = None
        self._running_state: WorldState | None = None
        self._clip_frames = 0
        self._script = Script()
        self._accepted_ticks = 0
        self._warned: set[str] = set()
        self._failure: ErrorMessage | None = None

    # --- the client's side

    @property
    def first_tick(self) -> int:
        """Index of the session's first tick."""
        return self._first_tick

    @property
    def received_seq(self) -> int:
        """Number of the client's last message that was taken."""
        return self._receiver.received

    def receive(self, message: SessionMessage) -> None:
        """Take a numbered message.

        An error in it is answered: fatal for a tick or a cut that cannot be used (the stream has a hole then), not for
        a prompt that comes too late.

        Raises:
            ProtocolError: a number was left out.
        """
        if not self._receiver.take(message.seq):
            return
        if self.phase is not Phase.TAKING and not isinstance(message, Cancel):
            return
        try:
            match message:
                case TickMessage():
                    self._tick(message)
                case PromptChange():
                    self._prompt(message)
                case Cut():
                    self._cut(message)
                case Finish():
                    self._finish()
                case Cancel():
                    self._end("cancelled")
        except BridgeError as error:
            self._refuse(error, fatal=not isinstance(message, PromptChange))

    def acknowledge(self, ack: Ack) -> None:
        """Take an acknowledgement: forget what arrived, renew the frame credit."""
        self._sender.acknowledge(ack.received_seq)
        self._granted_frames = max(self._granted_frames, ack.granted_frames)

    def resume(self, received_seq: int) -> None:
        """Go on over a new connection: send again what the client does not have."""
        self._sender.acknowledge(received_seq)
        self._output = list(self._sender.unacknowledged())
        if self._failure is not None:
            self._output.insert(0, self._failure)

    def detach(self) -> None:
        """The connection is gone; unnumbered messages go with it, numbered ones are kept."""
        self._output.clear()

    def take_output(self) -> list[ServerMessage]:
        """Return what is to be sent now."""
        output, self._output = self._output, []
        return output

    @property
    def unacknowledged(self) -> int:
        """Messages that are kept for the client."""
        return len(self._sender)

    def fail(self, error: BridgeError) -> None:
        """End the session for a fault that is the server's."""
        if self.phase is not Phase.OVER:
            self._refuse(error, fatal=True)

    def shut_down(self) -> None:
        """Complete the recording, where there is one: the server stops."""
        if self._recorder is not None:
            if self.phase is not Phase.OVER:
                self._recorder.close()
            self._recorder.join()

    # --- the world model's side

    @property
    def wants_turn(self) -> bool:
        """A clip waits, the client takes frames, and none is with the model."""
        return (
            self._running is None
            and bool(self._planned)
            and self.phase is not Phase.OVER
            and self.frames_sent < self._granted_frames
        )

    @property
    def is_running(self) -> bool:
        """A clip is with the world model."""
        return self._running is not None

    @property
    def clip_ahead(self) -> ClipAhead | None:
        """What is known of the clip that waits, where it can be painted before its turn."""
        if not self._planned or self.phase is Phase.OVER or self.frames_sent >= self._granted_frames:
            return None
        return ClipAhead.of(self._planned[0], self._running_state or self._state, running=self.is_running)

    @property
    def clip(self) -> int:
        """Number of the clip that is running or comes next."""
        return self._state.clip

    def begin_clip(self) -> ClipWork:
        """Give the next clip to the world model."""
        clip = self._planned.popleft()
        state = self._state
        if clip.cut is not None:
            state = state.after_cut(at_tick=clip.start, first_frame=self._script.first_frame(clip.start))
            if clip.cut.remeasure:
                state = replace(state, depth_range=None)
        prompt = self._script.begin(clip.start)
        if prompt is not None:
            state = replace(state, prompt=prompt)
        self._running, self._running_state = clip, state
        self._clip_frames = 0
        return self._work()

    def repeat_clip(self) -> ClipWork:
        """Give the running clip to the world model again, from the same state."""
        return self._work()

    def progress(self, *, stage: str, step: int = 0, steps: int = 0, eta_s: float = -1.0, queue_place: int = 0) -> None:
        """Tell the client where its clip is."""
        if self.phase is not Phase.OVER:
            self._output.append(Progress(self.name, self.clip, stage, step, steps, eta_s, queue_place))

    def painted(self, depth_range: DepthRange, saturated: float, fitting: DepthRange | None) -> None:
        """The running clip's ticks have become control pixels: their credit comes back."""
        if self._running is None or self._running_state is None:
            return
        self._running_state = replace(self._running_state, depth_range=depth_range)
        self._grant(self._running)
        if depth_range.near_m == depth_range.far_m:
            self._notice(
                "depth_range.zero",
                f"All depth is {depth_range.near_m:g} m: the dense control is flat grey. Is the camera inside a wall?",
            )
        elif fitting is not None:
            self._notice(
                "depth_range.saturated",
                f"{saturated:.0%} of the depth lies outside near {depth_range.near_m:.3g} m .. "
                f"far {depth_range.far_m:.3g} m and is plain black or white; near {fitting.near_m:.3g} m and "
                f"far {fitting.far_m:.3g} m would fit this clip.",
            )

    def frame(self, number: int, image: Plane) -> None:
        """Frame `number` (0..80) of the running clip is made; it is sent unless it shows a held or a delivered tick."""
        clip = self._running
        if clip is None or self.phase is Phase.OVER or number < self._clip_frames:
            return
        self._clip_frames = number + 1
        if number >= len(clip.times_ns) or (number == 0 and clip.shares_tick):
            return
        index, time_ns = clip.start + number, clip.times_ns[number]
        self.frames_sent += 1
        message = self._keep(lambda seq: FrameMessage(self.name, seq, index, time_ns, self.clip, image))
        if self._recorder is not None:
            assert isinstance(message, FrameMessage)
            self._recorder.frame(message)

    def clip_done(self, frames: NDArray[np.uint8], timings: Mapping[str, float]) -> None:
        """The running clip is made; `frames` are its last 8, (8, height, width, 3) uint8."""
        clip, state = self._running, self._running_state
        if clip is None or state is None or self.phase is Phase.OVER:
            return
        number = self.clip
        self._state = state.after_clip(frames, _first_grey(clip, state))
        self._running = self._running_state = None
        self._pool.give_back(clip.buffer)
        if self._recorder is not None:
            self._recorder.state(self._state)
        self._keep(
            lambda seq: ClipDone(
                self.name, seq, number, clip.start, clip.last, dict(timings), state_to_message(self._state)
            )
        )
        if self.phase is Phase.DRAINING and not self._planned:
            self._end("finished")

    # --- inside

    def _tick(self, message: TickMessage) -> None:
        if self._accepted_ticks >= self.granted_ticks:
            raise LimitExceeded(
                f"only {self.granted_ticks} ticks were granted so far",
                field="tick.index",
                value=message.index,
                remedy="Wait for a receipt that grants more.",
            )
        try:
            tick = tick_from_message(message, self._limits)
            clip = self._assembler.tick(tick)
        except BridgeError as error:
            error.problem = f"tick {message.index}: {error.problem}"
            raise
        self._accepted_ticks += 1
        if self._recorder is not None:
            self._recorder.tick(tick)
        if clip is not None:
            self._planned.append(clip)
        self._receipt(message.index)

    def _receipt(self, index: int) -> None:
        # A receipt covers all ticks before it: one that still waits to be sent is replaced.
        receipt = Receipt(self.name, index, self._receiver.received, self.granted_ticks)
        if self._output and isinstance(self._output[-1], Receipt):
            self._output[-1] = receipt
        else:
            self._output.append(receipt)

    def _prompt(self, message: PromptChange) -> None:
        self._script.prompt(message.text, from_tick=message.from_tick)
        if self._recorder is not None:
            self._recorder.prompt(message.from_tick, message.text)

    def _cut(self, message: Cut) -> None:
        self._script.check_room_for_cut(message.at_tick)
        image = self._fit_image(message.first_frame)
        self._assembler.cut(message.at_tick, CutFrame(message.first_frame, message.remeasure))
        self._script.cut(message.at_tick, image)
        if self._recorder is not None:
            self._recorder.cut(message.at_tick, image, remeasure=message.remeasure)

    def _finish(self) -> None:
        clip = self._assembler.end()
        if clip is not None:
            self._planned.append(clip)
        self.phase = Phase.DRAINING
        if self._recorder is not None:
            self._recorder.finish()
        self._receipt(self._assembler.next_tick - 1)
        if not self._planned and self._running is None:
            self._end("finished")

    def _grant(self, clip: PlannedClip) -> None:
        total = clip.last - self._first_tick + 1 + self._credit_ticks
        if total > self.granted_ticks:
            self.granted_ticks = total
            self._receipt(self._assembler.next_tick - 1)

    def _work(self) -> ClipWork:
        assert self._running is not None
        assert self._running_state is not None
        return ClipWork(self._running_state, self._running.buffer.filled(), len(self._running.times_ns))

    def _keep(self, make: Callable[[int], _Kept]) -> _Kept:
        message = self._sender.append(make)
        self._output.append(message)
        return message

    def _notice(self, code: str, text: str) -> None:
        if code not in self._warned:
            self._warned.add(code)
            self._keep(lambda seq: Notice(self.name, seq, code, text))

    def _refuse(self, error: BridgeError, *, fatal: bool) -> None:
        answer = ErrorMessage(error.code, error.problem, error.field, error.value, error.remedy, self.name, fatal=fatal)
        self._output.append(answer)
        if fatal:
            self._failure = answer
            self._end("failed")

    def _end(self, reason: str) -> None:
        if self.phase is Phase.OVER:
            return
        self.phase = Phase.OVER
        self._assembler.discard()
        for clip in (*self._planned, *([self._running] if self._running else [])):
            self._pool.give_back(clip.buffer)
        self._planned.clear()
        self._running = self._running_state = None
        self._keep(lambda seq: Closed(self.name, seq, reason, self.frames_sent))
        if self._recorder is not None:
            self._recorder.close()


def _first_grey(clip: PlannedClip, state: WorldState) -> NDArray[np.uint8]:
    """Return the grey of a clip's first tick, (height, width) uint8, as the worker paints it."""
    if state.anchor is not None:
        # The anchor stays what it is: no other grey is asked for.
        grey: NDArray[np.uint8] = state.anchor[..., 3]
        return grey
    assert state.depth_range is not None, "a clip is painted before it is done"
    grey = encode_dense(clip.buffer.first_depth_m, state.depth_range)[0]
    return grey
