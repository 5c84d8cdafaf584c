"""Noise into latents: unified noise, the first-latent mix, and Euler steps along the flow.

In: a seed, the clip's conditions, the history's latents. Out: the clip's latents, step by step.
Laws:
- Unified noise: ONE tensor per seed and size, drawn on the CPU in float32, starts every clip of a session.
- From the second clip on, its first latent frame is mixed with the history's last one, and treated as pure noise still.
- Guidance 1 is one pass per step; any other is two.

Source: LongVie 2 (arXiv 2512.13604), sections 3 and 4; flow matching as in Wan 2.1.
"""

from __future__ import annotations

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

__all__ = ["FIRST_LATENT_NOISE", "Conditions", "denoise", "mix_first_latent", "set_steps", "unified_noise"]

FIRST_LATENT_NOISE: Final = 0.925926
"""How much noise the first latent frame of a clip with history starts from; 25/27, rounded as it was in training."""


@dataclass(frozen=True, slots=True, eq=False)
class Conditions:
    """All that a clip is generated from, besides noise.

    Args:
        text, negative_text: (1, 512, text_dim); negative_text is not read at guidance 1.
        image: (1, image tokens, image_dim).
        image_latents: (1, 4 + z, frames, h, w): mask, then latents of the first frame followed by zeros.
        dense, sparse: (1, 2z + 4, frames, h, w).
        history: (1, z, history frames, h, w), or None.
    """

    text: Tensor
    negative_text: Tensor | None
    image: Tensor
    image_latents: Tensor
    dense: Tensor
    sparse: Tensor
    history: Tensor | None

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


@torch.no_grad()
def denoise(
    transformer: LongVie2Transformer3DModel,
    scheduler: FlowMatchEulerDiscreteScheduler,
    *,
    noise: Tensor,
    conditions: Conditions,
    guidance_scale: float = 1.0,
    remember: bool = True,
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
        guidance: of a parallelised transformer: this process computes one of the two passes.

    Yields:
        (1, z, frames, h, w) float32; the last one is the clip's.

    Raises:
        InvalidValue: guidance without negative text.
    """
    if guidance_scale != 1 and conditions.negative_text is None:
        raise InvalidValue("is needed for guidance", field="negative_text", remedy="Or set guidance_scale to 1.")
    dtype = transformer.dtype
    given = conditions.to(dtype)
    latents = noise.float()
    clip = ClipMemo()
    memos = [PassMemo(clip) if remember else None for _ in range(2)]
    if transformer.is_cache_enabled:
        # What was seen of another clip says nothing of this one.
        transformer._reset_stateful_cache()
    for timestep in scheduler.timesteps:
        # In bf16 this rounds 937.5 to 936: the released weights were trained and are run so.
        t = timestep.to(dtype).expand(1)
        x = torch.cat([latents.to(dtype), given.image_latents], dim=1)

        def flow(text: Tensor, side: int, x: Tensor = x, t: Tensor = t) -> Tensor:
            controls = (given.dense, given.sparse, given.history)
            # The two passes are told apart by name, for what diffusers may keep of each from step to step.
            named = (
                transformer.cache_context(("cond", "uncond")[side]) if transformer.is_cache_enabled else nullcontext()
            )
            with named:
                out = transformer(x, t, text, given.image, *controls, memo=memos[side], return_dict=False)
            return out[0].float()  # type: ignore[no-any-return]

        if guidance_scale == 1 or given.negative_text is None:
            velocity = flow(given.text, 0)
        else:
            if guidance is None:
                velocity, negative = flow(given.text, 0), flow(given.negative_text, 1)
            else:
                text = given.negative_text if guidance.side else given.text
                velocity, negative = guidance.exchange(flow(text, guidance.side))
            velocity = negative + guidance_scale * (velocity - negative)
        latents = scheduler.step(velocity, timestep, latents, return_dict=False)[0]
        yield latents
