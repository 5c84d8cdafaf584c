"""The rules of the house that a program can check: what imports what, and what a light client loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("bridge", "longvie_server", "engine_plugins")


def imports_of(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize(
    ("package", "never"),
    [
        # The bridge is vendored into engines: inside, it imports itself relatively only.
        ("bridge", ("bridge", "longvie_server", "engine_plugins", "torch", "open3d")),
        ("engine_plugins", ("longvie_server", "torch")),
    ],
)
def test_imports_run_one_way(package: str, never: tuple[str, ...]) -> None:
    for path in (ROOT / package).rglob("*.py"):
        if path.name.endswith("_pb2.py"):
            continue
        for name in imports_of(path):
            assert name.partition(".")[0] not in never, f"{path.relative_to(ROOT)} imports {name}"


def test_the_light_client_loads_nothing_heavy() -> None:
    heavy = "torch", "grpc", "zmq", "open3d", "cv2", "mcap", "google.protobuf", "PIL"
    code = f"import bridge, sys; print([name for name in {heavy!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"


def test_no_pickle_and_no_print() -> None:
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            assert "pickle" not in imports_of(path), path
            for node in ast.walk(tree):
                printed = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
                assert not printed, f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)} prints"
