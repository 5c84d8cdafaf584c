"""The folder of a shot: its frames, and the point from which it can go on.

Laws: a frame appears under its name whole or not at all; `resume.npz` is there as long as the shot is not finished and
a clip is, and never speaks of a frame that is not on disk.
"""

from __future__ import annotations

import itertools
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from PIL import Image

from bridge.errors import InvalidValue
from bridge.tick import DepthRange, Frame, WorldState

__all__ = ["FrameFolder", "ResumePoint"]

_RESUME: Final = "resume.npz"


@dataclass(frozen=True, slots=True, eq=False)
class ResumePoint:
    """Where a shot can go on: the world after its last whole clip, and what the shot was made with."""

    state: WorldState
    facts: Mapping[str, str]

    def check(self, facts: Mapping[str, str]) -> None:
        """Refuse to go on with a shot that has become another one.

        Raises:
            InvalidValue: names what differs.
        """
        for name, now in facts.items():
            before = self.facts.get(name, "")
            if before != now:
                raise InvalidValue(
                    f"was {before!r} when this shot was begun",
                    field=name,
                    value=repr(now),
                    remedy="Set it back to resume, or press Generate to begin anew.",
                )


class FrameFolder:
    """Frames on disk, `000000.png` and on; the number is the tick's.

    Args:
        path: of the folder; it is made when the first frame comes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def frame_path(self, index: int) -> Path:
        """Return the file of a frame."""
        return self.path / f"{index:06d}.png"

    def frames(self) -> list[Path]:
        """Return the files of the frames that are there, in order."""
        return sorted(path for path in self.path.glob("*.png") if path.stem.isdigit() and len(path.stem) == 6)

    def prepare(self) -> None:
        """Make the folder; raises InvalidValue where that cannot be."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidValue(
                f"cannot be made: {error.strerror or error}",
                field="output folder",
                value=self.path,
                remedy="Choose a folder that you may write to.",
            ) from error

    def set_aside(self) -> Path | None:
        """Move an earlier shot into a folder `earlier-1`, `earlier-2`, ... and return it; None where there is no shot.

        Frames may have cost hours of a GPU: they are never deleted.
        """
        earlier = [*self.frames(), *([self.path / _RESUME] if self.has_point() else [])]
        if not earlier:
            return None
        folders = (self.path / f"earlier-{number}" for number in itertools.count(1))
        target = next(folder for folder in folders if not folder.exists())
        target.mkdir()
        for path in earlier:
            path.rename(target / path.name)
        return target

    def write(self, frame: Frame) -> Path:
        """Write a frame and return its file."""
        path = self.frame_path(frame.index)
        with _Replaced(path) as file:
            Image.fromarray(frame.image).save(file, "png", compress_level=1)
        return path

    def save_point(self, point: ResumePoint) -> None:
        """Keep the point from which the shot can go on."""
        state = point.state
        words = {
            "facts": dict(point.facts),
            "model": state.model,
            "clip": state.clip,
            "next_tick": state.next_tick,
            "shares_tick": state.shares_tick,
            "seed": state.seed,
            "prompt": state.prompt,
            "negative_prompt": state.negative_prompt,
            "depth_range": None if state.depth_range is None else [state.depth_range.near_m, state.depth_range.far_m],
        }
        arrays: dict[str, Any] = {"frames": state.frames}
        if state.anchor is not None:
            arrays["anchor"] = state.anchor
        with _Replaced(self.path / _RESUME) as file:
            np.savez_compressed(file, words=np.array(json.dumps(words)), **arrays)

    def drop_point(self) -> None:
        """Forget the resume point: the shot is finished."""
        (self.path / _RESUME).unlink(missing_ok=True)

    def has_point(self) -> bool:
        """Tell whether there is something to resume."""
        return (self.path / _RESUME).exists()

    def load_point(self) -> ResumePoint:
        """Return the point from which the shot can go on.

        Raises:
            InvalidValue: there is none, or it cannot be read.
        """
        path = self.path / _RESUME
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                words: dict[str, Any] = json.loads(str(stored["words"]))
                frames = stored["frames"]
                # Not there before the first clip, nor in files of older versions.
                anchor = stored.get("anchor")
            near_far = words.pop("depth_range")
            facts = words.pop("facts")
            depth_range = None if near_far is None else DepthRange(*near_far)
            state = WorldState(depth_range=depth_range, frames=frames, anchor=anchor, **words)
        except FileNotFoundError:
            raise InvalidValue(
                "holds no unfinished shot", field="output folder", value=self.path, remedy="Press Generate."
            ) from None
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise InvalidValue(
                "cannot be read", field="resume point", value=path, remedy="Press Generate to begin anew."
            ) from error
        return ResumePoint(state, facts)


class _Replaced:
    """A file that takes its name when it is whole."""

    def __init__(self, path: Path) -> None:
        self._path, self._partial = path, path.with_name(f".{path.name}.partial")
        self._file: IO[bytes] | None = None

    def __enter__(self) -> IO[bytes]:
        self._file = self._partial.open("wb")
        return self._file

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        assert self._file is not None
        self._file.close()
        if error is None:
            os.replace(self._partial, self._path)
        else:
            self._partial.unlink(missing_ok=True)
