"""Which training, at which step, a checkpoint was made by: a note beside it, that no other training may overwrite.

Laws: a checkpoint that is half written says so, and the training that wrote it writes it again; what is not this
training's is refused before a step is taken.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from bridge.errors import InvalidValue

from ...world_model.longvie2.checkpoint import load_checkpoint, save_checkpoint
from .state import load_average, saved_run

__all__ = ["Origin", "check_out", "export", "origin_of"]

_NOTE: Final = "training.json"
_INDEX: Final = "model_index.json"


@dataclass(frozen=True, slots=True)
class Origin:
    """What a checkpoint was made by.

    Args:
        run: the training's own name, drawn when it began.
        step: that its average was taken at; None while the checkpoint is written.
    """

    run: str
    step: int | None


def origin_of(checkpoint: str | Path) -> Origin | None:
    """Return what a checkpoint's note says; None where there is none, as on the Hub."""
    path = Path(checkpoint) / _NOTE
    if not path.exists():
        return None
    told = json.loads(path.read_text(encoding="utf-8"))
    return Origin(told["run"], told["step"])


def check_out(out: Path, folder: Path) -> None:
    """Check that a checkpoint may be written.

    Args:
        out: of the checkpoint.
        folder: of the training.

    Raises:
        InvalidValue: it holds a checkpoint that this training did not make.
    """
    origin, saved = origin_of(out), saved_run(folder)
    if origin is None and not (out / _INDEX).exists():
        return
    if origin is None or saved is None or origin.run != saved.run:
        raise InvalidValue(
            f"holds a checkpoint that the training in {folder} did not make",
            field="--out",
            value=out,
            remedy="Give another folder, or remove this one.",
        )


def export(model: str, folder: Path, out: Path, *, sees_history: bool) -> None:
    """Write a training's checkpoint, where the one that is there is of another step or half written.

    Args:
        model: that the training began with; all that it did not train is taken from there.
        folder: of the training, saved.
        out: of the checkpoint.
        sees_history: whether it is shown the frames before a clip.

    Raises:
        InvalidValue: the folder holds no training.
    """
    saved = saved_run(folder)
    if saved is not None and origin_of(out) == Origin(saved.run, saved.step):
        return
    # From the files: what is in memory may be a share of it.
    fresh = load_checkpoint(model)
    saved = load_average(fresh.transformer, folder)
    fresh.register_to_config(sees_history=sees_history)
    out.mkdir(parents=True, exist_ok=True)
    _note(out, Origin(saved.run, None))
    save_checkpoint(fresh, out)
    _note(out, Origin(saved.run, saved.step))


def _note(out: Path, origin: Origin) -> None:
    partial = out / f"{_NOTE}.partial"
    partial.write_text(json.dumps(asdict(origin)) + "\n", encoding="utf-8")
    partial.replace(out / _NOTE)
