"""LongVie 2 behind the world model's contract: state and controls in, frames and the next state out.

Laws: what a clip depends on is in its state and controls; what this object keeps besides weights is a bounded memory of
prompt features, which are a function of the prompt alone. Closing the generator of `step` cancels the clip.
"""

from __future__ import annotations

import platform
from collections import OrderedDict
from collections.abc import Generator
from pathlib import Path
from typing import Final

import diffusers
import numpy as np
import torch
import torch.distributed as dist
import transformers
from torch import Tensor

from bridge.errors import ShapeMismatch
from bridge.tick import CLIP_TICKS, WorldState

from ..interface import ControlClip, ModelSpec, StepEvent, StepFrames
from ..options import RunOptions
from .checkpoint import load_checkpoint
from .parallel import parallelise
from .pipeline import ClipInput, LongVie2Pipeline
from .sampler import batches_guidance
from .vae import latent_frames

__all__ = ["LongVie2WorldModel"]

PROMPTS_KEPT: Final = 64
_DEFAULTS: Final = RunOptions()


class LongVie2WorldModel:
    """A `WorldModel`: LongVie 2 at any size.

    Args:
        pipeline: with the checkpoint's defaults (size, steps, guidance, negative prompt) in its config.
        name: as clients spell it.
        steps, guidance_scale: in place of the checkpoint's own.
        decode_chunk: latent frames per piece of decoding on a CPU: 1 has the first frames earliest, more is faster.
    """

    def __init__(
        self,
        pipeline: LongVie2Pipeline,
        *,
        name: str,
        steps: int | None = None,
        guidance_scale: float | None = None,
        decode_chunk: int = 2,
    ) -> None:
        self.pipeline = pipeline
        self._name = name
        self._steps = pipeline.defaults.num_inference_steps if steps is None else steps
        self._guidance = pipeline.defaults.guidance_scale if guidance_scale is None else guidance_scale
        self._decode_chunk = decode_chunk
        self._processes = 1
        self._texts: OrderedDict[str, Tensor] = OrderedDict()

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        name: str,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        options: RunOptions = _DEFAULTS,
        steps: int | None = None,
        guidance_scale: float | None = None,
    ) -> LongVie2WorldModel:
        """Return a model from a checkpoint's folder, or from a repository on the Hub; see `load_checkpoint`."""
        pipeline = load_checkpoint(folder, device=device, dtype=dtype, options=options)
        return cls(pipeline, name=name, steps=steps, guidance_scale=guidance_scale)

    @property
    def spec(self) -> ModelSpec:
        """Name, size, steps and numerics, as they are now."""
        defaults = self.pipeline.defaults
        return ModelSpec(
            name=self._name,
            height=defaults.height,
            width=defaults.width,
            steps=self._steps,
            numerics={
                **_numerics(self.pipeline),
                "decode_chunk": str(self._decode_chunk),
                "guidance": self._passes,
                "gpus": str(self._processes),
            },
        )

    @property
    def guidance_scale(self) -> float:
        """1 for one pass per step, any other for two."""
        return self._guidance

    @property
    def _passes(self) -> str:
        """How guidance's two passes are made."""
        if self._guidance == 1:
            return "none"
        defaults, scale = self.pipeline.defaults, self.pipeline.vae.config.scale_factor_spatial
        places = latent_frames(CLIP_TICKS) * (defaults.height // scale) * (defaults.width // scale)
        shared = self.pipeline.shared_guidance is not None
        return "batched" if not shared and batches_guidance(self.pipeline.transformer, places) else "split"

    def parallelise(self) -> None:
        """Share the work of every clip among the processes of `torch.distributed`, which all take the same steps.

        Raises:
            InvalidValue: the model's heads cannot be shared out among so many.
        """
        self.pipeline.shared_guidance = parallelise(self.pipeline.transformer, guided=self._guidance != 1)
        self._processes = dist.get_world_size()

    def step(self, state: WorldState, controls: ControlClip) -> Generator[StepEvent, None, WorldState]:
        """Generate one clip; see `WorldModel.step`.

        Raises:
            ShapeMismatch: the state's frames or the controls are not of the model's size.
        """
        size = (self.pipeline.defaults.height, self.pipeline.defaults.width)
        for field, got in (("state.frames", state.frames.shape[1:3]), ("controls", controls.dense.shape[1:])):
            if got != size:
                raise ShapeMismatch(
                    f"must be {size} for model {self._name!r}",
                    field=field,
                    value=got,
                    remedy="Use the height and width in the model's spec.",
                )
        return self._step(state, controls)

    def _step(self, state: WorldState, controls: ControlClip) -> Generator[StepEvent, None, WorldState]:
        negative = state.negative_prompt
        if negative is None:
            negative = self.pipeline.defaults.negative_prompt
        events = self.pipeline.generate(
            ClipInput.of(state, controls),
            text=self._text(state.prompt),
            negative_text=None if self._guidance == 1 else self._text(negative),
            seed=state.seed,
            num_inference_steps=self._steps,
            guidance_scale=self._guidance,
            decode_chunk=self._decode_chunk,
        )
        frames = []
        try:
            for event in events:
                if isinstance(event, StepFrames):
                    frames.append(event.frames)
                yield event
        finally:
            events.close()
        return state.after_clip(np.concatenate(frames), controls.dense[0])

    def _text(self, prompt: str) -> Tensor:
        """Features of a prompt, from memory where it was seen lately."""
        if prompt not in self._texts:
            self._texts[prompt] = self.pipeline.encode_prompt(prompt)
        self._texts.move_to_end(prompt)
        while len(self._texts) > PROMPTS_KEPT:
            self._texts.popitem(last=False)
        return self._texts[prompt]


def _numerics(pipeline: LongVie2Pipeline) -> dict[str, str]:
    """What "the same bytes again" is promised for."""
    device = pipeline._execution_device
    if device.type == "cuda":
        hardware = torch.cuda.get_device_name(device)
    else:
        hardware = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    return {
        "device": device.type,
        "hardware": hardware,
        "memory": pipeline.memory,
        "quality": pipeline.quality,
        "dtype": str(pipeline.transformer.dtype).removeprefix("torch."),
        "threads": str(torch.get_num_threads()),
        "attention": pipeline.attention,
        "products": pipeline.products,
        "compiled": str(pipeline.compiled).lower(),
        "decoder": "full" if pipeline.tiny_decoder is None else "tiny",
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "transformers": transformers.__version__,
    }
