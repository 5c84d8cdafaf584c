"""Scenes as latents: all that the denoiser is trained on, encoded once.

In: rendered scenes, and a pipeline whose VAE is trained. Out: one safetensors file per scene, float16. What the VAE
makes of a frame and the zeros behind it soon stops changing, so only its first `HEAD` latent frames are kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from bridge.tick import CLIP_STRIDE, CLIP_TICKS, HISTORY_FRAMES

from ..world_model.longvie2 import LongVie2Pipeline
from ..world_model.longvie2.carry import CarriedFrame
from ..world_model.longvie2.encoders import encode_image
from ..world_model.longvie2.vae import (
    MASK_CHANNELS,
    encode_carried,
    encode_condition,
    encode_video,
    to_video,
)
from .degrade import degrade, recode_each
from .scenes import TrainingScene

__all__ = [
    "HEAD",
    "VARIANTS",
    "ClipLatents",
    "SceneLatents",
    "encode_first",
    "encode_head",
    "encode_history",
    "encode_scene",
    "encode_scenes",
    "expand_head",
    "image_features",
    "without_controls",
]

HEAD: Final = 6
VARIANTS: Final = 3
"""Each first frame with its history is kept as it is, and spoilt in two ways; rollouts add one that a model made."""
_HEAD_FRAMES: Final = 4 * HEAD - 3
_GREY: Final = 127
"""What the dense encoder paints where depth says nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class ClipLatents:
    """One clip.

    Args:
        truth, dense, sparse: (z, frames, h, w), normalised latents of the three videos.
        image_head: (variants, z, HEAD, h, w), of the first frame followed by zeros; the first variant is not spoilt.
        carried: (variants, 4 + z, frames, h, w), the condition of the first frame carried along by the points.
        dense_head, sparse_head: (z, HEAD, h, w).
        history: (variants, z, 2, h, w); None for a scene's first clip.
        image: (variants, tokens, image_dim), the image encoder's.
    """

    truth: Tensor
    dense: Tensor
    sparse: Tensor
    image_head: Tensor
    carried: Tensor
    dense_head: Tensor
    sparse_head: Tensor
    image: Tensor
    history: Tensor | None


@dataclass(frozen=True, slots=True, eq=False)
class SceneLatents:
    """A scene's clips and its caption."""

    name: str
    caption: str
    clips: tuple[ClipLatents, ...]

    def save(self, folder: Path) -> None:
        """Write `<name>.safetensors`."""
        tensors = {}
        for number, clip in enumerate(self.clips):
            for field in ClipLatents.__slots__:
                value = getattr(clip, field)
                if value is not None:
                    tensors[f"{number}.{field}"] = value.to(torch.float16).contiguous()
        header = {"caption": self.caption, "clips": str(len(self.clips))}
        partial = folder / f"{self.name}.partial"
        save_file(tensors, partial, metadata={"scene": json.dumps(header)})
        partial.replace(folder / f"{self.name}.safetensors")

    @classmethod
    def load(cls, path: Path) -> SceneLatents:
        """Read a scene; its tensors stay float16."""
        with safe_open(path, framework="pt") as file:
            header = json.loads(file.metadata()["scene"])
            names = set(file.keys())
            clips = tuple(
                ClipLatents(
                    **{  # type: ignore[arg-type]
                        field: file.get_tensor(f"{n}.{field}") if f"{n}.{field}" in names else None
                        for field in ClipLatents.__slots__
                    }
                )
                for n in range(int(header["clips"]))
            )
        return cls(path.stem, header["caption"], clips)


def encode_scenes(pipeline: LongVie2Pipeline, scenes: Iterable[TrainingScene], folder: Path) -> Iterator[str]:
    """Encode the scenes that are not encoded yet, yielding every name; several processes may share them."""
    folder.mkdir(parents=True, exist_ok=True)
    for scene in scenes:
        if not (folder / f"{scene.name}.safetensors").exists():
            encode_scene(pipeline, scene).save(folder)
        yield scene.name


@torch.no_grad()
def encode_scene(pipeline: LongVie2Pipeline, scene: TrainingScene) -> SceneLatents:
    """Return a scene's latents; its colours, and how its first frames are spoilt, depend on its name alone."""
    clips = []
    rgb = scene.frames()
    for number in range(scene.clips):
        random = np.random.default_rng([scene.seed, number])
        truth = rgb[number * CLIP_STRIDE : number * CLIP_STRIDE + CLIP_TICKS]
        before = rgb[: number * CLIP_STRIDE + 1][-HISTORY_FRAMES if number else -1 :]
        recode = partial(recode_each, pipeline.vae)
        variants = [before, *(degrade(before, random, recode=recode) for _ in range(VARIANTS - 1))]
        dense, sparse = (np.asarray(v) for v in (scene.controls(number).dense, scene.controls(number).sparse))
        videos = [_encode(pipeline, v) for v in (truth, dense, sparse)]
        back, guess = scene.look_back(number), scene.guess(number, rgb[0])
        # The last three frames of a history never enter the VAE.
        past = [encode_history(pipeline, v) for v in variants] if number else None
        clips.append(
            ClipLatents(
                truth=videos[0],
                dense=videos[1],
                sparse=videos[2],
                image_head=torch.stack([encode_head(pipeline, v[-1:]) for v in variants]),
                carried=torch.stack(
                    [encode_first(pipeline, back.carry(v[-1], guess, drawn=number > 0)) for v in variants]
                ),
                dense_head=encode_head(pipeline, dense[:1]),
                sparse_head=encode_head(pipeline, sparse[:1]),
                image=torch.cat([image_features(pipeline, v[-1:]) for v in variants]),
                history=None if past is None else torch.stack(past),
            )
        )
    return SceneLatents(scene.name, scene.caption, tuple(clips))


@torch.no_grad()
def without_controls(pipeline: LongVie2Pipeline, *, height: int, width: int, frames: int) -> tuple[Tensor, ...]:
    """Return the latents of "no depth" and "no points": dense, dense head, sparse, sparse head."""
    grey = np.full((frames, height, width), _GREY, np.uint8)
    black = np.zeros((frames, height, width, 3), np.uint8)
    return (
        _encode(pipeline, grey),
        encode_head(pipeline, grey[:1]),
        _encode(pipeline, black),
        encode_head(pipeline, black[:1]),
    )


def expand_head(head: Tensor, frames: int) -> Tensor:
    """Return (z, frames, h, w): the head, its last latent frame held to the end."""
    return torch.cat([head, head[:, -1:].expand(-1, frames - head.shape[1], -1, -1)], dim=1)


@torch.no_grad()
def encode_history(pipeline: LongVie2Pipeline, frames: NDArray[np.uint8]) -> Tensor:
    """Return (z, 2, h, w) of the eight frames before a clip: the last three never enter, as in a session."""
    return _encode(pipeline, frames[: HISTORY_FRAMES - 3])


@torch.no_grad()
def image_features(pipeline: LongVie2Pipeline, image: NDArray[np.uint8]) -> Tensor:
    """Return the image encoder's (1, tokens, image_dim) of one frame, (1, height, width, 3)."""
    return encode_image(pipeline.image_encoder, _video(pipeline, image)[:, :, 0]).cpu()


@torch.no_grad()
def encode_first(pipeline: LongVie2Pipeline, carried: CarriedFrame) -> Tensor:
    """Return the condition, (4 + z, frames, h, w), of a first frame that was carried along."""
    return encode_carried(pipeline.vae, carried, device=pipeline.vae.device)[0].cpu()


@torch.no_grad()
def encode_head(pipeline: LongVie2Pipeline, image: NDArray[np.uint8]) -> Tensor:
    """Return (z, HEAD, h, w) of one frame, (1, height, width[, 3]), followed by zeros."""
    condition = encode_condition(pipeline.vae, _video(pipeline, image), _HEAD_FRAMES)
    return condition[0, MASK_CHANNELS:].cpu()


def _encode(pipeline: LongVie2Pipeline, frames: NDArray[np.uint8]) -> Tensor:
    return encode_video(pipeline.vae, _video(pipeline, frames))[0].cpu()


def _video(pipeline: LongVie2Pipeline, frames: NDArray[np.uint8]) -> Tensor:
    return to_video(frames, device=pipeline.vae.device)
