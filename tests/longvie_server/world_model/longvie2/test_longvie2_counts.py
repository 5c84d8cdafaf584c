"""What a session computes, counted from outside: nothing twice that stays the same, and the first frame early."""

from __future__ import annotations

from collections.abc import Callable
from unittest.mock import patch

import numpy as np
import pytest
import torch
from miniature import MINIATURE
from test_longvie2_memo import counted
from test_longvie2_world_model import finish, start
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from longvie_server.world_model.interface import ControlClip, StepFrames, StepProgress
from longvie_server.world_model.longvie2 import LongVie2Pipeline, LongVie2WorldModel, build, vae

CLIPS, STEPS = 2, 2


@pytest.fixture
def controls() -> ControlClip:
    rng = np.random.default_rng(3)
    return ControlClip(
        dense=rng.integers(0, 256, (81, 16, 32), np.uint8), sparse=rng.integers(0, 256, (81, 16, 32, 3), np.uint8)
    )


def test_a_session_encodes_each_thing_once(micro: LongVie2Pipeline, controls: ControlClip) -> None:
    model = LongVie2WorldModel(micro, name="micro", steps=STEPS, guidance_scale=5.0)
    encoded: list[tuple[int, int]] = []

    def noted(own: vae.VideoVae, video: Tensor, *, frames: int | None = None) -> Tensor:
        encoded.append((video.shape[0], video.shape[2]))
        return encode(own, video, frames=frames)

    encode = vae.encode_mean
    state = start(model)
    with (
        counted(micro.text_encoder.encoder.final_layer_norm) as texts,
        counted(micro.image_encoder) as images,
        counted(micro.transformer.proj_out) as passes,
        patch.object(vae, "encode_mean", noted),
    ):
        for _ in range(CLIPS):
            _, state = finish(model.step(state, controls))
    # The prompt and the negative one, for all clips; the first frame of each clip.
    assert texts[""] == 2
    assert images[""] == CLIPS
    # At this size one pass for both prompts.
    assert passes[""] == CLIPS * STEPS
    # Three first frames, of whose zeros one stands for all; two control videos; 5 frames of the history of 8.
    assert encoded == [(3, 2), (2, 81), (3, 2), (2, 81), (1, 5)]


@torch.no_grad()
def test_zeros_behind_a_first_frame_cost_little(micro: LongVie2Pipeline) -> None:
    video = torch.rand(1, 3, 81, 16, 32, generator=torch.Generator().manual_seed(0))
    # As on a GPU, where videos are left to diffusers.
    with patch.object(vae, "_framewise", return_value=False):
        with FlopCounterMode(display=False) as held:
            vae.encode_condition(micro.vae, video[:, :, :1], 81)
        with FlopCounterMode(display=False) as whole:
            vae.encode_video(micro.vae, video)
    assert 0 < 2 * held.get_total_flops() < whole.get_total_flops()


@pytest.mark.parametrize("kind", ["framewise", "diffusers", "blocks"])
def test_the_first_frame_leaves_before_a_tenth_of_the_decoding(micro: LongVie2Pipeline, kind: str) -> None:
    pipeline = build(MINIATURE, seed=0) if kind == "blocks" else micro
    height, width = pipeline.defaults.height, pipeline.defaults.width
    rng = np.random.default_rng(3)
    controls = ControlClip(
        dense=rng.integers(0, 256, (81, height, width), np.uint8),
        sparse=rng.integers(0, 256, (81, height, width, 3), np.uint8),
    )
    model = LongVie2WorldModel(pipeline, name=kind, steps=1)
    state = start(model, size=(height, width))
    framewise: Callable[..., bool] = vae._framewise if kind == "framewise" else lambda *_: False
    with patch.object(vae, "_framewise", framewise):
        events = model.step(state, controls)
        for event in events:
            if isinstance(event, StepProgress) and event.stage == "decode":
                break
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            first = next(events)
            until_first = counter.get_total_flops()
            for _ in events:
                pass
    assert isinstance(first, StepFrames)
    assert 0 < until_first < 0.1 * counter.get_total_flops()
