"""Real Blender for tests: its Python module, run in processes of its own."""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from inside_blender import INSIDE, bpy_environment, bpy_python

RunInside = Callable[..., dict[str, Any]]


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
