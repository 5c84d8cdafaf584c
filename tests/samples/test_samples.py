"""Every sample runs, against a real server."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from longvie_server.server import BridgeServer

FOLDER = Path(__file__).parents[2] / "samples"
FRAMES = {"own_renderer": 17, "moving_instances": 33, "live": 97}


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_sample_is_known_here() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == set(FRAMES)


@pytest.mark.parametrize("name", FRAMES)
def test_sample(fake_server: BridgeServer, name: str) -> None:
    result = load(name).main(fake_server.zeromq_endpoint)
    assert (asyncio.run(result) if asyncio.iscoroutine(result) else result) == FRAMES[name]
