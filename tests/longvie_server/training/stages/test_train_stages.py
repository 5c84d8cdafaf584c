"""The stages as people run them: real processes, killed and started again, one and two of them."""

from __future__ import annotations

import json
import math
import os
import select
import signal
import socket
import subprocess
import sys
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_wan import config_for, fill
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from bridge.errors import InvalidValue
from longvie_server.training.stages import Ablations, Stage, train_stage, train_stages
from longvie_server.training.stages.machine import Machine
from longvie_server.training.stages.method import METHOD
from longvie_server.training.stages.plan import draw_plan, plan_random
from longvie_server.world_model.longvie2.checkpoint import load_checkpoint


def test_all_stages_one_after_another(model: Path, machine: Machine, tmp_path: Path) -> None:
    fill(tmp_path)
    made = train_stages(config_for(model, tmp_path, out=tmp_path / "made"), list(Stage), machine)
    # What is prepared is prepared once.
    assert [folder.parent for folder in tmp_path.rglob("sequences")] == [tmp_path]
    before, after = (load_checkpoint(folder).transformer.state_dict() for folder in (model, made))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert any(name.startswith("control_combine_linears") for name in changed)
    others = {name for name in changed if not name.startswith("control_")}
    # The last stage moves the base's self-attention, and nothing else of it.
    assert others
    assert all(name.startswith("blocks.") and ".attn1." in name for name in others)
    curves = EventAccumulator(str(tmp_path / "history" / "curves")).Reload()
    assert {"loss", "gradient", "rate"} <= set(curves.Tags()["scalars"])
    assert [point.step for point in curves.Scalars("loss")] == [1, 2]
    assert set(curves.Tags()["images"]) == {"clip 0", "clip 1"}
    assert curves.Images("clip 1")[0].encoded_image_string[:6] == b"GIF89a"


def test_the_first_stage_begins_at_the_base(model: Path, machine: Machine, tmp_path: Path) -> None:
    fill(tmp_path)
    train_stage(config_for(model, tmp_path, steps=1, ema_decay=0.0), machine)
    weights = load_checkpoint(tmp_path / "checkpoint").transformer.control_combine_linears[0].weight
    # From zero, one step of AdamW at 1e-3: no farther than that, where a random layer is 0.1 and more.
    assert 0 < weights.abs().max().item() <= 1.1e-3


def test_training_brings_the_loss_down(model: Path, machine: Machine, tmp_path: Path) -> None:
    losses = {}
    for rate in (1e-9, 1e-2):
        folder = tmp_path / str(rate)
        fill(folder)
        train_stage(config_for(model, folder, steps=8, batch=2, learning_rate=rate, keep_control=True), machine)
        losses[rate] = [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]
    # The same clips at the same noise: what differs is what was learnt.
    still, learning = losses.values()
    assert len(still) == 8
    assert still[0] == pytest.approx(learning[0])
    assert sum(learning[-4:]) < 0.9 * sum(still[-4:])


def test_another_training_s_folder_is_refused(model: Path, machine: Machine, tmp_path: Path) -> None:
    fill(tmp_path)
    train_stage(config_for(model, tmp_path, steps=1), machine)
    with pytest.raises(InvalidValue, match="holds another training"):
        train_stage(config_for(model, tmp_path, seed=1), machine)
    with pytest.raises(InvalidValue, match="holds another training"):
        train_stage(config_for(model, tmp_path, ablations=Ablations(controls="dense")), machine)


def test_data_that_is_not_there_is_named_before_a_model_is_read(machine: Machine, tmp_path: Path) -> None:
    asked = config_for(tmp_path / "no model", tmp_path, data=tmp_path / "nothing")
    for train in (lambda: train_stage(asked, machine), lambda: train_stages(asked, list(Stage), machine)):
        with pytest.raises(InvalidValue) as caught:
            train()
        assert (caught.value.field, caught.value.value) == ("--data", str(tmp_path / "nothing"))


@pytest.mark.parametrize(
    ("settings", "field"),
    [({"precision": "fp8"}, "--precision"), ({"device": "tpu"}, "--device"), ({"shard": True}, "--shard")],
)
def test_machines_that_are_not_there_are_named(settings: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        Machine(**{"device": "cpu", **settings})  # type: ignore[arg-type]
    assert (caught.value.field, bool(caught.value.remedy)) == (field, True)


def test_processes_wait_for_one_that_works_for_hours(machine: Machine) -> None:
    assert machine.accelerator.init_handler.to_kwargs()["timeout"] >= timedelta(hours=6)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((name, 0) for name in ("scenes", "steps", "batch", "accumulate", "clips", "save_every", "log_every")),
        *((name, -1) for name in ("warmup", "seed", "first_seed")),
        *(("learning_rate", rate) for rate in (0.0, -1e-4, math.nan, math.inf)),
        *(("ema_decay", decay) for decay in (-0.1, 1.1, math.nan)),
    ],
)
def test_numbers_out_of_their_range_are_named(model: Path, tmp_path: Path, field: str, value: float) -> None:
    with pytest.raises(InvalidValue) as caught:
        config_for(model, tmp_path, **{field: value})
    assert (caught.value.field, caught.value.value, bool(caught.value.remedy)) == (field, str(value), True)


def _command(stage: str, model: Path, folder: Path, *more: str) -> list[str]:
    plain = ["--model", str(model), "--folder", str(folder), "--out", str(folder / "checkpoint"), "--device", "cpu"]
    numbers = ["--scenes", "1", "--warmup", "0", "--learning-rate", "1e-3", "--ema-decay", "0.5", "--log-every", "1"]
    return ["-m", "longvie_server", "train", stage, *plain, *numbers, *more]


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "TERM": "dumb"}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_killed_training_goes_on_to_the_very_same_weights(model: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        fill(folder)
    arguments = ["--steps", "7", "--save-every", "2"]
    subprocess.run([sys.executable, *_command("history", model, whole, *arguments)], env=_environment(), check=True)
    log = killed / "log.jsonl"
    os.mkfifo(log)
    # Open for writing too: the training opens its log anew for every line, and must not seem to have ended in between.
    told = os.open(log, os.O_RDWR)
    alive, its_end = os.pipe()
    command = [sys.executable, *_command("history", model, killed, *arguments)]
    process = subprocess.Popen(command, env=_environment(), pass_fds=[its_end])
    os.close(its_end)
    lines = b""
    while lines.count(b"\n") < 5:
        ready, _, _ = select.select([told, alive], [], [])
        assert alive not in ready, "the training ended before it was killed"
        lines += os.read(told, 4096)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    os.close(told)
    os.close(alive)
    log.unlink()
    saved = int(load_file(killed / "state.safetensors")["step"])
    assert saved in (4, 6)
    assert not (killed / "checkpoint").exists()
    subprocess.run([sys.executable, *_command("history", model, killed, *arguments)], env=_environment(), check=True)
    a, b = (load_file(folder / "state.safetensors") for folder in (whole, killed))
    assert int(a["step"]) == 7
    assert set(a) == set(b)
    for name, tensor in a.items():
        assert torch.equal(tensor, b[name]), name


def _together() -> list[str]:
    """What starts two processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port)]


@pytest.mark.slow
@pytest.mark.parametrize("shared", [False, True])
def test_passes_in_bf16_train_weights_in_float32(model: Path, tmp_path: Path, shared: bool) -> None:
    fill(tmp_path)
    command = _command("control", model, tmp_path, "--steps", "2", "--precision", "bf16")
    if shared:
        command = [*_together(), *command, "--shard"]
    subprocess.run([sys.executable, *command], env=_environment(), check=True)
    state = load_file(tmp_path / "state.safetensors")
    assert {tensor.dtype for name, tensor in state.items() if name != "step"} == {torch.float32}
    assert all(torch.isfinite(tensor).all() for tensor in state.values())


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_processes_that_share_the_weights_out_train_as_two_that_do_not(model: Path, tmp_path: Path) -> None:
    """The 14 B model's own set-up on a CPU: weights shared out block by block, activations computed twice."""

    def train(folder: Path, *more: str) -> dict[str, torch.Tensor]:
        command = _command("history", model, folder, "--checkpointing", *more)
        subprocess.run([sys.executable, *_together(), *command], env=_environment(), check=True)
        return load_file(folder / "state.safetensors")

    # A seed whose first step redraws the first frame: passes of the model that all processes take together.
    seed = next(
        seed for seed in count() if draw_plan(METHOD[Stage.HISTORY], Ablations(), plan_random(seed, 0)).redrawn_from
    )
    for name in ("whole", "shared"):
        fill(tmp_path / name)
    whole = train(tmp_path / "whole", "--steps", "3", "--seed", str(seed))
    # Stopped after a step and gone on with, from a file that knows nothing of shares; a sample after every step.
    share = ["--shard", "--sample-every", "1", "--seed", str(seed)]
    train(tmp_path / "shared", "--steps", "1", *share)
    shared = train(tmp_path / "shared", "--steps", "3", *share)
    assert set(whole) == set(shared)
    for name, tensor in whole.items():
        torch.testing.assert_close(shared[name], tensor, rtol=1e-3, atol=1e-5, msg=name)
    assert (load_checkpoint(tmp_path / "shared" / "checkpoint").transformer.config.num_layers) == 2
