"""What the model makes of its training scenes, run as a session runs it: a clip, then the next from its last frame.

In: a pipeline, rendered scenes and their latents. Out: one safetensors file per scene, float16: the latents that the
model generated, and the conditions of every later clip as the clip before left them. Training on these as one more kind
of spoilt first frame keeps errors from growing from clip to clip; the latents show the decoder what it will be given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from bridge.tick import HISTORY_FRAMES

from ..world_model.longvie2 import LongVie2Pipeline
from ..world_model.longvie2.sampler import Conditions, denoise, mix_first_latent, set_steps, unified_noise
from ..world_model.longvie2.vae import MASK_CHANNELS, decode_video, hint_of, to_pixels
from .latents import (
    ClipLatents,
    SceneLatents,
    encode_first,
    encode_head,
    encode_history,
    expand_head,
    image_features,
)
from .scenes import TrainingScene

__all__ = ["Rollout", "roll_out", "roll_out_all", "with_rollout"]

_FIELDS: Final = ("image_head", "carried", "history", "image")


@dataclass(frozen=True, slots=True, eq=False)
class Rollout:
    """What a model made of one scene.

    Args:
        name: the scene's.
        latents: per clip, (z, frames, h, w), normalised.
        firsts: per clip, (height, width, 3) uint8, the frame that it began with.
        conditions: per clip from the second on, by name: `image_head`, `carried`, `history`, `image` as `ClipLatents`
            has them, of one variant each.
    """

    name: str
    latents: tuple[Tensor, ...]
    firsts: tuple[NDArray[np.uint8], ...]
    conditions: tuple[dict[str, Tensor], ...]

    def save(self, folder: Path) -> None:
        """Write `<name>.safetensors`."""
        tensors = {f"{n}.latents": value for n, value in enumerate(self.latents)}
        for number, condition in enumerate(self.conditions, start=1):
            tensors.update({f"{number}.{field}": value for field, value in condition.items()})
        tensors = {key: value.to(torch.float16).contiguous() for key, value in tensors.items()}
        tensors.update({f"{n}.first": torch.from_numpy(first.copy()) for n, first in enumerate(self.firsts)})
        partial = folder / f"{self.name}.partial"
        save_file(tensors, partial)
        partial.replace(folder / f"{self.name}.safetensors")

    @classmethod
    def load(cls, path: Path) -> Rollout:
        """Read a rollout; its tensors stay float16."""
        with safe_open(path, framework="pt") as file:
            clips = sum(key.endswith(".latents") for key in file.keys())  # noqa: SIM118 - not a dict
            latents = tuple(file.get_tensor(f"{n}.latents") for n in range(clips))
            firsts = tuple(file.get_tensor(f"{n}.first").numpy() for n in range(clips))
            conditions = tuple({f: file.get_tensor(f"{n}.{f}") for f in _FIELDS} for n in range(1, clips))
        return cls(path.stem, latents, firsts, conditions)


def roll_out_all(
    pipeline: LongVie2Pipeline, scenes: Iterable[TrainingScene], latents: Path, folder: Path, *, steps: int
) -> Iterator[str]:
    """Roll out the scenes that were not yet, yielding every name; several processes may share them."""
    folder.mkdir(parents=True, exist_ok=True)
    for rendered in scenes:
        if not (folder / f"{rendered.name}.safetensors").exists():
            scene = SceneLatents.load(latents / f"{rendered.name}.safetensors")
            roll_out(pipeline, scene, rendered, steps=steps).save(folder)
        yield rendered.name


@torch.no_grad()
def roll_out(pipeline: LongVie2Pipeline, scene: SceneLatents, rendered: TrainingScene, *, steps: int) -> Rollout:
    """Return what the model makes of a scene, from its first frame alone; the noise depends on the scene's name.

    Args:
        pipeline: the model.
        scene: encoded.
        rendered: the same scene as it was rendered.
        steps: of denoising.
    """
    text = pipeline.encode_prompt(scene.caption)
    firsts = [rendered.frames()[0]]
    back = [rendered.look_back(number) for number in range(len(scene.clips))]
    guess = [rendered.guess(number, firsts[0]) for number in range(len(scene.clips))]
    latents: list[Tensor] = []
    conditions: list[dict[str, Tensor]] = []
    for number, clip in enumerate(scene.clips):
        if number:
            device = pipeline.vae.device
            hint = hint_of(
                pipeline.vae, back[number - 1].carry(firsts[-1], guess[number - 1], drawn=number > 1), device=device
            )
            frames = to_pixels(decode_video(pipeline.vae, latents[-1][None].to(device), hint=hint))
            firsts.append(frames[-1])
            conditions.append(
                {
                    "image_head": encode_head(pipeline, frames[-1:])[None],
                    "carried": encode_first(pipeline, back[number].carry(frames[-1], guess[number], drawn=True))[None],
                    "history": encode_history(pipeline, frames[-HISTORY_FRAMES:])[None],
                    "image": image_features(pipeline, frames[-1:]),
                }
            )
        given = conditions[-1] if number else {"carried": clip.carried[:1], "image": clip.image[:1]}
        latents.append(_generate(pipeline, clip, given, text, rendered.seed, steps))
    return Rollout(scene.name, tuple(latents), tuple(firsts), tuple(conditions))


def with_rollout(scene: SceneLatents, rollout: Rollout) -> SceneLatents:
    """Return the scene with the rollout's conditions as one more variant, the last, of every later clip."""
    later = [
        replace(clip, **{name: torch.cat([getattr(clip, name), more[name]]) for name in _FIELDS})
        for clip, more in zip(scene.clips[1:], rollout.conditions, strict=True)
    ]
    return replace(scene, clips=(scene.clips[0], *later))


def _generate(
    pipeline: LongVie2Pipeline, clip: ClipLatents, given: dict[str, Tensor], text: Tensor, seed: int, steps: int
) -> Tensor:
    """Return a clip's latents, (z, frames, h, w), on the CPU."""
    device = pipeline.transformer.device
    z, total, rows, columns = clip.truth.shape
    mask = torch.zeros(MASK_CHANNELS, total, rows, columns)
    mask[:, 0] = 1

    def joined(*parts: Tensor) -> Tensor:
        return torch.cat([part.float() for part in parts])[None].to(device)

    seen = "history" in given and pipeline.defaults.sees_history
    history = given["history"].float().to(device) if seen else None
    noise = mix_first_latent(unified_noise((1, z, total, rows, columns), seed).to(device), history)
    made = noise
    for made in denoise(  # noqa: B007 - the last ones are the clip's
        pipeline.transformer,
        set_steps(pipeline.scheduler, steps, device),
        noise=noise,
        conditions=Conditions(
            text=text.to(device),
            negative_text=None,
            image=given["image"].float().to(device),
            image_latents=joined(given["carried"][0]),
            dense=joined(clip.dense, mask, expand_head(clip.dense_head, total)),
            sparse=joined(clip.sparse, mask, expand_head(clip.sparse_head, total)),
            history=history,
        ),
    ):
        pass
    return made[0].cpu()
