"""An evaluation to look at: frames of the rows side by side, and what is lost from clip to clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .kept import SHOWN, Kept

if TYPE_CHECKING:
    from .evaluate import Row

__all__ = ["contact_sheet", "plot_clips"]

_GAP_PX: Final = 4
_TITLE_PX: Final = 16
_SCENES: Final = 3
_COLUMNS: Final = 8
_PLOTTED: Final = ("psnr", "gradient_energy", "track_error_px", "colour_drift")


def contact_sheet(kept: Mapping[str, Sequence[Kept]], path: Path) -> None:
    """Write a picture: a line per row and scene, of the first scenes, and frames in the order of time.

    Args:
        kept: by row, per scene.
        path: of a PNG.
    """
    clips = len(next(iter(kept.values()))[0].shown)
    moments = [(clip, at) for clip in range(clips) for at in range(len(SHOWN))]
    moments = [moments[i] for i in np.unique(np.linspace(0, len(moments) - 1, _COLUMNS).astype(int))]
    lines: list[tuple[str, list[NDArray[np.uint8]]]] = []
    for scene in range(min(_SCENES, len(next(iter(kept.values()))))):
        for row, scenes in kept.items():
            lines.append((f"scene {scene}: {row}", [scenes[scene].shown[clip][at] for clip, at in moments]))
    height, width, _ = lines[0][1][0].shape
    sheet = Image.new("RGB", (len(moments) * (width + _GAP_PX), len(lines) * (height + _TITLE_PX)), color=(24, 24, 24))
    draw = ImageDraw.Draw(sheet)
    for line, (title, frames) in enumerate(lines):
        top = line * (height + _TITLE_PX)
        draw.text((2, top + 2), title, fill=(230, 230, 230))
        for column, (frame, (clip, at)) in enumerate(zip(frames, moments, strict=True)):
            left = column * (width + _GAP_PX)
            sheet.paste(Image.fromarray(frame), (left, top + _TITLE_PX))
            if column:
                draw.text((left + 2, top + 2), f"{(80 * clip + SHOWN[at]) / 16:.1f} s", fill=(150, 150, 150))
    sheet.save(path)


def plot_clips(rows: Sequence[Row], path: Path, headings: Mapping[str, str]) -> None:
    """Write a picture: how each row does from clip to clip.

    Args:
        rows: of an evaluation.
        path: of a PNG.
        headings: of the columns.
    """
    # Imported here, and without pyplot: nothing is asked of a display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7), layout="constrained")
    for axes, column in zip(figure.subplots(2, 2).flat, _PLOTTED, strict=True):
        for row in rows:
            values = row.per_clip[column]
            if row.name != "truth" and not np.isnan(values).all():
                axes.plot(
                    range(1, 1 + len(values)), values, marker="o", label=row.name, lw=3 if row.name == "model" else 1
                )
        axes.set(title=headings[column], xlabel="clip")
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.savefig(path, dpi=110)
