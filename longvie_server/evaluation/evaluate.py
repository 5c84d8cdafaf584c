"""Judging a world model on held-out scenes, beside answers that need no model.

In: a `WorldModel` and a number of scenes and clips. Out: an `Evaluation`, a mean per row. Laws: every clip of a scene
follows the one before through `WorldState`, as in a live session; the frame that is given (the very first) and the
frames that two clips share are not counted; results are kept per scene, so an evaluation that was stopped goes on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

import numpy as np
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from bridge.errors import InvalidValue
from bridge.tick import CLIP_STRIDE

from ..world_model.interface import ModelSpec, WorldModel
from .metrics import gradient_energy, psnr, ssim
from .rows import MODEL_ROWS, ROWS, TRIVIAL_ROWS, Video, generate, trivial
from .scenes import HeldOutScene, held_out_scene

__all__ = ["Evaluation", "EvaluationConfig", "Row", "evaluate"]

_METRICS: Final = {"psnr": psnr, "ssim": ssim, "gradient_energy": gradient_energy}


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
    """Means over all scenes and clips.

    Args:
        name: of `ROWS`.
        psnr: dB.
        ssim: 1 is equal.
        gradient_energy: as a fraction of the truth's.
        psnr_per_clip: dB, the first clip's, the second's and so on: how much is lost on the way.
    """

    name: str
    psnr: float
    ssim: float
    gradient_energy: float
    psnr_per_clip: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A finished evaluation."""

    rows: tuple[Row, ...]
    model: str
    label: str
    numerics: dict[str, str]
    steps: int
    scenes: int
    clips: int
    date: str

    def to_json(self) -> str:
        """Return the figures as JSON."""
        return json.dumps(asdict(self), indent=2) + "\n"

    def table(self) -> Table:
        """Return the figures as a table for a terminal."""
        table = Table(title=f"{self.model}: {self.scenes} held-out scenes of {self.clips} clips")
        table.add_column("row")
        for heading in ("PSNR dB", "SSIM", "gradient energy", "PSNR dB per clip"):
            table.add_column(heading, justify="right")
        for row in self.rows:
            per_clip = "  ".join(f"{value:.2f}" for value in row.psnr_per_clip)
            table.add_row(row.name, f"{row.psnr:.2f}", f"{row.ssim:.3f}", f"{row.gradient_energy:.2f}", per_clip)
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
    figures: dict[str, list[list[dict[str, float]]]] = {row: [] for row in config.rows}
    task = progress.add_task("judging", total=len(config.rows) * config.scenes * config.clips)
    for number in range(config.scenes):
        scene, other = scene_of(number), scene_of((number + 1) % config.scenes)
        for row in config.rows:
            figures[row].append(_scene_figures(row, model, scene, other, config, number))
            progress.advance(task, config.clips)
    return Evaluation(
        rows=tuple(_mean(row, figures[row]) for row in config.rows),
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


def _scene_figures(
    row: str,
    model: WorldModel,
    scene: HeldOutScene,
    other: HeldOutScene,
    config: EvaluationConfig,
    number: int,
) -> list[dict[str, float]]:
    """The metrics of each clip of one scene, from the cache where they are known."""
    key = _key(row, model.spec, scene, other, config)
    path = config.cache / "figures" / f"{row}-{number:04d}-{key}.json"
    if path.exists():
        known: list[dict[str, float]] = json.loads(path.read_text())
        return known
    clips = _trivial_clips(row, scene) if row in TRIVIAL_ROWS else generate(row, model, scene, other, seed=number)
    result = [
        {name: metric(video[1:], scene.clip(clip)[1:]) for name, metric in _METRICS.items()} for clip, video in clips
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(result) + "\n")
    partial.replace(path)
    return result


def _key(row: str, spec: ModelSpec, scene: HeldOutScene, other: HeldOutScene, config: EvaluationConfig) -> str:
    """A digest of all that a scene's figures depend on."""
    parts: list[str | int] = [row, scene.name, config.clips, spec.height, spec.width]
    if row in MODEL_ROWS:
        parts += [other.name, config.label, spec.name, spec.steps, json.dumps(dict(spec.numerics), sort_keys=True)]
    digest = hashlib.sha256(json.dumps(parts).encode())
    digest.update(np.ascontiguousarray(scene.rgb[:: len(scene.rgb) - 1]).tobytes())
    return digest.hexdigest()[:16]


def _trivial_clips(row: str, scene: HeldOutScene) -> Iterator[tuple[int, Video]]:
    video = trivial(row, scene)
    for clip in range(len(scene.controls)):
        first = clip * CLIP_STRIDE
        yield clip, video[first : first + CLIP_STRIDE + 1]


def _mean(row: str, scenes: Sequence[list[dict[str, float]]]) -> Row:
    def mean(metric: str) -> float:
        return round(float(np.mean([clip[metric] for clips in scenes for clip in clips])), 4)

    per_clip = (round(float(np.mean([clips[k]["psnr"] for clips in scenes])), 4) for k in range(len(scenes[0])))
    return Row(row, mean("psnr"), mean("ssim"), mean("gradient_energy"), tuple(per_clip))
