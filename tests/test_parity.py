"""The parity runner: it passes on the golden files, and says which case is over where they are spoilt."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

TESTS = Path(__file__).parent
GOLDEN = TESTS / "golden" / "longvie2"


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, TESTS / "parity.py", folder], capture_output=True, text=True, check=False, timeout=300
    )


def test_everything_agrees_with_the_reference() -> None:
    done = run(GOLDEN)
    assert done.returncode == 0, done.stdout + done.stderr
    for case in ("forward hist2 ", "forward nohist_bf16", "clip 2 step 3", "raster grid50_sky canvas", "dense clip 1"):
        assert case in done.stdout
    assert "OVER" not in done.stdout


@pytest.fixture
def spoilt(tmp_path: Path) -> Path:
    """One clip of the golden folder, in which one number of one pass is off by a little."""
    folder = tmp_path / "golden"
    shutil.copytree(GOLDEN, folder)
    run_file = load_file(folder / "run.safetensors")
    save_file({k: v for k, v in run_file.items() if not k.startswith(("clip1", "clip2"))}, folder / "run.safetensors")
    with np.load(folder / "rasters.npz") as rasters:
        depth = {name: rasters[name] for name in rasters.files if name.startswith("depth")}
    np.savez(folder / "rasters.npz", **depth)
    forward = load_file(folder / "forward.safetensors")
    forward["hist1.out"][0, 3, 2, 1, 1] += 1e-3
    save_file(forward, folder / "forward.safetensors")
    return folder


def test_what_is_over_is_named_and_the_exit_status_tells(spoilt: Path) -> None:
    done = run(spoilt)
    assert done.returncode == 1
    assert [line.split()[1:3] for line in done.stdout.splitlines() if line.startswith("OVER")] == [["forward", "hist1"]]


def test_sizes_come_from_the_folder(spoilt: Path) -> None:
    meta = json.loads((spoilt / "meta.json").read_text())
    meta["dit"]["num_layers"] = 3
    (spoilt / "meta.json").write_text(json.dumps(meta))
    done = run(spoilt)
    assert done.returncode == 1
    assert "blocks.3" in done.stderr  # the files hold a block more: loading is strict
