"""What a step sees is what a session would, but for what the plan spoils."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_wan import HEIGHT, SMALL_WAN, WIDTH, fill

from bridge.errors import InvalidValue
from bridge.tick import HISTORY_FRAMES
from longvie_server.sequences import ClipSequence
from longvie_server.training.degrade import recode_each
from longvie_server.training.stages.method import Ablations
from longvie_server.training.stages.plan import StepPlan
from longvie_server.training.stages.samples import Batch, Samples, ablated
from longvie_server.training.stages.spoil import redraw, spoil
from longvie_server.world_model.interface import new_state
from longvie_server.world_model.longvie2 import LongVie2Pipeline, build
from longvie_server.world_model.longvie2.pipeline import ClipInput
from longvie_server.world_model.longvie2.vae import encode_video, to_video
from longvie_server.world_model.longvie2.world_model import LongVie2WorldModel


@pytest.fixture(scope="module")
def pipeline() -> LongVie2Pipeline:
    return build(SMALL_WAN, seed=0)


@pytest.fixture
def sequences(tmp_path: Path) -> list[ClipSequence]:
    return fill(tmp_path)


def draw(samples: Samples, plan: StepPlan, count: int = 1, seed: int = 0) -> Batch:
    return samples.draw(plan, count, np.random.default_rng(seed), torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("history", [0, 8, 16])
def test_a_sample_is_a_session_s_own_clip(
    pipeline: LongVie2Pipeline, sequences: list[ClipSequence], history: int
) -> None:
    batch = draw(Samples(pipeline, sequences, Ablations()), StepPlan(history=history))
    number = int(batch.names[0][-1])
    assert number == 1 or not history
    clip = sequences[0].clip(number)
    past = np.array(sequences[0].clip(0).rgb[-history:]) if history else None
    want = pipeline.prepare(
        ClipInput(
            image=np.array(clip.rgb[0]),
            dense=np.array(clip.controls.dense),
            sparse=np.array(clip.controls.sparse),
            history=past,
        ),
        text=pipeline.encode_prompt(clip.prompt),
        negative_text=None,
    )
    for name in ("text", "image", "image_latents", "dense", "sparse"):
        torch.testing.assert_close(getattr(batch.given, name), getattr(want, name), rtol=0, atol=0)
    if history:
        # 4, 8, 12, 16 frames are 1, 2, 3, 4 latents.
        assert batch.given.history is not None
        assert batch.given.history.shape[2] == history // 4
        torch.testing.assert_close(batch.given.history, want.history, rtol=0, atol=0)
    with torch.no_grad():
        torch.testing.assert_close(batch.truth, encode_video(pipeline.vae, to_video(np.array(clip.rgb))))


@pytest.mark.parametrize("history", [0, HISTORY_FRAMES])
def test_a_first_frame_is_carried_along_as_in_a_session(sequences: list[ClipSequence], history: int) -> None:
    carrying = build(replace(SMALL_WAN, carries_first_frame=True), seed=0)
    batch = draw(Samples(carrying, sequences, Ablations()), StepPlan(history=history))
    number = int(batch.names[0][-1])
    clip, first = sequences[0].clip(number), sequences[0].clip(0)
    spec = LongVie2WorldModel(carrying, name="small").spec
    state = new_state(spec, first_frame=np.array(clip.rgb[0]), prompt=clip.prompt, seed=0)
    if history:
        state = new_state(spec, first_frame=np.array(first.rgb[0]), prompt=clip.prompt, seed=0)
        state = state.after_clip(np.array(first.rgb), first.controls.dense[0])
    asked = ClipInput.of(state, ablated(clip.controls, Ablations()))
    text = carrying.encode_prompt(clip.prompt)
    want = carrying.prepare(asked, text=text, negative_text=None)
    torch.testing.assert_close(batch.given.image_latents, want.image_latents, rtol=0, atol=0)
    # Neither the points nor the session's first frame make no difference.
    for missing in ({"points": None}, *([{"anchor": None}] if history else [])):
        other = carrying.prepare(replace(asked, **missing), text=text, negative_text=None)  # type: ignore[arg-type]
        assert (want.image_latents - other.image_latents).abs().max() > 1e-3


def test_a_clip_of_one_frame_is_that_frame_carried_along_or_not(sequences: list[ClipSequence]) -> None:
    carrying = build(replace(SMALL_WAN, carries_first_frame=True), seed=0)
    clip = sequences[0].clip(0)
    controls = clip.controls
    assert controls.points is not None
    one = ClipInput(np.array(clip.rgb[0]), np.array(controls.dense[:1]), np.array(controls.sparse[:1]))
    text = carrying.encode_prompt("p")
    plain, carried = (
        carrying.prepare(asked, text=text, negative_text=None)
        for asked in (one, replace(one, points=np.array(controls.points[:1])))
    )
    torch.testing.assert_close(carried.image_latents, plain.image_latents, rtol=0, atol=1e-5)


def test_a_batch_is_its_samples(pipeline: LongVie2Pipeline, sequences: list[ClipSequence]) -> None:
    samples = Samples(pipeline, sequences, Ablations())
    batch = draw(samples, StepPlan(history=4), count=2)
    assert batch.truth.shape == (2, 16, 21, HEIGHT // 8, WIDTH // 8)
    assert batch.given.history is not None
    assert batch.given.history.shape[:3] == (2, 16, 1)
    assert batch.image.shape == (2, 16, 1, HEIGHT // 8, WIDTH // 8)
    # Equal draws, equal bytes; others, others.
    assert torch.equal(draw(samples, StepPlan(redrawn_from=0.3)).image, draw(samples, StepPlan(redrawn_from=0.3)).image)


def test_a_spoilt_history_ends_with_the_spoilt_first_frame(
    pipeline: LongVie2Pipeline, sequences: list[ClipSequence]
) -> None:
    samples = Samples(pipeline, sequences, Ablations())
    true, tinted = (draw(samples, StepPlan(history=4, tint=tint)) for tint in (0.0, 0.3))
    assert torch.equal(true.truth, tinted.truth)
    assert torch.equal(true.given.dense, tinted.given.dense)
    for of in (lambda batch: batch.image, lambda batch: batch.given.history, lambda batch: batch.given.image):
        assert (of(true) - of(tinted)).abs().mean() > 1e-3


def test_a_tint_is_no_stronger_than_said(pipeline: LongVie2Pipeline) -> None:
    frames = np.full((2, HEIGHT, WIDTH, 3), 100, np.uint8)
    controls = frames[..., 0], frames
    tinted = spoil(
        pipeline,
        frames,
        controls,
        torch.zeros(1),
        plan=StepPlan(tint=0.2),
        random=np.random.default_rng(0),
        generator=torch.Generator(),
    )
    assert 80 <= tinted.min() < tinted.max() <= 120
    np.testing.assert_array_equal(tinted[0], tinted[1])


def test_a_perfect_model_redraws_what_the_vae_keeps(
    pipeline: LongVie2Pipeline, sequences: list[ClipSequence], monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = sequences[0].clip(0)
    frames, dense, sparse = (np.array(v[:2]) for v in (clip.rgb, clip.controls.dense, clip.controls.sparse))
    text = pipeline.encode_prompt("p")
    sigmas = []

    def perfect(x: torch.Tensor, timestep: torch.Tensor, *rest: object, **flags: object) -> tuple[torch.Tensor]:
        # The image condition's own latents are the truth: the flow is (x - truth) / sigma.
        sigmas.append(timestep[0].item() / 1000)
        return ((x[:, :16] - x[:, 20:]) / (timestep.view(-1, 1, 1, 1, 1) / 1000),)

    with monkeypatch.context() as patched, torch.no_grad():
        patched.setattr(pipeline, "transformer", perfect)
        redrawn = redraw(pipeline, frames, (dense, sparse), text, sigma=0.4, generator=torch.Generator())
        recoded = recode_each(pipeline.vae, frames)
    assert sigmas == pytest.approx([0.4, 0.3, 0.2, 0.1])
    assert np.abs(redrawn.astype(int) - recoded).max() <= 1
    assert recoded.shape == frames.shape


def test_what_is_left_out_is_what_the_encoders_paint_for_nothing(sequences: list[ClipSequence]) -> None:
    controls = sequences[0].clip(0).controls
    assert (ablated(controls, Ablations(controls="dense")).sparse == 0).all()
    assert ablated(controls, Ablations(controls="dense")).points is None
    assert (ablated(controls, Ablations(controls="sparse")).dense == 127).all()
    np.testing.assert_array_equal(ablated(controls, Ablations(controls="sparse")).points, controls.points)
    ranged = ablated(controls, Ablations(per_clip_range=True)).dense
    assert (ranged.min(), ranged.max()) == (0, 255)
    assert not np.array_equal(ranged, controls.dense)
    np.testing.assert_array_equal(ablated(controls, Ablations()).dense, controls.dense)


def test_history_needs_a_clip_before(pipeline: LongVie2Pipeline, tmp_path: Path) -> None:
    lone = fill(tmp_path, clips=1)
    Samples(pipeline, lone, Ablations())
    with pytest.raises(InvalidValue, match="no clip that follows another"):
        Samples(pipeline, lone, Ablations(), needs_history=True)
    with pytest.raises(InvalidValue, match="no clip to train on"):
        Samples(pipeline, [], Ablations())
