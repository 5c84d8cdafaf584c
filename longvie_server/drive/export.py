"""A recording's control signals as the reference's own inputs: one folder per uncut sequence.

Uses the server's own path from ticks to controls, so what is exported is what a session would have used.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bridge.errors import InvalidValue
from bridge.recording import Recording

from ..conditions import ConditionsWriter
from .recorded import fitted, recorded_clips
from .render import whole_range

__all__ = ["export_recording"]


def export_recording(
    recording: Recording,
    out: Path,
    *,
    height: int,
    width: int,
    force: bool = False,
    on_tick: Callable[[int], None] = lambda count: None,
) -> list[Path]:
    """Write `cond.json`, `first.png` and two videos per clip; return the folders, one more for every cut.

    A run of the reference knows no cuts, so what follows a cut is a sequence of its own: `out`, `out/cut_01`, ...

    Args:
        recording: what the engine sent.
        out: the folder.
        height, width: of the videos: the model's, so that nothing is resized twice.
        force: replace an earlier export.
        on_tick: told how many ticks were read.

    Raises:
        InvalidValue: the recording is damaged or empty, or the folder holds an export.
    """
    if (out / "cond.json").exists() and not force:
        raise InvalidValue("holds an export", field="--out", value=out, remedy="Choose another folder, or add --force.")
    header, size = recording.header, {"height": height, "width": width}
    depth_range = header.depth_range or whole_range(recording, **size, fit=header.fit)
    folders = [out]
    writer = ConditionsWriter(out, fitted(header.first_frame, **size, fit=header.fit))
    for clip in recorded_clips(recording, depth_range, **size, on_tick=on_tick):
        if clip.cut_frame is not None:
            writer.close()
            folders.append(out / f"cut_{len(folders):02}")
            writer = ConditionsWriter(folders[-1], fitted(clip.cut_frame, **size, fit=header.fit))
        writer.add(clip.prompt, clip.controls)
    writer.close()
    return folders
