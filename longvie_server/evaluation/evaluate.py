"""Judging a world model on sequences whose truth is known, beside answers that need no model.

In: a `WorldModel` and sources of sequences. Out: an `Evaluation`, a mean per row. Laws: every clip of a sequence
follows the one before through `WorldState`, as in a live session; the frame that is given (the very first) and the
frames that two clips share are not counted; results are kept per clip, so an evaluation that was stopped goes on; of
all frames, no more than a clip's are in memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bridge.errors import InvalidValue

from ..sequences import ClipSequence, SequenceSource, cached
from ..world_model.interface import ModelSpec, WorldModel
from .columns import COLUMNS, LOOK, clip_figures
from .kept import Kept
from .perceptual import Perceptual
from .result import Evaluation, mean_row
from .rows import MODEL_ROWS, ROWS, can_have, row_clips

__all__ = ["EvaluationConfig", "evaluate"]


@dataclass(frozen=True, slots=True)
class EvaluationConfig:
    """How to judge.

    Args:
        cache: folder of prepared sequences and of results so far.
        label: tells one set of weights from another in the cache, such as a digest of the checkpoint.
        clips: of each sequence, at most; None for all.
        rows: names of `ROWS`; empty for all that these sequences can have.
        perceptual: networks to look with.
    """

    cache: Path
    label: str
    clips: int | None = None
    rows: tuple[str, ...] = ()
    perceptual: Perceptual = field(default_factory=Perceptual.none)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.rows) - set(ROWS))
        if unknown:
            raise InvalidValue("is no row", field="rows", value=unknown, remedy=f"Choose from {', '.join(ROWS)}.")
        if self.clips is not None and self.clips < 1:
            raise InvalidValue("must be at least 1", field="clips", value=self.clips, remedy="Ask for more.")


def evaluate(
    model: WorldModel,
    sources: Sequence[SequenceSource],
    config: EvaluationConfig,
    *,
    progress: Progress | None = None,
) -> Evaluation:
    """Judge a model.

    Args:
        model: any; its frame size decides the sequences'.
        sources: of the sequences, one or more.
        config: see there.
        progress: a bar to draw on; None makes one.

    Raises:
        InvalidValue: a source cannot be read, or a row that was asked for cannot be had.
    """
    if progress is None:
        with _new_progress() as own:
            return evaluate(model, sources, config, progress=own)
    sequences = _prepared(model.spec, sources, config, progress)
    rows = _chosen(config.rows, sequences)
    lengths = [len(sequence) for sequence in sequences]
    kept: dict[str, list[Kept]] = {row: [] for row in rows}
    task = progress.add_task("judging", total=len(rows) * sum(lengths))
    done = 0
    for number, sequence in enumerate(sequences):
        other = sequences[(number + 1) % len(sequences)]
        for row in rows:
            known = Kept(_place(row, model.spec, sequence, other, number, config), most=len(sequence))
            for clips in _judged(row, known, model, sequence, other, number, config.perceptual):
                progress.update(task, completed=done + clips)
            kept[row].append(known)
            done += len(sequence)
    return Evaluation(
        rows=tuple(mean_row(row, [known.figures for known in kept[row]]) for row in rows),
        kept=kept,
        model=model.spec.name,
        label=config.label,
        numerics=dict(model.spec.numerics),
        steps=model.spec.steps,
        scenes=tuple(sequence.name for sequence in sequences),
        clips=max(lengths),
        absent=config.perceptual.absent,
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def _prepared(
    spec: ModelSpec, sources: Sequence[SequenceSource], config: EvaluationConfig, progress: Progress
) -> list[ClipSequence]:
    if not sources:
        raise InvalidValue("are none", field="sequences", remedy="Give at least one.")
    task = progress.add_task("preparing sequences", total=len(sources))
    sequences = []
    for source in sources:
        folder = config.cache / "sequences"
        sequences.append(cached(source, folder, clips=config.clips, height=spec.height, width=spec.width))
        progress.advance(task)
    return sequences


def _chosen(rows: tuple[str, ...], sequences: Sequence[ClipSequence]) -> tuple[str, ...]:
    """The rows that were asked for, or all that can be had."""
    for row in rows:
        if why := can_have(row, sequences):
            raise InvalidValue(f"cannot be had: {why}", field="rows", value=row, remedy="Leave it out of --rows.")
    return rows or tuple(row for row in ROWS if not can_have(row, sequences))


def _new_progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f}"))
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn())


def _judged(
    row: str,
    known: Kept,
    model: WorldModel,
    sequence: ClipSequence,
    other: ClipSequence,
    number: int,
    perceptual: Perceptual,
) -> Iterator[int]:
    """Yield how many clips are known, after every clip, until all are."""
    done = len(known.figures)
    yield done
    if done >= len(sequence):
        return
    clips = row_clips(row, model, sequence, other, seed=number, done=done, last=known.last())
    for clip, (video, last) in enumerate(clips, start=done):
        first = known.first() if clip else np.asarray(video[0])
        known.add(clip_figures(video, sequence.clip(clip), known.end(), first, perceptual), video, last)
        yield clip + 1


def _place(
    row: str, spec: ModelSpec, sequence: ClipSequence, other: ClipSequence, number: int, config: EvaluationConfig
) -> Path:
    """The folder of a row's results on a sequence: its name has a digest of all that they depend on.

    How many clips are asked for is not among it, so that a short evaluation can be made longer.
    """
    beginning = sequence.clip(0)
    parts: list[object] = [row, *COLUMNS, *LOOK, sequence.name, beginning.prompt, sorted(config.perceptual.absent)]
    if row in MODEL_ROWS:
        numerics = json.dumps(dict(spec.numerics), sort_keys=True)
        parts += [number, config.label, spec.name, spec.steps, numerics]
        parts += [other.name] if row == "wrong_controls" else []
    digest = hashlib.sha256(json.dumps(parts).encode())
    for frame in (beginning.rgb[0], beginning.rgb[-1]):
        digest.update(np.ascontiguousarray(frame).tobytes())
    return config.cache / "figures" / f"{row}-{sequence.name}-{digest.hexdigest()[:16]}"
