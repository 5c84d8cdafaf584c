"""A sequence on disk: clips of 81 true frames, their controls and prompts, neighbours sharing a frame.

In: a `SequenceSource` (a scene, a recording, videos). Out: a `ClipSequence`, a folder of one folder per clip.
Laws: a clip is written at once, its `clip.json` last, so a stopped preparation goes on with the next clip; one process
prepares a sequence at a time, and others wait for it; arrays are memory-mapped when read: however long a sequence is,
no more than a clip of it need be in memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from bridge.errors import InvalidValue, ShapeMismatch
from bridge.tick import CLIP_TICKS

from ..world_model.interface import ControlClip
from .truth import ClipTruth

__all__ = ["ClipSequence", "SequenceClip", "SequenceSource", "cache_folder", "cached", "clips_of"]

_MARK: Final = "clip.json"
_PLANES: Final = ("rgb", "dense", "sparse")
_POINTS: Final = "points.npy"
_LOCK: Final = "lock"


@dataclass(frozen=True, slots=True, eq=False)
class SequenceClip:
    """One clip.

    Args:
        prompt: what it shows.
        rgb: (81, height, width, 3) uint8, the true frames.
        controls: its controls.
        truth: what else is known of it.

    Raises:
        ShapeMismatch: the frames are not 81 of the controls' size.
    """

    prompt: str
    rgb: NDArray[np.uint8]
    controls: ControlClip
    truth: ClipTruth

    def __post_init__(self) -> None:
        if self.rgb.shape != self.controls.sparse.shape or self.rgb.dtype != np.uint8:
            raise ShapeMismatch(
                f"must be {self.controls.sparse.shape} uint8",
                field="rgb",
                value=f"{self.rgb.shape} {self.rgb.dtype}",
                remedy="Give as many true frames as control frames, of one size.",
            )


class SequenceSource(Protocol):
    """Where a sequence comes from."""

    @property
    def key(self) -> str:
        """A folder's name: another source, or another version of it, has another one."""
        ...

    def length(self) -> int | None:
        """How many clips there are; None where there is no end.

        Raises:
            InvalidValue: the source cannot be read, or holds no whole clip.
        """
        ...

    def clips(self, *, height: int, width: int, first: int) -> Iterator[SequenceClip]:
        """Yield clips from number `first` on, at a model's size; one that was yielded may be overwritten.

        Raises:
            InvalidValue: the source cannot be read.
        """
        ...


class ClipSequence:
    """Clips in a folder.

    Args:
        folder: made when the first clip is added.
        most: clips past this number are not seen; None for all.
    """

    def __init__(self, folder: Path, *, most: int | None = None) -> None:
        self.folder = folder
        self._most = most

    @property
    def name(self) -> str:
        """The folder's."""
        return self.folder.name

    def __len__(self) -> int:
        count = 0
        while count != self._most and (self._clip_folder(count) / _MARK).exists():
            count += 1
        return count

    def clip(self, number: int) -> SequenceClip:
        """Return a clip, its arrays memory-mapped.

        Raises:
            InvalidValue: there is no such clip.
        """
        folder = self._clip_folder(number)
        if not (folder / _MARK).exists():
            raise InvalidValue("is not there", field="clip", value=folder, remedy="Prepare the sequence again.")
        rgb, dense, sparse = (_mapped(folder / f"{name}.npy") for name in _PLANES)
        points = _mapped(folder / _POINTS) if (folder / _POINTS).exists() else None
        told = json.loads((folder / _MARK).read_text(encoding="utf-8"))
        return SequenceClip(told["prompt"], rgb, ControlClip(dense, sparse, points), ClipTruth.load(folder))

    def add(self, clip: SequenceClip) -> None:
        """Write the next clip."""
        folder = self._clip_folder(len(self))
        folder.mkdir(parents=True, exist_ok=True)
        for name, array in zip(_PLANES, (clip.rgb, clip.controls.dense, clip.controls.sparse), strict=True):
            np.save(folder / f"{name}.npy", array, allow_pickle=False)
        if clip.controls.points is not None:
            np.save(folder / _POINTS, clip.controls.points, allow_pickle=False)
        clip.truth.save(folder)
        partial = folder / f"{_MARK}.partial"
        partial.write_text(json.dumps({"prompt": clip.prompt}, ensure_ascii=False) + "\n", encoding="utf-8")
        partial.replace(folder / _MARK)

    def _clip_folder(self, number: int) -> Path:
        return self.folder / f"{number:04d}"


def _mapped(path: Path) -> NDArray[Any]:
    return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]


def cache_folder(source: SequenceSource, folder: Path, *, height: int, width: int) -> Path:
    """Return where in a cache a source's clips of a size are kept."""
    return folder / f"{source.key}-{height}x{width}"


def cached(
    source: SequenceSource,
    folder: Path,
    *,
    clips: int | None,
    height: int,
    width: int,
    on_clip: Callable[[], None] = lambda: None,
) -> ClipSequence:
    """Return a source's first clips, from the cache or made now.

    Args:
        source: of the clips.
        folder: of the cache; each source and size has a folder of its own in it.
        clips: how many; None for all.
        height, width: of the model's frames.
        on_clip: called after every clip that was made.

    Raises:
        InvalidValue: the source cannot be read, or has no end and `clips` is None.
    """
    length = source.length()
    wanted = length if clips is None else clips if length is None else min(clips, length)
    if wanted is None:
        raise InvalidValue("is needed where there is no end", field="clips", value=clips, remedy="Give a number.")
    sequence = ClipSequence(cache_folder(source, folder, height=height, width=width), most=wanted)
    if len(sequence) < wanted:
        sequence.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(sequence.folder / _LOCK):
            there = len(sequence)
            # Another process may have made it meanwhile: then nothing is asked of the source.
            if there < wanted:
                for clip in islice(source.clips(height=height, width=width, first=there), wanted - there):
                    sequence.add(clip)
                    on_clip()
    return sequence


def clips_of(frames: Iterator[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    """Yield whole clips, (81, height, width, 3), of a stream of frames; each shares its first with the one before."""
    held: list[NDArray[np.uint8]] = []
    for frame in frames:
        held.append(frame)
        if len(held) == CLIP_TICKS:
            yield np.stack(held)
            held = held[-1:]
