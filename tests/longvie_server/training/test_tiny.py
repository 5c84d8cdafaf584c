"""The whole making of a checkpoint, at the smallest size at which every stage still does its work."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from miniature import MICRO, MINIATURE
from safetensors.torch import load_file

from bridge.errors import InvalidValue
from bridge.tick import CLIP_TICKS, WorldState
from longvie_server.training import TinyConfig, decoder, train_tiny, world
from longvie_server.training.latents import SceneLatents
from longvie_server.training.rollout import Rollout, with_rollout
from longvie_server.training.run import Run
from longvie_server.world_model.interface import ControlClip, StepFrames
from longvie_server.world_model.longvie2 import LongVie2WorldModel
from longvie_server.world_model.longvie2.checkpoint import load_checkpoint, save_checkpoint
from longvie_server.world_model.longvie2.configs import build
from longvie_server.world_model.longvie2.pipeline import ClipInput


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> TinyConfig:
    folder = tmp_path_factory.mktemp("run")
    config = TinyConfig(
        folder=folder,
        out=folder / "checkpoint",
        model=MINIATURE,
        scenes=2,
        world_steps=4,
        decoder_steps=2,
        world_batch=1,
        rollouts=2,
        rollouts_at=(0.5,),
    )
    train_tiny(config)
    return config


def test_the_checkpoint_serves_a_clip(made: TinyConfig) -> None:
    model = LongVie2WorldModel.load(made.out, name="miniature")
    first = np.full((1, 32, 48, 3), 90, np.uint8)
    state = WorldState(model="miniature", clip=0, next_tick=0, shares_tick=False, seed=1, prompt="hills", frames=first)
    controls = ControlClip(np.zeros((CLIP_TICKS, 32, 48), np.uint8), np.zeros((CLIP_TICKS, 32, 48, 3), np.uint8))
    frames = [event.frames for event in model.step(state, controls) if isinstance(event, StepFrames)]
    assert np.concatenate(frames).shape == (CLIP_TICKS, 32, 48, 3)


def test_every_training_took_all_of_its_steps_and_logged_finite_figures(made: TinyConfig) -> None:
    for name, steps in (("world", 4), ("decoder", 2)):
        lines = [json.loads(line) for line in (made.folder / name / "log.jsonl").read_text().splitlines()]
        assert lines[-1]["step"] == steps
        assert all(np.isfinite(value) for line in lines for value in line.values())


def test_the_encoder_stays_as_it_was_when_the_decoder_is_trained_on(made: TinyConfig) -> None:
    before = load_file(made.folder / "vae" / "diffusion_pytorch_model.safetensors")
    after = load_file(made.folder / "decoder" / "state.safetensors")
    encoder = [name for name in before if name.startswith("encoder")]
    assert encoder
    assert all(torch.equal(before[name], after[f"ema.{name}"]) for name in encoder)
    assert any(not torch.equal(before[name], after[f"ema.{name}"]) for name in before)


def test_a_second_call_changes_nothing(made: TinyConfig) -> None:
    files = sorted(made.folder.rglob("*.safetensors"))
    runs = [path for path in files if made.out not in path.parents]
    before = {path: path.read_bytes() for path in files}
    stamps = {path: path.stat().st_mtime_ns for path in runs}
    train_tiny(made)
    assert {path: path.read_bytes() for path in sorted(made.folder.rglob("*.safetensors"))} == before
    assert {path: path.stat().st_mtime_ns for path in runs} == stamps


def test_a_rollout_is_one_more_variant_of_the_later_clip_alone(made: TinyConfig) -> None:
    path = sorted((made.folder / "latents").glob("*.safetensors"))[0]
    scene = SceneLatents.load(path)
    rollout = Rollout.load(made.folder / "rollouts_0" / path.name)
    more = with_rollout(scene, rollout)
    assert more.clips[0] is scene.clips[0]
    assert more.clips[1].image_head.shape[0] == scene.clips[1].image_head.shape[0] + 1
    assert more.clips[1].carried.shape[0] == scene.clips[1].carried.shape[0] + 1
    assert scene.clips[1].history is not None
    assert more.clips[1].history is not None
    assert torch.equal(more.clips[1].history[:-1], scene.clips[1].history)
    assert not torch.equal(more.clips[1].history[-1], scene.clips[1].history[0])
    assert rollout.latents[1].shape == scene.clips[1].truth.shape


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (
            {"without_stage_2": True, "without_stage_3": True},
            "--without-stage-2 was false, is true; --without-stage-3 was false, is true",
        ),
        ({"world_steps": 8}, "--world-steps was 4, is 8"),
        ({"scenes": 1}, "--scenes was 2, is 1"),
        ({"world_batch": 2}, "--batch was 1, is 2"),
        ({"rollouts_at": (0.25,)}, r"settings: rollouts_at was \[0.5\], is \[0.25\]"),
        ({"model": replace(MINIATURE, shift=4.0)}, r"settings: model.shift was [\d.]+, is 4.0"),
    ],
)
def test_a_folder_goes_on_with_its_first_settings_alone(made: TinyConfig, other: dict[str, Any], told: str) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.folder.rglob("*") if path.is_file()}
    with pytest.raises(InvalidValue, match=f"{told}.*Give another --folder"):
        train_tiny(replace(made, **other))
    assert {path: path.stat().st_mtime_ns for path in made.folder.rglob("*") if path.is_file()} == before


def test_the_start_is_known_by_its_weights_and_not_by_its_path(
    made: TinyConfig, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("start")
    start = folder / "start"
    start.symlink_to(made.out)
    config = replace(made, folder=folder, start=start)
    moved, fresh = config.settings(load_checkpoint(start)), made.settings(None)
    assert moved == replace(config, start=made.out).settings(load_checkpoint(made.out))
    assert moved["start"] != fresh["start"]
    changed = load_checkpoint(made.out)
    with torch.no_grad():
        next(changed.vae.parameters()).view(-1)[0] += 1
    assert config.settings(changed)["start"] != moved["start"]


def test_scenes_of_a_shared_store_that_were_not_asked_for_are_left_alone(
    made: TinyConfig, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("fewer")
    (folder / "scenes").symlink_to(made.folder / "scenes")
    train_tiny(replace(made, folder=folder, out=folder / "checkpoint", scenes=1, rollouts=1))
    assert len(list((made.folder / "latents").glob("*.safetensors"))) == 2
    assert len(list((folder / "latents").glob("*.safetensors"))) == 1


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ({"device": "foo"}, "device: .*no such device.*foo"),
        ({"start": "missing"}, "--start: cannot be read as a checkpoint: there is no such folder.*missing"),
        ({"start": "empty"}, "--start: cannot be read as a checkpoint: .*model_index.json.*empty"),
        ({"start": "wan"}, "--start: has a VAE that is not trained here.*AutoencoderKLWan"),
        ({"learning_rate": float("nan")}, "--learning-rate: must be a finite number above 0"),
        ({"learning_rate": float("inf")}, "--learning-rate: must be a finite number above 0"),
        ({"spoilt_share": float("nan")}, "--spoilt-share: must be within 0 and 1"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_made(tmp_path: Path, bad: dict[str, Any], told: str) -> None:
    (tmp_path / "empty").mkdir()
    if "start" in bad:
        bad = {"start": tmp_path / bad["start"]}
    if bad.get("start") == tmp_path / "wan":
        save_checkpoint(build(MICRO, seed=0), tmp_path / "wan")
    with pytest.raises(InvalidValue, match=told):
        train_tiny(TinyConfig(folder=tmp_path / "run", out=tmp_path / "out", model=MINIATURE, scenes=1, **bad))
    assert not (tmp_path / "run").exists()


class _Stopped(Exception):
    pass


def _stops_at(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, call: int) -> None:
    """Let a function fail at this call of it, counted from 0, before it does anything."""
    real, calls = getattr(owner, name), count()

    def stop(*args: Any, **named: Any) -> Any:
        if next(calls) == call:
            raise _Stopped
        return real(*args, **named)

    monkeypatch.setattr(owner, name, stop)


@pytest.mark.slow
def test_a_making_that_is_stopped_anywhere_ends_with_the_bytes_of_one_that_is_not(
    made: TinyConfig, tmp_path: Path
) -> None:
    (tmp_path / "scenes").symlink_to(made.folder / "scenes")
    parts = replace(made, folder=tmp_path, out=tmp_path / "checkpoint")
    stops: list[tuple[str, object, str, int]] = [
        ("as the weights of the code are written, after its config", safetensors.torch, "save_file", 0),
        ("among the latents", SceneLatents, "save", 1),
        ("in the denoiser's first part", world, "flow_loss", 1),
        ("among the first rollouts", Rollout, "save", 1),
        ("in the denoiser's second part", world, "flow_loss", 1),
        ("among the last rollouts", Rollout, "save", 0),
        ("in the decoder", decoder, "picture_loss", 1),
        ("as the decoder is written", Run, "save", 0),
    ]
    for where, owner, name, call in stops:
        with pytest.MonkeyPatch.context() as monkeypatch:
            _stops_at(monkeypatch, owner, name, call)
            with pytest.raises(_Stopped):
                train_tiny(parts)
        assert not parts.out.exists(), where
    train_tiny(parts)
    whole = {path.relative_to(made.folder): path.read_bytes() for path in made.folder.rglob("*.safetensors")}
    assert len(whole) > 10
    assert {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.safetensors")} == whole


def test_going_on_from_a_checkpoint_keeps_its_encoder_and_moves_the_rest(
    made: TinyConfig, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("further")
    further = replace(
        made, folder=folder, out=folder / "checkpoint", start=made.out, first_seed=5, scenes=1, rollouts_at=(0.0, 0.5)
    )
    train_tiny(further)
    assert not (folder / "vae").exists()
    assert {path.name for path in folder.glob("rollouts_*")} == {"rollouts_0", "rollouts_1", "rollouts_last"}
    before, after = (load_checkpoint(config.out) for config in (made, further))
    assert after.vae.config.latents_mean == before.vae.config.latents_mean
    assert _moved(before.vae.encoder, after.vae.encoder) == 0
    assert _moved(before.vae.decoder, after.vae.decoder) > 0
    assert _moved(before.image_encoder, after.image_encoder) == 0
    # Weights of another seed would lie 1.4 lengths apart.
    assert 0 < _moved(before.transformer, after.transformer) < 0.1


def _moved(before: torch.nn.Module, after: torch.nn.Module) -> float:
    """The distance between the weights of two modules, as a share of their length."""
    pairs = list(zip(before.parameters(), after.parameters(), strict=True))
    distance = sum(float((a - b).square().sum()) for b, a in pairs) ** 0.5
    return distance / sum(float(b.square().sum()) for b, _ in pairs) ** 0.5


def test_the_checkpoint_carries_its_first_frame(made: TinyConfig) -> None:
    assert load_checkpoint(made.out).defaults.carries_first_frame


def test_an_ablation_leaves_its_stages_out_in_training_and_later(
    made: TinyConfig, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("ablation")
    (folder / "scenes").symlink_to(made.folder / "scenes")
    without = replace(
        made, folder=folder, out=folder / "checkpoint", without_stage_2=True, without_stage_3=True, spoilt_share=1.0
    )
    train_tiny(without)
    assert {path.name for path in folder.glob("rollouts_*")} == {"rollouts_last"}, "the decoder's alone"
    pipeline = load_checkpoint(without.out)
    assert not pipeline.defaults.sees_history
    assert load_checkpoint(made.out).defaults.sees_history
    size = (pipeline.defaults.height, pipeline.defaults.width)
    black = np.zeros((81, *size, 3), np.uint8)
    clip = ClipInput(black[0], black, black, history=black[:8])
    assert pipeline.prepare(clip, text=pipeline.encode_prompt(""), negative_text=None).history is None
