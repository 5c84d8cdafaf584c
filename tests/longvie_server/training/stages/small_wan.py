"""A random LongVie in the real layout (Wan's VAE, its patches) at a size that a test trains, and clips for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from miniature import MICRO

from longvie_server.sequences import ClipSequence, ClipTruth, SequenceClip
from longvie_server.sequences.scene import training_scenes
from longvie_server.training.stages import Stage, StageConfig
from longvie_server.world_model.interface import ControlClip
from longvie_server.world_model.longvie2 import build
from longvie_server.world_model.longvie2.checkpoint import save_checkpoint
from longvie_server.world_model.longvie2.configs import VaeSize

HEIGHT, WIDTH, CLIPS = 32, 32, 2
SMALL_WAN = replace(
    MICRO,
    height=HEIGHT,
    width=WIDTH,
    num_inference_steps=1,
    transformer=replace(MICRO.transformer, control_num_attention_heads=2),
    vae=VaeSize(base_dim=4, decoder_base_dim=4, num_res_blocks=1),
)


def save_small_wan(folder: Path) -> Path:
    save_checkpoint(build(SMALL_WAN, seed=0), folder)
    return folder


def fill(folder: Path, *, scenes: int = 1, clips: int = CLIPS) -> list[ClipSequence]:
    """Put clips of coarse noise where a training keeps its prepared scenes, so that none is rendered."""
    made = []
    for number, source in enumerate(training_scenes(0, scenes)):
        random = np.random.default_rng(number)
        coarse = random.integers(0, 256, (1 + 80 * clips, HEIGHT // 8, WIDTH // 8, 3)).astype(np.uint8)
        rgb = coarse.repeat(8, axis=1).repeat(8, axis=2)
        sequence = ClipSequence(folder / "sequences" / f"{source.key}-{HEIGHT}x{WIDTH}")
        for k in range(clips):
            frames = rgb[80 * k : 80 * k + 81]
            points = random.random((len(frames), 6, 2), np.float32)
            controls = ControlClip(
                np.ascontiguousarray(frames[..., 0]), np.ascontiguousarray(frames[..., ::-1]), points
            )
            sequence.add(SequenceClip(f"Noise {number}.", frames, controls, ClipTruth()))
        made.append(sequence)
    return made


def config_for(model: Path, folder: Path, **changes: object) -> StageConfig:
    settings: dict[str, object] = {
        "stage": Stage.CONTROL,
        "model": str(model),
        "folder": folder,
        "out": folder / "checkpoint",
        "scenes": 1,
        "steps": 2,
        "warmup": 0,
        "learning_rate": 1e-3,
        "ema_decay": 0.5,
        "log_every": 1,
    }
    return StageConfig(**{**settings, **changes})  # type: ignore[arg-type]
