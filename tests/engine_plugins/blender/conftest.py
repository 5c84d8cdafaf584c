"""Real Blender for tests: its Python module, run in processes of its own."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from inside_blender import INSIDE, RunInside, bpy_environment, script_command


@pytest.fixture(scope="session")
def run_inside() -> RunInside:
    """Run a script of `inside/` in Blender's Python and return the JSON that it prints: `run_inside(name, *args)`."""

    answers: dict[tuple[str, ...], dict[str, Any]] = {}

    def run(name: str, *arguments: str, environment: dict[str, str] | None = None) -> dict[str, Any]:
        call = (name, *arguments)
        if call in answers:
            return answers[call]
        result = subprocess.run(
            script_command(INSIDE / f"{name}.py", *arguments),
            capture_output=True,
            text=True,
            env=environment or bpy_environment(),
            timeout=280,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        (line,) = [line for line in result.stdout.splitlines() if line.startswith("RESULT ")]
        return answers.setdefault(call, json.loads(line.removeprefix("RESULT ")))

    return run
