"""The whole making of the `tiny` checkpoint, from seeds to a folder that serves: one call, resumable at any moment.

Order: render scenes, train the VAE, encode the scenes, train the denoiser, roll it out on its training scenes, train it
on with its own first frames among the others, then (if asked) by its pictures, train the decoder, export. A stage that
is done is skipped; one that was stopped goes on from its last checkpoint. From a checkpoint that exists the same call
makes a better one: its encoder is kept, so its denoiser knows the latents, and the trainings go on from its weights.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import torch
from rich.progress import track

from ..world_model.longvie2 import TINY, LongVie2Config, LongVie2Pipeline, build
from ..world_model.longvie2.checkpoint import load_checkpoint
from .decoder import DecoderConfig, train_decoder
from .export import export, load_average, pipeline_with_vae, pixel_metric
from .latents import SceneLatents, encode_store
from .refine import RefineConfig, train_refine
from .rollout import roll_out_all
from .run import STATE_FILE
from .scenes import ScenesConfig, render_scenes
from .store import SceneStore
from .vae import VaeConfig, train_vae
from .world import WorldConfig, train_world

__all__ = ["TinyConfig", "train_tiny"]

_HELD_OUT_FROM: Final = 900_000
_WEIGHED_SCENES: Final = 3
_STATISTICS_FILE: Final = "statistics.json"


@dataclass(frozen=True, slots=True)
class TinyConfig:
    """The making of a checkpoint.

    Args:
        folder: of all that is made on the way.
        out: the checkpoint's folder.
        model: its sizes; where there is a `start`, its sizes count.
        start: the checkpoint to go on from, or None for fresh weights; its VAE is not trained, but for the decoder at
            the end.
        scenes: how many scenes to train on.
        first_seed: of the scenes; other seeds are other scenes.
        held_out: how many more to measure the VAE on.
        workers: processes that render.
        device: where to train.
        vae_steps, world_steps, decoder_steps: of the three trainings.
        refine_steps: of the denoiser's training by its pictures; 0 for none.
        world_batch: clips per step of the denoiser's; a GPU takes 16 and more.
        learning_rate, spoilt_share: of the denoiser's training.
        rollouts: scenes that the denoiser is rolled out on, each time that a share of `rollouts_at` of its steps is
            done, and once more for the decoder.
        inference_steps: denoising steps that the checkpoint asks for; a little trained model scores best with one, each
            further step adds detail that it does not know.
        seed: of the first weights.
    """

    folder: Path
    out: Path
    model: LongVie2Config = field(default_factory=lambda: TINY)
    start: Path | None = None
    scenes: int = 300
    first_seed: int = 0
    held_out: int = 4
    workers: int = 2
    device: str = "cpu"
    vae_steps: int = 2500
    world_steps: int = 6000
    refine_steps: int = 0
    decoder_steps: int = 4000
    world_batch: int = 3
    learning_rate: float = 1e-3
    spoilt_share: float = 0.4
    rollouts: int = 150
    rollouts_at: tuple[float, ...] = (0.55,)
    inference_steps: int = 1
    seed: int = 0


def train_tiny(config: TinyConfig) -> Path:
    """Make the checkpoint; return its folder."""
    folder = config.folder
    fresh = _fresh(config)
    size = {"height": fresh.config.height, "width": fresh.config.width, "workers": config.workers}
    for name, seeds in (
        ("scenes", (config.first_seed, config.first_seed + config.scenes)),
        ("held_out", (_HELD_OUT_FROM, _HELD_OUT_FROM + config.held_out)),
    ):
        job = ScenesConfig(folder / name, seeds=seeds, **size)
        for _ in track(render_scenes(job), f"rendering {name}", total=seeds[1] - seeds[0]):
            pass

    if config.start is None:
        vae_job = VaeConfig(folder / "scenes", folder / "held_out", folder / "vae", steps=config.vae_steps)
        train_vae(vae_job, fresh.vae.to(config.device))

    pipeline = _with_vae(config)
    store = SceneStore(folder / "scenes")
    names = store.names()
    for _ in track(encode_store(pipeline, store, folder / "latents", names), "encoding scenes", total=len(names)):
        pass

    world = _train_world(config, pipeline)
    denoiser = world.folder
    if config.refine_steps:
        load_average(pipeline.transformer, denoiser)
        by_pictures = RefineConfig(folder / "scenes", world, folder / "refined", steps=config.refine_steps)
        train_refine(by_pictures, pipeline)
        denoiser = by_pictures.folder

    last = DecoderConfig(
        folder / "scenes",
        folder / "latents",
        folder / "decoder",
        rollouts=_roll_out(config, pipeline, "rollouts_last", denoiser),
        steps=config.decoder_steps,
    )
    train_decoder(last, pipeline.vae)
    finished = _fresh(config)
    load_average(finished.vae, folder / "decoder")
    finished.vae.register_to_config(
        latents_mean=pipeline.vae.config.latents_mean, latents_std=pipeline.vae.config.latents_std
    )
    export(finished, denoiser, config.out, steps=config.inference_steps)
    return config.out


def _fresh(config: TinyConfig) -> LongVie2Pipeline:
    """The weights that the trainings begin with."""
    return build(config.model, seed=config.seed) if config.start is None else load_checkpoint(config.start)


def _train_world(config: TinyConfig, pipeline: LongVie2Pipeline) -> WorldConfig:
    """Train the denoiser; from each of `rollouts_at` on also on what it made of its own scenes until then.

    Returns: the training as it ended.
    """
    folder = config.folder
    metric = pixel_metric(pipeline.vae, _some_truth(folder / "latents", config.device))
    job = WorldConfig(
        folder / "latents",
        folder / "world",
        steps=config.world_steps,
        batch=config.world_batch,
        learning_rate=config.learning_rate,
        spoilt_share=config.spoilt_share,
    )
    for number, share in enumerate(config.rollouts_at):
        if share > 0:
            train_world(job, pipeline, metric, until=round(share * config.world_steps))
        job = replace(job, rollouts=_roll_out(config, pipeline, f"rollouts_{number}", job.folder))
    train_world(job, pipeline, metric)
    return job


def _roll_out(config: TinyConfig, pipeline: LongVie2Pipeline, name: str, run: Path) -> Path:
    """Roll out the average of the denoiser's run on some of its scenes, evenly chosen; return their folder.

    Where the run has not begun, the weights that it begins with are rolled out.
    """
    folder = config.folder / name
    latents = config.folder / "latents"
    names = sorted(path.stem for path in latents.glob("*.safetensors"))
    picked = names[:: max(1, len(names) // config.rollouts)][: config.rollouts]
    if all((folder / f"{scene}.safetensors").exists() for scene in picked):
        return folder
    roller = _fresh(config)
    roller.to(config.device)
    roller.register_modules(vae=pipeline.vae)
    if (run / STATE_FILE).exists():
        load_average(roller.transformer, run)
    made = roll_out_all(roller, latents, folder, picked, steps=config.inference_steps)
    for _ in track(made, "rolling out", total=len(picked)):
        pass
    return folder


def _with_vae(config: TinyConfig) -> LongVie2Pipeline:
    """A pipeline with the trained VAE; its latents' statistics are measured once, then kept."""
    if config.start is not None:
        pipeline = _fresh(config)
        pipeline.to(config.device)
        return pipeline
    path = config.folder / "vae" / _STATISTICS_FILE
    store = SceneStore(config.folder / "scenes")
    pipeline = pipeline_with_vae(config.model, config.folder / "vae", store, seed=config.seed)
    if path.exists():
        known = json.loads(path.read_text())
        pipeline.vae.register_to_config(latents_mean=known["mean"], latents_std=known["std"])
    else:
        measured = {"mean": pipeline.vae.config.latents_mean, "std": pipeline.vae.config.latents_std}
        path.write_text(json.dumps(measured) + "\n")
    pipeline.to(config.device)
    return pipeline


def _some_truth(folder: Path, device: str) -> torch.Tensor:
    """The first latent frames of a few scenes, (scenes, z, 4, h, w)."""
    paths = sorted(folder.glob("*.safetensors"))
    picked = paths[:: max(1, len(paths) // _WEIGHED_SCENES)][:_WEIGHED_SCENES]
    return torch.stack([SceneLatents.load(path).clips[0].truth[:, :4].float() for path in picked]).to(device)
