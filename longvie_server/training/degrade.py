"""First frames and histories as a model's own output would spoil them.

A clip's first frame is the last of a generated clip, with all the errors of it. Training on perfect ones makes errors
grow from clip to clip; so now and then they are blurred, tinted, made noisy, or sent through the VAE again, and the
truth stays the target. The paper does this in its second stage (repeated coding, noising, smooth colour drift).
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..world_model.longvie2.vae import VideoVae, decode_video, encode_video, to_pixels, to_video

__all__ = ["decode_frames", "degrade", "recode_each", "tint_field"]


def degrade(
    frames: NDArray[np.uint8],
    random: np.random.Generator,
    *,
    recode: Callable[[NDArray[np.uint8]], NDArray[np.uint8]],
) -> NDArray[np.uint8]:
    """Return the frames, (n, height, width, 3) uint8, spoilt alike.

    Args:
        frames: neighbouring frames.
        random: decides what happens to them.
        recode: takes them through a VAE and back once.
    """
    for _ in range(int(random.integers(1, 3))):
        frames = recode(frames)
    out = frames.astype(np.float32)
    if random.random() < 0.6:
        out = _blur(out, sigma_px=float(random.uniform(0.4, 1.1)))
    if random.random() < 0.5:
        out = out * tint_field(out.shape[1], out.shape[2], random, strength=float(random.uniform(0.02, 0.12)))
    if random.random() < 0.5:
        # Errors of a generated frame are patches, not grain.
        out = out + _patches(out.shape[1], out.shape[2], random) * float(random.uniform(2.0, 12.0))
    return np.clip(out, 0, 255).astype(np.uint8)


@torch.no_grad()
def recode_each(vae: VideoVae, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the frames, (n, height, width, 3) uint8, encoded and decoded once, each by itself."""
    video = to_video(frames, device=vae.device, dtype=vae.dtype)
    return decode_frames(vae, encode_video(vae, video[0].permute(1, 0, 2, 3)[:, :, None]))


def decode_frames(vae: VideoVae, latents: Tensor) -> NDArray[np.uint8]:
    """Return the frames, (n, height, width, 3) uint8, of one latent each, (n, z, 1, h, w)."""
    return to_pixels(decode_video(vae, latents)[:, :, 0].permute(1, 0, 2, 3)[None])


def _blur(frames: NDArray[np.float32], *, sigma_px: float) -> NDArray[np.float32]:
    return np.stack([cv2.GaussianBlur(frame, (0, 0), sigma_px) for frame in frames])


def tint_field(height: int, width: int, random: np.random.Generator, *, strength: float) -> NDArray[np.float32]:
    """Return a factor per pixel and channel, (height, width, 3), that changes slowly over the image.

    Args:
        height, width: of the image.
        random: decides the colours at its corners.
        strength: the farthest from 1 that a factor may be.
    """
    corners = (1.0 + strength * random.uniform(-1, 1, size=(2, 2, 3))).astype(np.float32)
    return np.asarray(cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def _patches(height: int, width: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Noise of unit deviation, eight pixels wide."""
    coarse = random.standard_normal((height // 8, width // 8, 3)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.float32)
