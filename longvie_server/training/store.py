"""Rendered scenes on disk: what training reads, and nothing of how it was rendered.

One folder per scene: `rgb.npy`, `dense.npy`, `sparse.npy` (uint8) and `points.npy` (float32), memory-mapped when read,
and `scene.json`, written last, which marks the scene as whole. Rendering may add scenes while a training that was
opened earlier reads others.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bridge.errors import InvalidValue, ShapeMismatch
from bridge.tick import CLIP_STRIDE, CLIP_TICKS

from ..world_model.longvie2.carry import LookBack, look_back
from ..world_model.longvie2.palette import Palette

__all__ = ["SceneRecord", "SceneStore", "StoredScene", "scene_name"]

_MARK: Final = "scene.json"
_PLANES: Final = ("rgb", "dense", "sparse", "points")


def scene_name(family: str, seed: int) -> str:
    """Return the name of a scene's folder."""
    return f"{family}-{seed:08d}"


@dataclass(frozen=True, slots=True)
class SceneRecord:
    """What a scene is: from this alone it can be rendered again."""

    family: str
    seed: int
    clips: int
    caption: str

    @property
    def name(self) -> str:
        """The folder's name."""
        return scene_name(self.family, self.seed)


@dataclass(frozen=True, slots=True, eq=False)
class StoredScene:
    """One scene's pixels.

    Args:
        record: what it is.
        rgb: (1 + 80 * clips, height, width, 3) uint8, the truth.
        dense: (clips, 81, height, width) uint8.
        sparse: (clips, 81, height, width, 3) uint8.
        points: (clips, 81, points, 2) float32, as in `ControlClip`.

    Raises:
        ShapeMismatch: the four do not belong together.
    """

    record: SceneRecord
    rgb: NDArray[np.uint8]
    dense: NDArray[np.uint8]
    sparse: NDArray[np.uint8]
    points: NDArray[np.float32]

    def __post_init__(self) -> None:
        _, height, width, _ = self.rgb.shape
        clips = self.record.clips
        want = {
            "rgb": (1 + CLIP_STRIDE * clips, height, width, 3),
            "dense": (clips, CLIP_TICKS, height, width),
            "sparse": (clips, CLIP_TICKS, height, width, 3),
            "points": (clips, CLIP_TICKS, *self.points.shape[2:3], 2),
        }
        for name in _PLANES:
            array = getattr(self, name)
            kind = np.float32 if name == "points" else np.uint8
            if array.shape != want[name] or array.dtype != kind:
                raise ShapeMismatch(
                    f"must be {want[name]} {kind.__name__}",
                    field=f"{self.record.name}.{name}",
                    value=f"{array.shape} {array.dtype}",
                    remedy="Delete the scene's folder and render it again.",
                )

    def clip(self, number: int) -> NDArray[np.uint8]:
        """Return the true frames of a clip, (81, height, width, 3) uint8."""
        return self.rgb[number * CLIP_STRIDE : number * CLIP_STRIDE + CLIP_TICKS]

    def look_back(self, number: int) -> LookBack:
        """Return where every pixel of a clip was seen at its beginning."""
        return look_back(self.points[number], self.dense[number])

    def guess(self, number: int, first: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return what the scene's first frame, in whatever colours, says of a clip's, as `LookBack.carry` takes it."""
        return Palette.of(first, np.asarray(self.dense[0, 0])).paint(np.asarray(self.dense[number]))


class SceneStore:
    """A folder of scenes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        """Return the names of the whole scenes, sorted."""
        return sorted(mark.parent.name for mark in self.folder.glob(f"*/{_MARK}"))

    def __contains__(self, name: str) -> bool:
        return (self.folder / name / _MARK).exists()

    def save(self, scene: StoredScene) -> None:
        """Write a scene."""
        folder = self.folder / scene.record.name
        folder.mkdir(parents=True, exist_ok=True)
        for name in _PLANES:
            np.save(folder / f"{name}.npy", np.ascontiguousarray(getattr(scene, name)), allow_pickle=False)
        partial = folder / f"{_MARK}.partial"
        partial.write_text(json.dumps(asdict(scene.record), indent=1) + "\n")
        partial.replace(folder / _MARK)

    def load(self, name: str) -> StoredScene:
        """Return a scene, its pixels memory-mapped.

        Raises:
            InvalidValue: there is no whole scene of this name.
        """
        folder = self.folder / name
        if not (folder / _MARK).exists():
            raise InvalidValue(
                "is not in the cache", field="scene", value=name, remedy="Render it: `longvie train tiny` does."
            )
        record = SceneRecord(**json.loads((folder / _MARK).read_text()))
        planes = {n: np.load(folder / f"{n}.npy", mmap_mode="r", allow_pickle=False) for n in _PLANES}
        return StoredScene(record, **planes)
