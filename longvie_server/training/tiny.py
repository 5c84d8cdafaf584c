"""The whole making of the `tiny` checkpoint, from seeds to a folder that serves: one call, resumable at any moment.

Order: render scenes, measure the VAE's code, encode the scenes, train the denoiser, roll it out on its training scenes,
train it on with its own first frames among the others, train the decoder, export. A stage that
is done is skipped; one that was stopped goes on from its last checkpoint. From a checkpoint that exists the same call
makes a better one: its encoder is kept, so its denoiser knows the latents, and the trainings go on from its weights.
Law: a folder holds one making, of the settings that it was begun with (`settings.py`); others are refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from diffusers.utils import CONFIG_NAME
from rich.progress import track

from bridge.errors import InvalidValue

from ..world_model.longvie2 import TINY, LongVie2Config, LongVie2Pipeline, build
from ..world_model.longvie2.block_vae import BlockAutoencoder
from ..world_model.longvie2.checkpoint import load_checkpoint
from ..world_model.registry import torch_device
from .decoder import DecoderConfig, train_decoder
from .export import export, load_average, pixel_metric
from .latents import encode_scenes
from .rollout import roll_out_all
from .run import STATE_FILE
from .scenes import ScenesConfig, TrainingScene, render_scenes
from .settings import keep_settings, weights_digest
from .vae import measure_code
from .world import WorldConfig, train_world

__all__ = ["TinyConfig", "train_tiny"]

_FREE: Final = ("folder", "out", "workers", "device")
"""What a later call may change: no weight depends on it but for rounding."""
_MEASURED_SCENES: Final = 160


@dataclass(frozen=True, slots=True)
class TinyConfig:
    """The making of a checkpoint.

    Args:
        folder: of all that is made on the way.
        out: the checkpoint's folder.
        model: its sizes; where there is a `start`, its sizes count.
        start: the checkpoint to go on from, or None for fresh weights; its code stays, its decoder is trained on at the
            end.
        scenes: how many scenes to train on.
        first_seed: of the scenes; other seeds are other scenes.
        workers: processes that render.
        device: where to train.
        world_steps, decoder_steps: of the two trainings.
        world_batch: clips per step of the denoiser's; a GPU takes 16 and more.
        learning_rate, spoilt_share: of the denoiser's training.
        rollouts: scenes that the denoiser is rolled out on, each time that a share of `rollouts_at` of its steps is
            done, and once more for the decoder.
        inference_steps: denoising steps that the checkpoint asks for, and that rollouts take; a little trained model
            scores best with one, each further step adds detail that it does not know.
        without_stage_2: ablation: no first frame is spoilt, by hand or by the model itself.
        without_stage_3: ablation: no clip sees the frames before it, in training or later.
        seed: of the first weights.

    Raises:
        InvalidValue: a rate or share is none.
    """

    folder: Path
    out: Path
    model: LongVie2Config = field(default_factory=lambda: TINY)
    start: Path | None = None
    scenes: int = 640
    first_seed: int = 0
    workers: int = 2
    device: str = "cpu"
    world_steps: int = 6000
    decoder_steps: int = 700
    world_batch: int = 3
    learning_rate: float = 1e-3
    spoilt_share: float = 0.5
    rollouts: int = 150
    rollouts_at: tuple[float, ...] = (0.55,)
    inference_steps: int = 1
    without_stage_2: bool = False
    without_stage_3: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.learning_rate < math.inf:
            _refuse("--learning-rate", self.learning_rate, "must be a finite number above 0", "1e-3")
        if not 0 <= self.spoilt_share <= 1:
            _refuse("--spoilt-share", self.spoilt_share, "must be within 0 and 1", "0.5")

    def settings(self, start: LongVie2Pipeline | None) -> dict[str, Any]:
        """Return what the weights depend on, in what JSON can say; of the start its weights, wherever they lie.

        Args:
            start: the checkpoint to go on from, read, or None.
        """
        told = {name: value for name, value in asdict(self).items() if name not in _FREE}
        if start is not None:
            told |= {"model": None, "start": weights_digest(start)}
        return told


def _refuse(flag: str, value: float, problem: str, usual: str) -> None:
    raise InvalidValue(problem, field=flag, value=value, remedy=f"Leave it out for {usual}.")


def train_tiny(config: TinyConfig) -> Path:
    """Make the checkpoint; return its folder.

    Raises:
        InvalidValue: there is no such device; the start is no checkpoint to go on from; the folder holds a run of other
            settings.
    """
    torch_device(config.device)
    folder = config.folder
    start = None if config.start is None else _read_start(config.start)
    keep_settings(folder, config.settings(start))
    fresh = config.model if start is None else start.config
    job = ScenesConfig(
        folder / "scenes",
        seeds=(config.first_seed, config.first_seed + config.scenes),
        height=fresh.height,
        width=fresh.width,
        workers=config.workers,
    )
    # The folder may be shared with other trainings, and hold more.
    names = sorted(track(render_scenes(job), "rendering scenes", total=config.scenes))
    scenes = [TrainingScene(job.folder, name) for name in names]

    pipeline = _with_vae(config, scenes)
    for _ in track(encode_scenes(pipeline, scenes, folder / "latents"), "encoding scenes", total=len(scenes)):
        pass

    world = _train_world(config, pipeline).folder
    last = DecoderConfig(
        folder / "scenes",
        folder / "latents",
        folder / "decoder",
        rollouts=_roll_out(config, pipeline, "rollouts_last", world),
        steps=config.decoder_steps,
    )
    train_decoder(last, pipeline.vae)
    load_average(pipeline.vae, folder / "decoder")
    export(pipeline, world, config.out, steps=config.inference_steps)
    return config.out


def _read_start(folder: Path) -> LongVie2Pipeline:
    try:
        start = load_checkpoint(folder)
    except InvalidValue as error:
        error.field = "--start"
        raise
    if not isinstance(start.vae, BlockAutoencoder):
        raise InvalidValue(
            "has a VAE that is not trained here",
            field="--start",
            value=f"{folder}: {type(start.vae).__name__}",
            remedy="Begin with a checkpoint that `longvie train tiny` made.",
        )
    return start


def _fresh(config: TinyConfig) -> LongVie2Pipeline:
    """The weights that the trainings begin with."""
    pipeline = build(config.model, seed=config.seed) if config.start is None else load_checkpoint(config.start)
    # What the latents' conditions are made of, whatever a start was trained on.
    pipeline.register_to_config(carries_first_frame=True, sees_history=not config.without_stage_3)
    return pipeline


def _train_world(config: TinyConfig, pipeline: LongVie2Pipeline) -> WorldConfig:
    """Train the denoiser; from each of `rollouts_at` on also on what it made of its own scenes until then.

    Returns: the training as it ended.
    """
    folder = config.folder
    metric = pixel_metric(pipeline.vae)
    job = WorldConfig(
        folder / "latents",
        folder / "world",
        steps=config.world_steps,
        batch=config.world_batch,
        learning_rate=config.learning_rate,
        spoilt_share=0.0 if config.without_stage_2 else config.spoilt_share,
        history=not config.without_stage_3,
    )
    for number, share in enumerate(() if config.without_stage_2 else config.rollouts_at):
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
    roller.to(torch_device(config.device))
    roller.register_modules(vae=pipeline.vae)
    if (run / STATE_FILE).exists():
        load_average(roller.transformer, run)
    scenes = [TrainingScene(config.folder / "scenes", name) for name in picked]
    made = roll_out_all(roller, scenes, latents, folder, steps=config.inference_steps)
    for _ in track(made, "rolling out", total=len(picked)):
        pass
    return folder


def _with_vae(config: TinyConfig, scenes: Sequence[TrainingScene]) -> LongVie2Pipeline:
    """A pipeline with the VAE whose code is measured on the scenes; it is measured once, then kept."""
    pipeline = _fresh(config)
    if config.start is None:
        folder = config.folder / "vae"
        if not (folder / CONFIG_NAME).exists():
            measure_code(pipeline.vae, scenes[:: max(1, len(scenes) // _MEASURED_SCENES)])
            # Its config is written before its weights: a folder that is half written must not be found.
            partial = folder.with_name("vae.partial")
            pipeline.vae.save_pretrained(partial)
            partial.replace(folder)
        pipeline.register_modules(vae=BlockAutoencoder.from_pretrained(folder))
    pipeline.to(torch_device(config.device))
    return pipeline
