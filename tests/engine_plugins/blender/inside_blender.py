"""Where the tests' Blender is, and in which environment it runs the tree under test.

LONGVIE_BLENDER names a blender program; LONGVIE_BPY_PYTHON names a Python that has bpy. Without both, the Python of the
tests is asked for bpy. Either needs pyzmq, msgpack and pillow, from its own packages or from PYTHONPATH.
"""

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
    """Return a Python that has bpy; skips the test where there is none."""
    python = os.environ.get("LONGVIE_BPY_PYTHON", sys.executable)
    found = subprocess.run([python, "-c", "import bpy"], capture_output=True, text=True)
    if found.returncode != 0:
        pytest.skip(f"{python} has no bpy: set LONGVIE_BPY_PYTHON to one with bpy, pyzmq, msgpack and pillow")
    return python


def blender_program() -> str:
    """Return the blender program of the tests, or nothing."""
    return os.environ.get("LONGVIE_BLENDER", "")


def script_command(script: Path, *arguments: str) -> list[str]:
    """Return the command that runs a script inside Blender, without a window."""
    if not blender_program():
        return [bpy_python(), str(script), *arguments]
    return [*_background(), str(INSIDE / "as_script.py"), "--", str(script), *arguments]


def generate_command(generate: Path, *arguments: str) -> list[str]:
    """Return the command that runs `generate.py` as a farm would."""
    if not blender_program():
        return [bpy_python(), str(generate), "--", *arguments]
    return [*_background(), str(generate), "--", *arguments]


def bpy_environment(**more: str) -> dict[str, str]:
    """Return an environment in which the tree under test is imported."""
    paths = os.pathsep.join((str(ROOT), str(INSIDE), os.environ.get("PYTHONPATH", "")))
    return {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **more}


def _background() -> list[str]:
    flags = ("-b", "--factory-startup", "--python-use-system-env", "--python-exit-code", "3", "-P")
    return [blender_program(), *flags]
