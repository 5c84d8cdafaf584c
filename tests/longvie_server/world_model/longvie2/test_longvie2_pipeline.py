from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bridge.errors import InvalidValue, ShapeMismatch
from longvie_server.world_model.interface import StepFrames, StepProgress
from longvie_server.world_model.longvie2 import TINY, LongVie2Pipeline, build
from longvie_server.world_model.longvie2.checkpoint import load_checkpoint, save_checkpoint
from longvie_server.world_model.longvie2.pipeline import ClipInput


def call(pipeline: LongVie2Pipeline, clip: ClipInput, seed: int = 5) -> np.ndarray:
    return pipeline(clip.image, clip.dense, clip.sparse, "a town", history=clip.history, seed=seed)


def test_a_clip_is_as_long_as_its_controls_and_the_same_again(micro: LongVie2Pipeline, micro_clip: ClipInput) -> None:
    frames = call(micro, micro_clip)
    assert (frames.shape, frames.dtype) == ((17, 16, 32, 3), np.uint8)
    assert np.array_equal(frames, call(micro, micro_clip))
    assert not np.array_equal(frames, call(micro, micro_clip, seed=6))


def test_every_input_counts(micro: LongVie2Pipeline, micro_clip: ClipInput) -> None:
    frames = call(micro, micro_clip)
    history = micro_clip.history
    assert history is not None
    changed = [
        replace(micro_clip, image=255 - micro_clip.image),
        replace(micro_clip, dense=255 - micro_clip.dense),
        replace(micro_clip, sparse=255 - micro_clip.sparse),
        replace(micro_clip, history=None),
        replace(micro_clip, history=255 - history),
    ]
    for clip in changed:
        assert not np.array_equal(call(micro, clip), frames)


def test_the_last_three_history_frames_never_enter(micro: LongVie2Pipeline, micro_clip: ClipInput) -> None:
    history = np.array(micro_clip.history)
    history[5:] = 0
    assert np.array_equal(call(micro, replace(micro_clip, history=history)), call(micro, micro_clip))
    history[4] = 0
    assert not np.array_equal(call(micro, replace(micro_clip, history=history)), call(micro, micro_clip))


def test_events_come_in_order(micro: LongVie2Pipeline, micro_clip: ClipInput) -> None:
    text = micro.encode_prompt("a town")
    events = list(micro.generate(micro_clip, text=text, negative_text=None, seed=5, decode_chunk=2))
    progress = [(e.stage, e.step, e.steps) for e in events if isinstance(e, StepProgress)]
    assert progress == [
        ("encode", 0, 1),
        ("encode", 1, 1),
        ("denoise", 0, 2),
        ("denoise", 1, 2),
        ("denoise", 2, 2),
        ("decode", 0, 5),
        ("decode", 2, 5),
        ("decode", 4, 5),
        ("decode", 5, 5),
    ]
    assert [len(e.frames) for e in events if isinstance(e, StepFrames)] == [5, 8, 4]


def test_a_checkpoint_keeps_weights_and_defaults(
    micro: LongVie2Pipeline, micro_clip: ClipInput, tmp_path: Path
) -> None:
    save_checkpoint(micro, tmp_path, dtype=torch.float32)
    loaded = load_checkpoint(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    assert loaded.defaults == micro.defaults
    assert np.array_equal(call(loaded, micro_clip), call(micro, micro_clip))


def test_a_checkpoint_is_stored_in_16_bits(micro: LongVie2Pipeline, tmp_path: Path) -> None:
    save_checkpoint(micro, tmp_path)
    loaded = load_checkpoint(tmp_path)
    for name in ("transformer", "vae", "text_encoder", "image_encoder"):
        own, read = (getattr(p, name).state_dict() for p in (micro, loaded))
        for key, weight in own.items():
            assert torch.equal(weight.half().float() if weight.is_floating_point() else weight, read[key]), key
    assert micro.transformer.dtype == torch.float32
    assert torch.equal(loaded.transformer.rope.freqs_cos, micro.transformer.rope.freqs_cos)


def test_a_checkpoint_does_not_say_where_its_parts_were_loaded_from(micro: LongVie2Pipeline, tmp_path: Path) -> None:
    save_checkpoint(micro, tmp_path / "first")
    save_checkpoint(load_checkpoint(tmp_path / "first"), tmp_path / "second")
    for path in (tmp_path / "second").rglob("*.json"):
        assert str(tmp_path) not in path.read_text(), path
    first, second = (load_checkpoint(tmp_path / name).transformer.state_dict() for name in ("first", "second"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_bfloat16_keeps_positions_and_modulation(micro: LongVie2Pipeline, tmp_path: Path) -> None:
    save_checkpoint(micro, tmp_path, dtype=torch.bfloat16)
    loaded = load_checkpoint(tmp_path, dtype=torch.bfloat16).transformer
    assert loaded.blocks[0].ffn.net[2].weight.dtype == torch.bfloat16
    assert loaded.blocks[0].scale_shift_table.dtype == torch.float32
    assert loaded.rope.freqs_cos.dtype == torch.float32


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path, micro: LongVie2Pipeline) -> None:
    bias = micro.transformer.proj_out.bias
    kept = bias.data.clone()
    try:
        bias.data[0] = 1e6
        with pytest.raises(InvalidValue, match=r"transformer\.proj_out\.bias"):
            save_checkpoint(micro, tmp_path)
    finally:
        bias.data = kept


def test_the_seed_of_the_weights(micro: LongVie2Pipeline) -> None:
    state = torch.random.get_rng_state()
    first, again, other = (build(TINY, seed=seed).transformer.proj_out.weight for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_tiny_fits_into_the_package() -> None:
    pipeline = build(TINY, seed=0)
    parts = (pipeline.transformer, pipeline.vae, pipeline.text_encoder, pipeline.image_encoder)
    assert sum(p.numel() for part in parts for p in part.parameters()) * 2 < 40e6


@pytest.mark.parametrize(
    ("field", "shape"),
    [
        ("image", (16, 30, 3)),
        ("dense", (17, 16, 16)),
        ("dense", (16, 16, 32)),
        ("sparse", (17, 16, 32)),
        ("sparse", (16, 16, 32, 3)),
        ("history", (8, 8, 32, 3)),
    ],
)
def test_sizes_that_differ_are_refused(micro_clip: ClipInput, field: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeMismatch):
        replace(micro_clip, **{field: np.zeros(shape, np.uint8)})
