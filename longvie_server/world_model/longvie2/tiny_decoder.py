"""A tiny decoder of Wan 2.1's latents, for previews: the network that is published as TAEHV, file `taew2_1`.

In: latents at unit scale, as the denoiser leaves them; this network knows no other. Out: video in -1 .. 1, as many
frames as Wan's own VAE makes of them.
Laws: its layers' names are their places in the published list, so the file loads as it is; a frame depends on its
latent and on those before, never on later ones; what a layer needs of the past is held by the caller, not on the
network, so a video may come in pieces of any size and two streams may take turns.

The published encoder is left out: it merges frames four by four from the first on, where Wan's latents have the first
frame alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from bridge.errors import InvalidValue

from .framewise_vae import Memory, enlarge, per_frame
from .published_file import PublishedFile
from .vae import VideoVae

__all__ = ["TINY_DECODER_ENVIRONMENT", "MemoryBlock", "TinyDecoder", "load_tiny_decoder", "tiny_decoder_for"]

TINY_DECODER_ENVIRONMENT: Final = "LONGVIE_TINY_DECODER"
_PUBLISHED: Final = PublishedFile(
    what="tiny decoder",
    repository="Kijai/WanVideo_comfy",
    file="taew2_1.safetensors",
    environment=TINY_DECODER_ENVIRONMENT,
    field="decoder",
    instead="choose --decoder full",
)
_CHANNELS: Final = 16
"""Of Wan 2.1's latents."""
_SIDE: Final = 8
"""Pixels per latent in both directions."""
_STAGES: Final = ((256, 128, 1), (128, 64, 2), (64, 64, 2))
"""Width of a stage, width after it, and frames that one of its frames becomes; each doubles rows and columns."""
_BLOCKS: Final = 3
"""In each stage."""
_FRAMES: Final = 4
"""Per latent; of a video's first latent only the last one is shown."""
_OTHER_HALF: Final = "encoder."


class MemoryBlock(nn.Module):
    """Three convolutions over a frame and the one before it, beside the frame itself.

    Args:
        width: channels in and out.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(2 * width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Return (batch, frames, rows, columns, width), of the same shape as `x`.

        Args:
            x: some of a video's frames.
            memory: holds the frame before them, zeros at the beginning; from now on the last of them.
        """
        last = memory.get(self)
        past = torch.cat([torch.zeros_like(x[:, :1]) if last is None else last, x[:, :-1]], dim=1)
        # A clone, so that the memory does not keep the whole piece alive.
        memory[self] = x[:, -1:].clone()
        return F.relu(per_frame(torch.cat([x, past], dim=-1), self.conv) + x)


class _Growth(nn.Module):
    """One frame becomes several, each a linear function of its channels."""

    def __init__(self, width: int, frames: int) -> None:
        super().__init__()
        self.frames = frames
        self.conv = nn.Conv2d(width, width * frames, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, frames * n, rows, columns, width) of (batch, n, rows, columns, width)."""
        grown = F.linear(x, self.conv.weight.flatten(1)).unflatten(-1, (self.frames, -1))
        return grown.permute(0, 1, 4, 2, 3, 5).flatten(1, 2)


class TinyDecoder(nn.Module):
    """The decoder; see the module. Its parameters begin at random."""

    def __init__(self) -> None:
        super().__init__()
        # The list's places without a layer here have no weights: limits, enlarging, what is below zero.
        place, layers = 3, {"1": _conv(_CHANNELS, _STAGES[0][0])}
        for width, after, frames in _STAGES:
            for block in range(_BLOCKS):
                layers[str(place + block)] = MemoryBlock(width)
            layers[str(place + 4)] = _Growth(width, frames)
            layers[str(place + 5)] = _conv(width, after, bias=False)
            place += 6
        layers[str(place + 1)] = _conv(_STAGES[-1][1], 3)
        self.decoder = nn.ModuleDict(layers)

    def decode_stream(self, latents: Tensor, *, chunk: int = 1) -> Iterator[Tensor]:
        """Yield pixels while later latents wait.

        Args:
            latents: (batch, 16, frames, h, w), normalised.
            chunk: latent frames per piece: larger is faster as a whole, smaller has its first frames earlier.

        Yields:
            (batch, 3, n, 8 * h, 8 * w), -1 .. 1: one frame for the first latent frame, four for each other.
        """
        memory: Memory = {}
        for first in range(0, latents.shape[2], chunk):
            yield self._piece(latents[:, :, first : first + chunk], memory)

    def _piece(self, latents: Tensor, memory: Memory) -> Tensor:
        hidden = 0 if memory else _FRAMES - 1
        layers = iter(self.decoder.values())
        x = F.relu(per_frame(3 * torch.tanh(latents.permute(0, 2, 3, 4, 1) / 3), next(layers)))
        for stage in range(1, 1 + len(_STAGES)):
            for _ in range(_BLOCKS):
                x = next(layers)(x, memory)
            # Enlarging comes first in the published list; behind a linear function of one place it is the same.
            x = next(layers)(x)
            if stage == len(_STAGES):
                # No layer from here on looks back, so what is not shown ends here.
                x = x[:, hidden:]
            x = per_frame(enlarge(x), next(layers))
        pixels = per_frame(F.relu(x), next(layers))
        return pixels.clamp(0, 1).mul(2).sub(1).permute(0, 4, 1, 2, 3)


def tiny_decoder_for(
    vae: VideoVae, *, random_weights: bool = False, environ: Mapping[str, str] = os.environ
) -> TinyDecoder:
    """Return the decoder that can stand in for a VAE's own, in the VAE's type, on the CPU.

    Args:
        vae: whose latents are to be decoded.
        random_weights: True for a model whose own weights are random: nothing is looked for.
        environ: may say where the file is.

    Raises:
        InvalidValue: the VAE's latents are not Wan 2.1's; the file cannot be had, or is another.
    """
    config = vae.config
    if not isinstance(vae, AutoencoderKLWan) or (config.z_dim, config.scale_factor_spatial) != (_CHANNELS, _SIDE):
        raise InvalidValue(
            f"it decodes the {_CHANNELS} channels of Wan 2.1, and this model's latents are others "
            f"({config.z_dim} channels of {config.scale_factor_spatial} pixels, {type(vae).__name__})",
            field="decoder",
            value="tiny",
            remedy="Choose --decoder full for this model.",
        )
    if random_weights:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            decoder = TinyDecoder()
    else:
        decoder = load_tiny_decoder(_PUBLISHED.find(environ))
    # As its frames lie in memory, so that no call has to turn its weights round.
    for parameter in decoder.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return decoder.to(vae.dtype).eval().requires_grad_(False)


def load_tiny_decoder(file: Path) -> TinyDecoder:
    """Read a decoder from the published file; its encoder, where the file has one, is not read.

    Raises:
        InvalidValue: it is no safetensors file, or not of this layout: a weight is missing, is too many or has another
            shape.
    """
    try:
        weights = {name: weight for name, weight in load_file(file).items() if not name.startswith(_OTHER_HALF)}
    except (SafetensorError, OSError) as error:
        raise _wrong_file(f"cannot be read as safetensors ({type(error).__name__})", file) from error
    with torch.device("meta"):
        decoder = TinyDecoder()
    wanted = decoder.state_dict()
    faults = [
        *(f"{name} is missing" for name in wanted if name not in weights),
        *(f"{name} is not known" for name in weights if name not in wanted),
        *(
            f"{name} is {tuple(weights[name].shape)} and not {tuple(wanted[name].shape)}"
            for name in wanted
            if name in weights and weights[name].shape != wanted[name].shape
        ),
    ]
    if faults:
        more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
        raise _wrong_file(f"is no tiny decoder of Wan 2.1 ({faults[0]}{more})", file)
    decoder.load_state_dict({name: weight.float() for name, weight in weights.items()}, assign=True)
    return decoder


def _wrong_file(problem: str, file: Path) -> InvalidValue:
    return InvalidValue(
        problem,
        field="decoder",
        value=file,
        remedy=f"Use {_PUBLISHED.file} of {_PUBLISHED.repository}, as it is published, or choose --decoder full.",
    )


def _conv(before: int, after: int, *, bias: bool = True) -> nn.Module:
    return nn.Conv2d(before, after, 3, padding=1, bias=bias)
