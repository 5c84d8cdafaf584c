"""Real Blender for tests: its Python module, run in processes of its own."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
INSIDE = Path(__file__).parent / "inside"

RunInside = Callable[..., dict[str, Any]]


@functools.cache
def bpy_python() -> str:
    """Return a Python that has bpy: LONGVIE_BPY_PYTHON, or this one; skips the test where neither has."""
    python = os.environ.get("LONGVIE_BPY_PYTHON", sys.executable)
    found = subprocess.run([python, "-c", "import bpy"], capture_output=True, text=True)
    if found.returncode != 0:
        pytest.skip(f"{python} has no bpy: set LONGVIE_BPY_PYTHON to one with bpy, pyzmq, msgpack and pillow")
    return python


def bpy_environment(**more: str) -> dict[str, str]:
    """Return an environment in which the tree under test is imported."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(INSIDE))), "OMP_NUM_THREADS": "1", **more}


@pytest.fixture(scope="session")
def run_inside() -> RunInside:
    """Run a script of `inside/` in Blender's Python and return the JSON that it prints: `run_inside(name, *args)`."""

    @functools.cache
    def run(name: str, *arguments: str) -> dict[str, Any]:
        result = subprocess.run(
            [bpy_python(), str(INSIDE / f"{name}.py"), *arguments],
            capture_output=True,
            text=True,
            env=bpy_environment(),
            timeout=280,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        (line,) = [line for line in result.stdout.splitlines() if line.startswith("RESULT ")]
        answer: dict[str, Any] = json.loads(line.removeprefix("RESULT "))
        return answer

    return run
