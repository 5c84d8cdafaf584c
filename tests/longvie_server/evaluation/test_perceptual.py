"""What networks see: the formulas by hand, the weights' files as their makers lay them out, and what is missing."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, ViTConfig, ViTModel

from longvie_server.evaluation.lpips import HEADS, TRUNK, Lpips
from longvie_server.evaluation.perceptual import Perceptual, consistency, load_perceptual

SMALL = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.fixture(autouse=True)
def _no_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "none"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "none"))


def _weights(folder: Path) -> Path:
    """Random weights in the layouts of torchvision, lpips and transformers."""
    folder.mkdir()
    torch.manual_seed(0)
    network = Lpips()
    trunk = {f"features.{name}": tensor for name, tensor in network.features.state_dict().items()}
    torch.save({**trunk, "classifier.1.weight": torch.zeros(2)}, folder / TRUNK)
    heads = {f"lin{i}.model.1.weight": torch.rand_like(head) for i, head in enumerate(network.heads)}
    torch.save(heads, folder / HEADS)
    ViTModel(ViTConfig(**SMALL, image_size=64, patch_size=16), add_pooling_layer=False).save_pretrained(
        folder / "dino-vitb16"
    )
    CLIPVisionModelWithProjection(
        CLIPVisionConfig(**SMALL, image_size=224, patch_size=56, projection_dim=8)
    ).save_pretrained(folder / "clip-vit-base-patch32")
    return folder


def test_consistency_is_the_mean_of_two_cosines() -> None:
    first = torch.tensor([[1.0, 0.0]])
    features = torch.tensor([[0.0, 2.0], [3.0, 0.0], [3.0, 3.0], [-1.0, -1.0]])
    # To the frame before: 0, 1/sqrt 2, -1 counted as 0. To the first: 1, 1/sqrt 2, negative counted as 0.
    want = (0 + 1 / math.sqrt(2) + 0 + 1 + 1 / math.sqrt(2) + 0) / 6
    assert consistency(features, first) == pytest.approx(want)


def test_a_video_s_consistency_is_the_mean_of_its_clips() -> None:
    features = torch.randn(161, 8, generator=torch.Generator().manual_seed(0)) + 1
    clips = [consistency(features[80 * k : 80 * k + 81], features[:1]) for k in range(2)]
    assert np.mean(clips) == pytest.approx(consistency(features, features[:1]), abs=1e-6)


def test_lpips_of_one_channel_by_hand() -> None:
    network = Lpips()
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    first = network.features[0]
    with torch.no_grad():
        # Channel 0 answers to a bright picture, channel 1 to a dark one; all else stays silent.
        first.weight[0, 0, 5, 5], first.weight[1, 0, 5, 5] = 1.0, -1.0
        network.heads[0][0, 0], network.heads[0][0, 1] = 0.5, 0.25
    bright, dark = torch.full((1, 3, 64, 64), 1.0), torch.full((1, 3, 64, 64), -1.0)
    # Responses of unit length that have nothing in common: (1 - 0)^2 * 0.5 + (0 - 1)^2 * 0.25 everywhere.
    assert network(bright, dark).item() == pytest.approx(0.75, abs=1e-6)
    assert network(bright, 0.5 * bright).item() == pytest.approx(0.0, abs=1e-6)


def test_weights_of_a_folder_fill_all_columns(tmp_path: Path) -> None:
    perceptual = load_perceptual(_weights(tmp_path / "weights"))
    assert perceptual.absent == {}
    video = np.random.default_rng(0).integers(0, 256, (81, 64, 96, 3)).astype(np.uint8)
    figures = perceptual.figures(video, video, video[0])
    assert figures["lpips"] == pytest.approx(0, abs=1e-6)
    assert 0 < figures["subject_consistency"] < 1
    still = np.broadcast_to(video[0], video.shape)
    figures = perceptual.figures(still, video, video[0])
    assert figures["lpips"] > 1e-3
    assert figures["subject_consistency"] == pytest.approx(1, abs=1e-4)
    assert figures["background_consistency"] == pytest.approx(1, abs=1e-4)
    # Frames that AlexNet's strides would leave nothing of.
    assert math.isnan(perceptual.figures(video[:, :40], video[:, :40], video[0, :40])["lpips"])


def test_what_is_missing_says_why(tmp_path: Path) -> None:
    absent = load_perceptual(tmp_path).absent
    assert "alexnet-owt" in absent["lpips"]
    assert "facebook/dino-vitb16 is not on this machine" in absent["subject_consistency"]
    assert "openai/clip-vit-base-patch32" in absent["background_consistency"]
    figures = Perceptual.none().figures(*[np.zeros((3, 8, 8, 3), np.uint8)] * 2, np.zeros((8, 8, 3), np.uint8))
    assert all(math.isnan(value) for value in figures.values())
