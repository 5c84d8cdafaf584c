"""Judging a world model on held-out scenes, beside answers that need no model.

In: a `WorldModel` and a number of scenes and clips. Out: an `Evaluation`, a mean per row. Laws: every clip of a scene
follows the one before through `WorldState`, as in a live session; the frame that is given (the very first) and the
frames that two clips share are not counted; results are kept per clip, so an evaluation that was stopped goes on.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from bridge.errors import InvalidValue
from bridge.tick import CLIP_STRIDE

from ..world_model.interface import ModelSpec, WorldModel
from .kept import Kept
from .metrics import colour_drift, gradient_energy, psnr, ssim
from .motion import edge_agreement, seam_jump, track_error_px
from .report import contact_sheet, plot_clips
from .rows import MODEL_ROWS, ROWS, Video, generate, trivial
from .scenes import HeldOutScene, held_out_scene

__all__ = ["COLUMNS", "Evaluation", "EvaluationConfig", "Row", "evaluate"]

COLUMNS: Final = {
    "psnr": "PSNR dB",
    "ssim": "SSIM",
    "gradient_energy": "gradient energy",
    "track_error_px": "track error px",
    "edge_agreement": "edges at depth's",
    "seam_jump": "seam jump",
    "colour_drift": "colour drift",
}
"""What is measured, with headings: see `metrics` and `motion`."""
_DECIMALS: Final = {"ssim": 3, "colour_drift": 1}


@dataclass(frozen=True, slots=True)
class EvaluationConfig:
    """What to judge on.

    Args:
        scenes: evaluation scenes 0 .. scenes - 1.
        clips: of each, one after another.
        rows: names of `ROWS`.
        cache: folder of rendered scenes and of results so far.
        label: tells one set of weights from another in the cache, such as a digest of the checkpoint.
    """

    scenes: int
    clips: int
    cache: Path
    label: str
    rows: tuple[str, ...] = ROWS

    def __post_init__(self) -> None:
        unknown = sorted(set(self.rows) - set(ROWS))
        if unknown or not self.rows:
            raise InvalidValue("is no row", field="rows", value=unknown, remedy=f"Choose from {', '.join(ROWS)}.")
        if self.scenes < 2 or self.clips < 1:
            raise InvalidValue(
                "needs at least 2 scenes (wrong controls are another scene's) and 1 clip",
                field="scenes, clips",
                value=f"{self.scenes}, {self.clips}",
                remedy="Ask for more.",
            )


@dataclass(frozen=True, slots=True)
class Row:
    """Means over all scenes.

    Args:
        name: of `ROWS`.
        figures: of `COLUMNS`, over all clips; NaN where no clip has the figure.
        per_clip: of `COLUMNS`, the first clip's, the second's and so on: what is lost on the way.
    """

    name: str
    figures: dict[str, float]
    per_clip: dict[str, tuple[float, ...]]

    def as_json(self) -> dict[str, Any]:
        """Return one flat object; what is not a number becomes null."""

        def known(value: float) -> float | None:
            return None if math.isnan(value) else value

        means = {column: known(value) for column, value in self.figures.items()}
        clips = {column: [known(value) for value in values] for column, values in self.per_clip.items()}
        return {"name": self.name, **means, "per_clip": clips}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A finished evaluation."""

    rows: tuple[Row, ...]
    kept: dict[str, list[Kept]] = field(repr=False)
    model: str
    label: str
    numerics: dict[str, str]
    steps: int
    scenes: int
    clips: int
    date: str

    def to_json(self) -> str:
        """Return the figures as JSON."""
        told = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "kept"}
        return json.dumps({**told, "rows": [row.as_json() for row in self.rows]}, indent=2) + "\n"

    def write(self, folder: Path) -> None:
        """Write the figures, the frames side by side, and what is lost from clip to clip, into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "figures.json").write_text(self.to_json(), encoding="utf-8")
        contact_sheet(self.kept, folder / "sheet.png")
        plot_clips(self.rows, folder / "clips.png", COLUMNS)

    def table(self) -> Table:
        """Return the figures as a table for a terminal."""
        table = Table(title=f"{self.model}: {self.scenes} held-out scenes of {self.clips} clips")
        table.add_column("row", min_width=max(len(row.name) for row in self.rows))
        for column in (*COLUMNS.values(), "PSNR dB per clip"):
            table.add_column(column, justify="right")
        for row in self.rows:
            figures = (_written(row.figures[column], _DECIMALS.get(column, 2)) for column in COLUMNS)
            per_clip = "  ".join(f"{value:.2f}" for value in row.per_clip["psnr"])
            table.add_row(row.name, *figures, per_clip)
        return table


def evaluate(model: WorldModel, config: EvaluationConfig, *, progress: Progress | None = None) -> Evaluation:
    """Judge a model.

    Args:
        model: any; its frame size decides the scenes'.
        config: see there.
        progress: a bar to draw on; None makes one.

    Raises:
        InvalidValue: in the configuration.
    """
    if progress is None:
        with new_progress() as own:
            return evaluate(model, config, progress=own)

    def scene_of(number: int) -> HeldOutScene:
        height, width = model.spec.height, model.spec.width
        return held_out_scene(number, clips=config.clips, height=height, width=width, cache=config.cache)

    task = progress.add_task("rendering scenes", total=config.scenes)
    for number in range(config.scenes):
        scene_of(number)
        progress.advance(task)
    kept: dict[str, list[Kept]] = {row: [] for row in config.rows}
    task = progress.add_task("judging", total=len(config.rows) * config.scenes * config.clips)
    done = 0
    for number in range(config.scenes):
        scene, other = scene_of(number), scene_of((number + 1) % config.scenes)
        for row in config.rows:
            for known in _judged(row, model, scene, other, config, number):
                progress.update(task, completed=done + len(known.figures))
            kept[row].append(known)
            done += config.clips
    return Evaluation(
        rows=tuple(_mean(row, [scene.figures for scene in kept[row]]) for row in config.rows),
        kept=kept,
        model=model.spec.name,
        label=config.label,
        numerics=dict(model.spec.numerics),
        steps=model.spec.steps,
        scenes=config.scenes,
        clips=config.clips,
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def new_progress() -> Progress:
    """Return a bar with elapsed time and ETA."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f}"))
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn())


def _judged(
    row: str,
    model: WorldModel,
    scene: HeldOutScene,
    other: HeldOutScene,
    config: EvaluationConfig,
    number: int,
) -> Iterator[Kept]:
    """Yield what is known of the row on the scene, after every clip; in the end all of it."""
    path = config.cache / "figures" / f"{row}-{number:04d}-{_key(row, model.spec, scene, other, config)}.npz"
    kept = Kept.load(path)
    yield kept
    done = len(kept.figures)
    if done == config.clips:
        return
    clips: Iterator[tuple[Video, Video | None]] = (
        generate(row, model, scene, other, seed=number, done=done, last=kept.last)
        if row in MODEL_ROWS
        else _clips_of(trivial(row, scene), done)
    )
    for clip, (video, last) in enumerate(clips, start=done):
        kept.add(_clip_figures(video, scene, clip), video, last)
        kept.save(path)
        yield kept


def _key(row: str, spec: ModelSpec, scene: HeldOutScene, other: HeldOutScene, config: EvaluationConfig) -> str:
    """A digest of all that a scene's figures depend on."""
    parts: list[str | int] = [row, *COLUMNS, scene.name, config.clips, spec.height, spec.width]
    if row in MODEL_ROWS:
        parts += [other.name, config.label, spec.name, spec.steps, json.dumps(dict(spec.numerics), sort_keys=True)]
    digest = hashlib.sha256(json.dumps(parts).encode())
    digest.update(np.ascontiguousarray(scene.rgb[:: len(scene.rgb) - 1]).tobytes())
    return digest.hexdigest()[:16]


def _clips_of(video: Video, first: int) -> Iterator[tuple[Video, None]]:
    """The video's clips from one on, which share a frame each with the one before."""
    for tick in range(first * CLIP_STRIDE, len(video) - 1, CLIP_STRIDE):
        yield video[tick : tick + CLIP_STRIDE + 1], None


def _clip_figures(video: Video, scene: HeldOutScene, clip: int) -> dict[str, float]:
    """All columns of one clip; the frame that it shares with the one before counts for motion only."""
    truth, known = scene.clip(clip), scene.truths[clip]
    made, true = video[1:], truth[1:]
    return {
        "psnr": psnr(made, true),
        "ssim": ssim(made, true),
        "gradient_energy": gradient_energy(made, true),
        "track_error_px": track_error_px(video, truth, known.tracks),
        "edge_agreement": edge_agreement(made, known.edges[1:]),
        "seam_jump": seam_jump(video) if clip else math.nan,
        "colour_drift": colour_drift(made, true),
    }


def _mean(row: str, scenes: Sequence[list[dict[str, float]]]) -> Row:
    clips = range(len(scenes[0]))

    def mean(column: str, numbers: Sequence[int]) -> float:
        values = [scene[number][column] for scene in scenes for number in numbers]
        there = [value for value in values if not math.isnan(value)]
        return round(float(np.mean(there)), 4) if there else math.nan

    return Row(
        row,
        figures={column: mean(column, clips) for column in COLUMNS},
        per_clip={column: tuple(mean(column, [number]) for number in clips) for column in COLUMNS},
    )


def _written(value: float, decimals: int) -> str:
    return "" if math.isnan(value) else f"{value:.{decimals}f}"
