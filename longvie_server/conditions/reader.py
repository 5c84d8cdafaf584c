"""From the reference's JSON to the control videos of each clip.

In: `[{"text": ..., "depth": ..., "track": ...}, ...]` and its videos. Out: prompts, and `ControlClip`s of a size. A
clip may also name its true frames ("video"), for evaluation and training.
Law: all that can be known without decoding is looked at first, so a typing error costs no minutes of generating.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bridge.errors import InvalidValue
from bridge.planes import load_image
from bridge.tick import CLIP_TICKS

from ..world_model.interface import ControlClip

__all__ = ["ClipConditions", "read_conditions", "read_controls", "read_first_frame", "video_frames"]

_KEYS: Final = ("text", "depth", "track")


@dataclass(frozen=True, slots=True)
class ClipConditions:
    """What one clip is made of: its prompt, its depth and track video, and maybe the video of its true frames."""

    text: str
    depth: Path
    track: Path
    video: Path | None = None


def read_conditions(path: Path) -> tuple[ClipConditions, ...]:
    """Read the clips of a JSON file; videos are looked for as written, then beside the file.

    Raises:
        InvalidValue: the file is no such list, or a video is not there.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidValue(
            "cannot be read as JSON",
            field="--conditions",
            value=path,
            remedy='Give a file like [{"text": "...", "depth": "depth_00.mp4", "track": "track_00.mp4"}].',
        ) from error
    if not isinstance(entries, list) or not entries:
        raise InvalidValue(
            "is no list of clips", field="--conditions", value=path, remedy="Write one object per clip, in a list."
        )
    return tuple(_clip(path, number, entry) for number, entry in enumerate(entries))


def _clip(path: Path, number: int, entry: Any) -> ClipConditions:
    field = f"{path.name}[{number}]"
    if not isinstance(entry, dict):
        raise InvalidValue("is no object", field=field, value=entry, remedy=f"Give it {', '.join(_KEYS)}.")
    for key in _KEYS:
        value = entry.get(key)
        if not isinstance(value, str) or not value.strip():
            raise InvalidValue(
                "is missing, or no text",
                field=f"{field}.{key}",
                value=value,
                remedy=f"Give every clip {', '.join(_KEYS)}.",
            )
    depth, track = (_find(path, entry[key], f"{field}.{key}") for key in ("depth", "track"))
    video = entry.get("video")
    return ClipConditions(
        entry["text"], depth, track, None if video is None else _find(path, str(video), f"{field}.video")
    )


def _find(path: Path, written: str, field: str) -> Path:
    # Written on another system, a path may have that system's separators.
    name = written.replace("\\", "/")
    places = [Path(written), path.parent / name, path.parent / name.rpartition("/")[2]]
    for place in places:
        if place.is_file():
            return place
    raise InvalidValue(
        f"is neither there as written nor beside {path}",
        field=field,
        value=written,
        remedy="Put the video beside the JSON file, or correct its path.",
    )


def read_controls(clip: ClipConditions, *, height: int, width: int) -> ControlClip:
    """Decode a clip's two videos at a model's size, as the reference does: a plain bicubic resize.

    Raises:
        InvalidValue: a file is no video, or holds too few frames.
    """
    dense = _read_video(clip.depth, "L", height=height, width=width)
    sparse = _read_video(clip.track, "RGB", height=height, width=width)
    return ControlClip(dense, sparse)


def read_first_frame(path: Path, *, height: int, width: int) -> NDArray[np.uint8]:
    """Return an image at a model's size, (height, width, 3) uint8.

    Raises:
        InvalidValue: the file is no image.
    """
    return _resized(Image.fromarray(load_image(path, name="--first-frame")), height=height, width=width)


def video_frames(
    path: Path, *, height: int | None = None, width: int | None = None, mode: str = "RGB"
) -> Iterator[NDArray[np.uint8]]:
    """Yield a video's frames, (height, width, 3) uint8, or (height, width) in mode "L".

    Every frame counts as 1/16 s, whatever rate the file says: the reference's own files say various ones.

    Args:
        path: of the file.
        height, width: a model's size, to which frames are stretched; None for the file's own.
        mode: "RGB" or "L".

    Raises:
        InvalidValue: the file is no video.
    """
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                picture = Image.fromarray(frame.to_ndarray(format="rgb24")).convert(mode)
                yield _resized(picture, height=height or picture.height, width=width or picture.width)
    except (OSError, av.FFmpegError, IndexError) as error:
        raise InvalidValue(
            "cannot be read as a video", field="--conditions", value=path, remedy="Make it again, as an mp4."
        ) from error


def _read_video(path: Path, mode: str, *, height: int, width: int) -> NDArray[np.uint8]:
    frames = list(islice(video_frames(path, height=height, width=width, mode=mode), CLIP_TICKS))
    if len(frames) < CLIP_TICKS:
        raise InvalidValue(
            f"holds {len(frames)} frames, and a clip has {CLIP_TICKS}",
            field="--conditions",
            value=path,
            remedy=f"Give every clip {CLIP_TICKS} frames, the first of them the last of the clip before.",
        )
    return np.stack(frames)


def _resized(picture: Image.Image, *, height: int, width: int) -> NDArray[np.uint8]:
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    # A copy of its own: a view of the picture cannot be written to, which torch warns of.
    return np.array(picture)
