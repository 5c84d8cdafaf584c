"""The folder that a run leaves behind: frames, videos, a strip, a summary.

Frames are written as they come, in a thread of their own, so that whoever makes them does not wait for the videos'
codec; the summary comes last, so a folder with `summary.json` is complete.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bridge.errors import InvalidValue
from bridge.tick import CLIP_STRIDE, FPS, Frame

from .continuity import ContinuityMeter
from .panels import grid, labelled, strip
from .preview import ControlsAt
from .video import VideoWriter

__all__ = ["OutputFolder"]

_T = TypeVar("_T")
_VIDEO_WIDTH_PX = 640
_LATER = 6
"""Clips until the first of the later moments of the strip, half a minute."""
_BACKLOG = 81
"""Frames that may wait to be written, a clip's; whoever brings more waits."""


class OutputFolder:
    """Writes a run's frames.

    Args:
        path: of the folder; made if it is not there.
        force: replace what an earlier run left in it.

    Raises:
        InvalidValue: the folder holds an earlier run's result, and `force` is not given.
    """

    def __init__(self, path: Path, *, force: bool = False) -> None:
        self.path = path
        self._frames = path / "frames"
        if any(self._frames.glob("*.png")) and not force:
            raise InvalidValue(
                "holds frames already", field="--out", value=path, remedy="Choose another folder, or add --force."
            )
        self._frames.mkdir(parents=True, exist_ok=True)
        for old in (*self._frames.glob("*.png"), path / "summary.json", path / "session.mcap"):
            old.unlink(missing_ok=True)
        self._video: VideoWriter | None = None
        self._side_by_side: VideoWriter | None = None
        self._meter = ContinuityMeter()
        self._moments: list[tuple[str, list[NDArray[np.uint8]]]] = []
        self._made_s = self._began_s = time.perf_counter()
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="frames-to-disk")
        self._backlog: deque[Future[None]] = deque()
        self._count = 0
        self._clips = 0

    @property
    def recording(self) -> Path:
        """Where the session's recording belongs."""
        return self.path / "session.mcap"

    def begin(self) -> None:
        """The shot begins now: what came before, such as a server that loads its model, counts as its start-up."""
        self._began_s = time.perf_counter()

    def write(self, frame: Frame, controls: ControlsAt, reference: NDArray[np.uint8] | None) -> None:
        """Have a frame written, beside the controls and the engine's own picture of its tick.

        The arrays must stay as they are. What goes wrong with a frame is raised by a later call.

        Raises:
            OSError: an earlier frame could not be written.
        """
        if controls.index != frame.index:
            raise AssertionError(f"controls of tick {controls.index} beside frame {frame.index}")
        self._settle(_BACKLOG - 1)
        self._backlog.append(self._writer.submit(self._write, frame, controls, reference))

    def _settle(self, backlog: int) -> None:
        """Wait until no more than so many frames wait to be written."""
        while self._backlog and (len(self._backlog) > backlog or self._backlog[0].done()):
            self._backlog.popleft().result()

    def _write(self, frame: Frame, controls: ControlsAt, reference: NDArray[np.uint8] | None) -> None:
        if self._video is None:
            scale = max(1, _VIDEO_WIDTH_PX // frame.image.shape[1])
            self._video = VideoWriter(self.path / "video.mp4", fps=FPS, scale=scale)
            self._side_by_side = VideoWriter(self.path / "side_by_side.mp4", fps=FPS)
            self._meter = ContinuityMeter(frame.index)
        assert self._side_by_side is not None
        Image.fromarray(frame.image).save(self._frames / f"{frame.index:06d}.png", compress_level=1)
        self._video.write(frame.image)
        pictures = {"depth": controls.dense, "tracks": controls.sparse, "generated": frame.image}
        if reference is not None:
            pictures = {"engine": reference, **pictures}
        width = max(320, min(_VIDEO_WIDTH_PX, frame.image.shape[1]))
        panels = [labelled(image, name, width=width) for name, image in pictures.items()]
        self._side_by_side.write(grid(panels, columns=2))
        if _is_moment(self._count):
            self._moments.append((f"{self._count / FPS:.0f} s", list(pictures.values())))
            self._names = list(pictures)
        self._meter.add(frame.index, frame.image)
        self._count += 1
        self._clips = max(self._clips, frame.clip + 1)

    def finish(self, *, timings: Mapping[str, float], facts: Mapping[str, Any]) -> dict[str, Any]:
        """Complete the videos, write `strip.png` and `summary.json`, and return the summary.

        Args:
            timings: mean seconds per clip and stage.
            facts: of the run: model, seed, prompt, numerics and so on.

        Raises:
            OSError: a frame could not be written.
        """
        self._settle(0)
        seconds = time.perf_counter() - self._began_s
        self.close()
        if self._moments:
            Image.fromarray(strip(_shown(self._moments), names=self._names, width=288)).save(self.path / "strip.png")
        summary = {
            "frames": self._count,
            "clips": self._clips,
            "seconds": round(seconds, 3),
            "frames_per_second": round(self._count / seconds, 3),
            "start_up_seconds": round(self._began_s - self._made_s, 3),
            "seconds_per_stage": {stage: round(value, 4) for stage, value in timings.items()},
            "continuity": {k: round(v, 4) for k, v in dataclasses.asdict(self._meter.result()).items()},
            **facts,
        }
        (self.path / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        return summary

    def close(self) -> None:
        """Write what still waits to be written, and close the videos."""
        self._writer.shutdown()
        for video in (self._video, self._side_by_side):
            if video is not None:
                video.close()
        self._video = self._side_by_side = None

    def __enter__(self) -> OutputFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _is_moment(count: int) -> bool:
    """Whether the frame after so many may stand in the strip: at 0, 5, 10, 15, 30, 60, 120 s, and so on.

    Of a run of hours no more than a dozen are kept.
    """
    clips, rest = divmod(count, CLIP_STRIDE)
    if rest:
        return False
    times, rest = divmod(clips, _LATER)
    return clips < 4 or (rest == 0 and times & (times - 1) == 0)


def _shown(moments: Sequence[_T]) -> list[_T]:
    """Return the first two and the last two of a run's moments."""
    return [*moments[:2], *moments[2:][-2:]]
