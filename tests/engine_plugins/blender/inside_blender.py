"""Where Blender's Python is, and in which environment it runs the tree under test."""

from __future__ import annotations

import functools
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
    paths = os.pathsep.join((str(ROOT), str(INSIDE)))
    return {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **more}
