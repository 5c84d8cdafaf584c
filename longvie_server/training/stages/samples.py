"""From sequences to what a step sees: clips by chance, spoilt as planned, through the very encoders of the sampler.

Everything goes through `LongVie2Pipeline.prepare`, so what is trained on is what a session runs on, history included:
the last n frames before a clip, its first frame the very last of them; and for a checkpoint that carries its first
frame along, the followed points and the session's first frame. A clip without history is a session's first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bridge.errors import InvalidValue

from ...sequences import ClipSequence, SequenceClip
from ...world_model.interface import ControlClip
from ...world_model.longvie2.pipeline import ClipInput, LongVie2Pipeline
from ...world_model.longvie2.sampler import Conditions
from ...world_model.longvie2.vae import MASK_CHANNELS, encode_video, to_video
from .dense import GREY, blur_dense, stretch_dense
from .method import Ablations
from .plan import StepPlan
from .spoil import spoil, stacked

__all__ = ["Batch", "Samples", "ablated"]

_TEXTS_KEPT: Final = 256


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What one step sees.

    Args:
        given: all that the denoiser is told, float32.
        truth: (batch, z, frames, h, w), normalised latents of the true frames, float32.
        names: of the clips.
    """

    given: Conditions
    truth: Tensor
    names: tuple[str, ...]

    @property
    def image(self) -> Tensor:
        """(batch, z, 1, h, w), latents of the first frames as they are given."""
        return self.given.image_latents[:, MASK_CHANNELS:, :1]


class Samples:
    """Draws batches.

    Args:
        pipeline: its encoders, and its denoiser where frames are redrawn.
        sequences: prepared at the pipeline's size.
        ablations: what is left out.
        needs_history: whether some clip must have one before it.

    Raises:
        InvalidValue: there is no clip, or none with a clip before it where history is trained.
    """

    def __init__(
        self,
        pipeline: LongVie2Pipeline,
        sequences: Sequence[ClipSequence],
        ablations: Ablations,
        *,
        needs_history: bool = False,
    ) -> None:
        self._pipeline, self._sequences, self._ablations = pipeline, sequences, ablations
        self._clips = [(s, k) for s, sequence in enumerate(sequences) for k in range(len(sequence))]
        self._later = [(s, k) for s, k in self._clips if k > 0]
        self._texts: OrderedDict[str, Tensor] = OrderedDict()
        if not self._clips or (needs_history and not self._later):
            raise InvalidValue(
                "hold no clip to train on" if not self._clips else "hold no clip that follows another",
                field="data",
                value=f"{len(sequences)} sequences of {len(self._clips)} clips",
                remedy="Give sequences of two clips and more: history is the clip before.",
            )

    def draw(self, plan: StepPlan, count: int, random: np.random.Generator, generator: torch.Generator) -> Batch:
        """Return `count` clips by chance, spoilt as planned."""
        clips = self._later if plan.history else self._clips
        picks = [clips[int(random.integers(len(clips)))] for _ in range(count)]
        made = [self._sample(s, k, plan, random, generator) for s, k in picks]
        return Batch(
            given=stacked([given for given, _ in made]).to(torch.float32),
            truth=torch.cat([truth for _, truth in made]).float(),
            names=tuple(f"{self._sequences[s].name} clip {k}" for s, k in picks),
        )

    @torch.no_grad()
    def _sample(
        self, sequence: int, number: int, plan: StepPlan, random: np.random.Generator, generator: torch.Generator
    ) -> tuple[Conditions, Tensor]:
        clip = self._sequences[sequence].clip(number)
        text = self._text(clip.prompt)
        controls = ablated(clip.controls, self._ablations)
        dense = blur_dense(controls.dense, random) if plan.blurred else controls.dense
        before = self._before(sequence, number, clip, plan.history)
        frames = spoil(self._pipeline, before[0], before[1:], text, plan=plan, random=random, generator=generator)
        given = self._pipeline.prepare(
            ClipInput(
                image=frames[-1],
                dense=dense,
                sparse=controls.sparse,
                history=frames if plan.history else None,
                points=controls.points,
                anchor=self._anchor(sequence) if plan.history else None,
            ),
            text=text,
            negative_text=None,
        )
        vae = self._pipeline.vae
        truth = encode_video(vae, to_video(np.array(clip.rgb), device=vae.device, dtype=vae.dtype))
        return given, truth

    def _before(
        self, sequence: int, number: int, clip: SequenceClip, history: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
        """The first frame, or the history that ends with it: frames, dense and sparse, (n, ...)."""
        source = self._sequences[sequence].clip(number - 1) if history else clip
        ticks = slice(-history, None) if history else slice(0, 1)
        controls = source.controls
        rgb, dense, sparse = (np.array(video[ticks]) for video in (source.rgb, controls.dense, controls.sparse))
        return rgb, dense, sparse

    def _anchor(self, sequence: int) -> NDArray[np.uint8]:
        """What a later clip is told of the session's first frame, as `WorldState.anchor` has it."""
        first = self._sequences[sequence].clip(0)
        grey = ablated(first.controls, self._ablations).dense[0]
        return np.concatenate((first.rgb[0], grey[..., None]), axis=2)

    def _text(self, prompt: str) -> Tensor:
        if prompt not in self._texts:
            self._texts[prompt] = self._pipeline.encode_prompt(prompt).cpu()
        self._texts.move_to_end(prompt)
        while len(self._texts) > _TEXTS_KEPT:
            self._texts.popitem(last=False)
        return self._texts[prompt]


def ablated(controls: ControlClip, ablations: Ablations) -> ControlClip:
    """Return a clip's controls with what is left out left out."""
    dense, sparse = np.array(controls.dense), np.array(controls.sparse)
    if ablations.per_clip_range:
        dense = stretch_dense(dense)
    if ablations.controls == "sparse":
        dense[...] = GREY
    points = None if controls.points is None else np.array(controls.points)
    if ablations.controls == "dense":
        sparse[...], points = 0, None
    return ControlClip(dense, sparse, points)
