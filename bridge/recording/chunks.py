"""The file below a recording: which chunks it has, which are whole, and their messages in file order.

Comes in: any file. Goes out: messages of the topics in `bridge.recording.topics`, one chunk in memory at a time.
Laws: the whole chunks of a file count, whether or not its footer was ever written; a length is checked against the
file, and a decompressed size against a limit, before anything is allocated; no handle stays open between calls.
"""

from __future__ import annotations

import io
import struct
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, McapRecord, Message, Schema, Statistics
from mcap.stream_reader import breakup_chunk

from ..errors import InvalidValue
from .topics import TOPICS

__all__ = ["ChunkFile"]

_MAGIC: Final = bytes((137, 77, 67, 65, 80, 48, 13, 10))
_RECORD_HEAD: Final = struct.Struct("<BQ")
_MAX_CHUNK_BYTES: Final = 2**30
_MAX_CHANNEL_BYTES: Final = 2**24
_RECORD_AGAIN: Final = "Take an intact copy of the file, or record the session again."


@dataclass(slots=True)
class _ChunkPlace:
    # Where a chunk record's content lies, and how many messages each channel has in it (None: not indexed).
    offset: int
    length: int
    counts: dict[int, int] | None = None


@dataclass(slots=True)
class ChunkFile:
    """The whole chunks of an MCAP file.

    Args:
        path: of the file.

    Raises:
        InvalidValue: it cannot be read, is no MCAP file, or has no chunks.
    """

    path: Path
    size: int = field(default=0, init=False)
    damaged_at: int | None = field(default=None, init=False)
    """First byte that is not part of a whole record; None where the file was closed properly."""
    _chunks: list[_ChunkPlace] = field(default_factory=list, init=False)
    _channels: dict[int, Channel] = field(default_factory=dict, init=False)
    _schemas: dict[int, Schema] = field(default_factory=dict, init=False)
    _announced: int | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        with self._open() as file:
            self.size = file.seek(0, io.SEEK_END)
            file.seek(0)
            if file.read(len(_MAGIC)) != _MAGIC:
                raise self.error(
                    "is no MCAP file", remedy="Give a recording, for example the session.mcap of `longvie demo`."
                )
            self._scan(file)
            self._complete(file)

    def count(self, topic: str) -> int:
        """Return how many messages a topic has."""
        ids = self._ids((topic,))
        return sum(n for chunk in self._chunks for i, n in (chunk.counts or {}).items() if i in ids)

    def foreign_topics(self) -> list[str]:
        """Return the topics that are not a recording's, sorted."""
        ours = self._ids(TOPICS)
        return sorted({channel.topic for number, channel in self._channels.items() if number not in ours})

    def messages(self, *topics: str) -> Iterator[tuple[str, Message]]:
        """Yield (topic, message) of the given topics, in file order; only chunks that hold one are read.

        Raises:
            InvalidValue: a chunk is damaged.
        """
        wanted = self._ids(topics)
        with self._open() as file:
            for chunk in self._chunks:
                if wanted.keys().isdisjoint(chunk.counts or ()):
                    continue
                for record in self._read(file, chunk):
                    if isinstance(record, Message) and record.channel_id in wanted:
                        yield wanted[record.channel_id], record

    def error(self, problem: str, *, remedy: str = _RECORD_AGAIN) -> InvalidValue:
        """Return the error that names this file."""
        return InvalidValue(problem, field="recording", value=self.path, remedy=remedy)

    def _open(self) -> BinaryIO:
        try:
            return self.path.open("rb")
        except OSError as error:
            raise self.error(
                f"cannot be read: {error.strerror or error}", remedy="Check the path and its permissions."
            ) from error

    def _ids(self, topics: Collection[str]) -> dict[int, str]:
        # A channel is ours when its schema is, too: other software also has topics called /tf.
        found = {}
        for number, channel in self._channels.items():
            schema, ours = self._schemas.get(channel.schema_id), TOPICS.get(channel.topic)
            known = schema is not None and ours is not None and schema.name == ours.schema_name
            if known and channel.topic in topics:
                found[number] = channel.topic
        return found

    def _scan(self, file: BinaryIO) -> None:
        end = len(_MAGIC)
        while True:
            start = end
            file.seek(start)
            head = file.read(_RECORD_HEAD.size)
            opcode, length = _RECORD_HEAD.unpack(head) if len(head) == _RECORD_HEAD.size else (0, 0)
            content = start + _RECORD_HEAD.size
            end = content + length
            # No record has opcode 0: it is what a file system leaves of a page that was never written.
            if opcode == 0 or end > self.size:
                self.damaged_at = start
                return
            if opcode == Opcode.CHUNK:
                self._chunks.append(_ChunkPlace(content, length))
            elif opcode == Opcode.MESSAGE_INDEX and length >= 6 and self._chunks:
                chunk = self._chunks[-1]
                chunk.counts = chunk.counts or {}
                chunk.counts[struct.unpack("<H", file.read(2))[0]] = (length - 6) // 16
            elif opcode in (Opcode.CHANNEL, Opcode.SCHEMA, Opcode.STATISTICS) and length <= _MAX_CHANNEL_BYTES:
                self._learn(self._read_record(opcode, file.read(length), at=start))
            elif opcode == Opcode.MESSAGE:
                raise self.error("has messages outside chunks", remedy="Run: mcap compress FILE -o NEW_FILE")
            elif opcode == Opcode.FOOTER:
                file.seek(end)
                self.damaged_at = None if file.read(len(_MAGIC)) == _MAGIC else end
                return

    def _complete(self, file: BinaryIO) -> None:
        # What the scan could not learn: a file without a summary tells its channels inside chunks, and a writer that
        # was stopped may have left its last chunk without an index.
        if self.damaged_at is not None and self._chunks:
            try:
                self._inspect(file, self._chunks[-1])
            except InvalidValue:
                self.damaged_at = self._chunks.pop().offset - _RECORD_HEAD.size
        for chunk in self._chunks:
            if chunk.counts is None:
                self._inspect(file, chunk)
        unknown = {number for chunk in self._chunks for number in chunk.counts or ()} - self._channels.keys()
        for chunk in self._chunks:
            # Our writer tells every channel in its first chunk; another may do so in a later one.
            if not unknown:
                break
            self._inspect(file, chunk)
            unknown -= self._channels.keys()
        if unknown:
            raise self.error(f"is damaged: it has messages of channel {min(unknown)}, which it does not describe")
        found = sum(sum((chunk.counts or {}).values()) for chunk in self._chunks)
        if self._announced not in (None, found):
            raise self.error(f"is damaged: of the {self._announced} messages that its index counts, {found} are there")

    def _inspect(self, file: BinaryIO, chunk: _ChunkPlace) -> None:
        records = self._read(file, chunk)
        chunk.counts = dict(Counter(record.channel_id for record in records if isinstance(record, Message)))
        for record in records:
            self._learn(record)

    def _learn(self, record: McapRecord) -> None:
        if isinstance(record, Channel):
            self._channels[record.id] = record
        elif isinstance(record, Schema):
            self._schemas[record.id] = record
        elif isinstance(record, Statistics):
            self._announced = record.message_count

    def _read_record(self, opcode: int, data: bytes, *, at: int) -> McapRecord:
        stream = ReadDataStream(io.BytesIO(data))
        try:
            record: McapRecord
            if opcode == Opcode.CHANNEL:
                record = Channel.read(stream)
            else:
                record = Schema.read(stream) if opcode == Opcode.SCHEMA else Statistics.read(stream)
            return record
        except (McapError, ValueError, struct.error) as error:
            raise self.error(f"is damaged at byte {at}: {error}") from error

    def _read(self, file: BinaryIO, place: _ChunkPlace) -> list[McapRecord]:
        file.seek(place.offset)
        try:
            chunk = Chunk.read(ReadDataStream(io.BytesIO(file.read(place.length))))
            size = chunk.uncompressed_size
            # zstandard allocates what the frame says, whatever limit it is given.
            if chunk.compression == "zstd" and zstandard.frame_content_size(chunk.data) not in (-1, size):
                raise ValueError("it holds more than it declares")
            if size > _MAX_CHUNK_BYTES:
                raise ValueError(f"{size} bytes are over the limit of {_MAX_CHUNK_BYTES}")
            return breakup_chunk(chunk, validate_crc=True)
        # lz4 reports damage as a RuntimeError.
        except (McapError, ValueError, RuntimeError, struct.error, zstandard.ZstdError, OSError) as error:
            raise self.error(f"is damaged in the chunk at byte {place.offset}: {error}") from error
