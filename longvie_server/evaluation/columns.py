"""What is measured of a clip: the columns of the table, and what drift is told from."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..sequences import SequenceClip
from .metrics import colour_drift, gradient_energy, luma_energy, mean_colour, psnr, saturation, ssim
from .motion import edge_agreement, seam_jump, track_error_px
from .perceptual import Perceptual

__all__ = ["COLUMNS", "LOOK", "clip_figures"]

COLUMNS: Final = {
    "psnr": "PSNR dB",
    "ssim": "SSIM",
    "lpips": "LPIPS",
    "subject_consistency": "subject consistency",
    "background_consistency": "background consistency",
    "gradient_energy": "gradient energy",
    "track_error_px": "track error px",
    "edge_agreement": "edges at depth's",
    "seam_jump": "seam jump",
    "colour_drift": "colour drift",
}
"""The table's columns, with headings: see `metrics`, `motion` and `perceptual`."""
LOOK: Final = ("red", "green", "blue", "saturation", "sharpness")
"""What a clip looks like, whatever it shows: see `drift`."""


def clip_figures(
    video: NDArray[np.uint8],
    clip: SequenceClip,
    before: NDArray[np.uint8] | None,
    first: NDArray[np.uint8],
    perceptual: Perceptual,
) -> dict[str, float]:
    """Return all of `COLUMNS` and `LOOK` of one clip; NaN where a figure cannot be had.

    Args:
        video: (81, height, width, 3) uint8; its frame 0 counts in the first clip only, and there for motion only.
        clip: the truth.
        before: (height, width, 3) uint8, the last frame of the clip before, which is what is seen in place of frame 0
            (a session sends no shared frame twice); None for the first clip.
        first: (height, width, 3) uint8, the first frame of the row's whole video.
        perceptual: networks that are here.
    """
    known = clip.truth
    made, true = video[1:], np.asarray(clip.rgb[1:])
    seen = video if before is None else np.concatenate([before[None], made])
    red, green, blue = mean_colour(made)
    return {
        "psnr": psnr(made, true),
        "ssim": ssim(made, true),
        **perceptual.figures(seen, np.asarray(clip.rgb), first),
        "gradient_energy": gradient_energy(made, true),
        "track_error_px": math.nan
        if known.tracks is None
        else track_error_px(seen, np.asarray(clip.rgb), known.tracks),
        "edge_agreement": math.nan if known.edges is None else edge_agreement(made, known.edges[1:]),
        "seam_jump": math.nan if before is None else seam_jump(seen),
        "colour_drift": colour_drift(made, true),
        **{"red": red, "green": green, "blue": blue, "saturation": saturation(made), "sharpness": luma_energy(made)},
    }
