"""Training the denoiser: base and control branches together, from scratch, on latents of procedural scenes.

In: a folder of `SceneLatents`, and a pipeline with a trained VAE. Out: a run folder whose average is the transformer.
The three stages of the paper (controls; spoilt first frames; history) fine-tune a pretrained base. A tiny model has
none, so all is trained at once, each of them a share of the samples, and everything as the sampler will run it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from bridge.errors import InvalidValue

from ..world_model.longvie2 import LongVie2Pipeline
from ..world_model.longvie2.transformer import LongVie2Transformer3DModel
from ..world_model.longvie2.vae import MASK_CHANNELS
from .flow import NoisyClip, draw_sigma, flow_loss, make_noisy
from .latents import VARIANTS, ClipLatents, SceneLatents, expand_head, without_controls
from .rollout import Rollout, with_rollout
from .run import Run, Schedule, parameter_groups, step_generator
from .speed import FrameSelection, install

__all__ = ["HISTORY_LATENTS", "WorldBatch", "WorldConfig", "WorldData", "predict", "train_world"]

HISTORY_LATENTS: Final = 2


@dataclass(frozen=True, slots=True)
class WorldConfig:
    """One training of the denoiser.

    Args:
        latents: the folder of encoded scenes; files that are added are taken in at the next check.
        rollouts: the folder of rollouts of these scenes, or None; the scenes' conditions gain a variant.
        folder: of the run.
        steps: of the whole run; a resumed run goes on to this number.
        batch: clips per step.
        seen_frames: latent frames of a clip that a step sees, the first always among them, before `whole_from` (a share
            of the steps); from there on all are seen, one clip per step.
        shift: of the noise levels, the sampler's.
        pure_share: of the samples, that start at pure noise: where a clip takes one step, all is decided there.
        spoilt_share: of the samples, whose first frame (and history) is spoilt.
        rollout_share: of these, that a model has spoilt itself, where their scene was rolled out.
        drop_dense, drop_sparse: share of the samples without that control; without sparse, there are no points either.
        drop_points: share of the others that have the sparse video alone, as the official inputs do.
        history: whether samples show the frames before a clip.
        dense_scale: lowest factor on the dense branch's tokens; half of the samples draw one, so that dense, which
            is the easier signal, does not push the sparse one aside.
    """

    latents: Path
    folder: Path
    rollouts: Path | None = None
    steps: int = 6000
    batch: int = 3
    seen_frames: int = 6
    whole_from: float = 0.9
    learning_rate: float = 1e-3
    warmup: int = 60
    ema_decay: float = 0.998
    shift: float = 5.0
    pure_share: float = 0.9
    spoilt_share: float = 0.5
    rollout_share: float = 0.6
    drop_dense: float = 0.08
    drop_sparse: float = 0.1
    drop_points: float = 0.1
    history: bool = True
    dense_scale: float = 0.3
    seed: int = 2
    check_every: int = 100


@dataclass(frozen=True, slots=True, eq=False)
class WorldBatch:
    """What one step sees; (batch, channels, frames, h, w) where not said otherwise.

    Args:
        truth: z channels.
        condition: mask and image latents, 4 + z channels.
        dense, sparse: 2z + 4 channels.
        history: z channels, two latent frames, or None.
        text: (batch, 512, text_dim).
        image: (batch, tokens, image_dim).
    """

    truth: Tensor
    condition: Tensor
    dense: Tensor
    sparse: Tensor
    history: Tensor | None
    text: Tensor
    image: Tensor

    def to(self, device: torch.device) -> WorldBatch:
        """Return the same batch on a device."""
        tensors = {field.name: getattr(self, field.name) for field in fields(self)}
        moved: dict[str, Any] = {name: None if t is None else t.to(device) for name, t in tensors.items()}
        return WorldBatch(**moved)


class WorldData:
    """Encoded scenes in memory, and batches drawn from them."""

    def __init__(self, pipeline: LongVie2Pipeline, folder: Path, rollouts: Path | None = None) -> None:
        self.pipeline = pipeline
        self.folder = folder
        self.rollouts = rollouts
        self.scenes: list[SceneLatents] = []
        self._texts: dict[str, Tensor] = {}
        self.refresh()
        if not self.scenes:
            raise InvalidValue("holds no scene", field="latents", value=folder, remedy="Render and encode some first.")
        frames = self.scenes[0].clips[0].truth.shape[1]
        size = {"height": pipeline.config.height, "width": pipeline.config.width, "frames": 4 * frames - 3}
        self._none = without_controls(pipeline, **size)

    def refresh(self) -> None:
        """Take in files that were added."""
        known = {scene.name for scene in self.scenes}
        for path in sorted(self.folder.glob("*.safetensors")):
            if path.stem in known:
                continue
            scene = SceneLatents.load(path)
            rollout = None if self.rollouts is None else self.rollouts / path.name
            self.scenes.append(with_rollout(scene, Rollout.load(rollout)) if rollout and rollout.exists() else scene)

    def draw(self, config: WorldConfig, frames: list[int], batch: int, generator: torch.Generator) -> WorldBatch:
        """Return a batch whose clips all have history, or all have none."""
        number = int(torch.randint(2, (), generator=generator))
        picks = [self.scenes[int(torch.randint(len(self.scenes), (), generator=generator))] for _ in range(batch)]
        return self.batch(picks, number, config, frames, generator)

    def batch(
        self,
        picks: list[SceneLatents],
        number: int,
        config: WorldConfig,
        frames: list[int],
        generator: torch.Generator,
    ) -> WorldBatch:
        """Return these latent frames of clip `number` of these scenes, what is spoilt or left out drawn by chance."""
        clips = [self._sample(scene.clips[number], config, frames, generator) for scene in picks]
        history = [c[4] for c in clips if c[4] is not None]
        return WorldBatch(
            truth=torch.stack([c[0] for c in clips]),
            condition=torch.stack([c[1] for c in clips]),
            dense=torch.stack([c[2] for c in clips]),
            sparse=torch.stack([c[3] for c in clips]),
            history=torch.stack(history) if history else None,
            text=torch.cat([self._text(scene.caption) for scene in picks]),
            image=torch.stack([c[5] for c in clips]),
        )

    def _sample(
        self, clip: ClipLatents, config: WorldConfig, frames: list[int], generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor]:
        """Truth, condition, dense, sparse, history and image features of one clip."""
        spoilt, no_dense, no_sparse, no_points, which = torch.rand(5, generator=generator).tolist()
        variant = _variant(clip, which, config.rollout_share) if spoilt < config.spoilt_share else 0
        dense, dense_head, sparse, sparse_head = self._none
        if no_dense >= config.drop_dense:
            dense, dense_head = clip.dense, clip.dense_head
        # Never both: a clip without any control is another task.
        followed = no_sparse >= config.drop_sparse or no_dense < config.drop_dense
        if followed:
            sparse, sparse_head = clip.sparse, clip.sparse_head
        total = clip.truth.shape[1]
        mask = torch.zeros(MASK_CHANNELS, total, *clip.truth.shape[2:])
        mask[:, 0] = 1
        condition = [clip.carried[variant]]
        if not followed or no_points < config.drop_points:
            condition = [mask, expand_head(clip.image_head[variant], total)]

        def select(*parts: Tensor) -> Tensor:
            return torch.cat([part.float()[:, frames] for part in parts])

        return (
            select(clip.truth),
            select(*condition),
            select(dense, mask, expand_head(dense_head, total)),
            select(sparse, mask, expand_head(sparse_head, total)),
            clip.history[variant].float() if config.history and clip.history is not None else None,
            clip.image[variant].float(),
        )

    def _text(self, caption: str) -> Tensor:
        if caption not in self._texts:
            self._texts[caption] = self.pipeline.encode_prompt(caption).cpu()
        return self._texts[caption]


def train_world(config: WorldConfig, pipeline: LongVie2Pipeline, metric: Tensor, *, until: int | None = None) -> Run:
    """Train the pipeline's transformer in place, resuming the folder's run; the run's `ema` holds what to keep.

    Args:
        config: see there.
        pipeline: with a trained VAE.
        metric: (z, z) of trace z, what an error of the latents costs in pixels: `pixel_metric`.
        until: stop before this step of the schedule; a later call goes on.
    """
    transformer = pipeline.transformer
    transformer.requires_grad_(True)
    install(transformer)
    selection = FrameSelection(transformer)
    data = WorldData(pipeline, config.latents, config.rollouts)
    metric = metric.to(transformer.device)
    total = data.scenes[0].clips[0].truth.shape[1]
    groups = parameter_groups(transformer, weight_decay=0.01)
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98), foreach=True)
    schedule = Schedule(config.learning_rate, config.steps, warmup=config.warmup)
    run = Run(config.folder, transformer, optimizer, schedule, ema_decay=config.ema_decay)
    losses: list[float] = []
    for step in run.steps("training the world model", until=until):
        generator = step_generator(config.seed, step)
        whole = step >= config.whole_from * config.steps
        frames = list(range(total)) if whole else _draw_frames(total, config.seen_frames, generator)
        batch = data.draw(config, frames, 1 if whole else config.batch, generator).to(transformer.device)
        selection.choose(frames, total=total, history=0 if batch.history is None else HISTORY_LATENTS)
        loss = flow_loss(*predict(config, transformer, batch, generator), metric)
        run.backward(loss)
        losses.append(loss.item())
        if run.step % config.check_every == 0 or run.step in (config.steps, until):
            run.save()
            run.log(loss=sum(losses) / len(losses), scenes=len(data.scenes), rate=run.schedule.at(step))
            losses.clear()
            data.refresh()
    return run


def predict(
    config: WorldConfig, transformer: LongVie2Transformer3DModel, batch: WorldBatch, generator: torch.Generator
) -> tuple[Tensor, NoisyClip]:
    """Return the flow that the denoiser predicts somewhere on the clips' path, and the point itself."""
    count = batch.truth.shape[0]
    device = batch.truth.device
    sigma = draw_sigma(count, shift=config.shift, pure_share=config.pure_share, generator=generator).to(device)
    noisy = make_noisy(batch.truth, batch.history, sigma, generator)
    low = config.dense_scale
    scale = low + (1 - low) * torch.rand(count, generator=generator)
    scale = torch.where(torch.rand(count, generator=generator) < 0.5, torch.ones(count), scale).to(device)
    predicted = transformer(
        torch.cat([noisy.latents, batch.condition], dim=1),
        1000 * sigma,
        batch.text,
        batch.image,
        batch.dense,
        batch.sparse,
        batch.history,
        dense_scale=scale,
        return_dict=False,
    )[0]
    return predicted, noisy


def _variant(clip: ClipLatents, which: float, rollout_share: float) -> int:
    """Return the spoilt variant of a clip that a number within 0..1 stands for."""
    by_hand, all_spoilt = VARIANTS - 1, clip.image_head.shape[0] - 1
    if all_spoilt > by_hand and which < rollout_share:
        return all_spoilt
    if all_spoilt > by_hand:
        which = (which - rollout_share) / (1 - rollout_share)
    return 1 + int(which * by_hand)


def _draw_frames(total: int, count: int, generator: torch.Generator) -> list[int]:
    """The first latent frame and others at random, in order."""
    others = torch.randperm(total - 1, generator=generator)[: count - 1] + 1
    return [0, *sorted(others.tolist())]
