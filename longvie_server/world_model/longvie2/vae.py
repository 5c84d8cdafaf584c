"""Pixels to normalised latents and back: the one place that knows the latents' mean and scale.

In: video in -1 .. 1. Out: latents of about unit scale, and the reverse, whole or while later frames wait.
Laws: encoding is deterministic (the posterior's mode); nothing is kept on the VAE between calls, so two streams may
take turns; on a CPU the framewise path runs (same numbers, faster), elsewhere diffusers' own; both are differentiable.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify
from numpy.typing import NDArray
from torch import Tensor

from bridge.errors import ShapeMismatch

from . import framewise_vae

__all__ = [
    "decode_stream",
    "decode_video",
    "denormalise",
    "encode_condition",
    "encode_video",
    "latent_frames",
    "normalise",
    "to_pixels",
    "to_video",
]

MASK_CHANNELS = 4
TIME_FACTOR = 4


def latent_frames(frames: int) -> int:
    """Return how many latent frames a video of `frames` frames has; frames past the last whole group are not seen."""
    return 1 + (frames - 1) // TIME_FACTOR


def to_video(frames: NDArray[np.uint8], *, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return frames, (n, height, width) or (n, height, width, 3) uint8, as video, (1, 3, n, height, width), -1 .. 1."""
    pixels = torch.from_numpy(np.ascontiguousarray(frames)).to(device)
    if pixels.ndim == 3:
        pixels = pixels[..., None].expand(-1, -1, -1, 3)
    return (pixels.permute(3, 0, 1, 2)[None].float() * (2 / 255) - 1).to(dtype)


def to_pixels(video: Tensor) -> NDArray[np.uint8]:
    """Return video, (1, 3, n, height, width), -1 .. 1, as frames, (n, height, width, 3) uint8, by truncation."""
    # Rounding would be nearer, but the next clip was trained to start from truncated frames.
    levels = ((video[0].float() + 1) * 127.5).clamp(0, 255).to(torch.uint8)
    frames: NDArray[np.uint8] = levels.permute(1, 2, 3, 0).contiguous().cpu().numpy()
    return frames


def normalise(vae: AutoencoderKLWan, latents: Tensor) -> Tensor:
    """Return the VAE's own latents, (batch, z, frames, h, w), at about unit scale."""
    mean, std = _statistics(vae, latents)
    return (latents - mean) / std


def denormalise(vae: AutoencoderKLWan, latents: Tensor) -> Tensor:
    """Invert `normalise`."""
    mean, std = _statistics(vae, latents)
    return latents * std + mean


def encode_video(vae: AutoencoderKLWan, video: Tensor) -> Tensor:
    """Return normalised latents.

    Args:
        vae: any size.
        video: (batch, 3, frames, height, width), -1 .. 1.

    Returns:
        (batch, z, 1 + (frames - 1) // 4, h, w).

    Raises:
        ShapeMismatch: height or width is not a multiple of the VAE's factor.
    """
    _check_sides(vae, video)
    return normalise(vae, _moments(vae, video, video.shape[2]).chunk(2, dim=1)[0])


def encode_condition(vae: AutoencoderKLWan, image: Tensor, frames: int) -> Tensor:
    """Return the condition of a first frame: four mask channels, then the latents of it followed by zeros.

    Args:
        vae: any size.
        image: (batch, 3, 1, height, width), -1 .. 1.
        frames: of the clip, 4k + 1.

    Returns:
        (batch, 4 + z, 1 + k, h, w).
    """
    _check_sides(vae, image)
    # One zero frame stands for all of them. Their latents differ from frame to frame all the same: no caching of them.
    video = torch.cat([image, torch.zeros_like(image)], dim=2)
    latents = normalise(vae, _moments(vae, video, frames).chunk(2, dim=1)[0])
    mask = torch.zeros_like(latents[:, :1]).repeat(1, MASK_CHANNELS, 1, 1, 1)
    mask[:, :, 0] = 1
    return torch.cat([mask, latents], dim=1)


def decode_stream(vae: AutoencoderKLWan, latents: Tensor, *, chunk: int = 1) -> Iterator[Tensor]:
    """Yield pixels while later latents wait.

    Args:
        vae: any size.
        latents: (batch, z, frames, h, w), normalised.
        chunk: latent frames per piece: larger is faster as a whole, smaller has its first frames earlier.

    Yields:
        (batch, 3, n, height, width), -1 .. 1, clamped: one frame for the first latent frame, four for each other.
    """
    latents = denormalise(vae, latents)
    _onload(vae)
    pieces = (
        framewise_vae.decode_chunks(vae, latents, chunk) if _framewise(vae, latents) else _decode_chunks(vae, latents)
    )
    for piece in pieces:
        yield piece.clamp(-1, 1)


def decode_video(vae: AutoencoderKLWan, latents: Tensor) -> Tensor:
    """Return the whole video, (batch, 3, 4 * frames - 3, height, width), -1 .. 1, of normalised latents."""
    return torch.cat(list(decode_stream(vae, latents, chunk=latents.shape[2])), dim=2)


def _moments(vae: AutoencoderKLWan, video: Tensor, frames: int) -> Tensor:
    """Moments of a video of `frames` frames, of which those past the given ones repeat the last."""
    _onload(vae)
    if _framewise(vae, video):
        return framewise_vae.encode_moments(vae, video, frames=frames)
    tail = video[:, :, -1:].expand(-1, -1, frames - video.shape[2], -1, -1)
    moments: Tensor = vae._encode(torch.cat([video, tail], dim=2))
    return moments


def _decode_chunks(vae: AutoencoderKLWan, latents: Tensor) -> Iterator[Tensor]:
    """diffusers' decoder, one latent frame at a time, its cache held here and not on the model."""
    cache: list[Tensor | str | None] = [None] * vae._cached_conv_counts["decoder"]
    for frame in range(latents.shape[2]):
        x = vae.post_quant_conv(latents[:, :, frame : frame + 1])
        pixels = vae.decoder(x, feat_cache=cache, feat_idx=[0], first_chunk=frame == 0)
        yield unpatchify(pixels, vae.config.patch_size) if vae.config.patch_size else pixels


def _check_sides(vae: AutoencoderKLWan, video: Tensor) -> None:
    factor = vae.config.scale_factor_spatial
    if video.ndim != 5 or video.shape[3] % factor or video.shape[4] % factor:
        raise ShapeMismatch(
            f"must be (batch, 3, frames, height, width) with sides that {factor} divides",
            field="video",
            value=tuple(video.shape),
            remedy="Resize or crop it.",
        )


def _framewise(vae: AutoencoderKLWan, tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and framewise_vae.supports(vae)


def _onload(vae: AutoencoderKLWan) -> None:
    """Let accelerate's offloading bring the weights in; it watches `encode` and `decode`, which are not called here."""
    hook = getattr(vae, "_hf_hook", None)
    if hook is not None and hasattr(hook, "pre_forward"):
        hook.pre_forward(vae)


def _statistics(vae: AutoencoderKLWan, like: Tensor) -> tuple[Tensor, Tensor]:
    def channels(values: list[float]) -> Tensor:
        return torch.tensor(values, device=like.device, dtype=like.dtype).view(1, -1, 1, 1, 1)

    return channels(vae.config.latents_mean), channels(vae.config.latents_std)
