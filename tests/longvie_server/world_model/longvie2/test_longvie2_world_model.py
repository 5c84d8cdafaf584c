from __future__ import annotations

import shutil
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from miniature import MINIATURE
from safetensors.torch import load_file, save_file

from bridge.errors import InvalidValue, ShapeMismatch
from bridge.tick import WorldState
from longvie_server.world_model.interface import ControlClip, StepEvent, StepFrames, WorldModel, new_state
from longvie_server.world_model.longvie2 import LongVie2Pipeline, LongVie2WorldModel, build
from longvie_server.world_model.longvie2.checkpoint import load_checkpoint, save_checkpoint
from longvie_server.world_model.longvie2.world_model import PROMPTS_KEPT


@pytest.fixture
def model(micro: LongVie2Pipeline) -> LongVie2WorldModel:
    return LongVie2WorldModel(micro, name="micro")


@pytest.fixture
def controls() -> ControlClip:
    rng = np.random.default_rng(3)
    return ControlClip(
        dense=rng.integers(0, 256, (81, 16, 32), np.uint8), sparse=rng.integers(0, 256, (81, 16, 32, 3), np.uint8)
    )


def start(model: WorldModel, seed: int = 3, size: tuple[int, int] = (16, 32)) -> WorldState:
    first = np.full((*size, 3), 90, np.uint8)
    return new_state(model.spec, first_frame=first, prompt="a town", seed=seed)


def finish(steps: Generator[StepEvent, None, WorldState]) -> tuple[np.ndarray, WorldState]:
    frames = []
    while True:
        try:
            event = next(steps)
        except StopIteration as stop:
            return np.concatenate(frames), stop.value
        if isinstance(event, StepFrames):
            frames.append(event.frames)


def test_clips_follow_each_other(controls: ControlClip, micro: LongVie2Pipeline) -> None:
    model = LongVie2WorldModel(micro, name="micro", decode_chunk=1)
    state = start(model)
    first, state = finish(model.step(state, controls))
    assert first.shape == (81, 16, 32, 3)
    assert (state.clip, state.next_tick, state.shares_tick) == (1, 80, True)
    assert np.array_equal(state.frames, first[-8:])
    anchor = np.concatenate((np.full((16, 32, 3), 90, np.uint8), controls.dense[0, ..., None]), axis=2)
    assert state.anchor is not None
    assert np.array_equal(state.anchor, anchor)
    second, state = finish(model.step(state, controls))
    assert state.clip == 2
    assert np.array_equal(state.anchor, anchor)
    want = micro(first[-1], controls.dense, controls.sparse, "a town", history=first[-8:], seed=3)
    assert np.array_equal(second, want)


def test_sessions_that_take_turns_get_their_own_bytes(model: LongVie2WorldModel, controls: ControlClip) -> None:
    alone, _ = finish(model.step(start(model), controls))
    turns = [model.step(start(model, seed), controls) for seed in (3, 4)]
    frames: list[list[np.ndarray]] = [[], []]
    for pair in zip(*turns, strict=True):
        for own, event in zip(frames, pair, strict=True):
            if isinstance(event, StepFrames):
                own.append(event.frames)
    assert np.array_equal(np.concatenate(frames[0]), alone)
    assert not np.array_equal(np.concatenate(frames[1]), alone)


@pytest.mark.parametrize("events", [1, 3, 8])
def test_closing_cancels(model: LongVie2WorldModel, controls: ControlClip, events: int) -> None:
    steps = model.step(start(model), controls)
    for _ in range(events):
        next(steps)
    steps.close()
    assert next(steps, None) is None


def test_wrong_sizes_are_refused_at_once(model: LongVie2WorldModel, controls: ControlClip) -> None:
    with pytest.raises(ShapeMismatch, match=r"state\.frames"):
        model.step(replace(start(model), frames=np.zeros((1, 8, 8, 3), np.uint8)), controls)
    small = ControlClip(dense=np.zeros((81, 8, 8), np.uint8), sparse=np.zeros((81, 8, 8, 3), np.uint8))
    with pytest.raises(ShapeMismatch, match="controls"):
        model.step(start(model), small)


def test_the_negative_prompt_counts_with_guidance(micro: LongVie2Pipeline, controls: ControlClip) -> None:
    guided = LongVie2WorldModel(micro, name="guided", steps=1, guidance_scale=4.0)
    state = start(guided)
    own, _ = finish(guided.step(state, controls))
    default, _ = finish(guided.step(replace(state, negative_prompt="blurry"), controls))
    other, _ = finish(guided.step(replace(state, negative_prompt="day"), controls))
    assert np.array_equal(own, default)
    assert not np.array_equal(own, other)


def test_prompts_are_remembered_up_to_a_bound(model: LongVie2WorldModel) -> None:
    first = model._text("0")
    assert model._text("0") is first
    for number in range(1, PROMPTS_KEPT + 1):
        model._text(str(number))
    assert len(model._texts) == PROMPTS_KEPT
    assert "0" not in model._texts


def test_the_spec_tells_size_steps_and_numerics(micro: LongVie2Pipeline, tmp_path: Path) -> None:
    save_checkpoint(micro, tmp_path)
    spec = LongVie2WorldModel.load(tmp_path, name="micro", steps=9).spec
    assert (spec.name, spec.height, spec.width, spec.steps, spec.fps) == ("micro", 16, 32, 9, 16)
    assert set(spec.numerics) == {
        "attention",
        "compiled",
        "decode_chunk",
        "decoder",
        "device",
        "diffusers",
        "dtype",
        "gpus",
        "guidance",
        "hardware",
        "memory",
        "products",
        "quality",
        "threads",
        "torch",
        "transformers",
    }
    said = {name: spec.numerics[name] for name in ("device", "dtype", "attention", "compiled", "guidance")}
    assert list(said.values()) == ["cpu", "float32", "native", "false", "none"]
    guided = LongVie2WorldModel(micro, name="micro", guidance_scale=5.0)
    assert guided.spec.numerics["guidance"] == "batched"


def test_weights_of_another_version_are_refused_by_name(tmp_path: Path) -> None:
    save_checkpoint(build(MINIATURE, seed=0), tmp_path)
    weights = tmp_path / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    tensors["decoder.place_in.weight"] = tensors["decoder.place_in.weight"][:, :-64].clone()
    save_file(tensors, weights)
    with pytest.raises(
        InvalidValue, match=r"another layout: decoder.place_in.weight expected shape .*train or"
    ) as seen:
        load_checkpoint(tmp_path)
    assert "low_cpu_mem_usage" not in str(seen.value)


@pytest.mark.parametrize(
    ("index", "told"),
    [
        (None, "no file named model_index.json"),
        ("{", "is not a valid JSON file"),
        ("{}", "its model_index.json does not say '_class_name'"),
        ('{"_class_name": "StableDiffusionPipeline"}', "expected .*transformer"),
    ],
)
def test_a_folder_that_holds_no_pipeline_is_refused_by_name(tmp_path: Path, index: str | None, told: str) -> None:
    if index is not None:
        (tmp_path / "model_index.json").write_text(index)
    with pytest.raises(InvalidValue, match=f"cannot be read as a checkpoint: .*{told}") as seen:
        load_checkpoint(tmp_path)
    assert seen.value.value == str(tmp_path)


def test_a_folder_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match=r"there is no such folder \(got .*nothing\)"):
        load_checkpoint(tmp_path / "nothing")


def test_a_checkpoint_that_lacks_a_part_is_refused(tmp_path: Path) -> None:
    save_checkpoint(build(MINIATURE, seed=0), tmp_path)
    shutil.rmtree(tmp_path / "vae")
    with pytest.raises(InvalidValue, match=r"cannot be read as a checkpoint: .*config\.json"):
        load_checkpoint(tmp_path)
