"""A session to a file, as it happens.

Comes in: the values that a client sends and receives. Goes out: an MCAP file as `bridge.recording.topics` lays it out.
Laws: the header is on disk when the writer exists; after every call, whole chunks are with the operating system, so
a process that is killed loses at most its last `CHUNK_BYTES` of messages; a world state is never in that loss.
"""

from __future__ import annotations

import threading
import time
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Protocol

import numpy as np
from mcap.writer import CompressionType, Writer
from numpy.typing import NDArray

from ..errors import InvalidValue, OutOfOrder
from ..geometry.depth import PLANAR_METRES, to_planar_metres
from ..tick import Frame, Tick, WorldState
from . import foxglove, sidecar, topics
from .events import CutEvent, Event, Finish, PromptEvent
from .header import SessionHeader, check_image

__all__ = ["CHUNK_BYTES", "RecordingWriter"]

CHUNK_BYTES: Final = 2**20
"""A chunk is closed when it holds more than this: one or two ticks at LongVie's size."""


class _Protobuf(Protocol):
    def SerializeToString(self) -> bytes: ...  # noqa: N802


class RecordingWriter:
    """Writes one session. A context manager; may be called from several threads.

    Args:
        path: of the new file, usually `*.mcap`.
        header: how the session was opened.
        started_ns: the recording's time of tick 0, nanoseconds since 1970; None is now. Give it to get the same bytes
            for the same session.
        compress: zstd, chunk by chunk.
        overwrite: replace a file that is there.

    Raises:
        InvalidValue: the file is there already, or cannot be made.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        header: SessionHeader,
        started_ns: int | None = None,
        compress: bool = True,
        overwrite: bool = False,
    ) -> None:
        self.path = Path(path)
        self._fps = header.fps
        self._started_ns = time.time_ns() if started_ns is None else started_ns
        self._next_tick: int | None = None
        self._ticks = 0
        self._last_frame = -1
        self._lock = threading.Lock()
        self._file: BinaryIO | None = _create(self.path, overwrite=overwrite)
        compression = CompressionType.ZSTD if compress else CompressionType.NONE
        self._mcap = Writer(self._file, chunk_size=CHUNK_BYTES, compression=compression)
        self._mcap.start(library="longvie-bridge")
        self._channels = {topic.name: self._register(topic) for topic in topics.TOPICS.values()}
        first_frame = foxglove.png(header.first_frame, at_ns=self._at(0))
        self._write(
            0,
            (topics.FIRST_FRAME, first_frame),
            (topics.SESSION, sidecar.header_line(header, started_ns=self._started_ns)),
            seal=True,
        )

    def write(self, event: Event) -> None:
        """Write whatever `Recording.events` yields."""
        if isinstance(event, Tick):
            self.write_tick(event)
        elif isinstance(event, PromptEvent):
            self.write_prompt(event)
        elif isinstance(event, CutEvent):
            self.write_cut(event)
        else:
            self.write_finish(event)

    def write_tick(self, tick: Tick) -> None:
        """Write what the engine sent.

        Raises:
            OutOfOrder: it does not follow the tick before.
        """
        at_ns = self._at(tick.index)
        lens = tick.camera.intrinsics
        planar = to_planar_metres(tick.depth, declaration=tick.depth_declaration, intrinsics=lens)
        parts: list[tuple[str, _Protobuf | bytes]] = [(topics.DEPTH, foxglove.depth_image(planar, at_ns=at_ns))]
        if tick.depth_declaration != PLANAR_METRES:
            parts.append((topics.DEPTH_AS_SENT, foxglove.depth_image(tick.depth, at_ns=at_ns)))
        if tick.tracks is not None:
            parts.append((topics.TRACKS, foxglove.points(tick.tracks, at_ns=at_ns)))
        if tick.seeds is not None:
            parts.append((topics.SEEDS, foxglove.points(tick.seeds, at_ns=at_ns)))
        if tick.instances is not None:
            parts.append((topics.INSTANCES, sidecar.instances_line(tick.instances, index=tick.index)))
        if tick.seed_instances is not None:
            line = sidecar.seed_instances_line(tick.seed_instances, index=tick.index)
            parts.append((topics.SEED_INSTANCES, line))
        with self._lock:
            if self._next_tick not in (None, tick.index):
                raise OutOfOrder(
                    f"tick {self._next_tick} is next",
                    field="tick.index",
                    value=tick.index,
                    remedy="Record every tick once, in order.",
                )
            self._write(
                tick.index,
                (topics.CALIBRATION, foxglove.calibration(lens, at_ns=at_ns)),
                (topics.TRANSFORMS, foxglove.transforms(tick.camera, tick.instances, at_ns=at_ns)),
                *parts,
                (topics.TICK, sidecar.tick_line(tick, parts=tuple(name for name, _ in parts))),
            )
            self._next_tick = tick.index + 1
            self._ticks += 1

    def write_prompt(self, prompt: PromptEvent) -> None:
        """Write a new prompt, where it came among the ticks."""
        with self._lock:
            message = foxglove.log(prompt.text, at_ns=self._at(prompt.from_tick))
            self._write(prompt.from_tick, (topics.PROMPT, message))

    def write_cut(self, cut: CutEvent) -> None:
        """Write a cut, where it came among the ticks."""
        image = foxglove.png(cut.first_frame, at_ns=self._at(cut.at_tick))
        line = sidecar.cut_line(at_tick=cut.at_tick, remeasure=cut.remeasure)
        with self._lock:
            self._write(cut.at_tick, (topics.CUT_FIRST_FRAME, image), (topics.CUT, line))

    def write_finish(self, finish: Finish | None = None) -> None:
        """Write that no tick follows."""
        with self._lock:
            self._write((self._next_tick or 1) - 1, (topics.FINISH, sidecar.finish_line(ticks=self._ticks)), seal=True)

    def write_reference(self, index: int, image: NDArray[np.uint8]) -> None:
        """Write the engine's own render of a tick, (height, width, 3) uint8 RGB."""
        check_image("reference", image)
        message = foxglove.png(image, at_ns=self._at(index))
        with self._lock:
            self._write(index, (topics.REFERENCE, message))

    def write_frame(self, frame: Frame) -> None:
        """Write a generated frame.

        Raises:
            OutOfOrder: a later one, or this one, was written before.
        """
        check_image("frame.image", frame.image)
        message = foxglove.png(frame.image, at_ns=self._at(frame.index))
        with self._lock:
            if frame.index <= self._last_frame:
                raise OutOfOrder(
                    f"frame {self._last_frame} was written before",
                    field="frame.index",
                    value=frame.index,
                    remedy="Record every frame once, in order.",
                )
            self._write(frame.index, (topics.GENERATED, message), (topics.GENERATED_INFO, sidecar.frame_line(frame)))
            self._last_frame = frame.index

    def write_state(self, state: WorldState) -> None:
        """Write the state after a clip: from the last one, any server can go on."""
        first = state.next_tick + 1 - len(state.frames)
        images = [foxglove.png(image, at_ns=self._at(max(0, first + i))) for i, image in enumerate(state.frames)]
        now_ns = self._at(state.next_tick)
        anchor = () if state.anchor is None else foxglove.anchor_images(state.anchor, at_ns=now_ns)
        with self._lock:
            for place, image in enumerate(images):
                at_ns = self._at(max(0, first + place))
                self._write(place, (topics.STATE_FRAMES, image), at_ns=at_ns)
            for place, image in enumerate(anchor):
                self._write(place, (topics.STATE_ANCHOR, image), at_ns=now_ns)
            self._write(state.next_tick, (topics.STATE, sidecar.state_line(state)), seal=True)

    def close(self) -> None:
        """Write the index and close the file; a second call does nothing."""
        with self._lock:
            file, self._file = self._file, None
            if file is not None:
                with file:
                    self._mcap.finish()  # type: ignore[no-untyped-call]

    def __enter__(self) -> RecordingWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _at(self, index: int) -> int:
        if not 0 <= index < 2**32:
            raise InvalidValue("must be in 0 .. 2**32 - 1", field="index", value=index, remedy="Count ticks from 0.")
        return self._started_ns + int(index) * 10**9 // self._fps

    def _register(self, topic: topics.Topic) -> int:
        schema = self._mcap.register_schema(topic.schema_name, topic.schema_encoding, topic.schema)
        return self._mcap.register_channel(topic.name, topic.message_encoding, schema)

    def _write(
        self, index: int, *messages: tuple[str, _Protobuf | bytes], at_ns: int | None = None, seal: bool = False
    ) -> None:
        if self._file is None:
            raise OutOfOrder("is closed", field="recording", value=self.path, remedy="Write before you close it.")
        at_ns = self._at(index) if at_ns is None else at_ns
        for topic, message in messages:
            data = message if isinstance(message, bytes) else message.SerializeToString()
            self._mcap.add_message(self._channels[topic], at_ns, data, at_ns, sequence=int(index))
        if seal:
            self._mcap.flush()  # type: ignore[no-untyped-call]
        else:
            self._file.flush()


def _create(path: Path, *, overwrite: bool) -> BinaryIO:
    try:
        return path.open("wb" if overwrite else "xb")
    except FileExistsError as error:
        raise InvalidValue(
            "is there already", field="recording", value=path, remedy="Choose another name, or pass overwrite=True."
        ) from error
    except OSError as error:
        raise InvalidValue(
            f"cannot be written: {error.strerror or error}",
            field="recording",
            value=path,
            remedy="Make its folder first, and check that you may write there.",
        ) from error
