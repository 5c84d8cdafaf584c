"""A run that is stopped and resumed takes the same steps as one that was not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from bridge.errors import InvalidValue
from longvie_server.training.export import load_average
from longvie_server.training.muon import Muon
from longvie_server.training.run import STATE_FILE, Ema, Run, Schedule, parameter_groups, step_generator

Optimizer = Callable[[nn.Module], torch.optim.Optimizer]


def _adamw(module: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameter_groups(module, weight_decay=0.1), foreach=True)


OPTIMIZERS = [
    pytest.param(_adamw, id="adamw"),
    pytest.param(lambda m: Muon(m.parameters(), lr=0.1, weight_decay=0.1), id="muon"),
]


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.SiLU(), nn.Linear(8, 2))


def _train(folder: Path, optimizer: Optimizer, *, until: int, steps: int = 8) -> Run:
    net = _net()
    run = Run(folder, net, optimizer(net), Schedule(0.05, steps, warmup=2), ema_decay=0.9)
    for step in run.steps("test"):
        if step == until:
            break
        x = torch.randn(5, 4, generator=step_generator(1, step))
        run.backward((net(x) - x[:, :2]).square().mean())
    run.save()
    return run


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_resuming_is_exact(tmp_path: Path, optimizer: Optimizer) -> None:
    whole = _train(tmp_path / "whole", optimizer, until=8)
    _train(tmp_path / "parts", optimizer, until=3)
    parts = _train(tmp_path / "parts", optimizer, until=8)
    assert whole.step == parts.step == 8
    for name, tensor in whole.module.state_dict().items():
        assert torch.equal(tensor, parts.module.state_dict()[name])
        assert torch.equal(whole.ema.weights[name], parts.ema.weights[name])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_learns(tmp_path: Path, optimizer: Optimizer) -> None:
    x = torch.randn(200, 4, generator=torch.Generator().manual_seed(9))

    def error(module: nn.Module) -> float:
        return float((module(x) - x[:, :2]).detach().square().mean())

    assert error(_train(tmp_path, optimizer, until=60, steps=60).module) < 0.3 * error(_net())


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    net = _net()
    run = Run(tmp_path, net, torch.optim.SGD(net.parameters()), Schedule(0.1, 5))
    with pytest.raises(InvalidValue, match="not finite at step 0"):
        run.backward(net(torch.full((1, 4), float("nan"))).mean())


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"step": torch.tensor(1)}, "0.bias is missing there"),
        ({"module.0.bias": torch.zeros(8)}, "holds no step"),
        (b"cut off", "cannot be read"),
    ],
)
def test_a_state_that_is_not_this_run_s_is_refused_by_its_file(
    tmp_path: Path, content: dict[str, torch.Tensor] | bytes, told: str
) -> None:
    path = tmp_path / STATE_FILE
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        save_file(content, path)
    with pytest.raises(InvalidValue, match=f"{told}.*{STATE_FILE}"):
        _train(tmp_path, _adamw, until=2)
    with pytest.raises(InvalidValue, match=f"{told}.*{STATE_FILE}"):
        load_average(_net(), tmp_path)


@pytest.mark.parametrize("section", ["module", "ema"])
def test_a_state_of_other_shapes_is_refused_with_both(tmp_path: Path, section: str) -> None:
    _train(tmp_path, _adamw, until=2)
    state = load_file(tmp_path / STATE_FILE)
    state[f"{section}.2.weight"] = torch.zeros(2, 9)
    save_file(state, tmp_path / STATE_FILE)
    with pytest.raises(InvalidValue, match=rf"2.weight is \(2, 9\) there, \(2, 8\) here.*{STATE_FILE}"):
        _train(tmp_path, _adamw, until=4)


def test_schedule() -> None:
    schedule = Schedule(2.0, 110, warmup=10)
    assert schedule.at(0) == pytest.approx(0.2)
    assert schedule.at(9) == schedule.at(10) == pytest.approx(2.0)
    assert schedule.at(60) == pytest.approx(2.0 * (0.001 + 0.999 * 0.5))
    assert schedule.at(110) == pytest.approx(0.002)
    for peak in (0.0, float("nan"), float("inf")):
        with pytest.raises(InvalidValue, match="peak"):
            Schedule(peak, 1)


def test_a_young_average_follows_fast() -> None:
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)
    ema = Ema(net, decay=0.999)
    nn.init.ones_(net.weight)
    ema.update(net, 1)
    assert ema.weights["weight"].item() == pytest.approx(1 - 2 / 11)


def test_the_log_is_json_lines(tmp_path: Path) -> None:
    run = _train(tmp_path, lambda m: torch.optim.SGD(m.parameters()), until=2)
    run.log(loss=0.25)
    assert json.loads((tmp_path / "log.jsonl").read_text()) | {"time": 0} == {"step": 2, "time": 0, "loss": 0.25}


def test_muon_steps_are_orthogonal() -> None:
    torch.manual_seed(0)
    weight = nn.Parameter(torch.zeros(6, 10))
    weight.grad = torch.randn(6, 10)
    Muon([weight], lr=1.0).step()
    singular = torch.linalg.svdvals(weight.detach())
    assert singular.min() > 0.3
    assert singular.max() < 1.3
