"""A Blender with a window, on a virtual screen, and what a test gives to it."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from inside_blender import INSIDE, blender_program

from bridge.errors import InvalidValue
from engine_plugins.blender import build as builder


def need_screen() -> None:
    """Skip the test where there is no blender program or no virtual screen."""
    if not blender_program() or not shutil.which("xvfb-run"):
        pytest.skip("needs a blender program in LONGVIE_BLENDER, and xvfb-run")


@functools.cache
def addon_zip(folder: Path) -> Path:
    """Return the add-on for older Blenders, built here; skips the test where its wheels cannot be had."""
    try:
        return builder.build(folder, platforms=("linux-x64",)).addon
    except InvalidValue as error:
        pytest.skip(f"no package index: {error}")


def run_in_window(
    script: str, *arguments: str, folder: Path, size: tuple[int, int], limit_s: int = 1700
) -> dict[str, Any]:
    """Run a script of `inside/` in a Blender with a window, and return what it wrote to result.json in the folder.

    A small window, (width, height) in pixels, is a fast one: everything is drawn in software.
    """
    width, height = (str(side) for side in size)
    environment = {**os.environ, "PYTHONPATH": str(INSIDE)}
    for name in ("CONFIG", "SCRIPTS", "DATAFILES"):
        environment[f"BLENDER_USER_{name}"] = str(folder / "user" / name.lower())
    # `timeout` ends Blender and the screen as well, where they hang.
    command = ["timeout", "-k", "5", str(limit_s), "xvfb-run", "-a", "-s", f"-screen 0 {width}x{height}x24"]
    command += [blender_program(), "--factory-startup", "--python-use-system-env", "--enable-event-simulate"]
    command += ["-p", "0", "0", width, height, "-P", str(INSIDE / f"{script}.py"), "--", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=limit_s + 40)
    answer = folder / "result.json"
    assert answer.exists(), result.stdout + result.stderr
    seen: dict[str, Any] = json.loads(answer.read_text())
    assert "traceback" not in seen, seen["traceback"]
    return seen
