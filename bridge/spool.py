"""Frames that have arrived and were not read yet: in memory up to a bound, then on disk.

Because the client's thread always receives, a program may send five minutes of ticks before it reads its first frame.
"""

from __future__ import annotations

import tempfile
from collections import deque
from dataclasses import dataclass, replace
from typing import IO

from .messages import FrameMessage

__all__ = ["FrameSpool"]


@dataclass(frozen=True, slots=True)
class _OnDisk:
    message: FrameMessage
    offset: int
    length: int


class FrameSpool:
    """A queue of frames, first in, first out.

    Args:
        memory_bytes: held in memory; the rest goes to an anonymous temporary file.
    """

    def __init__(self, *, memory_bytes: int = 64 * 2**20) -> None:
        self._memory_bytes = memory_bytes
        self._held = 0
        self._queue: deque[FrameMessage | _OnDisk] = deque()
        self._file: IO[bytes] | None = None
        self._end = 0
        self._on_disk = 0

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def memory_bytes(self) -> int:
        """Image bytes held in memory now."""
        return self._held

    def put(self, message: FrameMessage) -> None:
        """Add a frame at the end."""
        size = len(message.image.data)
        # What came in a larger buffer of the transport's would keep all of that buffer alive.
        data = bytes(message.image.data)
        if self._held + size <= self._memory_bytes:
            self._held += size
            self._queue.append(replace(message, image=replace(message.image, data=data)))
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="longvie-frames-")  # noqa: SIM115 - lives as long as the spool
        self._file.seek(self._end)
        self._file.write(data)
        self._queue.append(_OnDisk(replace(message, image=replace(message.image, data=b"")), self._end, size))
        self._end += size
        self._on_disk += 1

    def get(self) -> FrameMessage:
        """Take the first frame.

        Raises:
            IndexError: there is none.
        """
        item = self._queue.popleft()
        if isinstance(item, FrameMessage):
            self._held -= len(item.image.data)
            return item
        assert self._file is not None
        self._file.seek(item.offset)
        data = self._file.read(item.length)
        self._on_disk -= 1
        if not self._on_disk:
            self._file.truncate(0)
            self._end = 0
        return replace(item.message, image=replace(item.message.image, data=data))

    def close(self) -> None:
        """Forget everything."""
        self._queue.clear()
        self._held = self._on_disk = self._end = 0
        if self._file is not None:
            self._file.close()
            self._file = None
