"""A checkpoint is of the training and the step that its note says, and no one else's is overwritten."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_wan import config_for, fill, save_small_wan

from bridge.errors import InvalidValue
from longvie_server.training.stages import Stage, StageConfig, train_stage, train_stages
from longvie_server.training.stages.exported import Origin, origin_of
from longvie_server.training.stages.machine import Machine
from longvie_server.training.stages.method import Ablations
from longvie_server.world_model.longvie2.checkpoint import load_checkpoint, save_checkpoint

LAYER = "control_combine_linears.0.weight"


@pytest.fixture
def begun(model: Path, machine: Machine, tmp_path: Path) -> StageConfig:
    """A training of one step."""
    fill(tmp_path)
    config = config_for(model, tmp_path, steps=1)
    train_stage(config, machine)
    return config


def weights(out: Path) -> torch.Tensor:
    return load_checkpoint(out).transformer.state_dict()[LAYER]


def average(folder: Path) -> torch.Tensor:
    # As it is stored: 16 bits.
    return load_file(folder / "state.safetensors")[f"average.{LAYER}"].half().float()


def grown(config: StageConfig, steps: int) -> StageConfig:
    return config_for(Path(config.model), config.folder, steps=steps)


def test_a_training_that_grows_writes_its_checkpoint_again(begun: StageConfig, machine: Machine) -> None:
    first = weights(begun.out)
    assert torch.equal(first, average(begun.folder))
    train_stage(grown(begun, 2), machine)
    assert not torch.equal(weights(begun.out), first)
    assert torch.equal(weights(begun.out), average(begun.folder))
    origin = origin_of(begun.out)
    assert origin is not None
    assert origin.step == 2


def test_a_finished_training_leaves_its_checkpoint_alone(begun: StageConfig, machine: Machine) -> None:
    index = begun.out / "model_index.json"
    before = index.stat().st_mtime_ns
    train_stage(begun, machine)
    assert index.stat().st_mtime_ns == before


def test_a_half_written_checkpoint_is_written_again(begun: StageConfig, machine: Machine) -> None:
    note = begun.out / "training.json"
    note.write_text(json.dumps({**json.loads(note.read_text()), "step": None}))
    shutil.rmtree(begun.out / "transformer")
    train_stage(begun, machine)
    assert torch.equal(weights(begun.out), average(begun.folder))


def test_a_checkpoint_of_another_is_refused_before_a_step(
    model: Path, begun: StageConfig, machine: Machine, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    fill(other)
    foreign = save_small_wan(tmp_path / "foreign")
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    (unfinished / "training.json").write_text(json.dumps({"run": "another", "step": None}))
    for out in (foreign, begun.out, unfinished):
        with pytest.raises(InvalidValue, match="did not make") as caught:
            train_stage(config_for(model, other, out=out), machine)
        assert (caught.value.field, caught.value.value) == ("--out", str(out))
        with pytest.raises(InvalidValue, match="did not make"):
            train_stages(config_for(model, other, out=out), [Stage.CONTROL, Stage.FIRST_FRAME], machine)
    assert not list(other.rglob("state.safetensors"))
    assert origin_of(foreign) is None


def test_a_stage_begins_with_what_the_one_before_became(model: Path, machine: Machine, tmp_path: Path) -> None:
    """The first stage was done, and no more, when its steps were raised."""
    both = [Stage.CONTROL, Stage.FIRST_FRAME]
    fill(tmp_path)
    control, config = tmp_path / "control", config_for(model, tmp_path, steps=1, out=tmp_path / "made")
    train_stage(config_for(model, control, steps=1, sequences=tmp_path / "sequences"), machine)
    train_stages(config_for(model, tmp_path, steps=2, out=config.out), both, machine)
    # A stage's first average is its beginning: no step of AdamW moves it farther than 1e-3 each.
    assert (weights(config.out) - average(control)).abs().max().item() <= 2.2e-3
    left = origin_of(control / "checkpoint")
    assert left is not None
    assert left.step == 2
    # Now the second was begun with the first's second step: there is no third one.
    with pytest.raises(InvalidValue, match="was begun with") as caught:
        train_stages(config_for(model, tmp_path, steps=3, out=config.out), both, machine)
    assert caught.value.field == "--steps"
    assert origin_of(control / "checkpoint") == Origin(left.run, 2)
    train_stages(config_for(model, tmp_path, steps=2, out=config.out), both, machine)


@pytest.mark.parametrize(("shown", "history"), [(True, False), (False, True)])
def test_a_checkpoint_is_shown_a_history_where_its_last_stage_was(
    model: Path, machine: Machine, tmp_path: Path, shown: bool, history: bool
) -> None:
    fill(tmp_path)
    start = load_checkpoint(model)
    start.register_to_config(sees_history=shown)
    save_checkpoint(start, tmp_path / "start")
    config = config_for(
        tmp_path / "start", tmp_path, stage=Stage.HISTORY, steps=1, ablations=Ablations(history=history)
    )
    assert load_checkpoint(train_stage(config, machine)).defaults.sees_history is history
