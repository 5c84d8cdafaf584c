"""Frames as minutes of generating would leave them: coded again and again, redrawn by the model, drifting in colour.

In: neighbouring frames, (n, height, width, 3) uint8, and a `StepPlan`. Out: as many, spoilt alike.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...world_model.longvie2.pipeline import ClipInput, LongVie2Pipeline
from ...world_model.longvie2.sampler import Conditions
from ...world_model.longvie2.vae import MASK_CHANNELS
from ..degrade import decode_frames, recode_each, tint_field
from .plan import StepPlan

__all__ = ["redraw", "spoil", "stacked"]

Frames: TypeAlias = NDArray[np.uint8]

_REDRAWING_STEPS: Final = 4


@torch.no_grad()
def spoil(
    pipeline: LongVie2Pipeline,
    frames: Frames,
    controls: tuple[Frames, Frames],
    text: Tensor,
    *,
    plan: StepPlan,
    random: np.random.Generator,
    generator: torch.Generator,
) -> Frames:
    """Return the frames as the plan has them.

    Args:
        pipeline: whose VAE and denoiser do the damage.
        frames: neighbours.
        controls: dense, (n, height, width), and sparse, (n, height, width, 3), of the same ticks.
        text: (1, 512, text_dim), the prompt's.
        plan: of the step.
        random, generator: of the colours, and of the noise.
    """
    for _ in range(plan.passes):
        frames = recode_each(pipeline.vae, frames)
    if plan.redrawn_from:
        frames = redraw(pipeline, frames, controls, text, sigma=plan.redrawn_from, generator=generator)
    if plan.tint:
        height, width = frames.shape[1:3]
        field = tint_field(height, width, random, strength=plan.tint)
        frames = np.clip(frames.astype(np.float32) * field, 0, 255).astype(np.uint8)
    return frames


def redraw(
    pipeline: LongVie2Pipeline,
    frames: Frames,
    controls: tuple[Frames, Frames],
    text: Tensor,
    *,
    sigma: float,
    generator: torch.Generator,
) -> Frames:
    """Return the frames taken to noise of level `sigma` and back by the denoiser, each as a clip of one frame.

    All take the same noise, so that neighbours stay alike. A clip of one frame is that frame, carried along or not: no
    points are needed.
    """
    each = [
        pipeline.prepare(ClipInput(image=image, dense=dense[None], sparse=sparse[None]), text=text, negative_text=None)
        for image, dense, sparse in zip(frames, *controls, strict=True)
    ]
    given = stacked(each)
    latents = given.image_latents[:, MASK_CHANNELS:].float()
    noise = torch.randn(latents[:1].shape, generator=generator).to(latents.device)
    latents = (1 - sigma) * latents + sigma * noise
    for level, below in pairwise(torch.linspace(sigma, 0.0, _REDRAWING_STEPS + 1).tolist()):
        flow = pipeline.transformer(
            torch.cat([latents, given.image_latents.float()], dim=1),
            latents.new_full((len(latents),), 1000 * level),
            given.text,
            given.image,
            given.dense.float(),
            given.sparse.float(),
            return_dict=False,
        )[0]
        latents = latents + (below - level) * flow.float()
    return decode_frames(pipeline.vae, latents.to(pipeline.vae.dtype))


def stacked(each: list[Conditions]) -> Conditions:
    """Return conditions of one clip each as those of a batch; all have history of one length, or none has."""

    def of(name: str) -> Tensor:
        return torch.cat([getattr(one, name) for one in each])

    return Conditions(
        text=of("text"),
        negative_text=None,
        image=of("image"),
        image_latents=of("image_latents"),
        dense=of("dense"),
        sparse=of("sparse"),
        history=None if each[0].history is None else of("history"),
    )
