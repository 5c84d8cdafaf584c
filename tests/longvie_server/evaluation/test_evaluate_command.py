"""`longvie eval`, small: on a folder of videos, and on our own scenes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from bridge.errors import InvalidValue
from longvie_server.cli import main
from longvie_server.cli.app import app
from longvie_server.cli.evaluate import _digest
from longvie_server.conditions import ConditionsWriter
from longvie_server.output.video import VideoWriter
from longvie_server.world_model.fake import FakeWorldModel
from longvie_server.world_model.interface import ControlClip

HEIGHT, WIDTH = 16, 32


@pytest.fixture(autouse=True)
def _no_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "none"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "none"))


def _film(folder: Path, clips: int) -> None:
    frames = np.zeros((1 + 80 * clips, HEIGHT, WIDTH, 3), np.uint8)
    frames += np.linspace(40, 200, len(frames)).astype(np.uint8)[:, None, None, None]
    writer = ConditionsWriter(folder, frames[0])
    for k in range(clips):
        piece = frames[80 * k : 80 * k + 81]
        writer.add(f"clip {k}", ControlClip(np.ascontiguousarray(piece[..., 0]), piece))
    writer.close()
    with VideoWriter(folder / "video.mp4", fps=16, crf=3, pix_fmt="yuv444p") as video:
        for frame in frames:
            video.write(frame)


def _evaluate(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["eval", "--model", f"fake:{HEIGHT}x{WIDTH}", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_folder_of_videos_is_judged(tmp_path: Path) -> None:
    for name, clips in (("short", 1), ("long", 3)):
        _film(tmp_path / "videos" / name, clips)
    out = tmp_path / "out"
    told = _evaluate(
        *("--sequences", str(tmp_path / "videos"), "--cache", str(tmp_path / "cache")),
        *("--rows", "model,repeat_first_frame,truth", "--out", str(out)),
    )
    assert "minute by minute" in told
    figures = json.loads((out / "figures.json").read_text())
    assert (len(figures["scenes"]), figures["clips"]) == (2, 3)
    rows = {row["name"]: row for row in figures["rows"]}
    assert rows["truth"]["psnr"] == 99
    assert rows["model"]["track_error_px"] is rows["model"]["edge_agreement"] is rows["model"]["lpips"] is None
    assert "alexnet" in figures["absent"]["lpips"]
    # It brightens by 160 levels in 240 frames: the mean of the first clip's new frames to that of the third's.
    assert rows["truth"]["drift"]["per_clip"]["colour"][2] == pytest.approx(2 * 80 * 160 / 240, abs=1)
    assert [len(rows["model"]["drift"][window]) for window in ("per_clip", "per_10_s", "per_minute")] == [3, 3, 3]
    assert [len(rows["model"]["drift"][window]["colour"]) for window in ("per_10_s", "per_minute")] == [2, 1]
    assert all((out / name).exists() for name in ("sheet.png", "clips.png", "drift.png"))


def test_our_own_scenes_are_judged(tmp_path: Path) -> None:
    chosen = ("--scenes", "1", "--clips", "1", "--rows", "model,forward_warp", "--cache", str(tmp_path / "cache"))
    _evaluate(*chosen, "--json", str(tmp_path / "not" / "there" / "figures.json"))
    written = json.loads((tmp_path / "not" / "there" / "figures.json").read_text())
    rows = {row["name"]: row for row in written["rows"]}
    assert rows["forward_warp"]["psnr"] > rows["model"]["psnr"]


def test_other_weights_and_other_code_are_another_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, package = tmp_path / "weights" / "transformer.safetensors", tmp_path / "code"
    code = [package / name for name in ("world_model/longvie2/carry.py", "control/dense.py", "evaluation/motion.py")]
    page, other, table = weights.parent / "README.md", package / "cli" / "evaluate.py", package / "control" / "map.txt"
    for file in (weights, page, other, table, *code):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("one")
    monkeypatch.setattr("longvie_server.cli.evaluate._PACKAGE", package)
    before = _digest(weights.parent)
    assert _digest(None) != before
    for file in (page, other, table):
        file.write_text("two")
        assert _digest(weights.parent) == before
    for file in (weights, *code):
        file.write_text("two")
        assert _digest(weights.parent) != before
        file.write_text("one")
    os.utime(weights, ns=(1, 1))
    assert _digest(weights.parent) == before


@pytest.mark.parametrize("at", [0, 2**20, -1])
def test_large_weights_are_told_apart_by_pieces_and_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    monkeypatch.setattr("longvie_server.cli.evaluate._WHOLE_BYTES", 2 * 2**20)
    weights = tmp_path / "weights.safetensors"
    content = bytearray(3 * 2**20)
    weights.write_bytes(content)
    before = _digest(tmp_path)
    assert _digest(tmp_path) == before
    weights.write_bytes(content + b"\0")
    assert _digest(tmp_path) != before
    content[at] = 1
    weights.write_bytes(content)
    assert _digest(tmp_path) != before


@pytest.mark.parametrize("name", ["longvie2", "longvie2:{folder}", "{folder}"])
def test_other_weights_under_the_same_name_are_judged_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """However the model is named: what `load_model` reads is what tells it from another."""
    weights = tmp_path / "weights" / "model.safetensors"
    weights.parent.mkdir()
    monkeypatch.setenv("LONGVIE_LONGVIE2", str(weights.parent))
    # The weights themselves are not looked at here.
    monkeypatch.setattr("longvie_server.world_model.registry._load_longvie2", lambda *_, **__: FakeWorldModel(16, 32))
    labels = []
    for content in ("one", "two", "one"):
        weights.write_text(content)
        _evaluate(
            *("--scenes", "1", "--clips", "1", "--rows", "model", "--cache", str(tmp_path / "cache")),
            *("--model", name.format(folder=weights.parent), "--json", str(tmp_path / "figures.json")),
        )
        labels.append(json.loads((tmp_path / "figures.json").read_text())["label"])
    assert labels[0] == labels[2] != labels[1]
    assert len(list((tmp_path / "cache" / "figures").iterdir())) == 2


@pytest.mark.parametrize(
    ("option", "value", "field", "says"),
    [
        ("--perceptual", "{here}/wrong", "perceptual", "is no folder"),
        ("--perceptual", "{here}/file", "perceptual", "is no folder"),
        ("--out", "{here}/file", "out", "is a file"),
        ("--out", "{here}/file/below", "out", "is a file"),
        ("--cache", "{here}/file", "cache", "is a file"),
        ("--json", "{here}/file/figures.json", "json", "is a file"),
        ("--json", "{here}", "json", "is a folder"),
        ("--rows", "model, modle", "rows", "is no row"),
    ],
)
def test_what_cannot_be_is_told_before_the_model_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, value: str, field: str, says: str
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("longvie_server.world_model.registry.load_model", _must_not_load)
    chosen = {"--cache": str(tmp_path / "cache"), option: value.format(here=tmp_path)}
    told = CliRunner().invoke(
        app, ["eval", "--model", "fake:16x32", *(word for pair in chosen.items() for word in pair)]
    )
    assert isinstance(told.exception, InvalidValue)
    assert (told.exception.field, says in told.exception.problem, bool(told.exception.remedy)) == (field, True, True)


def _must_not_load(*_: object, **__: object) -> None:
    raise AssertionError("the model is loaded")


def test_an_error_is_a_sentence_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "sys.argv", ["longvie", "eval", "--model", "fake:16x32", "--perceptual", str(tmp_path / "wrong")]
    )
    with pytest.raises(SystemExit) as stopped:
        main()
    told = capsys.readouterr().err
    assert stopped.value.code == 2
    assert "perceptual: is no folder" in told
    assert "Traceback" not in told
