"""Training scenes: sequences of the built-in engine, in the colours that the trainings see.

In: seeds. Out: sequences on the disk, each whole or not there. Rendering may add scenes while a training that began
earlier reads others.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bridge.errors import InvalidValue

from ..sequences import ClipSequence, cache_folder, cached
from ..sequences.scene import SceneSource, training_scenes
from ..world_model.interface import ControlClip
from ..world_model.longvie2.carry import LookBack, look_back
from ..world_model.longvie2.palette import Palette

__all__ = ["ScenesConfig", "TrainingScene", "recolour", "render_scenes"]

_CLIPS: Final = 2
"""Of each scene: from the second on there is history."""


@dataclass(frozen=True, slots=True)
class ScenesConfig:
    """Which scenes to render.

    Args:
        folder: of all scenes.
        seeds: first and last + 1.
        height, width: of the frames.
        workers: processes.
    """

    folder: Path
    seeds: tuple[int, int]
    height: int
    width: int
    workers: int


def render_scenes(config: ScenesConfig) -> Iterator[str]:
    """Render what is missing, yielding every scene's name: those that are there first."""
    missing = []
    for source in training_scenes(config.seeds[0], config.seeds[1] - config.seeds[0]):
        sequence = ClipSequence(_folder(config, source), most=_CLIPS)
        if len(sequence) == _CLIPS:
            yield sequence.name
        else:
            missing.append(source)
    if config.workers <= 1 or not missing:
        yield from (_render(config, source) for source in missing)
        return
    with ProcessPoolExecutor(config.workers) as pool:
        yield from pool.map(_render, [config] * len(missing), missing)


def _folder(config: ScenesConfig, source: SceneSource) -> Path:
    return cache_folder(source, config.folder, height=config.height, width=config.width)


def _render(config: ScenesConfig, source: SceneSource) -> str:
    return cached(source, config.folder, clips=_CLIPS, height=config.height, width=config.width).name


class TrainingScene:
    """A rendered scene.

    Args:
        folder: of all scenes.
        name: of this one.

    Raises:
        InvalidValue: there is no whole scene of this name.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self._sequence = ClipSequence(folder / name, most=_CLIPS)
        if len(self._sequence) < _CLIPS:
            raise InvalidValue(
                "is not there, or not whole",
                field="scene",
                value=folder / name,
                remedy="Render it: `longvie train tiny` does.",
            )

    @property
    def clips(self) -> int:
        """How many there are."""
        return len(self._sequence)

    @property
    def seed(self) -> int:
        """Of what is drawn for this scene alone: a number that its name decides."""
        return zlib.crc32(self.name.encode())

    @property
    def caption(self) -> str:
        """What it shows."""
        return self._sequence.clip(0).prompt

    def frames(self) -> NDArray[np.uint8]:
        """Return the true frames of all clips, (1 + 80 * clips, height, width, 3) uint8, as they are trained on."""
        rgb = [self._sequence.clip(number).rgb for number in range(self.clips)]
        return recolour(np.concatenate([rgb[0][:1], *(clip[1:] for clip in rgb)]), self.seed)

    def clip(self, number: int) -> NDArray[np.uint8]:
        """Return the true frames of a clip, (81, height, width, 3) uint8, as they are trained on."""
        return recolour(self._sequence.clip(number).rgb, self.seed)

    def controls(self, number: int) -> ControlClip:
        """Return a clip's controls."""
        return self._sequence.clip(number).controls

    def look_back(self, number: int) -> LookBack:
        """Return where every pixel of a clip was seen at its beginning."""
        controls = self.controls(number)
        assert controls.points is not None, "the built-in engine follows points"
        return look_back(np.asarray(controls.points), np.asarray(controls.dense))

    def guess(self, number: int, first: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return what the scene's first frame says of a clip's colours, as `LookBack.carry` takes it."""
        anchor = np.asarray(self.controls(0).dense[0])
        return Palette.of(first, anchor).paint(np.asarray(self.controls(number).dense))


def recolour(rgb: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """Return a scene's frames, half of the scenes in other colours than their family has.

    Channels change places and saturation changes: what a thing looks like then has to come from the first frame.

    Args:
        rgb: (frames, height, width, 3) uint8.
        seed: the scene's.
    """
    random = np.random.default_rng([seed, 17])
    if random.random() < 0.5:
        return np.asarray(rgb)
    luma = np.broadcast_to(np.array([0.299, 0.587, 0.114], np.float32), (3, 3))
    saturation = random.uniform(0.5, 1.15)
    mix = saturation * np.eye(3, dtype=np.float32)[random.permutation(3)] + (1 - saturation) * luma
    mix = mix * random.uniform(0.8, 1.05, size=(3, 1))
    return np.clip(rgb.astype(np.float32) @ mix.T.astype(np.float32), 0, 255).astype(np.uint8)
