"""What the commands' flags become."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from longvie_server.cli.app import app
from longvie_server.training.stages import Ablations, Stage, StageConfig
from longvie_server.training.stages.machine import Machine


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[StageConfig, list[Stage]]]:
    """What the commands would train."""
    taken: list[tuple[StageConfig, list[Stage]]] = []

    def several(config: StageConfig, stages: Sequence[Stage], machine: Machine) -> Path:
        taken.append((config, list(stages)))
        return config.out

    def one(config: StageConfig, machine: Machine) -> Path:
        return several(config, [config.stage], machine)

    monkeypatch.setattr("longvie_server.training.stages.train_stages", several)
    monkeypatch.setattr("longvie_server.training.stages.train_stage", one)
    return taken


def _train(stage: str, *flags: str) -> None:
    plain = ["--model", "base", "--out", "made", "--folder", "run", "--device", "cpu"]
    result = CliRunner().invoke(app, ["train", stage, *plain, *flags], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "made is ready" in result.output


def test_each_stage_has_a_command(asked: list[tuple[StageConfig, list[Stage]]]) -> None:
    for stage in Stage:
        _train(stage.value, "--steps", "7", "--data", "videos")
    assert [stages for _, stages in asked] == [[stage] for stage in Stage]
    config = asked[-1][0]
    assert (config.model, config.out, config.folder, config.data) == ("base", Path("made"), Path("run"), Path("videos"))
    assert (config.steps, config.ablations) == (7, Ablations())
    assert [taken.rate(1000) for taken, _ in asked] == [1e-5, 1e-5, 5e-6]


def test_all_takes_them_in_order_and_leaves_out_what_it_is_told_to(
    asked: list[tuple[StageConfig, list[Stage]]],
) -> None:
    _train("all")
    _train("all", "--without-stage-2")
    _train("all", "--without-stage-3", "--controls", "dense")
    _train("all", "--without-history", "--without-unified-noise", "--per-clip-range")
    assert [stages for _, stages in asked[:3]] == [
        list(Stage),
        [Stage.CONTROL, Stage.HISTORY],
        [Stage.CONTROL, Stage.FIRST_FRAME],
    ]
    assert asked[2][0].ablations == Ablations(controls="dense")
    assert asked[3][0].ablations == Ablations(history=False, unified_noise=False, per_clip_range=True)
