"""What the model makes of its training scenes, run as a session runs it: a clip, then the next from its last frame.

In: a pipeline, a scene store and its latents. Out: one safetensors file per scene, float16: the latents that the model
generated, and the conditions of the clips as the model found them. Training on these as one more kind of spoilt first
frame keeps errors from growing from clip to clip; the latents show the decoder what it will be given.

Scenes are two clips long, sessions are not. So every second scene begins *late*: not with its true first frame but with
what is left of one after minutes, the palette's colours, and with some luck the things that never left the view.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from ..world_model.longvie2.carry import CarriedFrame
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
    recolour,
)
from .store import SceneStore, StoredScene

__all__ = ["Rollout", "roll_out", "roll_out_all", "with_rollout"]

_FIELDS: Final = ("image_head", "carried", "history", "image")
_KEPT: Final = 0.5
"""Of a late first frame, the largest share that is as it was; in half of the scenes nothing is."""


@dataclass(frozen=True, slots=True, eq=False)
class Rollout:
    """What a model made of one scene.

    Args:
        name: the scene's.
        latents: per clip, (z, frames, h, w), normalised.
        firsts: per clip, (height, width, 3) uint8, the frame that it began with.
        conditions: per clip, by name: `image_head`, `carried`, `history`, `image` as `ClipLatents` has them, of one
            variant each. The first clip has none unless the scene began late, and never a history.
    """

    name: str
    latents: tuple[Tensor, ...]
    firsts: tuple[NDArray[np.uint8], ...]
    conditions: tuple[dict[str, Tensor], ...]

    @property
    def late(self) -> bool:
        """Whether the scene began as a session goes on after minutes."""
        return bool(self.conditions[0])

    def save(self, folder: Path) -> None:
        """Write `<name>.safetensors`."""
        tensors = {f"{n}.latents": value for n, value in enumerate(self.latents)}
        for number, condition in enumerate(self.conditions):
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
            keys = set(file.keys())
            clips = sum(key.endswith(".latents") for key in keys)
            latents = tuple(file.get_tensor(f"{n}.latents") for n in range(clips))
            firsts = tuple(file.get_tensor(f"{n}.first").numpy() for n in range(clips))
            conditions = tuple(
                {field: file.get_tensor(f"{n}.{field}") for field in _FIELDS if f"{n}.{field}" in keys}
                for n in range(clips)
            )
        return cls(path.stem, latents, firsts, conditions)


def roll_out_all(
    pipeline: LongVie2Pipeline, store: SceneStore, latents: Path, folder: Path, names: Sequence[str], *, steps: int
) -> Iterator[str]:
    """Roll out the scenes that were not yet, yielding every name; several processes may share the names."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        if not (folder / f"{name}.safetensors").exists():
            scene = SceneLatents.load(latents / f"{name}.safetensors")
            roll_out(pipeline, scene, store.load(name), steps=steps).save(folder)
        yield name


@torch.no_grad()
def roll_out(pipeline: LongVie2Pipeline, scene: SceneLatents, stored: StoredScene, *, steps: int) -> Rollout:
    """Return what the model makes of a scene, from one frame alone; all that is drawn depends on the scene's name.

    Args:
        pipeline: the model.
        scene: encoded.
        stored: the same scene as it was rendered; with an odd seed it begins late.
        steps: of denoising.
    """
    text = pipeline.encode_prompt(scene.caption)
    seed = sum(ord(letter) * 31**place for place, letter in enumerate(scene.name)) % 2**31
    late = stored.record.seed % 2 == 1
    true = recolour(stored)[0]
    firsts: list[NDArray[np.uint8]] = []
    latents: list[Tensor] = []
    conditions: list[dict[str, Tensor]] = []
    carried: CarriedFrame | None = None
    for number, clip in enumerate(scene.clips):
        guess = stored.guess(number, true)
        if carried is not None:
            hint = hint_of(pipeline.vae, carried, device=pipeline.vae.device)
            frames = to_pixels(decode_video(pipeline.vae, latents[-1][None].to(pipeline.vae.device), hint=hint))
        else:
            frames = (late_first(stored, true, guess[0]) if late else true)[None]
        firsts.append(frames[-1])
        drawn = late or number > 0
        carried = stored.look_back(number).carry(frames[-1], guess, drawn=drawn)
        conditions.append(_conditions(pipeline, frames, carried) if drawn else {})
        given = conditions[-1] or {"carried": clip.carried[:1], "image": clip.image[:1]}
        latents.append(_generate(pipeline, clip, given, text, seed, steps))
    return Rollout(scene.name, tuple(latents), tuple(firsts), tuple(conditions))


def late_first(stored: StoredScene, first: NDArray[np.uint8], guess: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return what is left of a first frame after minutes, (height, width, 3): the guess, and perhaps what is nearest.

    Args:
        stored: the scene; how much is left depends on its seed.
        first: (height, width, 3) uint8, the true frame.
        guess: (height, width, 3) float32, what its palette paints.
    """
    kept = max(0.0, float(np.random.default_rng([stored.record.seed, 23]).uniform(-_KEPT, _KEPT)))
    dense = np.asarray(stored.dense[0, 0])
    near = dense < np.quantile(dense, kept)
    return np.where(near[:, :, None], first, np.clip(np.rint(guess), 0, 255).astype(np.uint8))


def with_rollout(scene: SceneLatents, rollout: Rollout) -> SceneLatents:
    """Return the scene with the rollout's conditions as one more variant, the last, of every clip that has them."""
    clips = [
        replace(clip, **{name: torch.cat([getattr(clip, name), value]) for name, value in more.items()})
        if more
        else clip
        for clip, more in zip(scene.clips, rollout.conditions, strict=True)
    ]
    return replace(scene, clips=tuple(clips))


def _conditions(pipeline: LongVie2Pipeline, frames: NDArray[np.uint8], carried: CarriedFrame) -> dict[str, Tensor]:
    """Return the conditions of a clip that begins with the last of these frames, one variant each."""
    conditions = {
        "image_head": encode_head(pipeline, frames[-1:])[None],
        "carried": encode_first(pipeline, carried)[None],
        "image": image_features(pipeline, frames[-1:]),
    }
    if len(frames) >= HISTORY_FRAMES:
        conditions["history"] = encode_history(pipeline, frames[-HISTORY_FRAMES:])[None]
    return conditions


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
