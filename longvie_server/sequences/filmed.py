"""Sequences in the reference's own layout: per clip a prompt, a depth video and a track video, beside the true video.

True frames are each clip's "video" in the JSON, or one `video.mp4` beside it with all clips' frames, the frames that
two clips share once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bridge.errors import InvalidValue
from bridge.tick import CLIP_TICKS

from ..conditions import ClipConditions, read_conditions, read_controls, video_frames
from .files import file_key
from .sequence import SequenceClip, clips_of
from .truth import ClipTruth

__all__ = ["FilmedSource"]

_WHOLE: Final = "video.mp4"


@dataclass(frozen=True, slots=True)
class FilmedSource:
    """A conditions file with its true video.

    Args:
        path: of the JSON.
    """

    path: Path

    @property
    def key(self) -> str:
        """Its folder's name, and a digest of its files."""
        clips = read_conditions(self.path)
        videos = [video for clip in clips for video in (clip.depth, clip.track, clip.video) if video is not None]
        return file_key(self.path, self._whole, *videos)

    @property
    def _whole(self) -> Path:
        return self.path.with_name(_WHOLE)

    def length(self) -> int:
        """Return the clips."""
        return len(read_conditions(self.path))

    def clips(self, *, height: int, width: int, first: int) -> Iterator[SequenceClip]:
        """Yield clips from number `first` on."""
        entries = read_conditions(self.path)
        truths = self._truths(entries, first, height=height, width=width)
        for number, entry in enumerate(entries[first:], start=first):
            rgb = next(truths, None)
            if rgb is None or len(rgb) < CLIP_TICKS:
                raise self._no_truth(number, "has fewer true frames than control frames")
            controls = read_controls(entry, height=height, width=width)
            yield SequenceClip(entry.text, rgb, controls, ClipTruth())

    def _truths(
        self, entries: tuple[ClipConditions, ...], first: int, *, height: int, width: int
    ) -> Iterator[NDArray[np.uint8]]:
        named = [entry.video for entry in entries]
        if not any(named) and self._whole.is_file():
            yield from islice(clips_of(video_frames(self._whole, height=height, width=width)), first, None)
            return
        for number, video in enumerate(named[first:], start=first):
            if video is None:
                raise self._no_truth(number, "has no true video")
            yield np.stack(list(islice(video_frames(video, height=height, width=width), CLIP_TICKS)))

    def _no_truth(self, clip: int, problem: str) -> InvalidValue:
        return InvalidValue(
            problem,
            field=f"{self.path}[{clip}].video",
            remedy=f'Name the clip\'s {CLIP_TICKS} true frames as "video", or put the whole video beside it: {_WHOLE}.',
        )
