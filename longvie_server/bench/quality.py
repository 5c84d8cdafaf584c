"""What a trade of quality gains over `final`, and what it changes: the same clips of the same model, made with both."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..evaluation.metrics import psnr
from ..world_model.options import RunOptions
from .model import ModelBench, bench_model

__all__ = ["QualityBench", "bench_quality"]


@dataclass(frozen=True, slots=True)
class QualityBench:
    """Two measurements, and how far the pictures are apart.

    Args:
        final, chosen: of the same model on the same device.
        first_clip_db: PSNR of the first clip beside `final`'s, which both begin from one picture; of random weights it
            says nothing about a trained model's pictures.
    """

    final: ModelBench
    chosen: ModelBench
    first_clip_db: float

    @property
    def gain(self) -> float:
        """How many clips in the time of one."""
        return self.final.seconds_per_clip / self.chosen.seconds_per_clip

    def as_json(self) -> dict[str, Any]:
        """Return all figures by name."""
        figures = {"gain": self.gain, "first_clip_db": self.first_clip_db}
        return {**figures, "final": self.final.as_json(), "chosen": self.chosen.as_json()}

    def table_rows(self) -> list[tuple[str, str, str]]:
        """Return (what, measured, wanted) as text, for a table."""
        return [
            *self.chosen.table_rows(),
            ("beside final", f"{self.gain:.2f} x as fast ({self.final.seconds_per_clip:.2f} s a clip)", ""),
            ("  passes", f"{self.chosen.passes} of {self.final.passes}", ""),
            ("  first clip's pictures", f"{self.first_clip_db:.1f} dB from final's", ""),
        ]


def bench_quality(model: str, *, options: RunOptions, clips: int = 2, device: str = "auto") -> QualityBench:
    """Measure a model as `final` with full products and decoder, and as the options say, one after the other.

    Args:
        model: a world model's name, or one of `RANDOM_SIZES`.
        options: quality, products and decoder are the second one's; all else holds for both.
        clips: to count of each, after one that warms up.
        device: where the weights go.

    Raises:
        InvalidValue: the model is no LongVie 2, or is not there; an option cannot be had here.
    """
    pictures: list[NDArray[np.uint8]] = []

    def measure(how: RunOptions) -> ModelBench:
        frames: list[NDArray[np.uint8]] = []
        measured = bench_model(model, clips=clips, device=device, options=how, on_clip=frames.append)
        pictures.append(frames[0])
        return measured

    final = measure(replace(options, quality="final", products="full", decoder="full"))
    chosen = measure(options)
    return QualityBench(final, chosen, psnr(pictures[1], pictures[0]))
