"""What networks see in a video: LPIPS, and VBench's subject and background consistency.

Weights are taken from a folder or from the caches of torch and the Hub, and nothing is downloaded: a column whose
network is not there is empty, and `absent` says why.

Source: VBench (Huang et al. 2024). A frame's consistency is the mean of its cosine similarity to the frame before and
to the video's first one, negative ones counted as 0; subject: class token of DINO ViT-B/16; background: image
embedding of CLIP ViT-B/32.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from .lpips import HEADS, TRUNK, Lpips, find_heads, find_trunk

__all__ = ["Perceptual", "consistency", "load_perceptual"]

Video: TypeAlias = NDArray[np.uint8]
Features: TypeAlias = Callable[[Video], Tensor]
"""Frames, (n, height, width, 3) uint8, to features, (n, channels)."""

_LPIPS: Final = "lpips"
_SUBJECT: Final = "subject_consistency"
_BACKGROUND: Final = "background_consistency"
_DINO_NAME: Final = "facebook/dino-vitb16"
_CLIP_NAME: Final = "openai/clip-vit-base-patch32"
_SIDE: Final = 224
_BATCH: Final = 16
_SMALLEST_PX: Final = 64
_IMAGENET: Final = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CLIP: Final = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


@dataclass(frozen=True, slots=True)
class Perceptual:
    """The networks that are here.

    Args:
        lpips: or None.
        features: per column of consistency, what frames are turned into.
        absent: per column whose network is not here, why.
    """

    lpips: Lpips | None
    features: dict[str, Features]
    absent: dict[str, str]

    @classmethod
    def none(cls) -> Perceptual:
        """No network at all."""
        return cls(None, {}, dict.fromkeys((_LPIPS, _SUBJECT, _BACKGROUND), "was not asked for"))

    def figures(self, video: Video, truth: Video, first: Video) -> dict[str, float]:
        """Return the three columns of a clip, NaN for those that are absent.

        Args:
            video, truth: (frames, height, width, 3); the frame that they share with the clip before is not counted.
            first: (height, width, 3), the first frame of the whole video.
        """
        found = dict.fromkeys((_LPIPS, _SUBJECT, _BACKGROUND), math.nan)
        if self.lpips is not None and min(first.shape[:2]) >= _SMALLEST_PX:
            found[_LPIPS] = _distance(self.lpips, video[1:], truth[1:])
        for column, features in self.features.items():
            found[column] = consistency(features(video), features(first[None]))
        return found


def consistency(features: Tensor, first: Tensor) -> float:
    """Return VBench's consistency of all frames but the first, -1 .. 1.

    Args:
        features: (frames, channels), of a clip; its first frame belongs to the clip before.
        first: (1, channels), of the whole video's first frame.
    """
    unit, start = F.normalize(features, dim=1), F.normalize(first, dim=1)
    before = (unit[1:] * unit[:-1]).sum(1).clamp(min=0)
    beginning = (unit[1:] * start).sum(1).clamp(min=0)
    return float((before + beginning).mean() / 2)


def load_perceptual(folder: Path | None, *, device: str = "cpu") -> Perceptual:
    """Return the networks that are on this machine.

    Args:
        folder: with `dino-vitb16`, `clip-vit-base-patch32` (as `transformers` saves them) and AlexNet's file; None, and
            what is not there, for the caches of torch and the Hub.
        device: where they run.
    """
    absent: dict[str, str] = {}
    features: dict[str, Features] = {}
    lpips = None
    trunk, heads = find_trunk(folder), find_heads(folder)
    if trunk is not None and heads is not None:
        lpips = Lpips.load(trunk, heads).to(device)
    else:
        missing = f"{TRUNK} is in no cache" if trunk is None else f"{HEADS} is missing: pip install torchmetrics"
        absent[_LPIPS] = missing
    for column, name, make in ((_SUBJECT, _DINO_NAME, _dino), (_BACKGROUND, _CLIP_NAME, _clip)):
        place = None if folder is None else folder / name.partition("/")[2]
        try:
            features[column] = make(str(place) if place is not None and place.is_dir() else name, device)
        except (OSError, ValueError):
            absent[column] = f"{name} is not on this machine: hf download {name}"
    return Perceptual(lpips, features, absent)


def _dino(name: str, device: str) -> Features:
    from transformers import ViTModel

    network: Any = ViTModel.from_pretrained(name, local_files_only=True, add_pooling_layer=False).eval().to(device)

    def of(frames: Tensor) -> Tensor:
        pixels = _normalised(_shorter_side(frames, "bilinear"), _IMAGENET)
        tokens: Tensor = network(pixels, interpolate_pos_encoding=True).last_hidden_state
        return tokens[:, 0]

    return lambda video: _in_batches(video, of, device)


def _clip(name: str, device: str) -> Features:
    from transformers import CLIPVisionModelWithProjection

    network: Any = CLIPVisionModelWithProjection.from_pretrained(name, local_files_only=True).eval().to(device)

    def of(frames: Tensor) -> Tensor:
        large = _shorter_side(frames, "bicubic").clamp(0, 1)
        top, left = (large.shape[2] - _SIDE) // 2, (large.shape[3] - _SIDE) // 2
        square = large[:, :, top : top + _SIDE, left : left + _SIDE]
        embeds: Tensor = network(_normalised(square, _CLIP)).image_embeds
        return embeds

    return lambda video: _in_batches(video, of, device)


@torch.no_grad()
def _distance(network: Lpips, video: Video, truth: Video) -> float:
    device = network.heads[0].device
    parts = [
        network(_tensor(video[at : at + _BATCH], device) * 2 - 1, _tensor(truth[at : at + _BATCH], device) * 2 - 1)
        for at in range(0, len(video), _BATCH)
    ]
    return float(torch.cat(parts).mean())


@torch.no_grad()
def _in_batches(video: Video, of: Callable[[Tensor], Tensor], device: str) -> Tensor:
    parts = [of(_tensor(video[at : at + _BATCH], torch.device(device))) for at in range(0, len(video), _BATCH)]
    return torch.cat(parts).float().cpu()


def _tensor(frames: Video, device: torch.device) -> Tensor:
    """(n, 3, height, width) in 0 .. 1."""
    return torch.from_numpy(np.array(frames)).to(device).permute(0, 3, 1, 2).float() / 255


def _shorter_side(frames: Tensor, mode: str) -> Tensor:
    """Resized without antialiasing, as VBench does, so that the shorter side is 224."""
    height, width = frames.shape[2:]
    scale = _SIDE / min(height, width)
    size = (max(_SIDE, int(height * scale)), max(_SIDE, int(width * scale)))
    return F.interpolate(frames, size=size, mode=mode, align_corners=False, antialias=False)


def _normalised(frames: Tensor, statistics: tuple[tuple[float, ...], tuple[float, ...]]) -> Tensor:
    mean, std = (frames.new_tensor(values).view(1, 3, 1, 1) for values in statistics)
    return (frames - mean) / std
