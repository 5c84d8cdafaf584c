"""A session from a file: its header, its events in their order, its frames, references and world states.

Comes in: a file that `RecordingWriter` wrote, whole or cut off. Goes out: the values that went in, bit for bit.
Laws: everything is read as it is asked for, one chunk at a time; a file whose writer was stopped is read to its last
whole chunk, and `notice` says what is missing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from foxglove_schemas_protobuf.Log_pb2 import Log
from google.protobuf.message import DecodeError
from mcap.records import Message
from numpy.typing import NDArray
from PIL import Image

from ..geometry.depth import PLANAR_METRES
from ..tick import HISTORY_FRAMES, Frame, Tick, WorldState
from . import foxglove, sidecar, topics
from .chunks import ChunkFile
from .events import CutEvent, Event, Finish, PromptEvent
from .header import SessionHeader

__all__ = ["Recording"]

_PARTS = (
    topics.DEPTH,
    topics.DEPTH_AS_SENT,
    topics.TRACKS,
    topics.SEEDS,
    topics.INSTANCES,
    topics.SEED_INSTANCES,
)
_EVENTS = (topics.TICK, topics.PROMPT, topics.CUT, topics.CUT_FIRST_FRAME, topics.FINISH)


class Recording:
    """A recorded session. Holds no open file; every iterator reads on its own and can be made again.

    Attributes:
        path: of the file.
        header: how the session was opened.
        tick_count, frame_count: whole ticks and generated frames in the file.
        notice: None for a file that was closed properly; else, in words, what was recovered and what is lost.
    """

    def __init__(self, file: ChunkFile) -> None:
        self.path = file.path
        self._file = file
        self.header = self._read_header()
        self.tick_count = file.count(topics.TICK)
        self.frame_count = file.count(topics.GENERATED_INFO)
        self.notice = self._describe_loss()

    @classmethod
    def open(cls, path: str | PathLike[str]) -> Recording:
        """Return the recording in a file.

        Raises:
            InvalidValue: the file cannot be read, is no MCAP file or another program's, or ends before its header.
        """
        return cls(ChunkFile(Path(path)))

    def events(self) -> Iterator[Event]:
        """Yield what the client sent, in its order: ticks, prompts, cuts, the end.

        Raises:
            InvalidValue: the file is damaged; names the message.
        """
        held: dict[str, Message] = {}
        before: int | None = None
        for topic, message in self._file.messages(*_PARTS, *_EVENTS):
            if topic in _PARTS or topic == topics.CUT_FIRST_FRAME:
                held[topic] = message
                continue
            with self._reading(topic, message):
                event = _event(topic, message, held)
            held.clear()
            if isinstance(event, Tick):
                self._check_next(event.index, before)
                before = event.index
            yield event

    def ticks(self) -> Iterator[Tick]:
        """Yield the ticks alone."""
        return (event for event in self.events() if isinstance(event, Tick))

    def depths(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield (tick index, planar metres (height, width) float32, read-only) and decode nothing else."""
        held: Message | None = None
        before: int | None = None
        for topic, message in self._file.messages(topics.DEPTH, topics.TICK):
            if topic == topics.DEPTH:
                held = message
                continue
            with self._reading(topic, message):
                depth = foxglove.depth_from(_part(held, message).data)
            self._check_next(message.sequence, before)
            before = message.sequence
            yield before, depth

    def frames(self) -> Iterator[Frame]:
        """Yield the generated frames."""
        held: Message | None = None
        for topic, message in self._file.messages(topics.GENERATED, topics.GENERATED_INFO):
            if topic == topics.GENERATED:
                held = message
                continue
            with self._reading(topic, message):
                line = sidecar.read(message.data)
                image = foxglove.image_from(_part(held, message).data)
                frame = Frame(line["index"], image, time_ns=line["time_ns"], clip=line["clip"])
            yield frame

    def references(self) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yield (tick index, the engine's own render (height, width, 3) uint8)."""
        for topic, message in self._file.messages(topics.REFERENCE):
            with self._reading(topic, message):
                image = foxglove.image_from(message.data)
            yield message.sequence, image

    def states(self) -> Iterator[WorldState]:
        """Yield the world states; a session can be continued from the last one."""
        held: deque[Message] = deque(maxlen=HISTORY_FRAMES)
        held_anchor: deque[Message] = deque(maxlen=2)
        for topic, message in self._file.messages(topics.STATE_FRAMES, topics.STATE_ANCHOR, topics.STATE):
            if topic != topics.STATE:
                (held if topic == topics.STATE_FRAMES else held_anchor).append(message)
                continue
            with self._reading(topic, message):
                line = sidecar.read(message.data)
                if len(held) != line["frames"]:
                    raise ValueError(f"{line['frames']} frames belong to it, {len(held)} are there")
                frames = np.stack([foxglove.image_from(part.data) for part in held])
                state = sidecar.state_from(line, frames=frames, anchor=_anchor(line, held_anchor))
            held.clear()
            held_anchor.clear()
            yield state

    def _read_header(self) -> SessionHeader:
        first_frame: Message | None = None
        for topic, message in self._file.messages(topics.FIRST_FRAME, topics.SESSION):
            if topic == topics.FIRST_FRAME:
                first_frame = message
                continue
            with self._reading(topic, message):
                line = sidecar.read(message.data)
                newer = line["format"] > topics.FORMAT
            if newer:
                raise self._file.error(
                    f"has format {line['format']}, this program reads up to {topics.FORMAT}",
                    remedy="Run: pip install --upgrade longvie-bridge",
                )
            with self._reading(topic, message):
                image = foxglove.image_from(_part(first_frame, message).data)
                return sidecar.header_from(line, first_frame=image)
        if self._file.damaged_at is not None:
            raise self._file.error(f"ends after {self._file.damaged_at} whole bytes, before the session's header")
        foreign = ", ".join(self._file.foreign_topics()[:8]) or "nothing"
        raise self._file.error(
            f"is an MCAP file of another program: it has no /session channel, but {foreign}",
            remedy="Give a recording, for example the session.mcap of `longvie demo`.",
        )

    def _describe_loss(self) -> str | None:
        at = self._file.damaged_at
        if at is None:
            return None
        return (
            f"{self.path} was not closed: its writer was stopped, or the file was cut off. "
            f"{self.tick_count} ticks and {self.frame_count} frames were recovered; "
            f"What follows byte {at} of {self._file.size}, and what was not yet written, is lost."
        )

    def _check_next(self, index: int, before: int | None) -> None:
        # The writer takes ticks in order only, so a gap is a part of the file that cannot be seen any more.
        if before is not None and index != before + 1:
            raise self._file.error(f"is damaged: tick {index} follows tick {before}")

    @contextmanager
    def _reading(self, topic: str, message: Message) -> Iterator[None]:
        # Whatever is wrong inside one message is told as one error that names the file, the topic and the tick.
        try:
            yield
        except (ValueError, KeyError, TypeError, OSError, DecodeError, Image.DecompressionBombError) as error:
            why = f"has no {error}" if isinstance(error, KeyError) else str(error)
            raise self._file.error(f"cannot be read at {topic}, tick {message.sequence}: {why}") from error


def _anchor(line: dict[str, Any], held: Collection[Message]) -> NDArray[np.uint8] | None:
    # A recording of before there were anchors says nothing of one.
    if not line.get("anchor", False):
        return None
    if len(held) != 2:
        raise ValueError(f"2 images of its anchor belong to it, {len(held)} are there")
    frame, grey = held
    return foxglove.anchor_from(frame.data, grey.data)


def _part(held: Message | None, message: Message) -> Message:
    if held is None or held.sequence != message.sequence:
        raise ValueError("the message that belongs to it is missing")
    return held


def _event(topic: str, message: Message, held: dict[str, Message]) -> Event:
    if topic == topics.PROMPT:
        return PromptEvent(message.sequence, Log.FromString(message.data).message)
    if topic == topics.FINISH:
        return Finish()
    line = sidecar.read(message.data)
    if topic == topics.CUT:
        image = foxglove.image_from(_part(held.get(topics.CUT_FIRST_FRAME), message).data)
        return CutEvent(line["at_tick"], image, remeasure=line["remeasure"])
    return _tick(line, {name: _part(held.get(name), message).data for name in line["parts"]})


def _tick(line: dict[str, Any], parts: dict[str, bytes]) -> Tick:
    said = sidecar.tick_from(line)
    sent = topics.DEPTH if said.depth_declaration == PLANAR_METRES else topics.DEPTH_AS_SENT
    tracks = parts.get(topics.TRACKS)
    seeds = parts.get(topics.SEEDS)
    instances = parts.get(topics.INSTANCES)
    seed_instances = parts.get(topics.SEED_INSTANCES)
    return Tick(
        index=said.index,
        camera=said.camera,
        depth=foxglove.depth_from(parts[sent]),
        time_ns=said.time_ns,
        tracks=None if tracks is None else foxglove.tracks_from(tracks),
        seeds=None if seeds is None else foxglove.tracks_from(seeds),
        instances=None if instances is None else sidecar.instances_from(sidecar.read(instances)),
        seed_instances=None if seed_instances is None else sidecar.seed_instances_from(sidecar.read(seed_instances)),
        depth_declaration=said.depth_declaration,
    )
