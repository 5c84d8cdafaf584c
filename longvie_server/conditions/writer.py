"""From control signals to the reference's own inputs: videos, a JSON that names them, a first frame.

In: clip after clip of prompt and controls. Out: a folder for `read_conditions`, the reference and ComfyUI.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bridge.tick import FPS

from ..output.video import VideoWriter
from ..world_model.interface import ControlClip

__all__ = ["ConditionsWriter"]

_CRF: Final = 3
"""Nearly lossless, and in full colour: a track's colour is its place, and halved colour would move points."""


class ConditionsWriter:
    """Writes one sequence.

    Args:
        folder: made where it is not there.
        first_frame: (height, width, 3) uint8, the first clip's image condition.
    """

    def __init__(self, folder: Path, first_frame: NDArray[np.uint8]) -> None:
        self.folder = folder
        self._clips: list[dict[str, str]] = []
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(first_frame).save(folder / "first.png")

    def add(self, text: str, controls: ControlClip) -> None:
        """Write one clip's videos."""
        number = len(self._clips)
        names = {"depth": f"depth_{number:02}.mp4", "track": f"track_{number:02}.mp4"}
        for name, frames in ((names["depth"], controls.dense), (names["track"], controls.sparse)):
            with VideoWriter(self.folder / name, fps=FPS, crf=_CRF, pix_fmt="yuv444p") as video:
                for frame in frames:
                    video.write(frame if frame.ndim == 3 else frame[..., None].repeat(3, axis=2))
        self._clips.append({"text": text, **names})

    def close(self) -> None:
        """Write `cond.json`: a folder that has it is complete."""
        text = json.dumps(self._clips, indent=2, ensure_ascii=False)
        (self.folder / "cond.json").write_text(text + "\n", encoding="utf-8")
