"""Sequences of recordings: what an engine sent, beside its own pictures of it.

The pictures are the recording's references, or else a video beside it of the same name (`shot.mcap`, `shot.mp4`), a
frame per tick; either is cropped, padded or stretched as the session was. The depth range is the declared one, or
measured over the whole recording, as `longvie render` does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bridge.errors import InvalidValue
from bridge.recording import CutEvent, Recording
from bridge.tick import CLIP_STRIDE, CLIP_TICKS

from ..conditions import video_frames
from ..control.clip_geometry import ClipGeometry
from ..drive.recorded import fitted, recorded_clips
from ..drive.render import first_tick, whole_range
from ..world_model.interface import ControlClip
from .files import file_key
from .sequence import SequenceClip, clips_of
from .truth import ClipTruth, depth_edges

__all__ = ["RecordingSource"]


@dataclass(frozen=True, slots=True)
class RecordingSource:
    """A recording, without cuts.

    Args:
        path: of the `.mcap`.
    """

    path: Path

    @property
    def key(self) -> str:
        """Its name, and a digest of what it is."""
        # Sequences without the mark were prepared when a video was stretched, whatever fit the session had.
        return file_key(self.path, self._video) + ("-fitted" if self._video.is_file() else "")

    @property
    def _video(self) -> Path:
        return self.path.with_suffix(".mp4")

    def length(self) -> int:
        """Return the whole clips; ticks past the last one are not looked at."""
        count = (Recording.open(self.path).tick_count - 1) // CLIP_STRIDE
        if count < 1:
            raise InvalidValue(
                f"holds fewer than {CLIP_TICKS} ticks",
                field="sequences",
                value=self.path,
                remedy="Record a whole clip.",
            )
        return count

    def clips(self, *, height: int, width: int, first: int) -> Iterator[SequenceClip]:
        """Yield clips from number `first` on."""
        recording = Recording.open(self.path)
        if any(isinstance(event, CutEvent) for event in recording.events()):
            raise InvalidValue("holds a cut", field="sequences", value=self.path, remedy="Record each shot by itself.")
        size = {"height": height, "width": width}
        depth_range = recording.header.depth_range or whole_range(recording, **size, fit=recording.header.fit)
        pictures = clips_of(self._pictures(recording, height=height, width=width))
        for number, clip in enumerate(recorded_clips(recording, depth_range, height=height, width=width)):
            rgb = next(pictures, None)
            if clip.ticks < CLIP_TICKS:
                return
            if rgb is None:
                raise self._no_truth(f"has no true frames for clip {number}")
            if number >= first:
                yield SequenceClip(clip.prompt, rgb, clip.controls, _truth(clip.geometry, clip.controls))

    def _pictures(self, recording: Recording, *, height: int, width: int) -> Iterator[NDArray[np.uint8]]:
        """The true frame of every tick, in order."""
        wanted = first_tick(recording)
        for index, image in recording.references():
            if index != wanted:
                raise self._no_truth(f"lacks the true frame of tick {wanted}")
            wanted += 1
            yield fitted(image, height=height, width=width, fit=recording.header.fit)
        if wanted == first_tick(recording):
            if not self._video.is_file():
                raise self._no_truth("has no true frames")
            for image in video_frames(self._video):
                yield fitted(image, height=height, width=width, fit=recording.header.fit)

    def _no_truth(self, problem: str) -> InvalidValue:
        return InvalidValue(
            problem,
            field="sequences",
            value=self.path,
            remedy=f"Record the engine's own pictures (session.record_reference), or put {self._video.name} beside it.",
        )


def _truth(geometry: ClipGeometry, controls: ControlClip) -> ClipTruth:
    """What depth and followed points tell: no warp, which needs every pixel's body."""
    height, width = geometry.depth_m.shape[1:]
    tracks = None if controls.points is None else controls.points * np.array([width, height], np.float32)
    return ClipTruth(tracks=tracks, edges=np.stack([depth_edges(depth) for depth in geometry.depth_m]))
