"""A video autoencoder for small pictures: a linear code of blocks of pixels, and a small network that draws from it.

In: video in -1 .. 1. Out: latents, and video again, with the detail of what is known of it beforehand. It has the
geometry of Wan's VAE (the first frame is coded alone, then four by four) and takes its place where scenes are small and
compute is scarce; `docs/decisions/0009` says why, and 0011 what is known beforehand.
What is known beforehand is shown as it is, and the rest is drawn: a clip begins with the very frame that it was given.
Laws: a latent depends on its own block alone; a decoded frame on its latent and the one before it, so a video decodes
in pieces of any size; the encoder has no other weights than two matrices, which are measured and not trained.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

__all__ = ["TIME_FACTOR", "BlockAutoencoder", "from_blocks", "to_blocks"]

TIME_FACTOR: Final = 4
"""Frames per latent, but for the first."""
_COLOURS: Final = 3
_HINT: Final = 2 * _COLOURS + 1
"""Channels of a hint: colours, what the linear code leaves out of them, and how much of a pixel is surely theirs."""
_SEAM_PX: Final = 1.0
"""How softly what is known goes over into what is drawn: the deviation of a Gaussian."""
_PLACE: Final = 4
"""Side of the squares of pixels that the drawing network works on, pixels."""


def to_blocks(video: Tensor, block: int, time: int) -> Tensor:
    """Return (batch, frames / time, h, w, time * block * block * 3) of (batch, 3, frames, height, width)."""
    b, c, t, height, width = video.shape
    x = video.reshape(b, c, t // time, time, height // block, block, width // block, block)
    return x.permute(0, 2, 4, 6, 3, 5, 7, 1).flatten(4)


def from_blocks(blocks: Tensor, block: int, time: int) -> Tensor:
    """Invert `to_blocks`."""
    b, t, h, w, _ = blocks.shape
    x = blocks.reshape(b, t, h, w, time, block, block, _COLOURS)
    return x.permute(0, 7, 1, 4, 2, 5, 3, 6).reshape(b, _COLOURS, t * time, h * block, w * block)


class _BlockEncoder(nn.Module):
    """Pixels of a block to its latent: one matrix for the first frame, one for four frames."""

    def __init__(self, block: int, z_dim: int) -> None:
        super().__init__()
        self.block = block
        self.first = nn.Linear(_COLOURS * block * block, z_dim)
        self.rest = nn.Linear(TIME_FACTOR * _COLOURS * block * block, z_dim)

    def forward(self, video: Tensor) -> Tensor:
        """Return (batch, z, 1 + k, h, w) of (batch, 3, 1 + 4k, height, width)."""
        parts = [self.first(to_blocks(video[:, :, :1], self.block, 1))]
        if video.shape[2] > 1:
            parts.append(self.rest(to_blocks(video[:, :, 1:], self.block, TIME_FACTOR)))
        return torch.cat(parts, dim=1).permute(0, 4, 1, 2, 3)


class _Residual(nn.Module):
    """Two 3 x 3 convolutions beside the plain path, without norms, as networks that sharpen pictures have them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, width, rows, columns), of the same shape as `x`."""
        out: Tensor = x + self.conv2(F.silu(self.conv1(F.silu(x))))
        return out


class _BlockDecoder(nn.Module):
    """Latents to pixels: the linear code read back, and what the network draws on top of it."""

    def __init__(self, block: int, z_dim: int, width: int, layers: int, detail: int, place_width: int) -> None:
        super().__init__()
        self.block = block
        self.per_side = block // _PLACE
        self.first = nn.Linear(z_dim, _COLOURS * block * block)
        self.rest = nn.Linear(z_dim, TIME_FACTOR * _COLOURS * block * block)
        self.conv_in = nn.Conv2d(2 * z_dim, width, 3, padding=1)
        self.blocks = nn.Sequential(*(_Residual(width) for _ in range(layers)))
        self.detail = nn.Linear(width, TIME_FACTOR * self.per_side * self.per_side * detail)
        pixels = _COLOURS * _PLACE * _PLACE
        self.place_in = nn.Conv2d(pixels + _HINT * _PLACE * _PLACE + detail, place_width, 3, padding=1)
        self.places = nn.Sequential(*(_Residual(place_width) for _ in range(layers)))
        self.place_out = nn.Conv2d(place_width, pixels, 3, padding=1)
        nn.init.zeros_(self.place_out.weight)
        if self.place_out.bias is not None:
            nn.init.zeros_(self.place_out.bias)

    def forward(self, latents: Tensor, unit: Tensor, before: Tensor | None, hint: Tensor | None) -> Tensor:
        """Return the pixels of some of a video's latents.

        Args:
            latents: (batch, z, t, h, w).
            unit: the same at unit scale: what the network sees.
            before: (batch, z, 1, h, w), the latent before them at unit scale; None at the video's beginning.
            hint: (batch, 7, frames, height, width), of `BlockAutoencoder.hint`; None where nothing is known.

        Returns:
            (batch, 3, frames, height, width): four frames per latent, but one for the video's first.
        """
        plain = self.plain(latents, begins=before is None)
        if hint is None:
            hint = plain.new_zeros(plain.shape[0], _HINT, *plain.shape[2:])
        left_out = hint[:, _COLOURS : 2 * _COLOURS]
        past = torch.cat([unit[:, :, :1] if before is None else before, unit[:, :, :-1]], dim=2)
        drawn = plain + left_out + self._drawn(plain, hint, torch.cat([unit, past], dim=1))
        return torch.lerp(drawn, hint[:, :_COLOURS], hint[:, -1:].expand_as(drawn))

    def plain(self, latents: Tensor, *, begins: bool) -> Tensor:
        """Return what the linear code says, (batch, 3, frames, height, width), of (batch, z, t, h, w)."""
        codes = latents.permute(0, 2, 3, 4, 1)
        video = from_blocks(self.rest(codes[:, 1:] if begins else codes), self.block, TIME_FACTOR)
        if begins:
            video = torch.cat([from_blocks(self.first(codes[:, :1]), self.block, 1), video], dim=2)
        return video

    def _drawn(self, video: Tensor, hint: Tensor, codes: Tensor) -> Tensor:
        """What the network adds to (batch, 3, frames, height, width)."""
        b, _, t, h, w = codes.shape
        x = self.blocks(self.conv_in(_frames(codes)))
        detail = self.detail(F.silu(x).permute(0, 2, 3, 1))
        side = self.per_side
        detail = detail.reshape(b, t, h, w, TIME_FACTOR, side, side, -1).permute(0, 1, 4, 7, 2, 5, 3, 6)
        detail = detail.reshape(b, t * TIME_FACTOR, -1, h * side, w * side)[
            :, t * TIME_FACTOR - video.shape[2] :
        ].flatten(0, 1)
        places = (F.pixel_unshuffle(_frames(x), _PLACE) for x in (video, hint))
        x = torch.cat([*places, detail], dim=1).contiguous(memory_format=torch.channels_last)
        x = self.place_out(F.silu(self.places(self.place_in(x))))
        drawn = torch.unflatten(F.pixel_shuffle(x, _PLACE), 0, (b, video.shape[2]))
        return drawn.transpose(1, 2)


def _frames(video: Tensor) -> Tensor:
    """(batch, c, t, h, w) as (batch * t, c, h, w), channels last in memory."""
    return video.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)


def _softened(known: Tensor) -> Tensor:
    """Return the mean of (batch, 1, frames, height, width) around each pixel."""
    around = math.ceil(3 * _SEAM_PX)
    weights = torch.arange(-around, around + 1, device=known.device, dtype=known.dtype)
    weights = torch.exp(-0.5 * (weights / _SEAM_PX) ** 2)
    weights = weights / weights.sum()
    planes = F.pad(known.flatten(0, 2)[:, None], (around,) * 4, mode="replicate")
    mean = F.conv2d(F.conv2d(planes, weights.view(1, 1, 1, -1)), weights.view(1, 1, -1, 1))
    return mean.view_as(known)


class BlockAutoencoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """The autoencoder; see the module.

    Args:
        z_dim: channels of a latent.
        width, layers: of the network's part that works on latents, and its residual layers.
        detail: channels that it hands on to each 4 x 4 pixels of a frame.
        place_width: of the part that works on these.
        scale_factor_spatial: side of a block, pixels; a multiple of 4.
        scale_factor_temporal: frames per latent; 4.
        latents_mean, latents_std: (z_dim,), of the latents of true videos.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        z_dim: int = 96,
        width: int = 192,
        layers: int = 2,
        detail: int = 24,
        place_width: int = 64,
        scale_factor_spatial: int = 16,
        scale_factor_temporal: int = TIME_FACTOR,
        latents_mean: tuple[float, ...] | None = None,
        latents_std: tuple[float, ...] | None = None,
    ) -> None:
        super().__init__()
        if scale_factor_temporal != TIME_FACTOR or scale_factor_spatial % _PLACE:
            raise ValueError(f"blocks are of 4 frames and of a multiple of {_PLACE} pixels")
        self.register_to_config(
            latents_mean=list(latents_mean or [0.0] * z_dim), latents_std=list(latents_std or [1.0] * z_dim)
        )
        self.encoder = _BlockEncoder(scale_factor_spatial, z_dim)
        self.decoder = _BlockDecoder(scale_factor_spatial, z_dim, width, layers, detail, place_width)

    def encode_mean(self, video: Tensor) -> Tensor:
        """Return latents, (batch, z, 1 + k, h, w), of video, (batch, 3, 1 + 4k, height, width), -1 .. 1."""
        latents: Tensor = self.encoder(video)
        return latents

    def hint(self, video: Tensor, known: Tensor) -> Tensor:
        """Return what the decoder may know of a video beforehand, (batch, 7, 1 + 4k, height, width).

        Args:
            video: (batch, 3, 1 + 4k, height, width), -1 .. 1, one that looks alike where it is known, and likely where
                it is not.
            known: (batch, 1, 1 + 4k, height, width), 1 there and 0 elsewhere.
        """
        left_out = video - self.decoder.plain(self.encode_mean(video), begins=True)
        return torch.cat([video, left_out, known * _softened(known)], dim=1)

    def decode_chunks(self, latents: Tensor, chunk: int, *, hint: Tensor | None = None) -> Iterator[Tensor]:
        """Yield pixels, (batch, 3, n, height, width), not clamped, while later latents wait.

        Args:
            latents: (batch, z, frames, h, w), as `encode_mean` makes them.
            chunk: latent frames per piece.
            hint: (batch, 7, 4 * frames - 3, height, width), from `hint`; None where nothing is known.
        """
        mean, std = (
            torch.tensor(values, device=latents.device, dtype=latents.dtype).view(1, -1, 1, 1, 1)
            for values in (self.config.latents_mean, self.config.latents_std)
        )
        unit = (latents - mean) / std
        before: Tensor | None = None
        for first in range(0, latents.shape[2], chunk):
            piece = slice(first, first + chunk)
            shown = slice(max(0, TIME_FACTOR * first - 3), TIME_FACTOR * (first + chunk) - 3)
            of_piece = None if hint is None else hint[:, :, shown]
            yield self.decoder(latents[:, :, piece], unit[:, :, piece], before, of_piece)
            before = unit[:, :, piece][:, :, -1:]

    def forward(self, video: Tensor) -> Tensor:
        """Return the video after encoding and decoding."""
        return torch.cat(list(self.decode_chunks(self.encode_mean(video), chunk=video.shape[2])), dim=2)
