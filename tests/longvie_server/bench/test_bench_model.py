"""The model's bench: its counts are right and its parts add up; how fast it is, is no test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bridge.errors import InvalidValue
from longvie_server.bench.model import bench_model
from longvie_server.bench.quality import bench_quality
from longvie_server.cli.app import app
from longvie_server.evaluation.metrics import PSNR_CEILING_DB
from longvie_server.world_model.options import RunOptions


def test_stages_add_up_and_operations_are_those_of_the_size() -> None:
    bench = bench_model("random-small", clips=1, steps=2)
    stages = bench.control_s + bench.encode_s + bench.denoise_s + bench.decode_s
    assert stages == pytest.approx(bench.seconds_per_clip)
    assert (bench.steps, bench.passes) == (2, 4)
    assert bench.control_s < bench.first_frame_s < bench.seconds_per_clip
    assert 0 < bench.first_frame_share < 1

    # 64 x 96 pixels: 8 x 12 latents, 4 x 6 tokens per frame; 21 frames and 2 of history. Width 96, control 48.
    clip, all_tokens, context = 21 * 24, 23 * 24, 512 + 5
    attention = 4 * (4 * 96 * all_tokens * (all_tokens + context) + 2 * 2 * 48 * clip * (clip + context))
    assert bench.attention_flop == attention
    # Per token and base layer: q, k, v, out of self-attention, q and out of cross-attention, the feed-forward.
    base = 4 * all_tokens * (6 * 96 * 96 + 2 * 96 * 256)
    control = 2 * 2 * clip * (6 * 48 * 48 + 2 * 48 * 128)
    fused = 2 * clip * 48 * 96
    head_and_patches = clip * 96 * (16 * 4) + clip * (36 * 4) * 96
    time = 64 * 96 + 96 * 96 + 96 * 6 * 96 + 6 * 96 * 48
    assert bench.linear_flop == 2 * (base + control + fused + head_and_patches + time)


def test_the_command_writes_what_it_shows(tmp_path: Path) -> None:
    file = tmp_path / "model.json"
    flags = ["--model", "random-small", "--clips", "1", "--steps", "1", "--json", str(file)]
    result = CliRunner().invoke(app, ["bench", "model", *flags])
    assert result.exit_code == 0, result.output
    figures = json.loads(file.read_text())
    assert figures["over_floor"] == pytest.approx(figures["seconds_per_pass"] / figures["floor_s"])
    assert figures["peak_memory_bytes"] > 10**8


def test_a_quality_is_measured_beside_final() -> None:
    bench = bench_quality("random-small", options=RunOptions(quality="balanced"), clips=1)
    assert (bench.final.quality, bench.chosen.quality) == ("final", "balanced")
    assert (bench.final.passes, bench.chosen.passes) == (20, 12)
    assert bench.gain == pytest.approx(bench.final.seconds_per_clip / bench.chosen.seconds_per_clip)
    # Another picture, but the same clip.
    assert 15 < bench.first_clip_db < PSNR_CEILING_DB
    with pytest.raises(InvalidValue, match="its own number of steps"):
        bench_model("random-small", steps=2, options=RunOptions(quality="preview"))


def test_what_has_no_stages_is_refused() -> None:
    with pytest.raises(InvalidValue, match="no LongVie 2"):
        bench_model("fake:48x80")
