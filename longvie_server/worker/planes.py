"""The shared memory block of one worker: its parent writes jobs into it, the worker writes frames.

The parent owns it. Its name is unlinked as soon as the worker has it open: from then on the memory lives exactly as
long as the processes that map it, so nothing stays behind however they end. Both sides take turns, by messages.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bridge.errors import ServerError
from bridge.tick import CLIP_TICKS, HISTORY_FRAMES, TRACK_COUNT, WorldState

from ..control.clip_geometry import ClipGeometry
from .job import ClipJob
from .messages import RunClip

__all__ = ["SharedPlanes"]

_ALIGNMENT: Final = 64
_LINUX_FOLDER: Final = Path("/dev/shm")


class SharedPlanes:
    """Arrays for one clip of (height, width) in one block.

    Attributes:
        name: of the block, until `unlink`.
        geometry: 81 ticks; `ClipGeometry` says what its arrays are.
        history: (8, height, width, 3) uint8, the state's frames; a state of one frame uses the first.
        anchor: (height, width, 4) uint8, the state's, where it has one.
        frames: (81, height, width, 3) uint8, the clip.
    """

    def __init__(self, block: SharedMemory, height: int, width: int, *, owner: bool) -> None:
        self._block = block
        self._owns_name = owner
        self.name = block.name
        depth, uv, track_depth, drawn, self.history, self.anchor, self.frames = (
            np.ndarray(shape, dtype, buffer=block.buf, offset=offset)
            for offset, shape, dtype in _layout(height, width)[0]
        )
        self.geometry = ClipGeometry(depth_m=depth, track_uv=uv, track_depth_m=track_depth, track_drawn=drawn)

    @classmethod
    def create(cls, height: int, width: int) -> SharedPlanes:
        """Make a block under a new name.

        Raises:
            ServerError: the machine has not that much shared memory left.
        """
        size = _layout(height, width)[1]
        # macOS allows no longer names than 30 characters.
        name = f"longvie-{os.getpid()}-{secrets.token_hex(4)}"
        try:
            block = SharedMemory(name, create=True, size=size)
            try:
                _reserve(name, size)
            except OSError:
                block.close()
                block.unlink()
                raise
        except OSError as error:
            raise ServerError(
                f"there is no shared memory for one clip ({error.strerror})",
                field="shared memory",
                value=f"{size / 2**20:.0f} MiB",
                remedy="Free some or allow more (in a container: --shm-size=1g).",
            ) from error
        return cls(block, height, width, owner=True)

    @classmethod
    def attach(cls, name: str, height: int, width: int) -> SharedPlanes:
        """Open the parent's block."""
        if sys.version_info >= (3, 13):
            block = SharedMemory(name, track=False)
        else:
            with _untracked():
                block = SharedMemory(name)
        return cls(block, height, width, owner=False)

    def write_geometry(self, theirs: ClipGeometry) -> None:
        """Copy the geometry of a job, whose size has been checked, into the block."""
        mine = self.geometry
        mine.depth_m[...] = theirs.depth_m
        mine.track_uv[...] = theirs.track_uv
        mine.track_depth_m[...] = theirs.track_depth_m
        mine.track_drawn[...] = theirs.track_drawn

    def write_state(self, state: WorldState) -> None:
        """Copy the frames and the anchor of a job's state, whose size has been checked, into the block."""
        self.history[: len(state.frames)] = state.frames
        if state.anchor is not None:
            self.anchor[...] = state.anchor

    def read_job(self, order: RunClip) -> ClipJob:
        """Return the job whose arrays lie in the block; its geometry is the block's own, its images are copies."""
        state = WorldState(
            model=order.model,
            clip=order.clip,
            next_tick=order.next_tick,
            shares_tick=order.shares_tick,
            seed=order.seed,
            prompt=order.prompt,
            negative_prompt=order.negative_prompt,
            depth_range=order.depth_range,
            # Small; a state may be kept, and the block is written again for the next job.
            frames=self.history[: order.history].copy(),
            anchor=self.anchor.copy() if order.anchor else None,
        )
        return ClipJob(order.job_id, state, self.geometry, order.measure_ticks)

    def copy_frames(self, first: int, count: int) -> NDArray[np.uint8]:
        """Return frames of the clip, (count, height, width, 3) uint8, as a copy."""
        frames: NDArray[np.uint8] = self.frames[first : first + count].copy()
        return frames

    def unlink(self) -> None:
        """Take the block's name away; who has it open keeps it. Only its owner does so, and only once."""
        if self._owns_name:
            self._owns_name = False
            self._block.unlink()

    def close(self) -> None:
        """Give the memory back. No array of this block may be in use any more."""
        self.unlink()
        # A block cannot be closed as long as arrays point into it.
        del self.geometry, self.history, self.anchor, self.frames
        self._block.close()


def _layout(height: int, width: int) -> tuple[list[tuple[int, tuple[int, ...], type[np.generic]]], int]:
    """Return (offset, shape, dtype) of every array, and the block's size in bytes."""
    arrays: tuple[tuple[tuple[int, ...], type[np.generic]], ...] = (
        ((CLIP_TICKS, height, width), np.float32),
        ((CLIP_TICKS, TRACK_COUNT, 2), np.float32),
        ((CLIP_TICKS, TRACK_COUNT), np.float32),
        ((CLIP_TICKS, TRACK_COUNT), np.bool_),
        ((HISTORY_FRAMES, height, width, 3), np.uint8),
        ((height, width, 4), np.uint8),
        ((CLIP_TICKS, height, width, 3), np.uint8),
    )
    placed = []
    offset = 0
    for shape, dtype in arrays:
        placed.append((offset, shape, dtype))
        size = prod(shape) * np.dtype(dtype).itemsize
        offset += -(-size // _ALIGNMENT) * _ALIGNMENT
    return placed, offset


def _reserve(name: str, size: int) -> None:
    """Claim the block's pages now: on Linux a full /dev/shm would otherwise end the process at the first write."""
    path = _LINUX_FOLDER / name
    if sys.platform == "linux" and path.exists():
        handle = os.open(path, os.O_RDWR)
        try:
            os.posix_fallocate(handle, 0, size)
        finally:
            os.close(handle)


@contextmanager
def _untracked() -> Iterator[None]:
    """Keep a block that is opened meanwhile out of this process's resource tracker.

    Before Python 3.13 whoever opens a block is taken for its owner: the tracker would unlink it when this process ends,
    and complain.
    """

    def ignore(*_: Any) -> None:
        """Stand in for the tracker's `register`."""

    tracker: Any = resource_tracker
    register, tracker.register = tracker.register, ignore
    try:
        yield
    finally:
        tracker.register = register
