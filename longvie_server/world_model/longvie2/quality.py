"""How much time a clip is worth: named trades of quality for speed, none of them made unless asked for.

In: a pipeline on the CPU whose weights are as they were read. Out: the same pipeline, its steps and guidance chosen,
few-step weights added, and what diffusers offers for leaving steps out switched on.
Law: `final` changes nothing. A checkpoint that asks for few steps anyway (`tiny`) is the same in every quality.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from diffusers import TaylorSeerCacheConfig

from bridge.errors import InvalidValue

from .pipeline import LongVie2Pipeline
from .published_file import PublishedFile

__all__ = ["FEW_STEPS_ENVIRONMENT", "QUALITIES", "Quality", "quality_named"]

FEW_STEPS_ENVIRONMENT: Final = "LONGVIE_FEW_STEPS_LORA"
_FEW: Final = 4
"""A checkpoint that asks for no more steps than this is made for it."""


@dataclass(frozen=True, slots=True)
class Quality:
    """A named trade.

    Args:
        name: as `--quality` spells it.
        summary: what it does, in words.
        steps: None is the checkpoint's own.
        guided: False leaves out the pass with the negative prompt.
        lora: merged into the transformer's weights.
        skipped: of every so many steps past the first ones all but one are extrapolated; 1 computes each.
    """

    name: str
    summary: str
    steps: int | None = None
    guided: bool = True
    lora: PublishedFile | None = None
    skipped: int = 1

    def passes(self, steps: int, guidance_scale: float) -> int:
        """Return how many passes through the transformer are computed for a clip.

        Args:
            steps, guidance_scale: the checkpoint's own.
        """
        if steps <= _FEW:
            return steps if guidance_scale == 1 else 2 * steps
        chosen = steps if self.steps is None else self.steps
        first = _computed_first(chosen)
        left_out = (
            0 if self.skipped == 1 else sum((step - first - 1) % self.skipped != 0 for step in range(first, chosen))
        )
        return (chosen - left_out) * (2 if self.guided and guidance_scale != 1 else 1)

    def apply(
        self, pipeline: LongVie2Pipeline, *, add_lora: bool = True, environ: Mapping[str, str] = os.environ
    ) -> None:
        """Change the pipeline's defaults and weights; once per pipeline, before its parts are laid out.

        Args:
            pipeline: as it was read.
            add_lora: False for random weights, which hold nothing that could be distilled.
            environ: may say where the LoRA is.

        Raises:
            InvalidValue: the LoRA cannot be had, or is of another model.
        """
        defaults = pipeline.defaults
        if defaults.num_inference_steps <= _FEW:
            return
        if self.lora is not None and add_lora:
            _merge(pipeline, self.lora.find(environ))
        if self.skipped > 1:
            pipeline.transformer.enable_cache(_extrapolation(defaults.num_inference_steps, self.skipped))
        pipeline.register_to_config(
            num_inference_steps=defaults.num_inference_steps if self.steps is None else self.steps,
            guidance_scale=defaults.guidance_scale if self.guided else 1.0,
        )


QUALITIES: Final = (
    Quality("final", "every step, both passes: what the checkpoint's authors ran"),
    Quality("balanced", "after a fifth of the steps, every second one is extrapolated from those before", skipped=2),
    Quality(
        "preview",
        f"{_FEW} steps and one pass each, with a distilled LoRA",
        steps=_FEW,
        guided=False,
        lora=PublishedFile(
            what="few-step LoRA",
            repository="Kijai/WanVideo_comfy",
            file="Lightx2v/lightx2v_I2V_14B_480p_cfg_step_distill_rank128_bf16.safetensors",
            environment=FEW_STEPS_ENVIRONMENT,
            field="quality",
            instead="choose --quality balanced",
        ),
    ),
)
"""From the slowest to the fastest."""


def quality_named(name: str) -> Quality:
    """Return a quality.

    Raises:
        InvalidValue: none has this name.
    """
    for quality in QUALITIES:
        if quality.name == name:
            return quality
    raise InvalidValue(
        "no quality has this name",
        field="quality",
        value=name,
        remedy=f"Choose one of: {', '.join(quality.name for quality in QUALITIES)}.",
    )


def _extrapolation(steps: int, skipped: int) -> TaylorSeerCacheConfig:
    """What the blocks would add is not computed in a step left out; the flow is continued in a straight line."""
    return TaylorSeerCacheConfig(
        cache_interval=skipped, disable_cache_before_step=_computed_first(steps), max_order=1, use_lite_mode=True
    )


def _computed_first(steps: int) -> int:
    """The first steps decide what the picture shows: a fifth of them, and the two that a line goes through."""
    return max(2, steps // 5)


def _merge(pipeline: LongVie2Pipeline, file: Path) -> None:
    try:
        pipeline.load_lora_weights(file.parent, weight_name=file.name)
    except (ValueError, RuntimeError, KeyError) as error:
        raise InvalidValue(
            f"is no LoRA of this model's size ({str(error).splitlines()[0]})",
            field="quality",
            value=file,
            remedy="Use one for Wan 2.1 I2V 14B with LongVie 2, or choose --quality balanced.",
        ) from error
    pipeline.fuse_lora(components=["transformer"])
    pipeline.unload_lora_weights()
