"""The transformer's blocks as machine code of their own, made once, while the model is loaded.

In: a pipeline that is laid out, and "auto", "on" or "off". Out: the same pipeline, compiled or as it was.
Laws: every variant that a clip needs (with history and without, first step and later ones) is made before the first
clip, at the model's own size; where that fails, "auto" goes on without and says so in the log. Numbers differ in their
last bits, so the numerics tell which it was.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
from typing import Final

import torch
from torch import Tensor

from bridge.tick import CLIP_TICKS, HISTORY_FRAMES

from .memo import TEXT_TOKENS
from .memory import MemoryProfile
from .pipeline import LongVie2Pipeline
from .sampler import Conditions, denoise, set_steps
from .vae import MASK_CHANNELS, latent_frames

__all__ = ["compile_blocks", "worth_compiling"]

_C_COMPILERS: Final = ("cc", "gcc", "clang", "cl")

_log = logging.getLogger(__name__)


def worth_compiling(device: torch.device, profile: MemoryProfile, *, gpus: int) -> bool:
    """Whether "auto" compiles: on one CUDA device where the blocks stay as they are, and a C compiler is at hand."""
    tools = importlib.util.find_spec("triton") is not None and any(
        map(shutil.which, (os.environ.get("CC", ""), *_C_COMPILERS))
    )
    return device.type == "cuda" and profile.transformer_stays and not profile.float8 and gpus == 1 and tools


def compile_blocks(pipeline: LongVie2Pipeline, device: torch.device, *, backend: str = "inductor") -> bool:
    """Compile all blocks and run them once in every variant; return whether that worked. Where not, they are as before.

    Args:
        pipeline: laid out.
        device: where it runs.
        backend: torch's name of what makes the code.
    """
    transformer = pipeline.transformer
    # What was compiled for a model before this one would count against torch's limit of variants.
    torch.compiler.reset()
    try:
        # One shape at a time: code for any shape is slower, and a model has but two.
        transformer.compile_repeated_blocks(backend=backend, dynamic=False)
        for history in (False, True):
            _rehearse(pipeline, device, history=history)
    except Exception:
        # All of them: dynamo, inductor, Triton, the C compiler's process and a cache that cannot be written have errors
        # of their own, with no base but this one. Without machine code the model runs all the same.
        _log.exception("the model's blocks cannot be compiled here; they run as they are")
        for block in transformer.modules():
            block._compiled_call_impl = None
        return False
    return True


def _rehearse(pipeline: LongVie2Pipeline, device: torch.device, *, history: bool) -> None:
    """Two steps of a clip of nothing: the first one fills the memo, the second one reads it."""
    defaults, config, encoder = pipeline.defaults, pipeline.transformer.config, pipeline.image_encoder.config
    scale = pipeline.vae.config.scale_factor_spatial
    place = (defaults.height // scale, defaults.width // scale)
    z, frames = config.out_channels, latent_frames(CLIP_TICKS)

    def empty(*shape: int) -> Tensor:
        return torch.zeros(1, *shape, device=device, dtype=pipeline.transformer.dtype)

    conditions = Conditions(
        text=empty(TEXT_TOKENS, config.text_dim),
        negative_text=empty(TEXT_TOKENS, config.text_dim),
        image=empty(1 + (encoder.image_size // encoder.patch_size) ** 2, config.image_dim),
        image_latents=empty(MASK_CHANNELS + z, frames, *place),
        dense=empty(2 * z + MASK_CHANNELS, frames, *place),
        sparse=empty(2 * z + MASK_CHANNELS, frames, *place),
        history=empty(z, latent_frames(HISTORY_FRAMES), *place) if history else None,
    )
    steps = denoise(
        pipeline.transformer,
        set_steps(pipeline.scheduler, 2, device),
        noise=empty(z, frames, *place).float(),
        conditions=conditions,
        guidance_scale=defaults.guidance_scale,
    )
    for _ in steps:
        pass
