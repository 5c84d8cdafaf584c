"""A clip that several processes make together is the clip that one makes."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from miniature import MICRO
from parallel_ranks import make_clip

from bridge.errors import InvalidValue
from longvie_server.world_model.longvie2 import build
from longvie_server.world_model.longvie2.checkpoint import save_checkpoint
from longvie_server.world_model.longvie2.parallel import parallelise

RANKS = Path(__file__).with_name("parallel_ranks.py")
SIZES = replace(MICRO.transformer, num_attention_heads=4, control_num_attention_heads=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    save_checkpoint(build(replace(MICRO, transformer=SIZES), seed=0), path, dtype=torch.float32)
    return path


@pytest.mark.parametrize(
    ("processes", "cases"), [(2, [(False, 1.0), (True, 1.0), (True, 5.0)]), (4, [(True, 5.0)])], ids=["two", "four"]
)
def test_the_same_clip(folder: Path, tmp_path: Path, processes: int, cases: list[tuple[bool, float]]) -> None:
    """With and without history; with guidance, the two passes are made side by side."""
    place, out = tmp_path / "meeting_point", tmp_path / "out"
    spelled = [f"{history},{guidance_scale}" for history, guidance_scale in cases]
    started = [
        subprocess.Popen(
            [sys.executable, RANKS, folder, place, out, str(rank), str(processes), *spelled],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    errors = [process.communicate()[1] for process in started]
    assert [process.returncode for process in started] == [0] * processes, "\n".join(errors)[-4000:]
    for case, (history, guidance_scale) in zip(spelled, cases, strict=True):
        alone = make_clip(folder, history=history, guidance_scale=guidance_scale, together=False)
        first, *others = (torch.load(f"{out}.{case}.{rank}", weights_only=True) for rank in range(processes))
        assert all(torch.equal(other, first) for other in others)
        torch.testing.assert_close(first, alone, rtol=1e-5, atol=1e-5)


def test_heads_that_cannot_be_shared_out_are_refused() -> None:
    with (
        patch("torch.distributed.get_world_size", return_value=8),
        pytest.raises(InvalidValue, match="control_num_attention_heads") as caught,
    ):
        parallelise(build(replace(MICRO, transformer=SIZES), seed=0).transformer, guided=True)
    assert "gpus" in caught.value.field
