"""An evaluation to look at: frames of the rows side by side, what is lost from clip to clip, and where it drifts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, ImageDraw

from bridge.tick import CLIP_STRIDE, FPS

from .kept import SHOWN, Kept

if TYPE_CHECKING:
    from .result import Row

__all__ = ["contact_sheet", "plot_clips", "plot_drift"]

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
    lines: list[tuple[str, Kept]] = []
    for scene in range(min(_SCENES, len(next(iter(kept.values()))))):
        lines += [(f"scene {scene}: {row}", scenes[scene]) for row, scenes in kept.items()]
    columns = max(len(_moments(known)) for _, known in lines)
    height, width, _ = lines[0][1].first().shape
    sheet = Image.new("RGB", (columns * (width + _GAP_PX), len(lines) * (height + _TITLE_PX)), color=(24, 24, 24))
    draw = ImageDraw.Draw(sheet)
    for line, (title, known) in enumerate(lines):
        top = line * (height + _TITLE_PX)
        draw.text((2, top + 2), title, fill=(230, 230, 230))
        for column, (clip, at) in enumerate(_moments(known)):
            left = column * (width + _GAP_PX)
            sheet.paste(Image.fromarray(known.shown(clip, at)), (left, top + _TITLE_PX))
            if column:
                seconds = (CLIP_STRIDE * clip + SHOWN[at]) / FPS
                draw.text((left + 2, top + 2), f"{seconds:.1f} s", fill=(150, 150, 150))
    sheet.save(path)


def _moments(known: Kept) -> list[tuple[int, int]]:
    """Clips and frames of them, evenly chosen, the first and the last among them."""
    every = [(clip, at) for clip in range(len(known.figures)) for at in range(len(SHOWN))]
    return [every[i] for i in np.unique(np.linspace(0, len(every) - 1, _COLUMNS).astype(int))]


def plot_drift(rows: Sequence[Row], path: Path, headings: Mapping[str, str]) -> None:
    """Write a picture: how colour, saturation and sharpness leave those of the first clip, over time.

    Args:
        rows: of an evaluation.
        path: of a PNG.
        headings: of what is compared.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 9), layout="constrained")
    for axes, (name, heading) in zip(figure.subplots(3, 1), headings.items(), strict=True):
        for row in rows:
            values = row.drift[name]
            if not np.isnan(values).all():
                seconds = [(clip + 0.5) * CLIP_STRIDE / FPS for clip in range(len(values))]
                axes.plot(seconds, values, marker=".", label=row.name, lw=3 if row.name == "model" else 1)
        axes.set(title=heading, xlabel="s")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.savefig(path, dpi=110)


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
