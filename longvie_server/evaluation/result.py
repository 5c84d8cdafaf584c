"""A finished evaluation: means per row, what is lost on the way, and the files that it is written to."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from .columns import COLUMNS
from .drift import DRIFT, WINDOWS, against_first, windowed
from .kept import Kept
from .report import contact_sheet, plot_clips, plot_drift

__all__ = ["Evaluation", "Row", "mean_row"]

_DECIMALS: Final = {"ssim": 3, "lpips": 3, "subject_consistency": 3, "background_consistency": 3, "colour_drift": 1}
_MOST_CLIPS: Final = 6
"""Past this number the table shows no single clips."""


@dataclass(frozen=True, slots=True)
class Row:
    """Means over all sequences.

    Args:
        name: of `ROWS`.
        figures: of `COLUMNS`, over all clips; NaN where no clip has the figure.
        per_clip: of `COLUMNS`, the first clip's, the second's and so on: what is lost on the way.
        drift: of `DRIFT`, per clip, against the video's first clip.
    """

    name: str
    figures: dict[str, float]
    per_clip: dict[str, tuple[float, ...]]
    drift: dict[str, tuple[float, ...]]

    def drift_in(self, window: str) -> dict[str, list[float]]:
        """Return the drift's means over each of a window of `WINDOWS`."""
        return {name: windowed(np.array(values), WINDOWS[window]).tolist() for name, values in self.drift.items()}

    def as_json(self) -> dict[str, Any]:
        """Return one flat object; what is not a number becomes null."""
        means = {column: _known(value) for column, value in self.figures.items()}
        drift = {"per_clip": self.drift, **{window: self.drift_in(window) for window in WINDOWS}}
        return {"name": self.name, **means, "per_clip": _all_known(self.per_clip), "drift": _all_known(drift)}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A finished evaluation.

    Args:
        rows: their figures.
        kept: by row, per sequence; not part of the JSON.
        model, label, numerics, steps: what was judged.
        scenes: names of the sequences.
        clips: of the longest of them.
        absent: per column that nothing could be measured for, why.
        date: when it was finished.
    """

    rows: tuple[Row, ...]
    kept: dict[str, list[Kept]] = field(repr=False)
    model: str
    label: str
    numerics: dict[str, str]
    steps: int
    scenes: tuple[str, ...]
    clips: int
    absent: dict[str, str]
    date: str

    def to_json(self) -> str:
        """Return the figures as JSON."""
        told = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "kept"}
        return json.dumps({**told, "rows": [row.as_json() for row in self.rows]}, indent=2, ensure_ascii=False) + "\n"

    def write(self, folder: Path) -> None:
        """Write the figures, frames side by side, and curves from clip to clip, into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "figures.json").write_text(self.to_json(), encoding="utf-8")
        contact_sheet(self.kept, folder / "sheet.png")
        plot_clips(self.rows, folder / "clips.png", COLUMNS)
        plot_drift(self.rows, folder / "drift.png", DRIFT)

    def table(self) -> Table:
        """Return the figures as a table for a terminal; columns that nobody has are left out, and named below it."""
        shown = [c for c in COLUMNS if any(not math.isnan(row.figures[c]) for row in self.rows)]
        reasons = [f"{column}: {why}" for column, why in self.absent.items()]
        title = f"{self.model}: {len(self.scenes)} sequences of {self.clips} clips"
        table = Table(title=title, caption="\n".join(reasons))
        table.add_column("row", min_width=max(len(row.name) for row in self.rows))
        headings = [COLUMNS[column] for column in shown]
        for heading in (*headings, *(["PSNR dB per clip"] if self.clips <= _MOST_CLIPS else [])):
            table.add_column(heading, justify="right")
        for row in self.rows:
            cells = [_written(row.figures[column], _DECIMALS.get(column, 2)) for column in shown]
            if self.clips <= _MOST_CLIPS:
                cells.append("  ".join(_written(value, 2) for value in row.per_clip["psnr"]))
            table.add_row(row.name, *cells)
        return table

    def drift_table(self) -> Table:
        """Return what is lost from minute to minute, each value a minute's mean against the first clip."""
        table = Table(title="minute by minute, against the first clip")
        table.add_column("row", min_width=max(len(row.name) for row in self.rows))
        for heading in ("colour, levels", "saturation", "sharpness"):
            table.add_column(heading, justify="right")
        for row in self.rows:
            drift = row.drift_in("per_minute")
            table.add_row(
                row.name, *("  ".join(_written(v, 1 if c == "colour" else 2) for v in drift[c]) for c in DRIFT)
            )
        return table


def mean_row(name: str, sequences: Sequence[Sequence[dict[str, float]]]) -> Row:
    """Return a row's means over sequences of clips; sequences may differ in length."""
    longest = range(max(len(clips) for clips in sequences))

    def mean(values: Sequence[float]) -> float:
        there = [value for value in values if not math.isnan(value)]
        return round(float(np.mean(there)), 4) if there else math.nan

    def at(clip: int, column: str) -> float:
        return mean([clips[clip][column] for clips in sequences if clip < len(clips)])

    drifts = [against_first(clips) for clips in sequences]

    def drift_at(clip: int, column: str) -> float:
        values: list[NDArray[np.float64]] = [drift[column] for drift in drifts]
        return mean([float(value[clip]) for value in values if clip < len(value)])

    return Row(
        name,
        figures={column: mean([clip[column] for clips in sequences for clip in clips]) for column in COLUMNS},
        per_clip={column: tuple(at(clip, column) for clip in longest) for column in COLUMNS},
        drift={column: tuple(drift_at(clip, column) for clip in longest) for column in DRIFT},
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)


def _all_known(values: Any) -> Any:
    """The same lists and objects, with null for what is not a number."""
    if isinstance(values, dict):
        return {name: _all_known(value) for name, value in values.items()}
    return [_known(value) for value in values]


def _written(value: float, decimals: int) -> str:
    return "" if math.isnan(value) else f"{value:.{decimals}f}"
