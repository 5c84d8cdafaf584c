"""The floor under a pass through the transformer: its operations, at the rates of plain ones on this machine.

In: a pipeline and a clip for it. Out: operations of a pass, linear and in attention, and operations per second of one
matrix product and of one attention of the model's own shapes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bridge.tick import WorldState

from ..world_model.interface import ControlClip
from ..world_model.longvie2 import LongVie2Pipeline
from ..world_model.longvie2.attention import KERNELS, attend
from ..world_model.longvie2.memo import ClipMemo, PassMemo
from ..world_model.longvie2.pipeline import ClipInput
from ..world_model.longvie2.transformer import LongVie2Transformer3DModel

__all__ = ["attention_rate", "clip_tokens", "linear_rate", "operations", "synchronise"]

_RATE_S: Final = 0.3
_RATE_REPEATS: Final = 5


def operations(pipeline: LongVie2Pipeline, state: WorldState, controls: ControlClip) -> tuple[int, int]:
    """Linear and attention operations of a pass whose clip and prompt were seen before."""
    clip, transformer = ClipInput.of(state, controls), pipeline.transformer
    given = pipeline.prepare(clip, text=pipeline.encode_prompt("a"), negative_text=None).to(transformer.dtype)
    # Counted on shapes alone; plain attention, because fast ones do not say what they compute.
    with torch.device("meta"):
        shapes = LongVie2Transformer3DModel.from_config(transformer.config)
    x = torch.cat([given.image_latents[:, 4:], given.image_latents], dim=1)
    tensors = (x, x.new_zeros(1), given.text, given.image, given.dense, given.sparse, given.history)
    inputs = [None if tensor is None else tensor.float().to("meta") for tensor in tensors]
    memo = PassMemo(ClipMemo())
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        shapes(*inputs, memo=memo)
        with FlopCounterMode(display=False) as counter:
            shapes(*inputs, memo=memo)
    counts = {str(name): flop for name, flop in counter.get_flop_counts()["Global"].items()}
    attention = sum(flop for name, flop in counts.items() if "bmm" in name)
    return sum(counts.values()) - attention, attention


def clip_tokens(pipeline: LongVie2Pipeline) -> int:
    """Tokens of a clip with its history."""
    defaults, config = pipeline.defaults, pipeline.transformer.config
    scale = pipeline.vae.config.scale_factor_spatial
    per_frame = (defaults.height // scale // config.patch_size[1]) * (defaults.width // scale // config.patch_size[2])
    return int((21 + 2) * per_frame)


def linear_rate(pipeline: LongVie2Pipeline, tokens: int) -> float:
    """Operations per second of the feed-forward's first product."""
    config = pipeline.transformer.config
    width = config.num_attention_heads * config.attention_head_dim
    like = {"dtype": pipeline.transformer.dtype, "device": pipeline._execution_device}
    x, weight = torch.randn(tokens, width, **like), torch.randn(config.ffn_dim, width, **like)
    return float(2 * tokens * width * config.ffn_dim) / _seconds(lambda: F.linear(x, weight), x)


def attention_rate(pipeline: LongVie2Pipeline, tokens: int) -> float:
    """Operations per second of self-attention at the base's size, by the kernel that the model runs on."""
    config = pipeline.transformer.config
    like = {"dtype": pipeline.transformer.dtype, "device": pipeline._execution_device}
    backend = next(kernel.backend for kernel in KERNELS if kernel.name == pipeline.attention)
    shape = (1, tokens, config.num_attention_heads, config.attention_head_dim)
    q, k, v = (torch.randn(*shape, **like) for _ in range(3))
    work = 4 * tokens * tokens * config.num_attention_heads * config.attention_head_dim
    return float(work) / _seconds(lambda: attend(q, k, v, backend), q)


def _seconds(work: Callable[[], Tensor], like: Tensor) -> float:
    """The best time of one call, over a few batches of calls that last long enough to be timed."""

    def batch(count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            work()
        synchronise(like.device)
        return (time.perf_counter() - began) / count

    with torch.no_grad():
        count = max(1, round(_RATE_S / max(1e-6, batch(2))))
        return min(batch(count) for _ in range(_RATE_REPEATS))


def synchronise(device: torch.device) -> None:
    """Wait until a device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
