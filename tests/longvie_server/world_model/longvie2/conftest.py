"""Shared parts of the LongVie 2 tests: a pipeline of a few thousand weights, and one with the golden weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from miniature import MICRO
from parity import golden_pipeline
from safetensors.torch import load_file
from torch import Tensor

from longvie_server.world_model.longvie2 import LongVie2Pipeline, build
from longvie_server.world_model.longvie2.pipeline import ClipInput

GOLDEN = Path(__file__).parents[3] / "golden" / "longvie2"


@pytest.fixture(scope="session")
def golden_file() -> Callable[[str], dict[str, Tensor]]:
    """Read one of the golden files, by its name without suffix."""
    return lambda name: load_file(GOLDEN / f"{name}.safetensors")


@pytest.fixture(scope="session")
def golden_forward() -> dict[str, Tensor]:
    return load_file(GOLDEN / "forward.safetensors")


@pytest.fixture(scope="session")
def golden_run() -> dict[str, Tensor]:
    return load_file(GOLDEN / "run.safetensors")


@pytest.fixture(scope="session")
def golden() -> LongVie2Pipeline:
    """A pipeline with the golden weights; tests leave it as it is."""
    return golden_pipeline(GOLDEN)


@pytest.fixture(scope="session")
def micro() -> LongVie2Pipeline:
    """A whole pipeline that makes a clip in a moment; tests leave it as it is."""
    pipeline = build(MICRO, seed=0)
    # Random gains: with the ones they start as, a norm that forgot them would pass.
    generator = torch.Generator().manual_seed(1)
    for name, parameter in pipeline.vae.named_parameters():
        if name.endswith("gamma"):
            parameter.data.uniform_(0.5, 1.5, generator=generator)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="session")
def micro_clip() -> ClipInput:
    """17 frames of noise at the micro size, with history."""
    rng = np.random.default_rng(2)
    history = rng.integers(0, 256, (8, 16, 32, 3), np.uint8)
    return ClipInput(
        image=history[-1],
        dense=rng.integers(0, 256, (17, 16, 32), np.uint8),
        sparse=rng.integers(0, 256, (17, 16, 32, 3), np.uint8),
        history=history,
    )
