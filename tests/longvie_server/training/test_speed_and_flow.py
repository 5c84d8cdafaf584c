"""Shortcuts change nothing, and noisy clips lie on the sampler's paths."""

from __future__ import annotations

import math

import torch

from longvie_server.training.flow import draw_sigma, flow_loss, make_noisy
from longvie_server.training.latents import expand_head
from longvie_server.training.speed import FrameSelection, install
from longvie_server.world_model.longvie2.sampler import FIRST_LATENT_NOISE
from longvie_server.world_model.longvie2.transformer import LongVie2Transformer3DModel


def _transformer() -> LongVie2Transformer3DModel:
    torch.manual_seed(0)
    return LongVie2Transformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=12,
        out_channels=4,
        text_dim=8,
        freq_dim=16,
        ffn_dim=16,
        num_layers=2,
        image_dim=8,
        rope_max_seq_len=16,
        control_num_layers=1,
        control_num_attention_heads=1,
        control_ffn_dim=8,
    ).eval()


def _inputs(frames: int) -> tuple[torch.Tensor, ...]:
    random = torch.Generator().manual_seed(1)
    text = torch.zeros(2, 512, 8)
    text[0, :5] = torch.randn(5, 8, generator=random)
    text[1, :9] = torch.randn(9, 8, generator=random)
    latents, dense, sparse = (torch.randn(2, 12, frames, 4, 4, generator=random) for _ in range(3))
    image, history = torch.randn(2, 3, 8, generator=random), torch.randn(2, 4, 2, 4, 4, generator=random)
    return latents, torch.tensor([900.0, 100.0]), text, image, dense, sparse, history


@torch.no_grad()
def test_shortcuts_compute_the_same() -> None:
    transformer, inputs = _transformer(), _inputs(5)
    plain = transformer(*inputs).sample
    names = list(transformer.state_dict())
    install(transformer)
    FrameSelection(transformer).choose(range(5), total=5, history=2)
    torch.testing.assert_close(transformer(*inputs).sample, plain, atol=2e-6, rtol=1e-5)
    assert list(transformer.state_dict()) == names


def test_selected_frames_keep_their_positions() -> None:
    transformer = _transformer()
    like = torch.zeros(1, 4, 5, 4, 4)
    whole = [t.unflatten(1, (5, 4)) for t in transformer.rope(like)]
    selection = FrameSelection(transformer)
    selection.choose([0, 2], total=3, history=2)
    for part, all_frames in zip(transformer.rope(like[:, :, :4]), whole, strict=True):
        torch.testing.assert_close(part, all_frames[:, [0, 1, 2, 4]].flatten(1, 2))


def test_a_noisy_clip_lies_between_truth_and_start() -> None:
    truth, history = torch.zeros(2, 1, 3, 2, 2), torch.ones(2, 1, 2, 2, 2)
    sigma = torch.tensor([0.5, 1.0])
    noisy = make_noisy(truth, history, sigma, torch.Generator().manual_seed(0))
    torch.testing.assert_close(noisy.latents[0], 0.5 * noisy.flow[0])
    torch.testing.assert_close(noisy.latents[1], noisy.flow[1])
    start = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    mixed = (1 - FIRST_LATENT_NOISE) + FIRST_LATENT_NOISE * start[:, :, 0]
    torch.testing.assert_close(noisy.flow[:, :, 0], mixed)
    torch.testing.assert_close(noisy.flow[:, :, 1:], start[:, :, 1:])


def test_the_loss_is_each_clips_logarithm_in_the_metric() -> None:
    truth = torch.zeros(2, 2, 1, 1, 1)
    noisy = make_noisy(truth, None, torch.ones(2), torch.Generator().manual_seed(0))
    predicted = noisy.flow + torch.tensor([[1.0, 2.0], [0.1, 0.0]]).view(2, 2, 1, 1, 1)
    loss = flow_loss(predicted, noisy, torch.tensor([[1.0, 0.5], [0.5, 2.0]]))
    # (1 + 2 * 0.5 * 2 + 2 * 4) / 2 channels, and 0.01 / 2; each with the least square of 0.01.
    torch.testing.assert_close(loss, torch.tensor((math.log(5.51) + math.log(0.015)) / 2))


def test_noise_levels_are_shifted_and_often_pure() -> None:
    sigma = draw_sigma(4000, shift=5.0, pure_share=0.25, generator=torch.Generator().manual_seed(0))
    assert float(sigma.min()) > 0.0199
    assert abs(float((sigma == 1).float().mean()) - 0.25) < 0.03
    # The median of the rest is 5 * 0.5 / (1 + 4 * 0.5).
    assert abs(float(sigma[sigma < 1].median()) - 2.5 / 3) < 0.02


def test_a_head_is_held_to_the_end() -> None:
    head = torch.arange(3.0).view(1, 3, 1, 1)
    assert expand_head(head, 5).flatten().tolist() == [0, 1, 2, 2, 2]
