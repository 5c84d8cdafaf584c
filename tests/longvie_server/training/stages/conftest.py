"""What the stages' tests begin with."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_wan import save_small_wan

from longvie_server.training.stages.machine import Machine


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_wan(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def machine() -> Machine:
    return Machine(device="cpu")
