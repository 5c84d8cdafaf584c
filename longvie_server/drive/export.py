"""A recording's control signals as the reference's own inputs: one folder per uncut sequence.

Uses the server's own path from ticks to controls, so what is exported is what a session would have used.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bridge.errors import InvalidValue
from bridge.geometry.fit import FitMap
from bridge.messages import Plane
from bridge.recording import CutEvent, Finish, PromptEvent, Recording
from bridge.tick import DepthRange, Tick

from ..conditions import ConditionsWriter
from ..control.encode import encode_controls
from ..session.assembler import ClipAssembler, CutFrame, PlannedClip
from ..session.clip_buffer import BufferPool
from ..session.reduce import TickReducer
from ..session.script import Script
from .render import first_tick, whole_range

__all__ = ["export_recording"]

_NO_PICTURE: Final = Plane("uint8", (0, 0, 3), b"")


def export_recording(
    recording: Recording,
    out: Path,
    *,
    height: int,
    width: int,
    force: bool = False,
    on_tick: Callable[[int], None] = lambda count: None,
) -> list[Path]:
    """Write `cond.json`, `first.png` and two videos per clip; return the folders, one more for every cut.

    A run of the reference knows no cuts, so what follows a cut is a sequence of its own: `out`, `out/cut_01`, ...

    Args:
        recording: what the engine sent.
        out: the folder.
        height, width: of the videos: the model's, so that nothing is resized twice.
        force: replace an earlier export.
        on_tick: told how many ticks were read.

    Raises:
        InvalidValue: the recording is damaged or empty, or the folder holds an export.
    """
    if (out / "cond.json").exists() and not force:
        raise InvalidValue("holds an export", field="--out", value=out, remedy="Choose another folder, or add --force.")
    depth_range = recording.header.depth_range or whole_range(
        recording, height=height, width=width, fit=recording.header.fit
    )
    export = _Export(recording, out, depth_range, height=height, width=width)
    count = 0
    for event in recording.events():
        match event:
            case Tick():
                export.tick(event)
                count += 1
                on_tick(count)
            case PromptEvent():
                export.script.prompt(event.text, from_tick=event.from_tick)
            case CutEvent():
                export.cut(event)
            case Finish():
                break
    return export.finish()


class _Export:
    """The sequence being written, and the clip being filled."""

    def __init__(self, recording: Recording, out: Path, depth_range: DepthRange, *, height: int, width: int) -> None:
        self.script = Script()
        self._header = recording.header
        self._out, self._range, self._size = out, depth_range, (height, width)
        self._pool = BufferPool(height, width)
        reducer = TickReducer(self._header.track_mode, height=height, width=width, fit=self._header.fit)
        self._assembler = ClipAssembler(reducer, self._pool, first_tick=first_tick(recording), shares_tick=False)
        self._writer = ConditionsWriter(out, self._picture(self._header.first_frame))
        self._folders = [out]
        self._prompt = self._header.prompt

    def tick(self, tick: Tick) -> None:
        self._write(self._assembler.tick(tick))

    def cut(self, event: CutEvent) -> None:
        self.script.cut(event.at_tick, event.first_frame)
        self._assembler.cut(event.at_tick, CutFrame(_NO_PICTURE, remeasure=False))

    def finish(self) -> list[Path]:
        self._write(self._assembler.end())
        self._writer.close()
        return self._folders

    def _write(self, clip: PlannedClip | None) -> None:
        if clip is None:
            return
        if clip.cut is not None:
            self._writer.close()
            folder = self._out / f"cut_{len(self._folders):02}"
            self._writer = ConditionsWriter(folder, self._picture(self.script.first_frame(clip.start)))
            self._folders.append(folder)
        self._prompt = self.script.begin(clip.start) or self._prompt
        height, width = self._size
        self._writer.add(self._prompt, encode_controls(clip.buffer.filled(), self._range, height=height, width=width))
        self._pool.give_back(clip.buffer)

    def _picture(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A first frame as a session fits it to the model's size."""
        height, width = self._size
        fit = FitMap.between((image.shape[1], image.shape[0]), (width, height), fit=self._header.fit)
        return np.asarray(fit.image(Image.fromarray(image)))
