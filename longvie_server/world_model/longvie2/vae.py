"""Pixels to normalised latents and back: the one place that knows the latents' mean and scale.

In: video in -1 .. 1. Out: latents of about unit scale, and the reverse, whole or while later frames wait.
Laws: encoding is deterministic (the posterior's mode); nothing is kept on the VAE between calls, so two streams may
take turns; the framewise path (same numbers) runs on a CPU, where it is faster, and for a first frame with zeros behind
it; diffusers' own for all else; both are differentiable.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify
from numpy.typing import NDArray
from torch import Tensor

from bridge.errors import ShapeMismatch

from . import framewise_vae
from .block_vae import TIME_FACTOR, BlockAutoencoder
from .carry import CarriedFrame

__all__ = [
    "MASK_CHANNELS",
    "VideoVae",
    "decode_chunks",
    "decode_stream",
    "decode_video",
    "denormalise",
    "encode_carried",
    "encode_condition",
    "encode_mean",
    "encode_video",
    "hint_of",
    "latent_frames",
    "normalise",
    "to_pixels",
    "to_video",
]

VideoVae: TypeAlias = AutoencoderKLWan | BlockAutoencoder

MASK_CHANNELS = 4
_CPU = torch.device("cpu")


def latent_frames(frames: int) -> int:
    """Return how many latent frames a video of `frames` frames has; frames past the last whole group are not seen."""
    return 1 + (frames - 1) // TIME_FACTOR


def to_video(frames: NDArray[np.uint8], *, device: torch.device = _CPU, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return frames, (n, height, width) or (n, height, width, 3) uint8, as video, (1, 3, n, height, width), -1 .. 1."""
    pixels = torch.from_numpy(np.require(frames, requirements=("C", "W"))).to(device)
    if pixels.ndim == 3:
        pixels = pixels[..., None].expand(-1, -1, -1, 3)
    return (pixels.permute(3, 0, 1, 2)[None].float() * (2 / 255) - 1).to(dtype)


def to_pixels(video: Tensor) -> NDArray[np.uint8]:
    """Return video, (1, 3, n, height, width), -1 .. 1, as frames, (n, height, width, 3) uint8, by truncation."""
    # Rounding would be nearer, but the next clip was trained to start from truncated frames.
    levels = ((video[0].float() + 1) * 127.5).clamp(0, 255).to(torch.uint8)
    frames: NDArray[np.uint8] = levels.permute(1, 2, 3, 0).contiguous().cpu().numpy()
    return frames


def normalise(vae: VideoVae, latents: Tensor) -> Tensor:
    """Return the VAE's own latents, (batch, z, frames, h, w), at about unit scale."""
    mean, std = _statistics(vae, latents)
    return (latents - mean) / std


def denormalise(vae: VideoVae, latents: Tensor) -> Tensor:
    """Invert `normalise`."""
    mean, std = _statistics(vae, latents)
    return latents * std + mean


def encode_video(vae: VideoVae, video: Tensor) -> Tensor:
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
    return normalise(vae, encode_mean(vae, video))


def encode_condition(vae: VideoVae, image: Tensor, frames: int) -> Tensor:
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
    latents = normalise(vae, encode_mean(vae, video, frames=frames))
    mask = torch.zeros_like(latents[:, :1]).repeat(1, MASK_CHANNELS, 1, 1, 1)
    mask[:, :, 0] = 1
    return torch.cat([mask, latents], dim=1)


def encode_carried(vae: VideoVae, carried: CarriedFrame, *, device: torch.device = _CPU) -> Tensor:
    """Return the condition of a first frame that was carried along: how much of a place is known, and the latents.

    Returns:
        (1, 4 + z, 1 + k, h, w). A latent frame has four frames, and a mask channel for each: the share of the place's
        pixels that are known in it. The first latent frame has one frame, and it is known.
    """
    latents = encode_video(vae, to_video(carried.video, device=device, dtype=vae.dtype))
    factor = vae.config.scale_factor_spatial
    known = torch.from_numpy(carried.known).to(latents)
    share = F.avg_pool2d(known[:, None], factor)[:, 0]
    mask = torch.cat([share[:1].expand(MASK_CHANNELS, -1, -1), share[1:]]).unflatten(0, (-1, MASK_CHANNELS))
    return torch.cat([mask.transpose(0, 1)[None], latents], dim=1)


def hint_of(vae: VideoVae, carried: CarriedFrame, *, device: torch.device = _CPU) -> Tensor | None:
    """Return what a carried frame tells the decoder, for `decode_stream`; None for a VAE that is not told.

    Returns:
        (1, 7, frames, height, width), see `BlockAutoencoder.hint`.
    """
    if not isinstance(vae, BlockAutoencoder):
        return None
    known = torch.from_numpy(carried.known).to(device=device, dtype=vae.dtype)
    return vae.hint(to_video(carried.video, device=device, dtype=vae.dtype), known[None, None])


def decode_stream(vae: VideoVae, latents: Tensor, *, chunk: int = 1, hint: Tensor | None = None) -> Iterator[Tensor]:
    """Yield pixels while later latents wait.

    Args:
        vae: any size.
        latents: (batch, z, frames, h, w), normalised.
        chunk: latent frames per piece: larger is faster as a whole, smaller has its first frames earlier.
        hint: from `hint_of`, or None.

    Yields:
        (batch, 3, n, height, width), -1 .. 1, clamped: one frame for the first latent frame, four for each other.
    """
    for piece in decode_chunks(vae, denormalise(vae, latents), chunk, hint=hint):
        yield piece.clamp(-1, 1)


def decode_video(vae: VideoVae, latents: Tensor, *, hint: Tensor | None = None) -> Tensor:
    """Return the whole video, (batch, 3, 4 * frames - 3, height, width), -1 .. 1, of normalised latents."""
    return torch.cat(list(decode_stream(vae, latents, chunk=latents.shape[2], hint=hint)), dim=2)


def encode_mean(vae: VideoVae, video: Tensor, *, frames: int | None = None) -> Tensor:
    """Return latents as the VAE has them, (batch, z, 1 + (frames - 1) // 4, h, w): the posterior's mean.

    Args:
        vae: any size.
        video: (batch, 3, given, height, width), -1 .. 1.
        frames: length of the video, of which frames past the given ones repeat the last given; None for none.
    """
    _onload(vae)
    if _framewise(vae, video):
        return framewise_vae.encode_moments(vae, video, frames=frames).chunk(2, dim=1)[0]
    if frames is not None and isinstance(vae, AutoencoderKLWan) and framewise_vae.supports(vae):
        # A quarter of the work on any device: layers stop where their output stands still. One by one, for its memory.
        each = (framewise_vae.encode_moments(vae, one, frames=frames) for one in video.split(1))
        return torch.cat([moments.chunk(2, dim=1)[0] for moments in each])
    total = frames or video.shape[2]
    whole = torch.cat([video, video[:, :, -1:].expand(-1, -1, total - video.shape[2], -1, -1)], dim=2)
    whole = whole[:, :, : TIME_FACTOR * latent_frames(total) - 3]
    if isinstance(vae, BlockAutoencoder):
        return vae.encode_mean(whole)
    mean: Tensor = vae._encode(whole).chunk(2, dim=1)[0]
    return mean


def decode_chunks(vae: VideoVae, latents: Tensor, chunk: int, *, hint: Tensor | None = None) -> Iterator[Tensor]:
    """Yield pixels, (batch, 3, n, height, width), not clamped, of latents as the VAE has them, `chunk` at a time."""
    _onload(vae)
    if isinstance(vae, BlockAutoencoder):
        return vae.decode_chunks(latents, chunk, hint=hint)
    if _framewise(vae, latents):
        return framewise_vae.decode_chunks(vae, latents, chunk)
    return _decode_frames(vae, latents)


def _decode_frames(vae: AutoencoderKLWan, latents: Tensor) -> Iterator[Tensor]:
    """diffusers' decoder, one latent frame at a time, its cache held here and not on the model."""
    cache: list[Tensor | str | None] = [None] * vae._cached_conv_counts["decoder"]
    for frame in range(latents.shape[2]):
        x = vae.post_quant_conv(latents[:, :, frame : frame + 1])
        pixels = vae.decoder(x, feat_cache=cache, feat_idx=[0], first_chunk=frame == 0)
        yield unpatchify(pixels, vae.config.patch_size) if vae.config.patch_size else pixels


def _check_sides(vae: VideoVae, video: Tensor) -> None:
    factor = vae.config.scale_factor_spatial
    if video.ndim != 5 or video.shape[3] % factor or video.shape[4] % factor:
        raise ShapeMismatch(
            f"must be (batch, 3, frames, height, width) with sides that {factor} divides",
            field="video",
            value=tuple(video.shape),
            remedy="Resize or crop it.",
        )


def _framewise(vae: VideoVae, tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and isinstance(vae, AutoencoderKLWan) and framewise_vae.supports(vae)


def _onload(vae: VideoVae) -> None:
    """Let accelerate's offloading bring the weights in; it watches `encode` and `decode`, which are not called here."""
    hook = getattr(vae, "_hf_hook", None)
    if hook is not None and hasattr(hook, "pre_forward"):
        hook.pre_forward(vae)


def _statistics(vae: VideoVae, like: Tensor) -> tuple[Tensor, Tensor]:
    def channels(values: list[float]) -> Tensor:
        return torch.tensor(values, device=like.device, dtype=like.dtype).view(1, -1, 1, 1, 1)

    return channels(vae.config.latents_mean), channels(vae.config.latents_std)
