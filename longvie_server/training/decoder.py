"""Training the VAE's decoder on, once its latents are settled: whole clips, and what a denoiser really makes.

In: encoded scenes, the pictures that they were made from, and rollouts. Out: a run folder whose averaged weights are
the whole VAE, its encoder unchanged. Latents stay what they are, so a denoiser may be trained on them meanwhile.
Loss: `picture_loss`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bridge.tick import CLIP_STRIDE

from ..world_model.longvie2.block_vae import BlockAutoencoder
from ..world_model.longvie2.carry import CarriedFrame
from ..world_model.longvie2.vae import hint_of
from .latents import SceneLatents
from .muon import Muon
from .pictures import Pictures, Window, decode_pictures, measure, picture_loss
from .rollout import Rollout
from .run import Run, Schedule, step_generator
from .scenes import TrainingScene

__all__ = ["DecoderConfig", "train_decoder"]


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """One training of the decoder.

    Args:
        scenes, latents: the folder of rendered scenes, and of those that are trained on, encoded.
        rollouts: the folder of rollouts of these scenes, or None.
        folder: of the run.
        rollout_share: of the pieces whose latents a denoiser made, where there are rollouts.
        long_crop: latent rows and columns of pieces that last the whole clip.
        short_frames: latent frames of pieces that show the whole picture, from a clip's first on.
        bare_share: of the pieces without a hint, as clips have that come without points.
        noise: deviation of what is added to the (normalised) true latents: a denoiser's are never quite right.
        sharpness, contrast: weights of the loss's second and third part, see `picture_loss`.
    """

    scenes: Path
    latents: Path
    folder: Path
    rollouts: Path | None = None
    steps: int = 700
    rollout_share: float = 0.75
    bare_share: float = 0.1
    long_crop: tuple[int, int] = (3, 4)
    short_frames: int = 5
    learning_rate: float = 6e-3
    sharpness: float = 0.1
    contrast: float = 0.8
    noise: float = 0.1
    seed: int = 3
    check_every: int = 50


def train_decoder(config: DecoderConfig, vae: BlockAutoencoder) -> Run:
    """Train the decoder in place, resuming the folder's run; the run's `ema` holds the VAE to keep.

    Args:
        config: see there.
        vae: trained, with its latents' mean and deviation in its config.
    """
    pieces = _Pieces(config, vae)
    vae.requires_grad_(False)
    for name, parameter in vae.decoder.named_parameters():
        # What reads the code back is measured, like the code.
        parameter.requires_grad_(not name.startswith(("first.", "rest.")))
    optimizer = Muon((p for p in vae.parameters() if p.requires_grad), lr=config.learning_rate)
    run = Run(config.folder, vae, optimizer, Schedule(config.learning_rate, config.steps, warmup=20), ema_decay=0.98)
    figures: list[tuple[float, float]] = []
    for step in run.steps("training the decoder"):
        generator = step_generator(config.seed, step)
        latents, video, hint = pieces.draw(generator)
        latents, video, hint = (
            latents.to(vae.device),
            video.to(vae.device),
            None if hint is None else hint.to(vae.device),
        )
        out, truth = decode_pictures(vae, latents, hint=hint), video.transpose(1, 2).flatten(0, 1)
        run.backward(picture_loss(out, truth, sharpness=config.sharpness, contrast=config.contrast))
        figures.append(measure(out, truth))
        if run.step % config.check_every == 0 or run.step == config.steps:
            run.save()
            mean, energy = np.mean(figures, axis=0)
            run.log(psnr=float(10 * np.log10(4 / mean)), gradient_energy=float(energy), rate=run.schedule.at(step))
            figures.clear()
    return run


class _Pieces:
    """Latents, the video that they should show, and what is carried along of it."""

    def __init__(self, config: DecoderConfig, vae: BlockAutoencoder) -> None:
        self.config = config
        self.vae = vae
        self.pictures = Pictures(config.scenes, vae.config.scale_factor_spatial)
        self._carried: dict[tuple[str, int, bool], CarriedFrame] = {}
        self.scenes = [SceneLatents.load(path) for path in sorted(config.latents.glob("*.safetensors"))]
        made = [] if config.rollouts is None else sorted(config.rollouts.glob("*.safetensors"))
        self.rollouts = [Rollout.load(path) for path in made]

    def draw(self, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return latents, (1, z, t, h, w), video and hint, (1, 3 and 7, 4t - 3, height, width): long or whole."""
        config = self.config
        made = bool(self.rollouts) and float(torch.rand((), generator=generator)) < config.rollout_share
        if made:
            rollout = self.rollouts[_draw(generator, len(self.rollouts))]
            number = _draw(generator, len(rollout.latents))
            name, latents, first = rollout.name, rollout.latents[number].float(), rollout.firsts[number]
        else:
            scene = self.scenes[_draw(generator, len(self.scenes))]
            number = _draw(generator, len(scene.clips))
            name, latents = scene.name, scene.clips[number].truth.float()
            latents = latents + config.noise * torch.randn(latents.shape, generator=generator)
            first = self.pictures.frames(name)[number * CLIP_STRIDE]
        window = Window.draw(latents.shape[1:], config.long_crop, config.short_frames, generator)
        if (name, number, made) not in self._carried:
            rendered = TrainingScene(self.config.scenes, name)
            guess = rendered.guess(number, self.pictures.frames(name)[0])
            self._carried[name, number, made] = rendered.look_back(number).carry(first, guess, drawn=number > 0)
        carried, scale = self._carried[name, number, made], self.pictures.scale
        bare = float(torch.rand((), generator=generator)) < config.bare_share
        told = CarriedFrame(window.of_video(carried.video, scale), window.of_video(carried.known, scale))
        hint = None if bare else hint_of(self.vae, told, device=self.vae.device)
        return window.of_latents(latents[None]), self.pictures.seen(name, number, window), hint


def _draw(generator: torch.Generator, count: int) -> int:
    return int(torch.randint(count, (), generator=generator))
