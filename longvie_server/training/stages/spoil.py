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
from ...world_model.longvie2.vae import MASK_CHANNELS, decode_video, encode_video, to_pixels, to_video
from ..degrade import tint_field
from .plan import StepPlan

__all__ = ["recode", "redraw", "spoil", "stacked"]

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
        frames = recode(pipeline, frames)
    if plan.redrawn_from:
        frames = redraw(pipeline, frames, controls, text, sigma=plan.redrawn_from, generator=generator)
    if plan.tint:
        height, width = frames.shape[1:3]
        field = tint_field(height, width, random, strength=plan.tint)
        frames = np.clip(frames.astype(np.float32) * field, 0, 255).astype(np.uint8)
    return frames


def recode(pipeline: LongVie2Pipeline, frames: Frames) -> Frames:
    """Return the frames encoded and decoded once, each by itself."""
    latents = encode_video(pipeline.vae, _alone(to_video(frames, device=pipeline.vae.device, dtype=pipeline.vae.dtype)))
    return _pixels(pipeline, latents)


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
    return _pixels(pipeline, latents.to(pipeline.vae.dtype))


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


def _alone(video: Tensor) -> Tensor:
    """(1, 3, n, height, width) -> (n, 3, 1, height, width)."""
    return video[0].permute(1, 0, 2, 3)[:, :, None]


def _pixels(pipeline: LongVie2Pipeline, latents: Tensor) -> Frames:
    """Frames of one latent each, (n, z, 1, h, w)."""
    decoded = decode_video(pipeline.vae, latents)
    return to_pixels(decoded[:, :, 0].permute(1, 0, 2, 3)[None])
