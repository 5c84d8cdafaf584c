"""`AutoencoderKLWan` run as 2-D convolutions over frames: the same numbers, several times faster on a CPU.

In: an `AutoencoderKLWan`, whose weights are read at every call and never changed. Out: moments or pixels.
Laws:
- A causal 3-D convolution over frames t-2, t-1, t is one 2-D convolution over their stacked channels.
- Frames before the first are zero. What a layer needs of the frames before a chunk is its `Memory`, so a video may
  come in chunks of any size; chunks and whole agree to float32 rounding.
- Everything is differentiable (in place only where no gradient is asked for).
- Activations are (batch, frames, rows, columns, channels): 2-D convolutions then run channels-last without a copy.

The temporal resamplers treat the first frame apart, as diffusers' do: it is neither merged with nor split into others,
and the upsampler's convolution begins after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import (
    WanAttentionBlock,
    WanCausalConv3d,
    WanMidBlock,
    WanResample,
    WanResidualBlock,
    WanRMS_norm,
    WanUpBlock,
)
from torch import Tensor, nn

__all__ = ["Memory", "decode_chunks", "encode_moments", "enlarge", "per_frame", "supports"]

Memory: TypeAlias = "dict[nn.Module, Tensor]"
"""Per layer, the frames that it needs of the chunks before; empty before the first chunk."""


def supports(vae: AutoencoderKLWan) -> bool:
    """Return whether this module knows all of the VAE's layers (the Wan 2.2 kind, `is_residual`, it does not)."""
    return not vae.config.is_residual


def encode_moments(vae: AutoencoderKLWan, video: Tensor, *, frames: int | None = None) -> Tensor:
    """Return the posterior's moments.

    Args:
        vae: any size.
        video: (batch, 3, given, height, width), -1 .. 1. Frames past the last whole group of four are not seen.
        frames: length of the video, of which frames past the given ones repeat the last given; None for none. Each
            layer then works only until its own output stands still, which at full resolution is soon.

    Returns:
        (batch, 2 * z, 1 + (frames - 1) // 4, h, w).
    """
    total = 1 + ((frames or video.shape[2]) - 1) // 4 * 4
    x = _fold(video[:, :, :total].permute(0, 2, 3, 4, 1), vae.config.patch_size or 1)
    encoder = vae.encoder
    memory: Memory = {}
    x = _causal(encoder.conv_in, _hold(x, total, 2), memory)
    for layer in encoder.down_blocks:
        if isinstance(layer, WanResidualBlock):
            x = _hold(x, total, 4)
        elif isinstance(layer, WanResample) and layer.mode == "downsample3d":
            # Odd: the first frame, and pairs, of which the last stands still already.
            x = _hold(x, total, 3 - x.shape[1] % 2)
            total = 1 + (total - 1) // 2
        x = _LAYERS[type(layer)](layer, x, memory)
    x = _mid(encoder.mid_block, _hold(x, total, 4 * len(encoder.mid_block.resnets)), memory)
    x = _causal(encoder.conv_out, _norm_silu(encoder.norm_out, _hold(x, total, 2)), memory)
    x = _hold(_causal(vae.quant_conv, x, memory), total, total)
    return x.permute(0, 4, 1, 2, 3)


def decode_chunks(vae: AutoencoderKLWan, latents: Tensor, chunk: int) -> Iterator[Tensor]:
    """Yield pixels while later latents wait.

    Args:
        vae: any size.
        latents: (batch, z, frames, h, w), not normalised.
        chunk: latent frames per piece.

    Yields:
        (batch, 3, n, height, width), not clamped: n = 1 for the first latent frame, 4 for every other.
    """
    decoder = vae.decoder
    memory: Memory = {}
    for first in range(0, latents.shape[2], chunk):
        x = latents[:, :, first : first + chunk].permute(0, 2, 3, 4, 1)
        x = _causal(vae.post_quant_conv, x, memory)
        x = _causal(decoder.conv_in, x, memory)
        x = _mid(decoder.mid_block, x, memory)
        for block in decoder.up_blocks:
            x = _up_block(block, x, memory)
        x = _causal(decoder.conv_out, _norm_silu(decoder.norm_out, x), memory)
        yield _unfold(x, vae.config.patch_size or 1).permute(0, 4, 1, 2, 3)


def _hold(x: Tensor, total: int, frames: int) -> Tensor:
    """Repeat the last frame, (batch, frames, ...), up to `frames` times, but to no more than `total` frames."""
    more = min(frames, total - x.shape[1])
    return x if more <= 0 else torch.cat([x, x[:, -1:].expand(-1, more, -1, -1, -1)], dim=1)


def _causal(conv: WanCausalConv3d, x: Tensor, memory: Memory) -> Tensor:
    """A stride-1 causal convolution; the memory holds its last kernel_t - 1 input frames."""
    depth = conv.kernel_size[0]
    if depth > 1:
        past = memory.get(conv)
        if past is None:
            past = x.new_zeros(x.shape[0], depth - 1, *x.shape[2:])
        x = torch.cat([past, x], dim=1)
        # A clone, so that the memory does not keep the whole chunk alive.
        memory[conv] = x[:, 1 - depth :].clone()
    return _stacked(conv, x, 1)


def _stacked(conv: WanCausalConv3d, x: Tensor, stride: int) -> Tensor:
    """Convolve without padding in time: (b, t, h, w, c) -> (b, (t - kernel_t) // stride + 1, h, w, out)."""
    depth, rows, _ = conv.kernel_size
    count = (x.shape[1] - depth) // stride + 1
    if depth > 1:
        x = torch.cat([x[:, i : i + (count - 1) * stride + 1 : stride] for i in range(depth)], dim=-1)
    weight = conv.weight.transpose(1, 2).flatten(1, 2)  # out, time * in, rows, columns
    if rows == 1:
        return F.linear(x, weight.flatten(1), conv.bias)
    return per_frame(x, lambda frames: F.conv2d(frames, weight, conv.bias, padding=rows // 2))


def per_frame(x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply a function of (batch * frames, channels, rows, columns) to (batch, frames, rows, columns, channels)."""
    out = function(x.flatten(0, 1).permute(0, 3, 1, 2))
    return torch.unflatten(out.permute(0, 2, 3, 1), 0, x.shape[:2])


def _norm(norm: WanRMS_norm, x: Tensor) -> Tensor:
    wide = x.float()
    # diffusers divides by the length and puts a floor of 1e-12 under it: the same, but for a vector of zeros.
    scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-24)
    gamma: Tensor = norm.gamma.flatten()
    return (wide * scale).to(x.dtype) * gamma


def _norm_silu(norm: WanRMS_norm, x: Tensor) -> Tensor:
    x = _norm(norm, x)
    return F.silu(x, inplace=not x.requires_grad)


def _residual(block: WanResidualBlock, x: Tensor, memory: Memory) -> Tensor:
    shortcut = x if isinstance(block.conv_shortcut, nn.Identity) else _causal(block.conv_shortcut, x, memory)
    x = _causal(block.conv1, _norm_silu(block.norm1, x), memory)
    x = block.dropout(_norm_silu(block.norm2, x))
    return _causal(block.conv2, x, memory) + shortcut


def _attention(block: WanAttentionBlock, x: Tensor, memory: Memory) -> Tensor:
    """Single-head attention among the places of each frame."""
    tokens = _norm(block.norm, x).flatten(0, 1).flatten(1, 2)  # batch * frames, places, channels
    qkv = F.linear(tokens, block.to_qkv.weight.flatten(1), block.to_qkv.bias)
    query, key, value = qkv[:, None].chunk(3, dim=-1)
    seen = F.scaled_dot_product_attention(query, key, value)[:, 0]
    return F.linear(seen, block.proj.weight.flatten(1), block.proj.bias).view(x.shape) + x


def _mid(block: WanMidBlock, x: Tensor, memory: Memory) -> Tensor:
    x = _residual(block.resnets[0], x, memory)
    for attention, resnet in zip(block.attentions, block.resnets[1:], strict=True):
        x = _residual(resnet, _attention(attention, x, memory), memory)
    return x


def _up_block(block: WanUpBlock, x: Tensor, memory: Memory) -> Tensor:
    for resnet in block.resnets:
        x = _residual(resnet, x, memory)
    return x if block.upsamplers is None else _resample(block.upsamplers[0], x, memory)


def _resample(layer: WanResample, x: Tensor, memory: Memory) -> Tensor:
    if layer.mode == "upsample3d":
        x = _double_frames(layer, x, memory)
    if layer.mode.startswith("upsample"):
        return per_frame(enlarge(x), layer.resample[1])
    x = per_frame(x, layer.resample)
    return _halve_frames(layer, x, memory) if layer.mode == "downsample3d" else x


def enlarge(x: Tensor) -> Tensor:
    """Return (batch, frames, 2 * rows, 2 * columns, channels): "nearest" by two is plain repetition."""
    return x[:, :, :, None, :, None].expand(-1, -1, -1, 2, -1, 2, -1).flatten(4, 5).flatten(2, 3)


def _double_frames(layer: WanResample, x: Tensor, memory: Memory) -> Tensor:
    """All frames but the video's first become two each."""
    first, rest = (x[:, :0], x) if layer in memory else (x[:, :1], x[:, 1:])
    memory[layer] = x[:0]
    if rest.shape[1] == 0:
        return first
    pairs = torch.unflatten(_causal(layer.time_conv, rest, memory), -1, (2, -1))  # b, t, h, w, 2, c
    return torch.cat([first, pairs.permute(0, 1, 4, 2, 3, 5).flatten(1, 2)], dim=1)


def _halve_frames(layer: WanResample, x: Tensor, memory: Memory) -> Tensor:
    """All frames but the video's first are merged two by two; the memory holds the last frame of the chunk before."""
    past = memory.get(layer)
    memory[layer] = x[:, -1:].clone()
    first = x[:, :1] if past is None else x[:, :0]
    x = x if past is None else torch.cat([past, x], dim=1)
    return first if x.shape[1] < 3 else torch.cat([first, _stacked(layer.time_conv, x, 2)], dim=1)


def _fold(x: Tensor, patch: int) -> Tensor:
    """Pixels into channels: (b, t, h, w, c) -> (b, t, h / patch, w / patch, c * patch * patch)."""
    x = torch.unflatten(torch.unflatten(x, 3, (-1, patch)), 2, (-1, patch))  # b, t, h, p_h, w, p_w, c
    return x.permute(0, 1, 2, 4, 6, 5, 3).flatten(4)


def _unfold(x: Tensor, patch: int) -> Tensor:
    """Channels into pixels, the inverse of `_fold`."""
    x = torch.unflatten(x, 4, (-1, patch, patch))  # b, t, h, w, c, p_w, p_h
    return x.permute(0, 1, 2, 6, 3, 5, 4).flatten(4, 5).flatten(2, 3)


_LAYERS: dict[type[nn.Module], Callable[[nn.Module, Tensor, Memory], Tensor]] = {
    WanResidualBlock: _residual,
    WanResample: _resample,
    WanAttentionBlock: _attention,
}
