"""What each stage trains, spoils and asks for: counted on the real size, and by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import pytest
import torch

from bridge.errors import InvalidValue
from longvie_server.training.flow import NoisyClip, draw_sigma
from longvie_server.training.stages.dense import blur_dense, stretch_dense
from longvie_server.training.stages.method import METHOD, Ablations, Stage, choose_trained
from longvie_server.training.stages.objective import flow_error, low_pass, timestep_weight
from longvie_server.training.stages.plan import StepPlan, draw_plan, own_random, plan_random
from longvie_server.world_model.longvie2 import LONGVIE2_14B
from longvie_server.world_model.longvie2.transformer import LongVie2Transformer3DModel


def test_the_real_model_is_built_and_each_stage_trains_its_part() -> None:
    with torch.device("meta"):
        transformer = LongVie2Transformer3DModel(**asdict(LONGVIE2_14B.transformer))
    transformer.enable_gradient_checkpointing()
    control = choose_trained(transformer, METHOD[Stage.CONTROL])
    assert all(name.startswith("control_") for name in control)
    billions = sum(p.numel() for p in control.values()) / 1e9
    assert billions == pytest.approx(2.6, abs=0.1)
    assert not transformer.patch_embedding.weight.requires_grad
    history = choose_trained(transformer, METHOD[Stage.HISTORY])
    assert {name.split(".")[2] for name in set(history) - set(control)} == {"attn1"}
    # Forty layers of four matrices of 5120 x 5120.
    assert sum(p.numel() for p in history.values()) / 1e9 - billions == pytest.approx(40 * 4 * 5120**2 / 1e9, abs=0.01)
    assert set(choose_trained(transformer, METHOD[Stage.FIRST_FRAME])) == set(control)


def _plans(stage: Stage, ablations: Ablations | None = None, count: int = 8000) -> list[StepPlan]:
    return [draw_plan(METHOD[stage], ablations or Ablations(), plan_random(0, step)) for step in range(count)]


def _share(plans: list[StepPlan], of: Callable[[StepPlan], bool]) -> float:
    return float(np.mean([of(plan) for plan in plans]))


def test_no_two_streams_of_a_training_are_one() -> None:
    own = [own_random(7, step, part, rank) for step in range(4) for part in range(3) for rank in range(3)]
    sources = [*own, *(plan_random(7, step) for step in range(4)), plan_random(2**40, 0), plan_random(0, 2**40)]
    drawn = {source.bytes(16) for source in sources}
    assert len(drawn) == len(sources)
    assert plan_random(7, 3).bytes(16) == plan_random(7, 3).bytes(16)


def test_which_clips_are_picked_has_nothing_to_do_with_the_plan() -> None:
    """Of a hundred clips, over many steps, on the first process and pass."""
    steps = range(4000)
    chances = np.array([plan_random(0, step).random(6) for step in steps])
    picks = np.array([own_random(0, step, 0, 0).integers(100, size=3) for step in steps])
    related = np.corrcoef(chances, picks, rowvar=False)[:6, 6:]
    # Four deviations of what chance has.
    assert np.abs(related).max() < 4 / np.sqrt(len(steps))


def test_the_first_stage_spoils_dense_alone() -> None:
    plans = _plans(Stage.CONTROL)
    assert not any(plan.spoilt or plan.history for plan in plans)
    assert _share(plans, lambda plan: plan.scale < 1) == pytest.approx(0.15, abs=0.02)
    assert min(plan.scale for plan in plans) >= 0.05
    assert _share(plans, lambda plan: plan.blurred) == pytest.approx(0.1, abs=0.02)


def test_the_second_stage_spoils_first_frames_as_often_as_the_paper_does() -> None:
    plans = _plans(Stage.FIRST_FRAME)
    recoded, redrawn = (_share(plans, of) for of in (lambda p: p.passes > 0, lambda p: p.redrawn_from > 0))
    assert recoded + redrawn == pytest.approx(0.1, abs=0.01)
    assert recoded == pytest.approx(0.04, abs=0.01)
    counts = np.bincount([plan.passes for plan in plans], minlength=5)[1:]
    assert list(counts) == sorted(counts, reverse=True)
    assert _share(plans, lambda plan: plan.tint > 0) == pytest.approx(0.1, abs=0.01)
    assert all(0.1 <= plan.tint <= 0.2 for plan in plans if plan.tint)


def test_the_third_stage_has_history_most_of_the_time() -> None:
    plans = _plans(Stage.HISTORY)
    assert _share(plans, lambda plan: plan.history > 0) == pytest.approx(0.8, abs=0.02)
    assert {plan.history for plan in plans} == {0, 4, 8, 12, 16}
    later = [plan for plan in plans if plan.history]
    assert _share(later, lambda plan: plan.passes > 0 or plan.redrawn_from > 0) == pytest.approx(0.05, abs=0.01)
    assert max(plan.tint for plan in later) > 0.25


def test_an_ablation_changes_nothing_but_itself() -> None:
    with_history = _plans(Stage.HISTORY, count=200)
    without = _plans(Stage.HISTORY, Ablations(history=False), count=200)
    assert not any(plan.history for plan in without)
    assert [(p.scale, p.blurred) for p in without] == [(p.scale, p.blurred) for p in with_history]
    with pytest.raises(InvalidValue, match="is no control"):
        Ablations(controls="neither")


def _clip(frames: int = 5) -> tuple[NoisyClip, torch.Tensor]:
    """A clip of zeros at half noise: its flow is the noise."""
    noise = torch.randn(1, 2, frames, 4, 4, generator=torch.Generator().manual_seed(0))
    return NoisyClip(0.5 * noise, noise, torch.tensor([0.5])), noise


def test_a_true_first_frame_asks_for_the_flow_alone() -> None:
    noisy, noise = _clip()
    torch.testing.assert_close(noisy.start, noise)
    error = flow_error(noise + 2, noisy, torch.tensor([3.0]), image=None, history=True)
    assert error.item() == pytest.approx(3 * 4)


@pytest.mark.parametrize("history", [False, True])
def test_a_spoilt_first_frame_is_begun_with_and_left(history: bool) -> None:
    noisy, noise = _clip()
    image = torch.full((1, 2, 1, 4, 4), 0.5)
    # Two off everywhere. Frames of weight 0.05, 0.325, 0.757, 1, 1 of five.
    frames = 4 * (0.05 + 0.325 + 0.757 + 2) / 5
    # The given flow is noise - 0.5: 2.5 off, all of it low; the high part of the truth's is met.
    want = frames + 0.2 * 2.5**2 + (0.5 * 2.5**2 if history else 0)
    got = flow_error(noise + 2, noisy, torch.ones(1), image=image, history=history)
    assert got.item() == pytest.approx(want, rel=1e-5)


def test_high_frequencies_are_the_truth_s() -> None:
    noisy = NoisyClip(torch.zeros(1, 1, 1, 4, 4), torch.zeros(1, 1, 1, 4, 4), torch.zeros(1))
    chequers = (torch.arange(4)[:, None] + torch.arange(4)) % 2 * 2.0 - 1
    predicted = chequers.expand(1, 1, 1, 4, 4)
    torch.testing.assert_close(low_pass(predicted), torch.zeros_like(predicted))
    torch.testing.assert_close(low_pass(torch.ones(1, 1, 2, 4, 4)), torch.ones(1, 1, 2, 4, 4))
    got = flow_error(predicted, noisy, torch.ones(1), image=torch.zeros(1, 1, 1, 4, 4), history=False)
    assert got.item() == pytest.approx(0.05 + 0.15)


def test_noise_levels_in_the_middle_count_most() -> None:
    sigma = draw_sigma(20_000, shift=5.0, pure_share=0.0, generator=torch.Generator().manual_seed(0))
    weights = timestep_weight(sigma, shift=5.0)
    assert weights.mean().item() == pytest.approx(1, abs=0.02)
    ends = timestep_weight(torch.tensor([0.0, 0.5, 1.0]), shift=5.0)
    assert ends[0].item() == pytest.approx(0, abs=1e-6)
    assert ends[2].item() == pytest.approx(0, abs=1e-6)
    assert ends[1] == timestep_weight(torch.linspace(0, 1, 101), shift=5.0).max()


def test_dense_loses_edges_and_keeps_its_grounds() -> None:
    dense = np.zeros((2, 32, 48), np.uint8)
    dense[:, :, 24:] = 200
    blurred = blur_dense(dense, np.random.default_rng(0))
    assert (blurred[:, :, :4].max(), blurred[:, :, -4:].min()) == (0, 200)
    steps = np.abs(np.diff(blurred.astype(int), axis=2)).max()
    assert 0 < steps < 150
    flat = np.full((1, 8, 8), 90, np.uint8)
    np.testing.assert_array_equal(blur_dense(flat, np.random.default_rng(1)), flat)


def test_a_clip_s_own_range_is_black_to_white() -> None:
    dense = np.repeat(np.arange(100, 201, dtype=np.uint8)[None, None], 3, axis=0)
    stretched = stretch_dense(dense)
    # Percentiles of 100 .. 200 are 105 and 195.
    assert stretched[0, 0, 5] == 0
    assert stretched[0, 0, 95] == 255
    assert stretched[0, 0, 50] == int(45 / 90 * 255)
    np.testing.assert_array_equal(stretch_dense(np.full((1, 2, 2), 9, np.uint8)), 127)
