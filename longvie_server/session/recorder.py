"""A session's recording, written on the server on a thread of its own.

Ticks arrive faster than a disk may take them: the queue is bounded, and when it is full the server waits, because a
recording with holes is none.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import structlog
from numpy.typing import NDArray

from bridge.errors import InvalidValue
from bridge.geometry.fit import Fit
from bridge.messages import FrameMessage, Limits, Open
from bridge.planes import image_from_plane
from bridge.recording import CutEvent, PromptEvent, RecordingWriter, SessionHeader
from bridge.tick import Frame, Tick, TrackMode, WorldState

from ..world_model.interface import ModelSpec

__all__ = ["SessionRecorder", "record_session"]

_QUEUE: Final = 128

_log = structlog.get_logger("longvie.recorder")


def record_session(
    request: Open, *, name: str, state: WorldState, spec: ModelSpec, limits: Limits, folder: Path | None
) -> SessionRecorder | None:
    """Return the recorder that a client asked for; None where it did not.

    Args:
        request: what opened the session.
        name: of the session, and of the file.
        state: before its first clip.
        spec: of the model.
        limits: on frames, when they are decoded again.
        folder: where the server keeps recordings; None: nowhere.

    Raises:
        InvalidValue: the server keeps no recordings, or the file cannot be made.
    """
    if not request.record:
        return None
    if folder is None:
        raise InvalidValue(
            "this server keeps no recordings",
            field="record",
            value=True,
            remedy="Start it with --record-dir FOLDER, or record on the client (SessionOptions.record_to).",
        )
    folder.mkdir(parents=True, exist_ok=True)
    header = SessionHeader(
        prompt=state.prompt,
        seed=state.seed,
        model=spec.name,
        track_mode=TrackMode(request.track_mode),
        first_frame=state.image,
        depth_range=state.depth_range,
        fit=Fit(request.fit) if request.fit else None,
        negative_prompt=state.negative_prompt,
        numerics=spec.numerics,
    )
    recorder = SessionRecorder(RecordingWriter(folder / f"{name}.mcap", header=header), limits)
    if state.history is not None:
        recorder.state(state)
    return recorder


class SessionRecorder:
    """Writes what happens in one session, in order.

    Args:
        writer: open; closed by `close`.
        limits: on frames.
    """

    def __init__(self, writer: RecordingWriter, limits: Limits) -> None:
        self._writer, self._limits = writer, limits
        self._queue: queue.Queue[Callable[[], None] | None] = queue.Queue(_QUEUE)
        self._thread = threading.Thread(target=self._run, name="longvie-recorder", daemon=True)
        self._thread.start()

    def tick(self, tick: Tick) -> None:
        """Keep a tick."""
        self._queue.put(lambda: self._writer.write_tick(tick))

    def prompt(self, from_tick: int, text: str) -> None:
        """Keep a prompt."""
        self._queue.put(lambda: self._writer.write_prompt(PromptEvent(from_tick, text)))

    def cut(self, at_tick: int, first_frame: NDArray[np.uint8], *, remeasure: bool) -> None:
        """Keep a cut, with its first frame at the model's size."""
        self._queue.put(lambda: self._writer.write_cut(CutEvent(at_tick, first_frame, remeasure)))

    def frame(self, message: FrameMessage) -> None:
        """Keep a frame that is sent."""

        def write() -> None:
            image = image_from_plane(message.image, name="frame", limits=self._limits)
            self._writer.write_frame(Frame(message.index, image, message.time_ns, message.clip))

        self._queue.put(write)

    def state(self, state: WorldState) -> None:
        """Keep a world state."""
        self._queue.put(lambda: self._writer.write_state(state))

    def finish(self) -> None:
        """Keep that no tick follows."""
        self._queue.put(self._writer.write_finish)

    def close(self) -> None:
        """Write what waits, then close the file; returns at once."""
        self._queue.put(None)

    def join(self) -> None:
        """Wait until the file is closed; after `close`."""
        self._thread.join()

    def _run(self) -> None:
        broken = False
        while (write := self._queue.get()) is not None:
            try:
                if not broken:
                    write()
            except Exception as error:
                # A full disk must not stop the session; the file up to here is readable.
                broken = True
                _log.error("recording.stopped", path=str(self._writer.path), error=str(error))
        self._writer.close()
