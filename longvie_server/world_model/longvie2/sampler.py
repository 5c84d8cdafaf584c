"""Noise into latents: unified noise, the first-latent mix, and Euler steps along the flow.

In: a seed, the clip's conditions, the history's latents. Out: the clip's latents, step by step.
Laws:
- Unified noise: ONE tensor per seed and size, drawn on the CPU in float32, starts every clip of a session.
- From the second clip on, its first latent frame is mixed with the history's last one, and treated as pure noise still.
- Guidance 1 is one pass per step; any other is two, or one of both prompts where a pass is small.

Source: LongVie 2 (arXiv 2512.13604), sections 3 and 4; flow matching as in Wan 2.1.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from bridge.errors import InvalidValue

from .memo import ClipMemo, PassMemo
from .parallel import Guidance
from .transformer import LongVie2Transformer3DModel

__all__ = [
    "FIRST_LATENT_NOISE",
    "Conditions",
    "batches_guidance",
    "denoise",
    "mix_first_latent",
    "set_steps",
    "unified_noise",
]

FIRST_LATENT_NOISE: Final = 0.925926
"""How much noise the first latent frame of a clip with history starts from; 25/27, rounded as it was in training."""

_BATCHED_UP_TO: Final = {"cpu": 2e7, "cuda": 2e9}
"""Tokens times width squared."""


@dataclass(frozen=True, slots=True, eq=False)
class Conditions:
    """All that a clip is generated from, besides noise: what the denoiser sees, and what the decoder is told.

    Args:
        text, negative_text: (1, 512, text_dim); negative_text is not read at guidance 1.
        image: (1, image tokens, image_dim).
        image_latents: (1, 4 + z, frames, h, w): mask, then latents of the first frame followed by zeros, or carried.
        dense, sparse: (1, 2z + 4, frames, h, w).
        history: (1, z, history frames, h, w), or None.
        hint: see `decode_stream`; or None.
    """

    text: Tensor
    negative_text: Tensor | None
    image: Tensor
    image_latents: Tensor
    dense: Tensor
    sparse: Tensor
    history: Tensor | None
    hint: Tensor | None = None

    def to(self, dtype: torch.dtype) -> Conditions:
        """Return the same conditions in another floating-point type."""
        return Conditions(
            text=self.text.to(dtype),
            negative_text=None if self.negative_text is None else self.negative_text.to(dtype),
            image=self.image.to(dtype),
            image_latents=self.image_latents.to(dtype),
            dense=self.dense.to(dtype),
            sparse=self.sparse.to(dtype),
            history=None if self.history is None else self.history.to(dtype),
            hint=self.hint,
        )


def unified_noise(shape: tuple[int, int, int, int, int], seed: int) -> Tensor:
    """Return the noise that every clip of a session starts from, float32 on the CPU: same seed, same noise anywhere."""
    return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed), dtype=torch.float32)


def mix_first_latent(noise: Tensor, history: Tensor | None) -> Tensor:
    """Return a copy of the noise whose first latent frame carries a little of the history's last.

    Args:
        noise: (1, z, frames, h, w).
        history: (1, z, history frames, h, w), or None for a clip without.
    """
    noise = noise.clone()
    if history is not None:
        past = history[:, :, -1].to(noise.dtype)
        noise[:, :, 0] = (1 - FIRST_LATENT_NOISE) * past + FIRST_LATENT_NOISE * noise[:, :, 0]
    return noise


def set_steps(
    scheduler: FlowMatchEulerDiscreteScheduler, steps: int, device: torch.device
) -> FlowMatchEulerDiscreteScheduler:
    """Return a fresh scheduler of the same config, set to `steps` steps.

    Raises:
        InvalidValue: fewer than one step.
    """
    if steps < 1:
        raise InvalidValue("must be at least 1", field="num_inference_steps", value=steps, remedy="Use 4 to 50.")
    # A scheduler counts its steps: one per run, so that sessions can take turns.
    fresh = type(scheduler).from_config(scheduler.config)
    # Given none, the scheduler would end its grid at sigma_min and be off the trained one.
    fresh.set_timesteps(sigmas=np.linspace(1.0, 0.0, steps + 1)[:-1].tolist(), device=device)
    return fresh


def batches_guidance(transformer: LongVie2Transformer3DModel, places: int) -> bool:
    """Whether the two passes of guidance are faster as one: where a pass is so small that calls cost more than work.

    A larger pass fills the device by itself; two at once would only take twice the memory for activations.

    Args:
        transformer: on its device.
        places: of a clip's latents: frames * h * w.
    """
    config = transformer.config
    width = config.num_attention_heads * config.attention_head_dim
    tokens = places // math.prod(config.patch_size)
    return bool(tokens * width**2 <= _BATCHED_UP_TO.get(transformer.device.type, 0))


@torch.no_grad()
def denoise(
    transformer: LongVie2Transformer3DModel,
    scheduler: FlowMatchEulerDiscreteScheduler,
    *,
    noise: Tensor,
    conditions: Conditions,
    guidance_scale: float = 1.0,
    remember: bool = True,
    batched: bool | None = None,
    guidance: Guidance | None = None,
) -> Generator[Tensor, None, None]:
    """Yield the latents after each step.

    Args:
        transformer: any size; its dtype is the passes'.
        scheduler: from `set_steps`; used up.
        noise: (1, z, frames, h, w) on the transformer's device, first latent mixed.
        conditions: on the transformer's device.
        guidance_scale: 1 for none.
        remember: keep what no step changes (for the 14 B model about 1 GB per prompt) instead of computing it again.
        batched: make guidance's two passes one; None: where that is faster, see `batches_guidance`.
        guidance: of a parallelised transformer: this process computes one of the two passes.

    Yields:
        (1, z, frames, h, w) float32; the last one is the clip's.

    Raises:
        InvalidValue: guidance without negative text.
    """
    if guidance_scale != 1 and conditions.negative_text is None:
        raise InvalidValue("is needed for guidance", field="negative_text", remedy="Or set guidance_scale to 1.")
    if batched is None:
        batched = batches_guidance(transformer, noise[0, 0].numel())
    given = conditions.to(transformer.dtype)
    texts = [given.text] if guidance_scale == 1 or given.negative_text is None else [given.text, given.negative_text]
    if len(texts) == 2 and guidance is not None:
        texts = [texts[guidance.side]]
    elif batched:
        texts = [torch.cat(texts)]
    latents = noise.float()
    clip = ClipMemo()
    memos = [PassMemo(clip) if remember else None for _ in texts]
    if transformer.is_cache_enabled:
        # What was seen of another clip says nothing of this one.
        transformer._reset_stateful_cache()
    for timestep in scheduler.timesteps:
        # In bf16 this rounds 937.5 to 936: the released weights were trained and are run so.
        t = timestep.to(transformer.dtype).expand(1)
        x = torch.cat([latents.to(transformer.dtype), given.image_latents], dim=1)
        flows = [
            _flow(transformer, x, t, text, given, side, memo)
            for side, (text, memo) in enumerate(zip(texts, memos, strict=True))
        ]
        velocity = flows[0]
        if guidance_scale != 1:
            velocity, negative = flows if len(flows) == 2 else _both(flows[0], guidance)
            velocity = negative + guidance_scale * (velocity - negative)
        latents = scheduler.step(velocity, timestep, latents, return_dict=False)[0]
        yield latents


def _flow(
    transformer: LongVie2Transformer3DModel,
    x: Tensor,
    t: Tensor,
    text: Tensor,
    given: Conditions,
    side: int,
    memo: PassMemo | None,
) -> Tensor:
    """One pass: the flow for each prompt in `text`."""
    # Passes of different prompts are told apart by name, for what diffusers may keep of each from step to step.
    named = transformer.cache_context(("cond", "uncond")[side]) if transformer.is_cache_enabled else nullcontext()
    with named:
        controls = (given.dense, given.sparse, given.history)
        out = transformer(x, t, text, given.image, *controls, memo=memo, return_dict=False)
    return out[0].float()  # type: ignore[no-any-return]


def _both(flow: Tensor, guidance: Guidance | None) -> tuple[Tensor, Tensor]:
    """The flows with the prompt and with the negative one: of the two processes, or of one batch."""
    if guidance is not None:
        return guidance.exchange(flow)
    prompted, negative = flow.chunk(2)
    return prompted, negative
