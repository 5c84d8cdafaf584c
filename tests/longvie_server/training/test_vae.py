"""Measuring the code: it is the best linear one, and it says what an error costs in pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bridge.tick import CLIP_TICKS
from longvie_server.sequences import ClipSequence, ClipTruth, SequenceClip
from longvie_server.training.export import pixel_metric
from longvie_server.training.scenes import TrainingScene
from longvie_server.training.vae import measure_code
from longvie_server.world_model.interface import ControlClip
from longvie_server.world_model.longvie2.block_vae import BlockAutoencoder
from longvie_server.world_model.longvie2.vae import to_video

HEIGHT, WIDTH = 32, 48
SOURCES = 5


def _mixed(random: np.random.Generator, frames: int) -> NDArray[np.uint8]:
    """Every block of every four frames is a mixture of the same few patterns, all of them as still as the first."""
    patterns = np.random.default_rng(7).standard_normal((SOURCES, 16, 16, 3))
    groups = 1 + (frames - 1) // 4
    weights = random.standard_normal((groups, HEIGHT // 16, WIDTH // 16, SOURCES)) * [30, 20, 12, 8, 5]
    blocks = np.einsum("tijs,sabc->tiajbc", weights, patterns).reshape(groups, HEIGHT, WIDTH, 3)
    return np.clip(128 + blocks[[0, *np.repeat(np.arange(1, groups), 4)]] * 0.5, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> list[TrainingScene]:
    folder = tmp_path_factory.mktemp("scenes")
    for seed in range(6):
        random = np.random.default_rng(seed)
        sequence = ClipSequence(folder / f"patterns-{seed}")
        for _ in range(2):
            controls = ControlClip(
                dense=_mixed(random, CLIP_TICKS)[..., 0], sparse=np.zeros((CLIP_TICKS, HEIGHT, WIDTH, 3), np.uint8)
            )
            sequence.add(SequenceClip("patterns", _mixed(random, CLIP_TICKS), controls, ClipTruth()))
    return [TrainingScene(folder, path.name) for path in sorted(folder.iterdir())]


@pytest.fixture(scope="module")
def vae(scenes: list[TrainingScene]) -> BlockAutoencoder:
    made = BlockAutoencoder(z_dim=24, width=8, layers=1, detail=2, place_width=8)
    measure_code(made, scenes)
    return made


@torch.no_grad()
def test_what_few_patterns_make_is_kept_whole(vae: BlockAutoencoder, scenes: list[TrainingScene]) -> None:
    # Recoloured scenes mix the patterns' channels: up to three times as many directions, and rounding to 8 bits.
    for scene in scenes:
        pixels = to_video(scene.clip(0))
        error = (vae(pixels) - pixels).square().mean(dim=(0, 1, 3, 4))
        assert error[0] < 1e-3
        assert error.max() < 1e-3


@torch.no_grad()
def test_a_first_frame_has_the_latent_of_four_like_it(vae: BlockAutoencoder, scenes: list[TrainingScene]) -> None:
    first = to_video(scenes[0].frames()[:1])
    latents = vae.encode_mean(first.expand(-1, -1, 5, -1, -1))
    std = torch.tensor(vae.config.latents_std)[None, :, None, None]
    strongest = std.flatten().argsort(descending=True)[:SOURCES]
    difference = ((latents[:, :, 0] - latents[:, :, 1]) / std)[:, strongest]
    # The means of first frames and of groups of four are measured apart.
    assert difference.abs().max() < 0.1


@torch.no_grad()
def test_latents_have_the_mean_and_deviation_that_the_config_says(
    vae: BlockAutoencoder, scenes: list[TrainingScene]
) -> None:
    latents = torch.cat([vae.encode_mean(to_video(scene.clip(0))) for scene in scenes])
    values = latents.transpose(0, 1).flatten(1)
    torch.testing.assert_close(values.mean(1), torch.tensor(vae.config.latents_mean), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(values.std(1), torch.tensor(vae.config.latents_std), atol=1e-3, rtol=1e-2)


@torch.no_grad()
def test_the_metric_is_what_an_error_moves_in_the_picture(vae: BlockAutoencoder) -> None:
    metric = pixel_metric(vae, floor=0.0)
    assert metric.trace() == pytest.approx(24)
    std = torch.tensor(vae.config.latents_std)
    errors = torch.randn(2, 24, generator=torch.Generator().manual_seed(2))
    squares = [float((vae.decoder.rest.weight @ (error * std)).square().sum()) for error in errors]
    told = [float(error @ metric @ error) for error in errors]
    assert told[0] / told[1] == pytest.approx(squares[0] / squares[1], rel=1e-4)
    assert torch.equal(pixel_metric(vae, floor=1.0), torch.eye(24))
