"""A pipeline on disk: a folder in diffusers' layout, stored in 16 bits, loaded strictly in the wanted type.

In: a `LongVie2Pipeline` or a folder. Out: the other. Law: what is saved from one pipeline loads to the same weights,
rounded once to the stored type; the pipeline that is saved is not changed.
"""

from __future__ import annotations

import copy
import json
from dataclasses import asdict
from pathlib import Path

import torch
from diffusers.utils import deprecation_utils

from bridge.errors import InvalidValue

from .memory import own_memory, profile_for
from .pipeline import LongVie2Pipeline
from .quality import quality_named

__all__ = ["load_checkpoint", "save_checkpoint"]

# diffusers renamed the keyword, and warns of the old one since.
_DTYPE_KEYWORD = "dtype" if hasattr(deprecation_utils, "_resolve_dtype") else "torch_dtype"
_ORIGIN = "_name_or_path"
_PARTS = ("text_encoder", "image_encoder", "vae", "transformer")


def save_checkpoint(pipeline: LongVie2Pipeline, folder: Path, *, dtype: torch.dtype = torch.float16) -> None:
    """Write a pipeline's configs and weights.

    Args:
        pipeline: stays as it is.
        folder: made where it does not exist.
        dtype: of the stored weights; float16 keeps three more bits than bfloat16, and weights stay far below its limit.

    Raises:
        InvalidValue: a weight is not finite, or is not in `dtype`.
    """
    stored = {}
    for name in _PARTS:
        # `Module.to` and not diffusers': that one warns of parts which are float32 again after loading anyway.
        part = torch.nn.Module.to(copy.deepcopy(getattr(pipeline, name)), dtype)
        for key, weight in part.state_dict().items():
            if not torch.isfinite(weight).all():
                raise InvalidValue(
                    f"is not finite in {dtype}", field=f"{name}.{key}", remedy="Check the training run for divergence."
                )
        stored[name] = part
    LongVie2Pipeline(**{**pipeline.components, **stored}, **asdict(pipeline.defaults)).save_pretrained(folder)
    for config in folder.glob("*/config.json"):
        _forget_origin(config)


def _forget_origin(config: Path) -> None:
    """diffusers notes the folder that a part was once loaded from, a path of the machine that it happened on."""
    kept = {name: value for name, value in json.loads(config.read_text(encoding="utf-8")).items() if name != _ORIGIN}
    config.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def load_checkpoint(
    folder: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    memory: str = "resident",
    quality: str = "final",
) -> LongVie2Pipeline:
    """Read a pipeline from a folder, or from a repository on the Hub, in evaluation mode.

    Args:
        folder: local path, or `owner/name`.
        device: where the weights go.
        dtype: of the weights there; modulation, norms and positions stay float32.
        memory: "auto" or a memory profile's name.
        quality: "final", "balanced" or "preview".

    Raises:
        InvalidValue: no memory profile or no quality has this name; no profile fits; the quality's LoRA cannot be had.
    """
    pipeline: LongVie2Pipeline = LongVie2Pipeline.from_pretrained(str(folder), **{_DTYPE_KEYWORD: dtype})
    trade = quality_named(quality)
    trade.apply(pipeline)
    pipeline.quality = trade.name
    where = torch.device(device)
    for name in _PARTS:
        part = getattr(pipeline, name).eval().requires_grad_(False)
        if where.type == "cpu":
            own_memory(part)
    profile = profile_for(memory, pipeline, where)
    profile.apply(pipeline, where)
    pipeline.memory = profile.name
    return pipeline
