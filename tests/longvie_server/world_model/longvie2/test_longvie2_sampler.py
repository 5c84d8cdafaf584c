from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import Tensor

from bridge.errors import InvalidValue
from longvie_server.world_model.longvie2 import LongVie2Pipeline, LongVie2Transformer3DModel
from longvie_server.world_model.longvie2.pipeline import ClipInput
from longvie_server.world_model.longvie2.sampler import (
    Conditions,
    batches_guidance,
    denoise,
    mix_first_latent,
    set_steps,
    unified_noise,
)

CPU = torch.device("cpu")


def test_sigmas_of_four_steps_at_shift_five(golden: LongVie2Pipeline) -> None:
    # 5 s / (1 + 4 s) at s = 1, 3/4, 1/2, 1/4; then 0.
    scheduler = set_steps(golden.scheduler, 4, CPU)
    torch.testing.assert_close(scheduler.sigmas, torch.tensor([1, 15 / 16, 5 / 6, 5 / 8, 0]))
    torch.testing.assert_close(scheduler.timesteps, torch.tensor([1000, 937.5, 2500 / 3, 625]))


def test_each_run_has_a_scheduler_of_its_own(golden: LongVie2Pipeline) -> None:
    assert set_steps(golden.scheduler, 2, CPU) is not golden.scheduler
    with pytest.raises(InvalidValue, match="num_inference_steps"):
        set_steps(golden.scheduler, 0, CPU)


def test_noise_is_a_function_of_the_seed() -> None:
    state = torch.random.get_rng_state()
    first, again, other = (unified_noise((1, 16, 3, 2, 4), seed) for seed in (7, 7, 8))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_first_latent_carries_the_last_of_the_history() -> None:
    noise = torch.full((1, 1, 2, 1, 1), 2.0)
    history = torch.tensor([100.0, 10.0]).view(1, 1, 2, 1, 1)
    mixed = mix_first_latent(noise, history).flatten()
    # 0.074074 * 10 + 0.925926 * 2
    torch.testing.assert_close(mixed, torch.tensor([2.592592, 2.0]))
    assert noise.eq(2).all()
    assert torch.equal(mix_first_latent(noise, None), noise)


@pytest.mark.parametrize("clip", [0, 1, 2])
@torch.no_grad()
def test_a_clip_of_the_golden_run(golden: LongVie2Pipeline, golden_run: dict[str, Tensor], clip: int) -> None:
    def of(name: str, k: int = clip) -> Tensor:
        return golden_run[f"clip{k}.{name}"]

    before = None if clip == 0 else of("frames_uint8", clip - 1)[-8:].numpy()
    image = golden_run["first_image"].numpy() if before is None else before[-1]
    conditions = golden.prepare(
        ClipInput(image=image, dense=of("dense_video").numpy(), sparse=of("sparse_video").numpy(), history=before),
        text=golden_run[f"context.clip {clip}"],
        negative_text=golden_run["context.bad"],
        image_features=of("in.clip_feature"),
    )
    noise = mix_first_latent(unified_noise((1, 16, 5, 6, 10), 0), conditions.history)
    for got, want in ((conditions.image_latents, "y"), (conditions.sparse, "sparse"), (noise, "latents")):
        torch.testing.assert_close(got, of(f"in.{want}"), rtol=0, atol=1e-5)
    if conditions.history is not None:
        torch.testing.assert_close(conditions.history, of("in.history_latents"), rtol=0, atol=1e-5)

    scheduler = set_steps(golden.scheduler, 4, CPU)
    steps = denoise(golden.transformer, scheduler, noise=noise, conditions=conditions, guidance_scale=5.0)
    latents = noise
    for step, latents in enumerate(steps):
        torch.testing.assert_close(latents, of(f"latents_after.{step}"), rtol=0, atol=1e-4)
    frames = np.concatenate([event.frames for event in golden._decode(latents, 1) if hasattr(event, "frames")])
    apart = np.abs(frames.astype(int) - of("frames_uint8").numpy())
    # A truncation may fall to the other side where a value is within rounding of a whole number.
    assert apart.max() <= 1
    assert (apart > 0).mean() < 1e-3


def test_guidance_of_one_is_one_pass(micro: LongVie2Pipeline) -> None:
    zeros = torch.zeros(1, 36, 3, 2, 4)
    conditions = Conditions(
        text=torch.zeros(1, 512, 16),
        negative_text=torch.ones(1, 512, 16),
        image=torch.zeros(1, 5, 16),
        image_latents=zeros[:, :20],
        dense=zeros,
        sparse=zeros,
        history=None,
    )
    noise = unified_noise((1, 16, 3, 2, 4), 0)
    texts: list[list[float]] = []
    run = micro.transformer.forward

    def counted(x: Tensor, t: Tensor, text: Tensor, *rest: Tensor, **flags: object) -> tuple[Tensor]:
        texts.append(text[:, 0, 0].tolist())
        return run(x, t, text, *rest, **flags)  # type: ignore[no-any-return]

    with patch.object(micro.transformer, "forward", counted):
        for guidance, batched in ((1.0, False), (3.0, False), (1.0, True), (3.0, True)):
            scheduler = set_steps(micro.scheduler, 1, CPU)
            flags = {"guidance_scale": guidance, "batched": batched}
            list(denoise(micro.transformer, scheduler, noise=noise, conditions=conditions, **flags))
    assert texts == [[0], [0], [1], [0], [0, 1]]


def test_guidance_is_one_pass_where_a_pass_is_small(micro: LongVie2Pipeline) -> None:
    # 24 wide: 43,402 tokens of 2 x 2 places are 2.5e7 tokens x width^2, and a tenth of them 2.5e6.
    assert batches_guidance(micro.transformer, 4 * 4_340)
    assert not batches_guidance(micro.transformer, 4 * 43_402)
    # On a kind of device that nobody measured, each pass is for itself.
    with torch.device("meta"):
        assert not batches_guidance(LongVie2Transformer3DModel(num_layers=1, control_num_layers=1), 4)


def test_guidance_needs_a_negative_text(micro: LongVie2Pipeline, micro_clip: ClipInput) -> None:
    events = micro.generate(
        micro_clip, text=micro.encode_prompt("a"), negative_text=None, seed=0, num_inference_steps=1, guidance_scale=2.0
    )
    with pytest.raises(InvalidValue, match="negative_text"):
        list(events)


def test_a_caller_keeps_its_gradient_mode(micro: LongVie2Pipeline, micro_clip: ClipInput) -> None:
    for _ in micro.generate(micro_clip, text=micro.encode_prompt("a"), negative_text=None, seed=0, decode_chunk=7):
        assert torch.is_grad_enabled()
